"""A creator's present level of one signal from all its dated readings: a local-level model, its noise estimated.

reading = level + noise (variance R), level = level before + drift (variance Q a month). R and Q are those of the
market: successive changes of a creator's readings vary by 2 R + Q and are anti-correlated by R (Harvey 1989, section
2.4.1), so their sums tell both. A list price that stays until it changes shows no noise, and its last reading counts
in full; a noisy count of views is averaged over many. Sums are integers and end before each reading's month, so a
reading is weighed by what was known before it, and the result is the same to the bit in whatever order tables come.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from features import asof

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MONTH = 30
LEAST_MONTHS = 0.1  # between two readings, so that two of one day are two readings of one level
# R / (2 R + Q) before the market has shown anything: noise of .3 against a drift of .067 a month in logs; and how many
# pairs of changes that is worth
USUAL_NOISE, USUAL_PAIRS = 0.488, 50.0
_UNIT = 1e8


@dataclass(frozen=True)
class Level:
    """Level after each reading and the variance of its error, shape (n,); NaN before the first known reading."""

    mean: Floats
    variance: Floats


@dataclass(frozen=True)
class Changes:
    """What successive readings of the same creators changed by, summed by month known; whole numbers, so that those of
    disjoint creators add up to the bit.

    Attributes:
        months: ascending, shape (m,).
        sums: of each month: changes, their squares, the months between them, and pairs of successive changes and their
            products, in units of 1 / _UNIT; shape (m, 5).
    """

    months: Ints
    sums: Ints

    @classmethod
    def total(cls, parts: Sequence["Changes"]) -> "Changes":
        """The sum of the changes of disjoint creators."""
        months = np.unique(np.concatenate([part.months for part in parts]))
        sums = np.zeros((len(months), 5), dtype=np.int64)
        for part in parts:
            sums[np.searchsorted(months, part.months)] += part.sums
        return cls(months, sums)

    def before(self, month: Ints) -> Floats:
        """Sums over the months before each of those asked for, shape (n, 5)."""
        running = np.concatenate([np.zeros((1, 5), dtype=np.int64), np.cumsum(self.sums, axis=0)])
        return running[np.searchsorted(self.months, month)] / _UNIT


def level_changes(creator: Ints, known_day: Ints, read_day: Ints, reading: Floats) -> Changes:
    """How the readings of some creators changed; arguments as of `local_level`."""
    rows, place, months = _successive(creator, read_day, reading)
    y = reading[rows]
    change = np.where(place > 0, np.diff(y, prepend=0.0), 0.0)
    product = np.where(place > 1, change * np.concatenate([[0.0], change[:-1]]), 0.0) if len(y) else change
    of_month, group = np.unique(known_day[rows] // MONTH, return_inverse=True)
    amounts = (place > 0, change**2, months * (place > 0), place > 1, product)
    sums = np.zeros((len(amounts), len(of_month)), dtype=np.int64)
    for total, amount in zip(sums, amounts, strict=True):
        np.add.at(total, group, np.rint(amount * _UNIT).astype(np.int64))
    return Changes(of_month, sums.T)


def local_level(
    creator: Ints, known_day: Ints, read_day: Ints, reading: Floats, changes: Changes, usual_noise: float = USUAL_NOISE
) -> Level:
    """Filter the readings of some creators.

    Args:
        creator: codes, sorted, shape (n,).
        known_day: UTC day each was known, ascending within a creator.
        read_day: UTC day each was taken, ascending within a creator; `asof.ALWAYS` where it has no date.
        reading: NaN where there is none; the level stays as it was then.
        changes: `level_changes` of every creator of the market.
        usual_noise: R / (2 R + Q) to go by until the market has shown more; 0 where a reading is usually exact.

    >>> days, readings = np.array([1, 31, 61]), np.array([4.0, np.nan, 4.0])
    >>> one = np.zeros(3, int), days, days, readings
    >>> local_level(*one, level_changes(*one)).mean.tolist()
    [4.0, 4.0, 4.0]
    """
    rows, place, months = _successive(creator, read_day, reading)
    y = reading[rows]
    month, group = np.unique(known_day[rows] // MONTH, return_inverse=True)
    noise, drift = (by_month[group] for by_month in _variances(changes.before(month), usual_noise))
    mean, variance = y.copy(), noise.copy()
    order = np.argsort(place, kind="stable")
    ends = np.searchsorted(place[order], np.arange(1, place.max(initial=0) + 2))
    for begin, end in pairwise(ends):
        now = order[begin:end]
        before = now - 1  # readings of one creator lie side by side
        spread = variance[before] + drift[now] * months[now]
        total = spread + noise[now]
        gain = np.where(total > 0, spread / np.where(total > 0, total, 1.0), 1.0)
        mean[now] = mean[before] + gain * (y[now] - mean[before])
        variance[now] = (1.0 - gain) * spread
    return Level(_carried(creator, rows, mean), _carried(creator, rows, variance))


def _successive(creator: Ints, read_day: Ints, reading: Floats) -> tuple[Ints, Ints, Floats]:
    """Rows with a reading, how many of the same creator come before each, and the months since the last."""
    rows = np.flatnonzero(~np.isnan(reading))
    who, taken = creator[rows], read_day[rows]
    if len(rows) == 0:
        return rows, rows, np.zeros(0)
    first = np.concatenate([[True], who[1:] != who[:-1]])
    place = np.arange(len(who)) - np.maximum.accumulate(np.where(first, np.arange(len(who)), 0))
    months = np.maximum(np.diff(taken, prepend=0) / MONTH, LEAST_MONTHS)
    # an undated reading is of nobody knows when: not of 1970, which would make every drift look slow
    undated = np.concatenate([[True], taken[:-1] == asof.ALWAYS])
    return rows, place, np.where(undated, 1.0, months)


def _variances(before: Floats, usual_noise: float) -> tuple[Floats, Floats]:
    """R and Q by what was known before, shape (m,) each."""
    changes, squares, gaps, pairs, products = before.T
    varied = np.where(changes > 0, squares / np.maximum(changes, 1.0), 1.0)
    covariance = (products - usual_noise * varied * USUAL_PAIRS) / (pairs + USUAL_PAIRS)
    noise = np.clip(-covariance, 0.0, varied / 2.0)
    gap = np.where(changes > 0, gaps / np.maximum(changes, 1.0), 1.0)
    return noise, (varied - 2.0 * noise) / gap


def _carried(creator: Ints, rows: Ints, values: Floats) -> Floats:
    """The last value of the same creator at or before each row, NaN before the first."""
    last = np.full(len(creator), -1)
    last[rows] = np.arange(len(rows))
    last = np.maximum.accumulate(last) if len(last) else last
    found = last >= 0
    same = np.zeros(len(creator), dtype=bool)
    same[found] = creator[rows[last[found]]] == creator[found]
    return np.where(same, values[np.maximum(last, 0)] if len(values) else np.nan, np.nan)
