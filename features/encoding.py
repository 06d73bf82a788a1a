"""Text as integer codes, and lists as compressed sparse rows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

MANY_ENTRIES = 20_000


@dataclass(frozen=True)
class Vocabulary:
    """Sorted distinct texts; a text's code is its position, -1 for a text that is not there.

    >>> v = Vocabulary.of(["b", "a", None, "b"])
    >>> v.values, v.code("b"), v.code("z")
    (('a', 'b'), 1, -1)
    """

    values: tuple[str, ...]

    @classmethod
    def of(cls, texts: Iterable[str | None]) -> "Vocabulary":
        """The vocabulary of some texts, in a stable order."""
        return cls(tuple(sorted({text for text in texts if text is not None})))

    @cached_property
    def _index(self) -> dict[str, int]:
        return {value: position for position, value in enumerate(self.values)}

    def __len__(self) -> int:
        return len(self.values)

    def code(self, text: str | None) -> int:
        """Code of one text."""
        return -1 if text is None else self._index.get(text, -1)

    def code_in_any_case(self, text: str | None) -> int:
        """Code of a text, upper and lower case alike; -1 where there is none.

        >>> Vocabulary(("Reel", "video")).code_in_any_case("reel")
        0
        """
        if text is None or text in self._index:
            return self.code(text)
        return next((self._index[value] for value in self.values if value.casefold() == text.casefold()), -1)

    def codes(self, texts: pl.Series) -> Ints:
        """Codes of a column, shape (n,).

        >>> Vocabulary(("a", "b")).codes(pl.Series(["b", None, "x"])).tolist()
        [1, -1, -1]
        """
        if not self.values:
            return np.full(len(texts), -1, dtype=np.int64)
        table = pl.DataFrame({"text": self.values, "code": np.arange(len(self.values), dtype=np.int64)})
        joined = (
            texts.cast(pl.String).alias("text").to_frame().join(table, on="text", how="left", maintain_order="left")
        )
        return joined["code"].fill_null(-1).to_numpy()


@dataclass(frozen=True)
class Lists:
    """n rows of (code, weight) entries: row i owns `codes[offsets[i]:offsets[i + 1]]`."""

    offsets: Ints
    codes: Ints
    weights: Floats

    @classmethod
    def of(cls, row: Ints, code: Ints, weight: Floats, n: int) -> "Lists":
        """Build from entries in any order; entries with a negative row or code are left out.

        >>> Lists.of(np.array([1, 0]), np.array([7, 3]), np.ones(2), 2).codes.tolist()
        [3, 7]
        """
        keep = (row >= 0) & (code >= 0)
        row, code, weight = row[keep], code[keep], weight[keep]
        order = np.lexsort((code, row))
        offsets = np.zeros(n + 1, dtype=np.int64)
        np.cumsum(np.bincount(row, minlength=n), out=offsets[1:])
        return cls(offsets, code[order], weight[order])

    @classmethod
    def joined(cls, parts: Sequence["Lists"]) -> "Lists":
        """The rows of several lists, one after the other."""
        ends = np.cumsum([0, *(int(part.offsets[-1]) for part in parts)])
        offsets = [part.offsets[1:] + end for part, end in zip(parts, ends, strict=False)]
        return cls(
            np.concatenate([np.zeros(1, dtype=np.int64), *offsets]),
            np.concatenate([part.codes for part in parts]),
            np.concatenate([part.weights for part in parts]),
        )

    @property
    def lengths(self) -> Ints:
        """Entries in each row, shape (n,)."""
        return np.diff(self.offsets)

    def rows(self, index: Ints) -> "Lists":
        """The rows at `index`; -1 gives an empty row.

        >>> Lists.of(np.array([0, 1]), np.array([3, 7]), np.ones(2), 2).rows(np.array([1, -1, 1])).codes.tolist()
        [7, 7]
        """
        safe = np.maximum(index, 0)
        if len(self.offsets) == 1:
            return Lists(np.zeros(len(index) + 1, dtype=np.int64), self.codes, self.weights)
        lengths = np.where(index >= 0, self.lengths[safe], 0)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
        source = np.repeat(self.offsets[safe], lengths) + within
        return Lists(offsets, self.codes[source], self.weights[source])

    def span(self, low: int, high: int) -> "Lists":
        """The rows from `low` to `high`, without a copy of their entries.

        >>> Lists.of(np.array([0, 1]), np.array([3, 7]), np.ones(2), 2).span(1, 2).codes.tolist()
        [7]
        """
        first, last = self.offsets[low], self.offsets[high]
        return Lists(self.offsets[low : high + 1] - first, self.codes[first:last], self.weights[first:last])

    def dot(self, table: Floats, which: Ints) -> Floats:
        """Sum of entry weight x table[which[row], code] for each row; NaN for a row without entries.

        Args:
            table: weights by brief and code, shape (m, vocabulary).
            which: the brief of each row, shape (n,), or shape (1,) for one brief for all rows.

        >>> lists = Lists.of(np.array([0, 0]), np.array([0, 1]), np.array([.25, .75]), 2)
        >>> lists.dot(np.array([[1.0, 2.0]]), np.array([0])).tolist()
        [1.75, nan]
        """
        n = len(self.offsets) - 1
        if len(which) == 1 and len(self.codes) > MANY_ENTRIES:
            from features.sums import weighted_sums  # noqa: PLC0415 # compiled, which takes longer than few sums

            return np.asarray(weighted_sums(self.offsets, self.codes, self.weights, table[which[0]]))
        owner = np.repeat(np.arange(n), self.lengths)
        briefs = which[owner] if len(which) > 1 else which
        products = self.weights * table[briefs, self.codes] if len(self.codes) else self.weights
        return np.where(self.lengths > 0, np.bincount(owner, weights=products, minlength=n), np.nan)
