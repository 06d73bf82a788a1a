"""How the trees of a model are laid out for fast scoring: which bytes of a row they ask, whatever the brief."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.matrix import FEATURES
from serving.columns import MOST_EDGES, Bytes, Column, no_greater_float32
from serving.forest import CATEGORICAL, DEFAULT_LEFT, MISSING_NAN, MISSING_NONE, MISSING_ZERO, ZERO, Tree, parse_trees
from serving.kernels import MOST_LEAVES
from serving.model import Model
from serving.stage import Stage

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]

MOST_CATEGORICAL = 64  # splits on categories, which take a byte each
SOURCES = ("creator", "kind", "pair", "price")  # of bytes
HEADROOM = 2.0**30  # largest sum in fixed point, of the 2^31 of an int32


class CannotLayOutError(Exception):
    """Trees of a kind that fast scoring does not know; the message says which."""


@dataclass(frozen=True)
class Layout:
    """The trees of all stages, one after the other, with their splits as questions about bytes.

    Attributes:
        stages: in the order of the rows of sums; `fee` last where there is one.
        columns: bytes asked: of the creator alone first, then of creators of one kind, of pairs, and of the price.
        tree_stage: row of the stage each tree belongs to, shape (t,).
        split_start, leaf_start: where each tree's splits and leaves begin, shape (t + 1,).
        left, right, column, edge: by split; the column is -1 where the brief alone decides.
        leaf: weighted values of the leaves.
        brief_splits: the splits that the brief alone decides, with `brief_rules` (feature, threshold, decision).
        categories: of such a split, where it is categorical.
        scale: what a sum of 1 in logs is in fixed point, by stage.
        rounding: how far a sum may be from the true one, in logs, by stage, before what the price adds.
        priced_span: how far it may be off where no split on a price is certain, in logs, by stage.
    """

    stages: tuple[Stage, ...]
    columns: tuple[Column, ...]
    tree_stage: Ints
    split_start: Ints
    leaf_start: Ints
    left: Ints
    right: Ints
    column: Ints
    edge: Bytes
    leaf: Floats
    brief_splits: Ints
    brief_rules: tuple[Ints, Floats, Bytes]
    categories: tuple[frozenset[int] | None, ...]
    scale: Floats
    rounding: Floats
    priced_span: Floats

    @cached_property
    def creator_columns(self) -> int:
        """How many columns are of the creator alone."""
        return sum(_source(column.feature) == "creator" for column in self.columns)

    @cached_property
    def fixed_leaf(self) -> Ints:
        """Values of the leaves in fixed point."""
        stage = np.repeat(self.tree_stage, np.diff(self.leaf_start))
        return np.rint(self.leaf * self.scale[stage]).astype(np.int32)

    def row(self, quantity: str) -> int:
        """Row of a stage in the sums."""
        return next(row for row, stage in enumerate(self.stages) if stage.quantity == quantity)

    def brief_goes(self, values: NDArray[np.float32]) -> NDArray[np.int8]:
        """Of every split: 1 if the brief sends it left, 0 right, -1 if the creator decides.

        Args:
            values: features of the brief, shape (f,); others are not read.
        """
        goes = np.full(len(self.column), -1, dtype=np.int8)
        feature, threshold, decision = self.brief_rules
        x = values[feature].astype(np.float64)
        x[np.abs(x) <= ZERO] = 0.0
        kind = (decision >> 2) & 3
        known = np.where(np.isnan(x) & (kind != MISSING_NAN), 0.0, x)
        missing = ((kind == MISSING_ZERO) & (known == 0.0)) | ((kind == MISSING_NAN) & np.isnan(known))
        left = np.where(missing, (decision & DEFAULT_LEFT) > 0, known <= threshold)
        for position, categories in enumerate(self.categories):
            if categories is not None:
                value = x[position]
                left[position] = not np.isnan(value) and value > -1 and int(value) in categories
        goes[self.brief_splits] = left
        return goes


def lay_out(model: Model) -> Layout:
    """The layout of a model.

    Raises:
        CannotLayOutError: a tree has more than MOST_LEAVES leaves, or too many splits are on categories.
    """
    stages = (*model.stages.values(), *((model.fee,) if model.fee else ()))
    found: list[tuple[int, float, Tree]] = []
    for row, stage in enumerate(stages):
        for trees in stage.trees:
            try:
                parsed = parse_trees(trees.text)
            except (ValueError, KeyError) as error:
                raise CannotLayOutError(f"trees of {stage.quantity}: {error}") from error
            found += [(row, trees.weight, tree) for tree in parsed]
    most = max((len(tree.leaf_value) for _, _, tree in found), default=1)
    priced = [f + half for f in range(len(FEATURES)) if _source(f) == "price" for half in (0, len(FEATURES))]
    if model.fee is not None and (
        model.fee.coef[priced].any() or any(_reads_price(tree) for row, _, tree in found if stages[row] is model.fee)
    ):
        raise CannotLayOutError("the fee is predicted from what a fee buys")
    if most > MOST_LEAVES:
        raise CannotLayOutError(f"a tree has {most} leaves, more than {MOST_LEAVES}")

    def joined(arrays: Sequence[NDArray[Any]], dtype: Any) -> NDArray[Any]:
        return np.concatenate([np.zeros(0, dtype), *arrays]).astype(dtype)

    forest = [tree for _, _, tree in found]
    feature = joined([t.feature for t in forest], np.int32)
    threshold = joined([t.threshold for t in forest], np.float64)
    decision = joined([t.decision for t in forest], np.uint8)
    categories: list[frozenset[int] | None] = []
    for tree in forest:
        on = (tree.decision & CATEGORICAL) > 0
        categories += [
            tree.categories[int(at)] if is_on else None for at, is_on in zip(tree.threshold, on, strict=True)
        ]
    by_brief = np.array([FEATURES[f].scope == "brief" for f in feature], dtype=bool)
    columns, column, edge = _columns(feature, threshold, decision, categories, by_brief)
    decided = np.flatnonzero(by_brief)
    leaf = joined([weight * tree.leaf_value for _, weight, tree in found], np.float64)
    tree_stage = np.array([row for row, _, _ in found], dtype=np.int32)
    largest = np.zeros(len(stages))
    np.add.at(largest, tree_stage, [abs(weight) * np.abs(tree.leaf_value).max() for _, weight, tree in found])
    span = np.zeros(len(stages))
    np.add.at(span, tree_stage, [abs(w) * np.ptp(tree.leaf_value) * _reads_price(tree) for _, w, tree in found])
    scale = np.array([_scale(model, stage, most) for stage, most in zip(stages, largest, strict=True)])
    # half a unit for each tree, the creator's, the kind's and the pair's part, and for the rest; doubles err far less
    roundings = np.bincount(tree_stage, minlength=len(stages)) + 5
    return Layout(
        stages=stages,
        columns=columns,
        tree_stage=tree_stage,
        split_start=np.cumsum([0, *(len(t.feature) for t in forest)], dtype=np.int32),
        leaf_start=np.cumsum([0, *(len(t.leaf_value) for t in forest)], dtype=np.int32),
        left=joined([t.left for t in forest], np.int32),
        right=joined([t.right for t in forest], np.int32),
        column=column,
        edge=edge,
        leaf=leaf,
        brief_splits=decided.astype(np.int32),
        brief_rules=(feature[decided], threshold[decided], decision[decided]),
        categories=tuple(categories[int(split)] for split in decided),
        scale=scale,
        rounding=0.5 * roundings / scale + 1e-9,
        priced_span=span,
    )


def _reads_price(tree: Tree) -> bool:
    return any(_source(int(f)) == "price" for f in tree.feature)


def _source(feature: int) -> str:
    """Where a feature's bytes come from: its scope, or the price."""
    declared = FEATURES[feature]
    return declared.scope if declared.beside_price is None else "price"


