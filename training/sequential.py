"""Tests that hold at any time: looked at every day, they err as seldom as tests looked at once.

A p-value looked at every day falls below any bound sooner or later by chance alone. Here what is tested is how much
money a bettor against the claim would have made (Ville 1939; Waudby-Smith & Ramdas 2024), and means lie within bounds
that hold for all numbers of observations together (Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas 2024).
"""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TUNED_FOR = 40  # observations at which `radius` is narrowest, for its level
DARED = 0.9  # of all that one observation can lose, the most a bettor dares
GUESSED_VARIANCE = 0.04  # of an observation before any is seen; a wrong guess costs patience, never truth


def wealth_below(x: Floats, least: float) -> Floats:
    """What a bettor against "the mean is at least `least`" holds after each observation, starting with 1.

    Where the claim is true, the chance that it ever reaches 1 / alpha is at most alpha. How much is staked follows
    from the observations before (the rule called aGRAPA, Waudby-Smith & Ramdas 2024).

    Args:
        x: observations in the order in which they came to be known, each in [0, 1], shape (n,).
        least: the mean that is claimed, in (0, 1).

    Returns:
        Shape (n,).

    >>> bool(wealth_below(np.full(50, 0.2), 0.5)[-1] > 1000)
    True
    >>> bool(wealth_below(np.full(50, 0.6), 0.5).max() <= 1.0)
    True
    """
    before = np.arange(1, len(x) + 1)
    # as seen before each observation, beginning with one in the middle
    total = 0.5 + np.concatenate([[0.0], np.cumsum(x)[:-1]])
    mean = total / before
    squares = GUESSED_VARIANCE + np.concatenate([[0.0], np.cumsum((x - mean) ** 2)[:-1]])
    gap = least - mean
    stake = np.clip(gap / (squares / before + gap**2), 0.0, DARED / (1.0 - least))
    return np.asarray(np.cumprod(1.0 + stake * (least - x)))


def wealth_above(x: Floats, most: float) -> Floats:
    """The same against "the mean is at most `most`"."""
    return wealth_below(1.0 - x, 1.0 - most)


def radius(spread: Floats, count: int, alpha: float) -> Floats:
    """How far a mean of `count` observations may lie from what it estimates, however often it is looked at.

    For large counts the chance that it ever lies further away is at most `alpha` (an asymptotic confidence sequence).

    Args:
        spread: standard deviation of an observation, shape (k,).
        count: observations so far, at least 1.
        alpha: of each of the k means.

    >>> float(radius(np.array([1.0]), 100, 0.05)[0].round(2))
    0.31
    """
    level = -2.0 * math.log(alpha)
    width = (level + math.log(level + 1.0)) / TUNED_FOR
    grown = count * width + 1.0
    return spread * math.sqrt(2.0 * grown / (count**2 * width) * math.log(math.sqrt(grown) / alpha))


def fixed_radius(spread: Floats, count: int, alpha: float) -> Floats:
    """The same for a mean that is looked at once (the normal tail's bound)."""
    return spread * math.sqrt(2.0 * math.log(2.0 / alpha) / count)
