"""How data fill the bins of a column, every campaign counting once.

Placements of a campaign are alike, so a campaign, not a placement, is an observation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.sequential import fixed_radius, radius

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Texts = NDArray[np.str_]

DECILES = 10
LEAST_SHARE = 0.001  # of a bin in PSI, so that one which was empty counts, but not without limit
MISSING, NEVER_SEEN = -1, -2  # bins of what fills none


@dataclass(frozen=True)
class Means:
    """Means over campaigns, every campaign counting once, and their standard deviation between campaigns."""

    mean: Floats
    spread: Floats
    campaigns: int

    @classmethod
    def of(cls, table: Floats) -> "Means":
        """Of a table with a row a campaign."""
        if len(table) == 0:
            return cls(np.zeros(table.shape[1]), np.zeros(table.shape[1]), 0)
        return cls(table.mean(axis=0), table.std(axis=0), len(table))

    def to_json(self) -> dict[str, Any]:
        """For reference.json."""
        return {"mean": self.mean.tolist(), "spread": self.spread.tolist(), "campaigns": self.campaigns}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Means":
        """The inverse of `to_json`."""
        return cls(np.array(data["mean"]), np.array(data["spread"]), data["campaigns"])

    def moved(self, before: "Means", alpha: float) -> Floats:
        """How far means have surely moved since `before`, with their sign, 0 where chance may have done it, shape (k,).

        The chance of any but 0 where nothing changed is at most alpha, however often it is asked while campaigns are
        added (by the normal law of means).
        """
        if not self.campaigns or not before.campaigns:
            return np.zeros(len(self.mean))
        each = alpha / len(self.mean) / 2.0  # half for the error of what was before
        # few campaigns may look more alike than they are
        wide = np.maximum(self.spread, before.spread)
        reach = radius(wide, self.campaigns, each) + fixed_radius(before.spread, before.campaigns, each)
        gap = self.mean - before.mean
        return np.asarray(np.sign(gap) * np.maximum(np.abs(gap) - reach, 0.0))


@dataclass(frozen=True)
class Bins:
    """How the training data fill one column.

    Attributes:
        edges: of a column of numbers: a bin holds what is above the edge before and not above its own, the last what
            is above all; shape (b - 1,).
        names: of a column of words: a bin each, in order; None of numbers.
        filled: how what is known fills the b bins, and as a last number the mean rank of numbers.
        apart: shares of what is missing and of names never seen, shape (2,).
    """

    edges: tuple[float, ...]
    names: tuple[str, ...] | None
    filled: "Means"
    apart: "Means"

    @property
    def count(self) -> int:
        """Number of bins b."""
        return len(self.edges) + 1 if self.names is None else len(self.names)

    @property
    def shares(self) -> Floats:
        """Of each bin, shape (b,)."""
        return self.filled.mean[: self.count]


def bins_of_numbers(x: Floats, campaign: Ints) -> Bins:
    """Tenths of a column of numbers, NaN where missing; shape (n,), as is `campaign`."""
    known = x[~np.isnan(x)].astype(np.float64)
    edges: tuple[float, ...] = ()
    if len(known):
        inner = np.quantile(known, np.linspace(0, 1, DECILES + 1)[1:-1], method="lower")
        values, times = np.unique(inner, return_counts=True)
        # a number that many rows share has a bin of its own
        just_below = np.nextafter(values[times > 1], -np.inf)
        edges = tuple(np.union1d(values, just_below).tolist())
    at = bin_of(edges, None, x)
    shares = measured(edges, None, at, campaign, np.ones(len(edges) + 1)).shares
    return measured(edges, None, at, campaign, shares)


def bins_of_names(words: Texts, campaign: Ints) -> Bins:
    """A bin for each of a column's words, empty where missing; shape (n,), as is `campaign`."""
    names = tuple(str(word) for word in np.unique(words) if word)
    return measured((), names, bin_of((), names, words), campaign, np.zeros(len(names)))


def bin_of(edges: Sequence[float], names: Sequence[str] | None, values: Any) -> Ints:
    """Bin of each value, or MISSING or NEVER_SEEN, shape (n,)."""
    if names is None:
        at = np.searchsorted(np.array(edges), values.astype(np.float64), side="left")
        return np.where(np.isnan(values), MISSING, at).astype(np.int64)
    at = np.full(len(values), NEVER_SEEN)
    if names:
        order = np.array(names)
        found = np.minimum(np.searchsorted(order, values), len(names) - 1)
        at = np.where(order[found] == values, found, NEVER_SEEN)
    return np.where(values == "", MISSING, at).astype(np.int64)


def measured(
    edges: tuple[float, ...], names: tuple[str, ...] | None, at: Ints, campaign: Ints, before: Floats
) -> Bins:  # fmt: skip
    """How values fill bins; `before` is how training filled them, which is what mean ranks are ranks in."""
    count = len(before)
    groups, which = np.unique(campaign, return_inverse=True)
    table = np.zeros((len(groups), count + 2))
    np.add.at(table, (which, np.where(at >= 0, at, count + at + 2)), 1.0)
    known, apart = table[:, :count], table[:, [count + MISSING + 2, count + NEVER_SEEN + 2]]
    total = known.sum(axis=1)
    filled = known[total > 0] / total[total > 0, None]
    if names is None:
        middle = (np.cumsum(before) - before / 2) / max(float(before.sum()), LEAST_SHARE)
        filled = np.column_stack([filled, filled @ middle])
    apart = apart / np.maximum(table.sum(axis=1, keepdims=True), 1.0)
    return Bins(edges, names, Means.of(filled), Means.of(apart))
