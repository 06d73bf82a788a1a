"""How a set of offers may turn out: values and costs of all offers drawn together, the same draws for every set.

Luck is where a value falls within its interval (`serving.interval`). Placements of one campaign share part of it
(`Together.shared`), so a plan is less sure than as many coins. Each offer's own luck depends on its name alone: who
else is a candidate, and in which order, changes nothing.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from serving.interval import LEVELS, Interval
from serving.together import Together

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DRAWS = 2000
LOW, HIGH = 0.10, 0.90  # an 80 % interval
POOL = 1 << 20  # normal numbers of which everybody has a window: drawing afresh for thousands takes seconds
_SHARED = "what the placements of a campaign share"


@dataclass(frozen=True)
class Draws:
    """Equally likely values and costs of n offers, each by itself; draw by draw they happen together.

    Attributes:
        value: shape (n, DRAWS); the mean over many is the expected value.
        cost: shape (n, DRAWS), likewise.
    """

    value: Floats
    cost: Floats

    def totals(self, chosen: NDArray[np.bool_], kept: Floats) -> tuple[Floats, Floats]:
        """Value and cost of a set in every draw, shape (DRAWS,) each.

        Args:
            chosen: the set, shape (n,).
            kept: part of its value that each offer keeps beside the others, shape (n,).
        """
        return (self.value[chosen] * kept[chosen][:, None]).sum(axis=0), self.cost[chosen].sum(axis=0)


def draw_offers(
    names: Sequence[str], value: Floats, cost: Floats, cost_spread: Floats, interval: Interval, together: Together
) -> Draws:
    """Draw values and costs of n offers.

    Args:
        names: of the offers, no two alike.
        value: expected, shape (n,).
        cost: expected, shape (n,).
        cost_spread: standard deviation of log cost where the fee is an estimate, else 0; shape (n,).
        interval: of a single placement under the goal.
        together: what placements of a campaign share.
    """
    shared = np.sqrt(together.shared) * _normal(_SHARED)[0]
    own = np.stack([_normal(name) for name in names]) if len(names) else np.zeros((0, 2, DRAWS))
    luck = ndtr(shared + np.sqrt(1.0 - together.shared) * own[:, 0])
    level = np.minimum((luck * len(LEVELS)).astype(np.int64), len(LEVELS) - 1)
    ratios = interval.ratios[np.searchsorted(interval.edges, value)]
    # a level shift of the window that intervals were measured on would add up over a plan
    ratios = ratios / np.maximum(ratios.mean(axis=1), 1e-9)[:, None]
    # the mean of a log-normal fee is the expected one, or many estimates would add up to more than they should
    factor = np.exp(cost_spread[:, None] * own[:, 1] - 0.5 * cost_spread[:, None] ** 2)
    return Draws(value[:, None] * np.take_along_axis(ratios, level, axis=1), cost[:, None] * factor)


def interval_of(draws: Floats) -> tuple[float, float]:
    """80 % bounds of equally likely figures."""
    low, high = np.quantile(draws, [LOW, HIGH])
    return float(low), float(high)


def beats(one: Floats, other: Floats) -> float:
    """Chance that one is larger, draw by draw; where they are equal it is even.

    >>> beats(np.array([1.0, 2.0, 3.0]), np.array([1.0, 1.0, 4.0]))
    0.5
    """
    return float((one > other).mean() + 0.5 * (one == other).mean())


def _normal(name: str) -> Floats:
    """Standard normal luck and haggling of a name, shape (2, DRAWS): the same for ever."""
    seed = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
    pool = _pool()
    # two windows that overlap are of other draws, so they are as good as independent
    at = [seed % (POOL - DRAWS), seed // POOL % (POOL - DRAWS)]
    return np.stack([pool[k : k + DRAWS] for k in at])


@lru_cache(maxsize=1)
def _pool() -> Floats:
    return np.random.Generator(np.random.Philox(1)).standard_normal(POOL)