def _scale(model: Model, stage: Stage, trees: float) -> float:
    """A power of two that no sum of the stage can make overflow."""
    scaler, f = model.scaler, len(stage.coef) // 2
    farthest = np.maximum(np.abs(scaler.low - scaler.mean), np.abs(scaler.high - scaler.mean)) / scaler.scale
    most = abs(stage.intercept) + trees + np.abs(stage.coef[:f]) @ farthest + np.abs(stage.coef[f:]).sum()
    return float(2.0 ** np.floor(np.log2(HEADROOM / max(most, 1.0))))


def _columns(
    feature: Ints, threshold: Floats, decision: Bytes, categories: Sequence[frozenset[int] | None],
    by_brief: NDArray[np.bool_],
) -> tuple[tuple[Column, ...], Ints, Bytes]:  # fmt: skip
    """The columns asked, and of each split its column and edge."""
    column, edge = np.full(len(feature), -1, dtype=np.int32), np.zeros(len(feature), dtype=np.uint8)
    edges = no_greater_float32(threshold)
    # what is no lower than this counts as zero, and zero is above it
    edges[edges == -ZERO] = np.nextafter(np.float32(-ZERO), np.float32(-np.inf))
    asked = {
        (int(feature[split]), -1, False, categories[int(split)])
        if categories[int(split)] is not None
        else (int(feature[split]), int(decision[split] >> 2) & 3, bool(decision[split] & DEFAULT_LEFT), None)
        for split in np.flatnonzero(~by_brief)
    }
    # where missing values count as 0 the default side is never taken
    asked = {(f, missing, left and missing != MISSING_NONE, c) for f, missing, left, c in asked}
    if sum(c is not None for *_, c in asked) > MOST_CATEGORICAL:
        raise CannotLayOutError(f"more than {MOST_CATEGORICAL} different splits are on categories")
    columns: list[Column] = []
    for f, missing, left, chosen in sorted(asked, key=lambda a: (SOURCES.index(_source(a[0])), *a[:3], str(a[3]))):
        mine = (feature == f) & ~by_brief
        if chosen is not None:
            mine &= np.array([c == chosen for c in categories], dtype=bool)
            column[mine] = len(columns)
            columns.append(Column(f, categories=chosen))
            continue
        kind = (decision >> 2) & 3
        mine &= ((decision & CATEGORICAL) == 0) & (kind == missing)
        if missing != MISSING_NONE:
            mine &= ((decision & DEFAULT_LEFT) > 0) == left
        own = np.unique(edges[mine])
        for low in range(0, len(own), MOST_EDGES):
            piece = own[low : low + MOST_EDGES]
            here = mine & (edges >= piece[0]) & (edges <= piece[-1])
            column[here], edge[here] = len(columns), np.searchsorted(piece, edges[here])
            columns.append(Column(f, missing, left, tuple(piece.tolist())))
    return tuple(columns), column, edge
