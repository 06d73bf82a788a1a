"""What the luck of single placements costs: the model fitted on what they were expected to do, not on what they did.

Only labels change. The placements, their features, which outcomes are known and the settings of the fit are the same,
so the gap between the two shares of oracle is the price of noisy labels; the rest of the way to 1 is that of features,
past choices and the model's own form. It is no strict bound: the fit still shrinks as noisy labels ask for. Whether a
post appeared, and what a placement costs beside its fee, stay as drawn.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from features.errors import DataError
from training.dataset import Dataset
from training.sample_expected import Expected, expected_outcomes, sales_table
from training.sample_hidden import make_hidden
from training.sample_outcomes import expected_rates
from training.sample_worlds import world_named

NOISY = ("impressions", "engagements", "clicks", "conversions", "net_revenue")


def noise_free(data: Dataset, world: str, creators: int, placements: int, seed: int) -> Dataset:
    """A sample market's placements, with the true mean of every outcome and fee that is known in place of the draw.

    Args:
        data: of the market that `write_sample` writes with the other arguments and its default dates.
        world, creators, placements, seed: as given to `write_sample`.

    Raises:
        DataError: the placements are not those of that market.
    """
    means = _means(data, world, creators, placements, seed)
    known = data.labels
    columns = {name: np.where(np.isfinite(known.columns[name]), getattr(means, name), np.nan) for name in NOISY}
    fee = np.where(np.isfinite(known.fee), means.fee, np.nan)
    return replace(data, labels=replace(known, columns={**known.columns, **columns}, fee=fee))


def ceiling(data: Dataset, rows: Any, history: Any, options: Any, truth: Any, market: tuple[str, int, int, int]) -> Any:
    """Figures of the picks of the model that is fitted on noise-free labels.

    Args:
        data, rows, history, options: as in `fit_served`.
        truth: of the same market.
        market: world, creators, placements and seed of the market.
    """
    from serving.catalogue import build_catalogue
    from serving.release import Release
    from training.pipeline import fit_served
    from training.truth_figures import Advice, judge_picks
    from training.truth_pool import past_means, score_pool

    own = data.market
    model = fit_served(noise_free(data, *market), rows, history, options)
    catalogue = build_catalogue(own, own.as_of, own.settings)
    pool = score_pool(Release(model, catalogue), truth, past_means(own, own.as_of))
    return judge_picks(pool, Advice(pool.roi, pool.value, pool.roi, pool.inside))


def _means(data: Dataset, world: str, creators: int, placements: int, seed: int) -> Expected:
    hidden = make_hidden(creators=creators, placements=placements, seed=seed, world=world_named(world))
    p = data.market.placements
    drawn = hidden.creators.ids.gather(hidden.bookings.creator)
    found = data.market.creators.frame["creator_id"].gather(p.creator)
    if len(drawn) != len(found) or not (drawn == found).all():
        raise DataError(f"these placements are not those of world {world} with seed {seed}: no noise-free labels")
    rate = expected_rates(hidden.world, hidden.creators, hidden.campaigns, hidden.bookings, hidden.today)
    table = sales_table(hidden.world)
    return expected_outcomes(hidden.world, hidden.creators, hidden.campaigns, hidden.bookings, rate, table)
