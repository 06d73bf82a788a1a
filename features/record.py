"""Track record: running totals of settled placements by entity, as of a day.

Totals are integers (logs in millionths, money in hundredths), so that they add up identically in any order, and a
window is a difference of two totals. A placement counts from the day after the one it settled on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features import asof

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MICRO = 1e6
CENTS = 100.0
RECENT_DAYS = 90
# clicks and views from which more of them tell little more: what varies then is not who happens to buy or to click but
# how a post sells
ENOUGH_CLICKS = 20.0
ENOUGH_VIEWS = 2_000.0

# what is summed; a count beside every sum, because outcomes are only partly known
COLUMNS = (
    "placements", "delivered", "viewed", "log_views", "views", "engaged_views", "engagements",
    "clicks", "sold_views", "conversions", "sold", "sold_clicks", "sold_orders", "sales", "revenue", "valued", "value",
    "cost", "fees", "log_fee", "sized_fees", "log_fee_per_follower", "sized_views", "sized_log_views", "log_followers",
    "log_followers_squared", "log_views_by_log_followers", "compared", "log_views_beyond",
    "log_views_beyond_squared", "compared_rates", "log_rate_beyond", "log_rate_beyond_squared", "seen", "seen_views",
    "seen_clicks",
)  # fmt: skip
# of the market alone: how alike successive placements of one entity are (`features.shrinkage`)
STAGES = ("views", "engagement", "clicks", "sales")
PAIRED = ("creator", "person", "brand", "deliverable", "niche_style", "goal_tier")
PAIRS = tuple(f"{entity}_{stage}_{what}" for entity in PAIRED for stage in STAGES for what in ("products", "weights"))
_POSITION = {name: position for position, name in enumerate((*COLUMNS, *PAIRS))}
_UNITS = {**dict.fromkeys(PAIRS, MICRO), "log_views_beyond": MICRO, "log_views_beyond_squared": MICRO,
          "log_rate_beyond": MICRO, "log_rate_beyond_squared": MICRO, "seen_views": MICRO, "seen_clicks": MICRO,
          "sold_clicks": MICRO, "sold_orders": MICRO, "log_views": MICRO, "log_fee": MICRO,
          "log_fee_per_follower": MICRO, "sized_log_views": MICRO, "log_followers": MICRO,
          "log_followers_squared": MICRO, "log_views_by_log_followers": MICRO,
          "revenue": CENTS, "value": CENTS, "cost": CENTS}  # fmt: skip


@dataclass(frozen=True)
class Totals:
    """Totals of m entities and which of them each row means (`index` of shape (n,) or (1,); -1: none, all 0)."""

    values: Ints
    index: Ints

    def __getitem__(self, column: str) -> Floats:
        position = _POSITION[column]
        found = np.where(self.index >= 0, self.values[np.maximum(self.index, 0), position], 0)
        return found / _UNITS.get(column, 1.0)


@dataclass(frozen=True)
class History:
    """Running totals of one kind of entity, sorted by (entity, day settled)."""

    keys: Ints
    running: Ints

    def at(self, entity: Ints, day: Ints) -> Totals:
        """Totals of each entity before each day, shape (n,)."""
        return Totals(self.values_at(entity, day), np.arange(len(entity)))

    def recent(self, entity: Ints, day: Ints) -> Totals:
        """Totals over the RECENT_DAYS before each day."""
        values = self.values_at(entity, day) - self.values_at(entity, day - RECENT_DAYS)
        return Totals(values, np.arange(len(entity)))

    def values_at(self, entity: Ints, day: Ints) -> Ints:
        """Totals as integers, shape (n, columns); zeros where nothing had settled."""
        if len(self.keys) == 0:
            return np.zeros((len(entity), self.running.shape[1]), dtype=np.int64)
        index = asof.last_before(self.keys, entity, day)
        return np.where(index[:, None] >= 0, self.running[np.maximum(index, 0)], 0)


@dataclass(frozen=True)
class DayTotals:
    """What placements of one kind of entity add up to by the day they settled, sorted by (entity, day).

    Attributes:
        keys: `asof.keys`, shape (k,).
        sums: shape (k, columns).
    """

    keys: Ints
    sums: Ints

    @classmethod
    def of(cls, entity: Ints, settled_day: Ints, amounts: Ints) -> "DayTotals":
        """Sum the amounts of placements by entity and day.

        Args:
            entity: entity of each placement, -1: none, left out; shape (p,).
            settled_day: UTC day its outcome was final, shape (p,).
            amounts: what it adds, from `placement_amounts`, shape (p, columns).
        """
        keep = entity >= 0
        return cls._summed(asof.keys(entity[keep], settled_day[keep]), amounts[keep])

    @classmethod
    def total(cls, parts: Sequence["DayTotals"]) -> "DayTotals":
        """Those of several sets of placements together."""
        return cls._summed(np.concatenate([part.keys for part in parts]), np.concatenate([part.sums for part in parts]))

    @classmethod
    def _summed(cls, keys: Ints, amounts: Ints) -> "DayTotals":
        order = np.argsort(keys, kind="stable")
        unique, starts = np.unique(keys[order], return_index=True)
        if len(unique) == 0:
            return cls(unique, amounts)
        return cls(unique, np.add.reduceat(amounts[order], starts, axis=0))


def run_totals(totals: DayTotals) -> History:
    """Run the totals within each entity."""
    unique, running = totals.keys, np.cumsum(totals.sums, axis=0)
    if len(unique) == 0:
        return History(unique, totals.sums)
    owner = unique >> asof.DAY_BITS
    first = np.concatenate([[True], owner[1:] != owner[:-1]])
    starts = np.flatnonzero(first)
    before = running[starts] - totals.sums[starts]
    return History(unique, running - before[np.cumsum(first) - 1])


def placement_amounts(outcomes: Mapping[str, Floats]) -> Ints:
    """What each placement adds to the totals, shape (p, len(COLUMNS)).

    Args:
        outcomes: columns of shape (p,), NaN where unknown: delivered (0/1), impressions, engagements, clicks,
            conversions, net_revenue, value, cost, fee, follower_count, and what was usual for the creator when
            it was agreed: usual_log_views, usual_log_rate.
    """
    impressions, fee, followers = outcomes["impressions"], outcomes["fee"], outcomes["follower_count"]
    delivered = outcomes["delivered"] > 0
    viewed = delivered & ~np.isnan(impressions)
    paid = fee > 0
    sized = paid & (followers > 0)

    def known(name: str) -> NDArray[np.bool_]:
        return viewed & ~np.isnan(outcomes[name])

    sized_views = viewed & (followers > 0)
    clicks, conversions = outcomes["clicks"], outcomes["conversions"]
    bought = delivered & (clicks > 0) & ~np.isnan(conversions)
    weight = 1.0 / (1.0 + np.where(bought, clicks, 0.0) / ENOUGH_CLICKS)
    log_views = np.log1p(np.where(viewed, impressions, 0.0))
    log_followers = np.log(np.where(sized_views, followers, 1.0))
    views_known = viewed & (impressions > 0)
    seen = views_known & ~np.isnan(clicks)
    seen_weight = 1.0 / (1.0 + np.where(seen, impressions, 0.0) / ENOUGH_VIEWS)
    compared = views_known & ~np.isnan(outcomes["usual_log_views"])
    beyond = log_views - np.where(compared, outcomes["usual_log_views"], 0.0)
    rated = views_known & (outcomes["engagements"] > 0)
    log_rate = np.log(np.where(rated, outcomes["engagements"], 1.0)) - log_views
    compared_rates = rated & ~np.isnan(outcomes["usual_log_rate"])
    rate_beyond = log_rate - np.where(compared_rates, outcomes["usual_log_rate"], 0.0)
    sold = delivered & ~np.isnan(outcomes["net_revenue"])
    valued = ~np.isnan(outcomes["value"]) & ~np.isnan(outcomes["cost"])
    amounts: dict[str, tuple[NDArray[np.bool_], Floats]] = {
        "placements": (np.ones(len(fee), dtype=bool), np.ones(len(fee))),
        "delivered": (delivered, np.ones(len(fee))),
        "viewed": (viewed, np.ones(len(fee))),
        "log_views": (viewed, log_views),
        "views": (viewed, impressions),
        "engaged_views": (known("engagements"), impressions),
        "engagements": (known("engagements"), outcomes["engagements"]),
        "clicks": (known("clicks"), outcomes["clicks"]),
        "sold_views": (known("conversions"), impressions),
        "conversions": (known("conversions"), outcomes["conversions"]),
        "sold": (bought, np.ones(len(fee))),
        "sold_clicks": (bought, clicks * weight),
        "sold_orders": (bought, conversions * weight),
        "sales": (sold, np.ones(len(fee))),
        "revenue": (sold, outcomes["net_revenue"]),
        "valued": (valued, np.ones(len(fee))),
        "value": (valued, outcomes["value"]),
        "cost": (valued, outcomes["cost"]),
        "fees": (paid, np.ones(len(fee))),
        "log_fee": (paid, np.log(np.where(paid, fee, 1.0))),
        "sized_fees": (sized, np.ones(len(fee))),
        "log_fee_per_follower": (sized, np.log(np.where(sized, fee, 1.0) / np.where(sized, followers, 1.0))),
        "sized_views": (sized_views, np.ones(len(fee))),
        "sized_log_views": (sized_views, log_views),
        "log_followers": (sized_views, log_followers),
        "log_followers_squared": (sized_views, log_followers**2),
        "log_views_by_log_followers": (sized_views, log_views * log_followers),
        "compared": (compared, np.ones(len(fee))),
        "log_views_beyond": (compared, beyond),
        "log_views_beyond_squared": (compared, beyond**2),
        "compared_rates": (compared_rates, np.ones(len(fee))),
        "log_rate_beyond": (compared_rates, rate_beyond),
        "log_rate_beyond_squared": (compared_rates, rate_beyond**2),
        "seen": (seen, np.ones(len(fee))),
        "seen_views": (seen, impressions * seen_weight),
        "seen_clicks": (seen, clicks * seen_weight),
    }
    columns = [np.where(mask, amount, 0.0) * _UNITS.get(name, 1.0) for name, (mask, amount) in amounts.items()]
    return np.rint(np.column_stack(columns)).astype(np.int64)
