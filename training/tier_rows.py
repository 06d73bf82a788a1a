"""Which placements a comparison of tiers rests on, and the tier and person of each."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.value import AWARENESS
from training.dataset import Dataset

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

LEAST_PRIOR = 0.01


@dataclass(frozen=True)
class TierRows:
    """Placements with known value and cost, shape (n,) each.

    Attributes:
        index: positions in `market.placements`.
        value, cost: in base currency, the cost floored.
        goal, tier: codes.
        account: creator codes.
        creator: the same, but one code for all the accounts of a person, who share what nobody sees.
        prior: how many placements each stands for.
        fair: whether value / cost says something about the tier.
    """

    index: Ints
    value: Floats
    cost: Floats
    goal: Ints
    tier: Ints
    creator: Ints
    account: Ints
    prior: Floats
    fair: Bools


def known_rows(data: Dataset, rows: Ints) -> TierRows:
    """The placements among `rows` whose value and cost are known; arguments as in `training.tier_table`."""
    market, seen = data.market, data.seen
    p = market.placements
    value, cost = p.outcomes["value"], p.cost
    index = rows[np.isfinite(value[rows]) & np.isfinite(cost[rows])]
    goal = market.campaigns.goal[p.campaign]
    person = seen.person[index]
    # where nobody of the audience is in the target, awareness is worth nothing whoever posts; and below the floor of
    # costs, value / cost is a matter of the floor
    pointless = (goal[index] == AWARENESS) & (p.value_share[index] <= 0) & ~p.overridden[index]
    return TierRows(
        index=index,
        value=value[index],
        cost=np.maximum(cost[index], market.basis.cost_floor),
        goal=goal[index],
        tier=seen.tier_since[index],
        creator=np.where(person >= 0, person, int(seen.person.max(initial=0)) + 1 + p.creator[index]),
        account=p.creator[index],
        prior=_prior(data, rows, index),
        fair=(cost[index] >= market.basis.cost_floor) & ~pointless,
    )


def _prior(data: Dataset, rows: Ints, index: Ints) -> Floats:
    """How many placements each stands for: a lost one is always known to be worth 0, a delivered one only if tracked.

    Lost ones count for the share of delivered ones whose value is known, of the same goal, tier and platform; else a
    tier that is rarely tracked would look unreliable.
    """
    market, seen = data.market, data.seen
    p = market.placements
    tiers, platforms = market.tier_count, int(seen.platform.max(initial=-1)) + 2
    # platform -1 is unknown
    cell = (market.campaigns.goal[p.campaign] * tiers + seen.tier_since) * platforms + seen.platform + 1
    delivered = rows[p.delivered[rows] > 0]
    tracked = np.isfinite(p.outcomes["value"][delivered])
    size = int(cell.max(initial=0)) + 1
    all_of, known = np.bincount(cell[delivered], minlength=size), np.bincount(cell[delivered[tracked]], minlength=size)
    share = np.where(all_of > 0, known / np.maximum(all_of, 1), 1.0)
    return np.where(p.delivered[index] > 0, 1.0, np.maximum(share[cell[index]], LEAST_PRIOR))
