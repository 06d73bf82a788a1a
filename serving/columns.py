"""Bytes of a row that splits ask: how many of a model's thresholds a value is above.

A numeric split asks whether a value is above one of the edges that the model has for this feature, so all it needs of
a value is how many edges it is above: a byte. Missing values become the byte that gives what LightGBM would do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from serving.forest import MISSING_NONE, MISSING_ZERO, ZERO
from serving.kernels import count_about

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]

MOST_EDGES = 255


@dataclass(frozen=True)
class Column:
    """A byte of each row.

    Attributes:
        feature: position in FEATURES.
        missing: what counts as missing (MISSING_...), and whether it goes left; of a numeric column.
        edges: ascending float32, at most MOST_EDGES; the byte is how many of them the value is above.
        categories: of a categorical column, those that go left: the byte is 0 for them, else 1.
    """

    feature: int
    missing: int = MISSING_NONE
    missing_left: bool = False
    edges: tuple[float, ...] = ()
    categories: frozenset[int] | None = None

    @cached_property
    def _edges(self) -> NDArray[np.float32]:
        return np.array(self.edges, dtype=np.float32)

    def bytes_of(self, values: NDArray[np.float32]) -> Bytes:
        """The byte of each value, shape (n,).

        >>> from serving.forest import MISSING_NAN
        >>> Column(0, MISSING_NAN, True, (1.0, 2.0)).bytes_of(np.array([1.0, 1.5, 9.0, np.nan], np.float32)).tolist()
        [0, 1, 2, 0]
        """
        if self.categories is not None:
            known = np.nan_to_num(values, nan=-1.0)
            whole = np.trunc(np.clip(known, -1.0, 2.0**31 - 1)).astype(np.int64)
            return (~np.isin(whole, sorted(self.categories))).astype(np.uint8)
        if self.minds_zero:
            zero = np.float32(np.nan if self.missing == MISSING_ZERO else 0.0)
            values = np.where(np.abs(values) <= ZERO, zero, values)
        above = np.searchsorted(self._edges, values).astype(np.uint8)
        return np.where(np.isnan(values), np.uint8(self.missing_byte), above)

    @cached_property
    def minds_zero(self) -> bool:
        """Whether it matters that LightGBM takes the smallest numbers for zero."""
        return self.missing == MISSING_ZERO or bool((np.abs(self._edges) < ZERO).any())

    @cached_property
    def missing_byte(self) -> int:
        """The byte of a missing value."""
        if self.missing == MISSING_NONE:
            return int((self._edges < 0.0).sum())
        return 0 if self.missing_left else MOST_EDGES


@dataclass(frozen=True)
class Readers:
    """Columns that read values, as arrays for `count_about`.

    Attributes:
        columns: what they are.
        source: row of the values that each reads, shape (c,).
        edges, start: all their edges, and where each column's begin, shape (c + 1,).
        missing: byte of a missing value, shape (c,).
    """

    columns: tuple[Column, ...]
    source: NDArray[np.int64]
    edges: NDArray[np.float32]
    start: NDArray[np.int64]
    missing: Bytes

    @classmethod
    def of(cls, columns: Sequence[Column], features: Sequence[int]) -> "Readers":
        """Of columns that read some features, a row of the values each."""
        edges = [np.array(column.edges, dtype=np.float32) for column in columns]
        return cls(
            columns=tuple(columns),
            source=np.array([features.index(column.feature) for column in columns], dtype=np.int64),
            edges=np.concatenate([np.zeros(0, np.float32), *edges]),
            start=np.cumsum([0, *map(len, edges)]),
            missing=np.array([0 if c.categories is not None else c.missing_byte for c in columns], dtype=np.uint8),
        )

    def read(self, values: Floats, off: Floats, out: Bytes) -> NDArray[np.bool_]:
        """Fill in the bytes; whose could be others, were a value as far off as it may be, shape (n,).

        Args:
            values: before they are rounded to float32, shape (features, n).
            off: how far each row of them may be from the true ones, shape (features,).
            out: takes the bytes, shape (c, n).
        """
        unsure = np.zeros(values.shape[1], dtype=bool)
        count_about(values, off, self.source, self.edges, self.start, self.missing, out, unsure)
        for place, column in enumerate(self.columns):
            if column.categories is not None or column.minds_zero:
                value, by = values[self.source[place]], off[self.source[place]]
                low, high = (column.bytes_of((value + sign * by).astype(np.float32)) for sign in (-1.0, 1.0))
                unsure |= low != high
                if column.missing == MISSING_ZERO and by > 0.0:
                    unsure |= np.abs(value) <= by  # zero, between them, goes where neither need go
                out[place] = low
        return unsure


def no_greater_float32(thresholds: Floats) -> NDArray[np.float32]:
    """The largest float32 that is no greater: a float32 value is above the one where it is above the other.

    >>> float(no_greater_float32(np.array([0.1]))[0]) <= 0.1
    True
    """
    with np.errstate(over="ignore"):
        near = thresholds.astype(np.float32)
    return np.where(near.astype(np.float64) > thresholds, np.nextafter(near, np.float32(-np.inf)), near)
