"""More draws of a SYNTHETIC market's held-out placements than its truth holds, by the market's own generator."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import polars as pl

from features.errors import DataError
from training.sample_campaigns import coming_campaigns, shortlists
from training.sample_held_out import held_out, take, true_value
from training.sample_hidden import make_hidden
from training.sample_outcomes import deliverable_shares, draw_costs, draw_counts, draw_revenue, expected_rates
from training.sample_truth import Truth
from training.sample_world import pick_index
from training.sample_worlds import world_named


class MoreDraws:
    """Value and cost of candidates, drawn again and again; a `training.plan_judge.Draws`."""

    def __init__(self, truth: Truth, world: str, creators: int, placements: int, seed: int, draws: int) -> None:
        """Remake the hidden state behind a truth.

        Args:
            truth: written by `write_sample` with its default dates and pool, and the other arguments.
            world, creators, placements, seed: see there.
            draws: how many.

        Raises:
            DataError: the truth is of another market.
        """
        self._hidden = make_hidden(creators=creators, placements=placements, seed=seed, world=world_named(world))
        self._draws, self._seed = draws, seed
        hidden, briefs = self._hidden, len(truth.briefs)
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(len(hidden.streams) - 1,)))
        self._campaigns = coming_campaigns(hidden.world, hidden.creators, hidden.campaigns.brands, briefs, rng)
        candidate, real = shortlists(int(str(truth.facts["pool"])), hidden.creators, self._campaigns.platforms, rng)
        which, column = np.nonzero(real)
        self._bookings = held_out(hidden, self._campaigns, which, candidate[which, column])
        found = pl.DataFrame({"brief_id": truth.outcomes["brief_id"],
                              "creator_id": truth.outcomes["creator_id"]})  # fmt: skip
        ids = hidden.creators.ids.gather(self._bookings.creator)
        if len(ids) != found.height or not (ids == found["creator_id"]).all():
            raise DataError(f"this truth is not that of world {world} with seed {seed}: no further draws")
        self._row = {key: row for row, key in enumerate(found.iter_rows())}

    def __call__(self, brief_id: str, creator_ids: Sequence[str]) -> tuple[Any, Any]:
        """Value and cost in USD, shape (n, draws) each; the same whoever else is asked for.

        A set's members may be asked for in any company, so that two sets share the luck of whom they share.
        """
        rows = np.array([self._row[brief_id, name] for name in creator_ids], dtype=np.int64)
        value, cost = np.zeros((len(rows), self._draws)), np.zeros((len(rows), self._draws))
        for k, row in enumerate(rows):
            value[k], cost[k] = self._drawn(int(row))
        return value, cost

    @cache  # noqa: B019  sets of one brief share most of their members; what is kept lives as long as the benchmark
    def _drawn(self, row: int) -> tuple[Any, Any]:
        hidden, campaigns, creators = self._hidden, self._campaigns, self._hidden.creators
        rng = np.random.default_rng([self._seed, row])
        rows = np.full(self._draws, row)
        who = self._bookings.creator[rows]
        kinds = np.cumsum(deliverable_shares(), axis=1)[creators.platform[who]]
        booked = take(self._bookings, rows, pick_index(rng, kinds))
        rate = expected_rates(hidden.world, creators, campaigns, booked, hidden.today)
        fee, product, other = draw_costs(hidden.world, creators, booked, rng)
        delivered = rng.random(self._draws) < creators.delivery[who]
        counts = draw_counts(hidden.world, campaigns, booked, rate, rng)
        sold, returned = draw_revenue(hidden.world, campaigns.price[booked.campaign], counts["conversions"], rng)
        seen = (counts["impressions"].astype(float), counts["engagements"].astype(float), sold * (1 - returned))
        return np.where(delivered, true_value(hidden, campaigns, booked, seen), 0.0), fee + product + other
