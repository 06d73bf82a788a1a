"""Slots filled to learn: by creators little is known of, at random among those who could be best, with known chances.

A team that only books who looks best never learns who else is good, and its log says little about other choices. So a
share of the slots may be filled from those who are uncertain and whose upper bound is highest (Auer et al. 2002,
"Finite-time analysis of the multiarmed bandit problem"). They are drawn at random, all of the pool alike, so that each
one's chance is known and outcomes can be weighed by it (`training.off_policy`).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.matrix import NAMES
from features.profile import PRICE_SOURCES
from serving.interval import HIGH, NORMAL_SCORES
from serving.model import Model
from serving.stage import Floats

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

KNOWN_WELL = 3  # settled placements from which a creator's own record counts as known
POOL = 4  # creators who could fill a slot, per slot
PLACEMENTS = NAMES.index("creator_placements")
_ESTIMATED = float(PRICE_SOURCES.index("estimated"))


@dataclass(frozen=True)
class Draw:
    """Who fills the explored slots.

    Attributes:
        slots: positions drawn, the highest upper bound first.
        chance: with which each of the pool was drawn; 1 where there is nobody.
    """

    slots: Ints
    chance: float


def explored_slots(share: float, top: int) -> int:
    """How many of the slots are explored.

    >>> explored_slots(0.2, 20), explored_slots(0.5, 1), explored_slots(0.0, 20)
    (4, 0, 0)
    """
    return int(share * top + 1e-9)


def known_well(log_placements: NDArray[np.floating[Any]], source: Floats) -> Mask:
    """Of whom the own record and the price are known, shape (n,).

    Args:
        log_placements: the feature `creator_placements`.
        source: of the fee, a code into PRICE_SOURCES.
    """
    return np.asarray((np.expm1(log_placements) >= KNOWN_WELL - 0.5) & (source != _ESTIMATED))


def upper_bounds(
    model: Model, goal: str, rank_by: str, order: Floats, value: Floats, cost: Floats, spread: Floats
) -> Floats:
    """Upper end of the 80 % interval of what `rank_by` asks to be highest, shape (n,); NaN where unknown.

    Of quantities, which have no interval, it is what is expected.

    Args:
        model: whose intervals they are.
        goal, rank_by: of the brief.
        order: what is expected of it.
        value, cost, spread: expected value and cost, and the spread of the log fee. The cost floor is left aside.
    """
    if rank_by not in ("roi", "profit", "value"):
        return order
    interval = model.intervals.get(goal, model.intervals["any"])
    size = np.searchsorted(interval.edges, np.nan_to_num(value))
    if rank_by != "roi":
        ratio = np.quantile(interval.ratios, HIGH, axis=1)[size]
        return np.asarray(order * ratio if rank_by != "profit" else (order + cost) * ratio - cost)
    spreads = np.unique([0.0, *(line.spread for line in model.price_lines.values()), *_fee_spread(model)])
    ratios = interval.ratios[:, None, :, None] / np.exp(spreads[None, :, None, None] * NORMAL_SCORES)
    factor = np.quantile(ratios.reshape(len(interval.ratios), len(spreads), -1), HIGH, axis=2)
    return np.asarray((order + 1.0) * factor[size, np.searchsorted(spreads, spread)] - 1.0)


def draw(upper: Floats, uncertain: Mask, exploited: Ints, slots: int, rng: np.random.Generator) -> Draw:
    """Draw who fills the explored slots.

    Args:
        upper: bounds of n candidates, NaN for those who are not to be drawn.
        uncertain: who may be drawn.
        exploited: positions that are picked anyway.
        slots: how many to draw; fewer where there are fewer.
        rng: of the draw.

    >>> found = draw(np.array([9.0, 3, 2, 1]), np.ones(4, bool), np.array([0]), 1, np.random.default_rng(0))
    >>> len(found.slots), found.chance == 1 / 3
    (1, True)
    """
    able = uncertain & ~np.isnan(upper)
    able[exploited] = False
    rows = np.flatnonzero(able)
    pool = rows[np.argsort(-upper[rows], kind="stable")[: POOL * slots]]
    slots = min(slots, len(pool))
    if not slots:
        return Draw(pool[:0], 1.0)
    drawn = np.sort(rng.choice(len(pool), slots, replace=False))
    return Draw(pool[drawn], slots / len(pool))


def _fee_spread(model: Model) -> tuple[float, ...]:
    return () if model.fee is None else (model.fee.spread,)
