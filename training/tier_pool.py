"""Tiers over goals: levels of each goal pooled by precision, and differences with errors clustered two ways."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

MOST_LOG = 50.0  # where there is hardly any data, intervals end here


@dataclass(frozen=True)
class Levels:
    """Log returns per cost of t tiers and the errors they share; only differences between tiers mean anything.

    Attributes:
        level: shape (t,), NaN where a tier was not compared.
        influence: what each of n placements adds to the errors, shape (n, t), 0 where a tier was not compared.
        weight: what each placement counts for in its own tier, shape (n,).
        tier, creator, campaign: of the placements, shape (n,).
    """

    level: Floats
    influence: Floats
    weight: Floats
    tier: Ints
    creator: Ints
    campaign: Ints

    @property
    def compared(self) -> Bools:
        """Which tiers have a level, shape (t,)."""
        return np.isfinite(self.level)


@dataclass(frozen=True)
class Difference:
    """A difference of log returns, its standard error and degrees of freedom."""

    mean: float
    error: float
    freedom: float

    def interval(self, level: float = 0.9) -> tuple[float, float]:
        """Interval of the ratio of returns.

        >>> low, high = Difference(0.0, 0.1, 1e6).interval()
        >>> round(low, 3), round(high, 3)
        (0.848, 1.179)
        """
        reach = self.quantile(1.0 - level) * self.error
        low, high = np.exp(np.clip([self.mean - reach, self.mean + reach], -MOST_LOG, MOST_LOG))
        return float(low), float(high)

    def quantile(self, alpha: float) -> float:
        """How many standard errors chance exceeds, to either side, with probability `alpha`."""
        return float(student.ppf(1.0 - alpha / 2.0, self.freedom))

    def unseen(self, alpha: float, power: float = 0.8) -> float:
        """The relative difference that would be found with this power; smaller ones mostly go unseen."""
        found = self.quantile(alpha) + float(student.ppf(power, self.freedom))
        return float(np.expm1(min(found * self.error, MOST_LOG)))


def difference(levels: Levels, contrast: Floats) -> Difference:
    """A difference of levels, such as one tier minus another.

    The variance is that of sums by creator, plus by campaign, minus by both (Cameron, Gelbach & Miller 2011), and no
    less than either alone: the difference of the three can come out too small by chance.

    Args:
        levels: of t tiers.
        contrast: weights that sum to 0, 0 for tiers not compared; shape (t,).
    """
    each = levels.influence @ contrast
    both = levels.creator * (int(levels.campaign.max()) + 1) + levels.campaign
    creator, campaign, pair = (_squared_sums(codes, each) for codes in (levels.creator, levels.campaign, both))
    return Difference(
        mean=float(np.nan_to_num(levels.level) @ contrast),
        error=float(np.sqrt(max(creator + campaign - pair, creator, campaign))),
        freedom=_freedom(levels, each),
    )


def pool(goals: Sequence[Levels]) -> Levels:
    """One level a tier over goals, each goal's tiers weighed by their precision.

    A goal has a level of its own, whatever the tier: what is pooled is how the tiers differ within it. Goals that share
    no tier with the others cannot be set against them; the ones with the most placements are kept.
    """
    kept = _connected(goals)
    tiers = len(kept[0].level)
    rows = [(g, t) for g, levels in enumerate(kept) for t in np.flatnonzero(levels.compared)]
    variance = np.array([_squared_sums(kept[g].creator, kept[g].influence[:, t]) for g, t in rows])
    design = np.zeros((len(rows), len(kept) + tiers))
    for row, (g, t) in enumerate(rows):
        design[row, g] = design[row, len(kept) + t] = 1.0
    weighed = design.T / np.maximum(variance, 1e-12)
    solve = (np.linalg.pinv(weighed @ design) @ weighed)[len(kept) :]
    influence, share = [], []
    for g, levels in enumerate(kept):
        of_goal = np.zeros((tiers, tiers))
        for row, (goal, t) in enumerate(rows):
            if goal == g:
                of_goal[t] = solve[:, row]
        influence.append(levels.influence @ of_goal)
        share.append(levels.weight * np.abs(np.diag(of_goal))[levels.tier])
    level = solve @ np.array([kept[g].level[t] for g, t in rows])
    known = np.any([levels.compared for levels in kept], axis=0)
    return Levels(
        level=np.where(known, level, np.nan),
        influence=np.concatenate(influence),
        weight=np.concatenate(share),
        tier=np.concatenate([levels.tier for levels in kept]),
        creator=np.concatenate([levels.creator for levels in kept]),
        campaign=np.concatenate([levels.campaign for levels in kept]),
    )


def _connected(goals: Sequence[Levels]) -> list[Levels]:
    order = sorted(goals, key=lambda levels: -len(levels.tier))
    kept, left = order[:1], order[1:]
    while near := [x for x in left if any((x.compared & other.compared).any() for other in kept)]:
        kept.append(near[0])
        left = [x for x in left if x is not near[0]]
    return kept


def _squared_sums(codes: Ints, each: Floats) -> float:
    _, group = np.unique(codes, return_inverse=True)
    return float((np.bincount(group, weights=each) ** 2).sum())


def _freedom(levels: Levels, each: Floats) -> float:
    """Degrees of freedom by Welch and Satterthwaite: of every tier as many as it has creators of like weight (Kish)."""
    top = bottom = 0.0
    for tier in np.flatnonzero(levels.compared):
        mine = levels.tier == tier
        _, group = np.unique(levels.creator[mine], return_inverse=True)
        sums = np.bincount(group, weights=levels.weight[mine])
        creators = float(sums.sum() ** 2 / (sums**2).sum())
        variance = float((np.bincount(group, weights=each[mine]) ** 2).sum())
        top += variance
        bottom += variance**2 / max(creators - 1.0, 1.0)
    return max(top**2 / bottom, 1.0) if bottom > 0 else 1.0
