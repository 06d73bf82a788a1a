"""A creator's present level of one signal from all its dated readings: a local-level model, its noise estimated.

reading = level + noise (variance R), level = level before + drift (variance Q a month). R and Q are those of the
market: successive changes of a creator's readings vary by 2 R + Q and are anti-correlated by R (Harvey 1989, section
2.4.1), so their sums tell both. A list price that stays until it changes shows no noise, and its last reading counts
in full; a noisy count of views is averaged over many. Sums are integers and end before each reading's month, so a
reading is weighed by what was known before it, and the result is the same to the bit in whatever order tables come.
"""

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


def local_level(
    creator: Ints, known_day: Ints, read_day: Ints, reading: Floats, usual_noise: float = USUAL_NOISE
) -> Level:
    """Filter the readings of many creators.

    Args:
        creator: codes, sorted, shape (n,).
        known_day: UTC day each was known, ascending within a creator.
        read_day: UTC day each was taken, ascending within a creator; `asof.ALWAYS` where it has no date.
        reading: NaN where there is none; the level stays as it was then.
        usual_noise: R / (2 R + Q) to go by until the market has shown more; 0 where a reading is usually exact.

    >>> days = np.array([1, 31, 61])
    >>> local_level(np.zeros(3, int), days, days, np.array([4.0, np.nan, 4.0])).mean.tolist()
    [4.0, 4.0, 4.0]
    """
    rows = np.flatnonzero(~np.isnan(reading))
    who, y = creator[rows], reading[rows]
    taken = read_day[rows]
    months = np.maximum(np.diff(taken, prepend=0) / MONTH, LEAST_MONTHS)
    # an undated reading is of nobody knows when: not of 1970, which would make every drift look slow
    undated = np.concatenate([[True], taken[:-1] == asof.ALWAYS])[: len(taken)]
    months = np.where(undated, 1.0, months)
    place = _place(who)
    noise, drift = _variances(place, known_day[rows] // MONTH, y, months, usual_noise)
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


def _place(who: Ints) -> Ints:
    """How many readings of the same creator come before each."""
    if len(who) == 0:
        return np.zeros(0, dtype=np.int64)
    first = np.concatenate([[True], who[1:] != who[:-1]])
    return np.arange(len(who)) - np.maximum.accumulate(np.where(first, np.arange(len(who)), 0))


def _variances(place: Ints, month: Ints, y: Floats, months: Floats, usual_noise: float) -> tuple[Floats, Floats]:
    """R and Q as known before each reading's month, shape (n,) each."""
    change = np.where(place > 0, np.diff(y, prepend=0.0), 0.0)
    together = np.where(place > 1, change * np.concatenate([[0.0], change[:-1]]), 0.0) if len(y) else change
    unique, group = np.unique(month, return_inverse=True)

    def before(amount: Floats) -> Floats:
        whole = np.zeros(len(unique) + 1, dtype=np.int64)
        np.add.at(whole, group + 1, np.rint(amount * _UNIT).astype(np.int64))
        return (np.cumsum(whole)[:-1] / _UNIT)[group]

    changes, squares = before((place > 0).astype(np.float64)), before(change**2)
    pairs, products, gaps = before((place > 1).astype(np.float64)), before(together), before(months * (place > 0))
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
