"""Which placements can be judged by their outcome, where some outcomes are missing."""

import hashlib

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.market import Market
from features.value import GOALS
from serving.stage import Floats

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def judgeable(market: Market, rows: Ints, actual: Floats, day: Ints | None = None) -> Bools:
    """Which of some placements may be judged, so that undelivered ones are no larger a part than they are in truth.

    What was not delivered is always known to have brought nothing, what was delivered only where somebody measured it.
    Counted as they come, the undelivered would be the larger a part the more is missing, and actual value too low. So
    of them only the share is judged in which the delivered ones of the same goal are known, by lot: the lot is their
    id's, so it falls alike for every run, machine and order of rows. Right where outcomes are missing at random within
    a goal.

    Args:
        market: that they are of.
        rows: the set of placements, shape (n,).
        actual: what is known of them, NaN where nothing is, 0 where it was not delivered; shape (n,).
        day: UTC day on which each outcome counts, shape (n,), where a set is looked at while it grows: then the share
            is that of what counted by that day, so that no later look judges another set of the same days.

    Returns:
        Shape (n,).
    """
    p = market.placements
    delivered, goal = p.delivered[rows] > 0, market.campaigns.goal[p.campaign[rows]]
    day = np.zeros(len(rows), dtype=np.int64) if day is None else day
    known = np.isfinite(actual)
    share = np.zeros(len(rows))
    for code in range(len(GOALS)):
        mine = np.flatnonzero(goal == code)
        measured = mine[delivered[mine]]
        measured = measured[np.argsort(day[measured], kind="stable")]
        count = np.searchsorted(day[measured], day[mine], side="right")
        total = np.concatenate([[0], np.cumsum(known[measured])])
        share[mine] = total[count] / np.maximum(count, 1)
    doubtful = np.flatnonzero(~delivered & (share < 1.0))
    drawn = known.copy()
    drawn[doubtful] &= lots(p.ids.gather(rows[doubtful])) < share[doubtful]
    return drawn


def lots(ids: pl.Series) -> Floats:
    """A number of each id, as if drawn evenly from [0, 1), shape (n,): always the same for the same id.

    >>> lots(pl.Series(["p1", "p2"])).round(3).tolist()
    [0.907, 0.3]
    """
    digests = (hashlib.blake2b(one.encode(), digest_size=8).digest() for one in ids)
    # the 53 bits that a double holds, so that 1 is never reached
    return np.array([int.from_bytes(digest, "big") >> 11 for digest in digests], dtype=np.float64) / 2.0**53
