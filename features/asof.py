"""The as-of primitive: what was known strictly before a decision's UTC day.

A fact known on day K is seen by a decision on day D when K < D. Facts are held sorted by one integer key,
`entity * 2**21 + day`, so a look-up is a binary search and never mixes entities.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

DAY_BITS = 21
ALWAYS = 0  # the day of a fact without a date: before every decision
NEVER = (1 << DAY_BITS) - 1  # year 7711

Ints = NDArray[np.int64]


def days(timestamps: pl.Series) -> Ints:
    """UTC day number (days since 1970-01-01) of each timestamp; null becomes ALWAYS.

    Days before 1970 become ALWAYS and days past year 7711 (9999-12-31 for "not yet") NEVER: outside of that range a
    day would spill into the entity's part of the key.

    >>> from datetime import datetime
    >>> days(pl.Series([datetime(1970, 1, 3, 23, 59), None], dtype=pl.Datetime("us"))).tolist()
    [2, 0]
    """
    return timestamps.dt.date().cast(pl.Int32).cast(pl.Int64).fill_null(ALWAYS).clip(ALWAYS, NEVER).to_numpy()


def keys(entity: Ints, day: Ints) -> Ints:
    """Sort key of facts about `entity` known on `day` (both non-negative, same shape)."""
    return (entity << DAY_BITS) | day


def last_before(fact_keys: Ints, entity: Ints, day: Ints) -> Ints:
    """Row of the last fact about `entity` known strictly before `day`, or -1.

    Args:
        fact_keys: `keys` of the facts, sorted, shape (m,).
        entity: entity asked about, shape (n,); negative: no such entity.
        day: decision day, shape (n,).

    >>> facts = keys(np.array([0, 0, 1]), np.array([5, 9, 5]))
    >>> last_before(facts, np.array([0, 0, 0, 1, 2]), np.array([5, 6, 10, 99, 99])).tolist()
    [-1, 0, 1, 2, -1]
    """
    safe = np.maximum(entity, 0)
    found = np.searchsorted(fact_keys, keys(safe, np.asarray(day, dtype=np.int64)), side="left") - 1
    if len(fact_keys) == 0:
        return np.full(len(entity), -1, dtype=np.int64)
    same = (found >= 0) & (entity >= 0) & ((fact_keys[found] >> DAY_BITS) == safe)
    return np.where(same, found, -1)


def take(column: NDArray[np.float64], index: Ints) -> NDArray[np.float64]:
    """`column[index]` with NaN where the index is -1.

    >>> take(np.array([1.0, 2.0]), np.array([1, -1])).tolist()
    [2.0, nan]
    """
    if len(column) == 0:
        return np.full(len(index), np.nan)
    return np.where(index >= 0, column[np.maximum(index, 0)], np.nan)
