"""The trees of a LightGBM ensemble as arrays, read from its model text."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]

CATEGORICAL, DEFAULT_LEFT = 1, 2  # bits of a decision
MISSING_NONE, MISSING_ZERO, MISSING_NAN = 0, 1, 2
ZERO = float(np.float32(1e-35))  # LightGBM takes what is no further from zero for zero (kZeroThreshold)


@dataclass(frozen=True)
class Tree:
    """One tree of k splits and k + 1 leaves; a tree of one leaf has no split.

    Attributes:
        feature, threshold: what a split asks, shape (k,); of a categorical one the threshold is a position in
            `categories`.
        decision: bit 0 categorical, bit 1 missing values go left, from bit 2 what counts as missing (MISSING_...).
        left, right: the split reached, or ~leaf where it is negative, shape (k,).
        leaf_value: shape (k + 1,).
        leaf_count, split_count: training rows that reached it, shape (k + 1,) and (k,).
        categories: those that go left, by categorical split.
    """

    feature: Ints
    threshold: Floats
    decision: NDArray[np.uint8]
    left: Ints
    right: Ints
    leaf_value: Floats
    leaf_count: NDArray[np.int64]
    split_count: NDArray[np.int64]
    categories: tuple[frozenset[int], ...]

    @property
    def missing(self) -> NDArray[np.uint8]:
        """What counts as missing at each split, shape (k,)."""
        return np.asarray((self.decision >> 2) & 3, dtype=np.uint8)


def parse_trees(text: str) -> tuple[Tree, ...]:
    """The trees of a model text, in order.

    Raises:
        ValueError: the text holds trees of another kind: linear leaves, or trees that are averaged, not summed.
    """
    trees = []
    if "average_output" in text.split("\nTree=", 1)[0].splitlines():
        raise ValueError("trees that are averaged are not read")
    for block in text.split("\nTree=")[1:]:
        body = block.split("\n\n", 1)[0]
        trees.append(_tree(dict(line.split("=", 1) for line in body.splitlines()[1:] if "=" in line)))
    return tuple(trees)


def _tree(fields: Mapping[str, str]) -> Tree:
    def ints(name: str) -> Ints:
        return np.array(fields.get(name, "").split(), dtype=np.int64).astype(np.int32)

    if fields.get("is_linear", "0") != "0":
        raise ValueError("trees with linear leaves are not read")
    return Tree(
        feature=ints("split_feature"),
        threshold=np.array(fields.get("threshold", "").split(), dtype=np.float64),
        decision=ints("decision_type").astype(np.uint8),
        left=ints("left_child"),
        right=ints("right_child"),
        leaf_value=np.array(fields["leaf_value"].split(), dtype=np.float64),
        leaf_count=np.array(fields.get("leaf_count", "0").split() or ["0"], dtype=np.int64),
        split_count=np.array(fields.get("internal_count", "").split(), dtype=np.int64),
        categories=_categories(fields),
    )


def _categories(fields: Mapping[str, str]) -> tuple[frozenset[int], ...]:
    bounds = [int(bound) for bound in fields.get("cat_boundaries", "").split()]
    words = [int(word) for word in fields.get("cat_threshold", "").split()]
    return tuple(
        frozenset(
            32 * position + bit for position, word in enumerate(words[low:high]) for bit in range(32) if word >> bit & 1
        )
        for low, high in pairwise(bounds)
    )
