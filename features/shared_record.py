"""Track records of what creators share (persons, brands, formats, niches, tiers): what the placements of some creators
add, and the histories all of them come to.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.encoding import Lists
from features.geography import value_share
from features.market import Market, Placements, entity_codes
from features.record import PAIRED, STAGES, DayTotals, History, Totals, placement_amounts, run_totals
from features.shrinkage import COMPARED, pair_residuals, successive_pairs
from features.usual import usual_log_rate, usual_log_views
from features.value import placement_value

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PENDING = 8  # totals of so many buckets are kept apart before they are added up
PRIOR_DAYS = 30  # how often the expectation of unknown audiences is taken anew


@dataclass(frozen=True)
class Contribution:
    """What the p placements of some creators add to the records that creators share.

    Attributes:
        totals: by kind of entity; that of the creators themselves is not shared.
        compared: COMPARED columns of each placement, shape (p,) each.
        entities: of each placement, by name of PAIRED, shape (p,) each; creators in codes of their own bucket.
        settled: UTC days, shape (p,).
        ids: of the placements.
        creators: how many there are.
    """

    totals: Mapping[str, DayTotals]
    compared: Mapping[str, Floats]
    entities: Mapping[str, Ints]
    settled: Ints
    ids: pl.Series
    creators: int


@dataclass(frozen=True)
class Valued:
    """The placements of some creators, valued under their goals.

    Attributes:
        placements: with values.
        amounts: what each adds to a record, shape (p, columns).
        entities: of each placement, whose records are shared, by kind, shape (p,) each.
    """

    placements: Placements
    amounts: Ints
    entities: Mapping[str, Ints]

    def own_records(self) -> DayTotals:
        """What the placements add to the records of their creators."""
        return DayTotals.of(self.placements.creator, self.placements.settled, self.amounts)

    def contribution(self, creators: int) -> Contribution:
        """What they add to the records that creators share; `creators` is how many the bucket has."""
        p, own = self.placements, Totals(self.amounts, np.arange(len(self.amounts)))
        return Contribution(
            totals={name: DayTotals.of(entity, p.settled, self.amounts) for name, entity in self.entities.items()},
            compared={name: own[name] for name in COMPARED},
            entities={name: {**self.entities, "creator": p.creator}[name] for name in PAIRED},
            settled=p.settled,
            ids=p.ids,
            creators=creators,
        )


def value_placements(market: Market) -> Valued:
    """Value every placement of some creators."""
    p = market.placements
    profile = market.profile(p.creator, p.agreed)
    codes = market.codes(p.creator, profile)
    audience = market.lists(p.creator, p.agreed)["country"]
    share = value_shares(market, audience, codes["country"], p.campaign, p.agreed)
    goal = market.campaigns.goal[p.campaign]
    formula = placement_value(
        goal,
        p.outcomes["impressions"],
        p.outcomes["engagements"],
        p.outcomes["net_revenue"],
        share,
        profile["audience_credibility"],
        market.campaigns.numbers["product_margin"][p.campaign],
        market.basis,
    )
    value = np.where(p.overridden, p.outcomes["value"], np.where(p.delivered > 0, formula, 0.0))
    # a commission is known only with the sale, so it says nothing about what a creator charges
    fee = np.full(len(p), np.nan) if market.commission_rate is not None else p.fee
    niche = market.campaigns.niche[p.campaign]
    entities = {
        "market": np.zeros(len(p), dtype=np.int64),
        "person": codes["person"],
        "brand": market.campaigns.brand[p.campaign],
        "deliverable": p.deliverable,
        "niche": niche,
        **entity_codes(codes, goal, niche, market.words, market.tier_count),
    }
    amounts = placement_amounts(
        {**p.outcomes, "value": value, "delivered": p.delivered, "cost": p.cost, "fee": fee,
         "follower_count": profile["follower_count"], "usual_log_views": usual_log_views(profile),
         "usual_log_rate": usual_log_rate(profile)}
    )  # fmt: skip
    valued = replace(p, outcomes={**p.outcomes, "value": value}, value_share=share)
    return Valued(valued, amounts, entities)


def shared_histories(contributions: Iterable[Contribution]) -> dict[str, History]:
    """Histories of every kind of entity that creators share, from the contributions of all buckets."""
    parts: list[Contribution] = []
    totals: dict[str, list[DayTotals]] = {}
    for part in contributions:
        for name, own in part.totals.items():
            totals.setdefault(name, []).append(own)
            if len(totals[name]) == PENDING:
                totals[name] = [DayTotals.total(totals[name])]
        parts.append(replace(part, totals={}))
    histories = {name: run_totals(DayTotals.total(own)) for name, own in totals.items()}
    settled = np.concatenate([part.settled for part in parts])
    everybody = np.zeros(len(settled), dtype=np.int64)
    days, of = np.unique(settled, return_inverse=True)
    before = Totals(histories["market"].values_at(everybody[: len(days)], days), of)
    compared = {name: np.concatenate([part.compared[name] for part in parts]) for name in COMPARED}
    residuals, weights = pair_residuals(compared, before)
    ids = pl.concat([part.ids for part in parts])
    # placements that settled on one day follow each other by their ids, whatever the order of the rows
    order = (ids.rank("ordinal").to_numpy().astype(np.int64), settled)
    entities = {name: np.concatenate([part.entities[name] for part in parts]) for name in PAIRED}
    entities["creator"] += np.repeat(_starts([part.creators for part in parts]), [len(part.settled) for part in parts])
    pairs = []
    for name in PAIRED:
        apart = entities["creator"] if name == "person" else None
        products = successive_pairs(entities[name], order, residuals, weights, apart)
        pairs.append(run_totals(DayTotals.of(everybody, settled, products)).running)
    market = histories["market"]
    width = 2 * len(STAGES) * len(PAIRED)
    running = np.hstack(pairs) if len(market.keys) else np.zeros((0, width), dtype=np.int64)
    histories["market"] = History(market.keys, np.hstack([market.running, running]))
    return histories


def _starts(counts: Sequence[int]) -> Ints:
    return np.cumsum([0, *counts[:-1]])


def value_shares(market: Market, audience: Lists, home: Ints, campaign: Ints, day: Ints) -> Floats:
    """g of the value formula; an unknown audience is filled by what was known before the day's month began.

    Args:
        market: the encoded data.
        audience: countries of each creator's audience, n rows.
        home: country codes of the creators, shape (n,).
        campaign: campaign codes, shape (n,).
        day: UTC decision days, shape (n,).
    """
    month = day // PRIOR_DAYS
    share = np.ones(len(day))
    for number in np.unique(month):
        rows = np.flatnonzero(month == number)
        prior = market.prior_at(int(number) * PRIOR_DAYS)
        share[rows] = value_share(audience.rows(rows), home[rows], market.campaigns, campaign[rows], prior)
    return share
