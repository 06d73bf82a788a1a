"""Exact TreeSHAP of a LightGBM ensemble: what `pred_contrib` computes, at a fraction of its cost.

A leaf of value v whose path asks about the features U adds to each j in U, for one row (Lundberg et al. 2020),

    v (o_j - z_j) x integral over t in (0, 1) of the product over i in U other than j of (o_i t + z_i (1 - t)),

where o_i is 1 if the row meets all conditions of the path on i, else 0, and z_i is the share of training rows that
do, each condition among the rows that reached it. The integrand is a polynomial of degree |U| - 1: Gauss-Legendre
quadrature with |U| / 2 points is exact. At one point t the product is shared along the path and the leaves below a
split are summed (Linear TreeSHAP, Yu et al. 2022), so that a row costs splits x points. Where a path asks about a
feature again, the later factor takes the place of the earlier one.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from threading import Event
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from serving.forest import CATEGORICAL, DEFAULT_LEFT, MISSING_NONE, MISSING_ZERO, ZERO, Floats, Ints, Tree

Flags = NDArray[np.bool_]

_POSTPONED = Event()

BLOCK = 64  # rows that pass a tree together: what is kept of them fits the fastest cache


class ShapTrees(NamedTuple):
    """Trees prepared for `contributions`: their s splits, tree after tree; trees of one leaf are left out.

    In a tree of k splits, branch 2 i leads left from split i, branch 2 i + 1 right, and branch 2 k into the root.

    Attributes:
        first: where the splits of each tree begin and those of the last end, shape (trees + 1,).
        points: of the quadrature, shape (trees,).
        feature, threshold: shape (s,).
        nan_left: whether NaN goes left, shape (s,).
        zero_missing: whether zero goes where NaN goes, shape (s,).
        category: where the categories of each split begin in `category_left`, shape (s + 1,); a numeric one has none.
        category_left: whether a category goes left.
        into: branch that leads to each split, shape (s,).
        above: nearest branch above each split that asks about the same feature, else -1; shape (s,).
        terms: of each branch at each point, tree after tree and point after point, what `_terms` says.
    """

    first: Ints
    points: Ints
    feature: Ints
    threshold: Floats
    nan_left: Flags
    zero_missing: Flags
    category: Ints
    category_left: Flags
    into: Ints
    above: Ints
    terms: Floats


def prepare(trees: Sequence[Tree]) -> ShapTrees:
    """What `contributions` needs to know of trees, computed once; about 0.1 ms a tree."""
    grown = [tree for tree in trees if len(tree.feature)]
    paths = [_paths(tree) for tree in grown]
    decision = _joined([tree.decision for tree in grown], np.uint8)
    missing = _joined([tree.missing for tree in grown], np.uint8)
    threshold = _joined([tree.threshold for tree in grown], np.float64)
    # without missing values in training NaN counts as 0
    nan_left = np.where(missing == MISSING_NONE, threshold >= 0, (decision & DEFAULT_LEFT) > 0)
    left = [table for tree in grown for table in _categories_left(tree)]
    return ShapTrees(
        first=_starts([len(tree.feature) for tree in grown]),
        points=np.array([points for points, *_ in paths], dtype=np.int32),
        feature=_joined([tree.feature for tree in grown], np.int32),
        threshold=threshold,
        nan_left=nan_left,
        zero_missing=missing == MISSING_ZERO,
        category=_starts([len(table) for table in left]),
        category_left=_joined(left, np.bool_),
        into=_joined([into for _, into, *_ in paths], np.int32),
        above=_joined([above for _, _, above, _ in paths], np.int32),
        terms=_joined([terms for *_, terms in paths], np.float64).reshape(-1, 5),
    )


def postpone() -> None:
    """Have `at_hand` say no until the loops are compiled: a server does that once it answers."""
    _POSTPONED.set()


def at_hand() -> bool:
    """Whether `contributions` answers at once, or may take seconds to compile."""
    return not _POSTPONED.is_set() or bool(_add.signatures)


def compile_loops() -> None:
    """Compile them now."""
    contributions(prepare([]), np.zeros((1, 1), dtype=np.float32))


def contributions(trees: ShapTrees, x: NDArray[np.float32]) -> Floats:
    """What each feature adds to the sum of the trees relative to its mean over their training rows, shape (n, f).

    Equal to `Booster.predict(x, pred_contrib=True)` without its last column, that mean.

    Args:
        trees: prepared.
        x: features, shape (n, f); NaN where missing.

    Raises:
        ValueError: the trees ask about features that x does not have.

    >>> stump = Tree(
    ...     feature=np.array([1], np.int32), threshold=np.array([0.5]), decision=np.array([0], np.uint8),
    ...     left=np.array([-1], np.int32), right=np.array([-2], np.int32), leaf_value=np.array([-1.0, 3.0]),
    ...     leaf_count=np.array([10, 30]), split_count=np.array([40]), categories=(),
    ... )
    >>> contributions(prepare([stump]), np.array([[7, 0], [7, 1]], np.float32)).round(9).tolist()
    [[0.0, -3.0], [0.0, 1.0]]
    """
    n, f = x.shape
    if trees.feature.max(initial=-1) >= f:
        raise ValueError(f"trees ask about feature {trees.feature.max()}, but rows have {f}")
    columns = np.zeros((f, -(-n // BLOCK) * BLOCK), dtype=np.float32)
    columns[:, :n] = x.T
    columns[np.abs(columns) <= ZERO] = 0.0  # as LightGBM does, in single precision too
    out = np.zeros(columns.shape)
    _add(trees, columns, out)
    return np.ascontiguousarray(out[:, :n].T)


def _paths(tree: Tree) -> tuple[int, list[int], list[int], Floats]:
    """Points, `into`, `above` and `terms` of a tree, whose splits come after those above them."""
    splits = len(tree.feature)
    children = np.stack([tree.left, tree.right], axis=1).ravel()
    inner = children >= 0
    split, leaf = np.where(inner, children, 0), np.where(inner, 0, ~children)
    rows = np.where(inner, tree.split_count[split], tree.leaf_count[leaf])
    share = rows / np.maximum(np.repeat(tree.split_count, 2), 1)
    value = np.where(inner, 1.0, tree.leaf_value[leaf])
    into, above = [2 * splits] * splits, [-1] * splits
    before, after, reached = [1.0] * (2 * splits), share.tolist(), children.tolist()
    paths: list[dict[int, int]] = [{}] * splits  # to each split: by feature, the last branch that asks about it
    longest = 0
    for s, feature in enumerate(tree.feature.tolist()):
        above[s] = paths[s].get(feature, -1)
        longest = max(longest, len(paths[s]) + (above[s] < 0))
        for branch in (2 * s, 2 * s + 1):
            if above[s] >= 0:
                before[branch] = after[above[s]]
                after[branch] *= before[branch]
            if reached[branch] >= 0:
                into[reached[branch]] = branch
                paths[reached[branch]] = paths[s] | {feature: branch}
    points = (longest + 1) // 2
    return points, into, above, _terms(points, value, share, np.array(before), np.array(after))


def _terms(points: int, value: Floats, share: Floats, before: Floats, after: Floats) -> Floats:
    """Factors and effects of the branches of a tree at each point, shape (points, branches, 5).

    Down a branch the product is multiplied by term 0, and where the row meets all conditions so far on the branch's
    feature term 1 is added to that, where it meets all but the last one term 2. The sum over the leaves below, times
    term 3 or 4 in these two cases, goes to the feature: what its new factor adds, less what its old one would have.

    Args:
        points: of the quadrature.
        value: of the leaf that a branch leads to, else 1.
        share: of the split's training rows that take the branch.
        before, after: z of the feature without the branch and with it.
    """
    t, weight = _quadrature(points)
    old, new = t + before * (1 - t), t + after * (1 - t)
    lost = (1 - before) / old
    terms = np.empty((points, len(value), 5))
    terms[..., 0] = value * share
    terms[..., 1] = value * (new / old - share)
    terms[..., 2] = value * (after * (1 - t) / old - share)
    terms[..., 3] = weight * ((1 - after) / new - lost)
    terms[..., 4] = weight * (-1 / (1 - t) - lost)
    return terms


@cache
def _quadrature(points: int) -> tuple[Floats, Floats]:
    """Gauss-Legendre nodes and weights on (0, 1), shape (points, 1) each."""
    nodes, weights = np.polynomial.legendre.leggauss(points)
    return (nodes[:, None] + 1) / 2, weights[:, None] / 2


def _categories_left(tree: Tree) -> list[Flags]:
    """By split, whether each category up to the largest that goes left goes left."""
    tables = []
    for threshold, decision in zip(tree.threshold, tree.decision, strict=True):
        left = list(tree.categories[int(threshold)]) if decision & CATEGORICAL else []
        tables.append(np.zeros(max(left, default=-1) + 1, dtype=np.bool_))
        tables[-1][left] = True
    return tables


def _starts(sizes: Sequence[int]) -> Ints:
    return np.cumsum([0, *sizes]).astype(np.int32)


def _joined(arrays: Iterable[ArrayLike], dtype: type) -> NDArray[Any]:
    """Arrays of any shape end to end, shape (total,); none give none."""
    return np.concatenate([np.zeros(0), *(np.ravel(array) for array in arrays)]).astype(dtype)


_compiled = njit(nogil=True, error_model="numpy", fastmath={"contract"})  # on first use: not on import, nor from disk


@_compiled
def _add(trees: ShapTrees, x: NDArray[np.float32], out: Floats) -> None:
    """Add contributions to `out`, shape (f, n) like `x`, n a multiple of BLOCK."""
    most = 0
    for tree in range(len(trees.points)):
        most = max(most, trees.first[tree + 1] - trees.first[tree])
    meets, flow = np.empty((2 * most, BLOCK)), np.empty((2 * most + 1, BLOCK))
    term = 0
    for tree in range(len(trees.points)):
        begin, end = trees.first[tree], trees.first[tree + 1]
        for low in range(0, x.shape[1], BLOCK):
            _decide(trees, begin, end, x, low, meets)
            for point in range(trees.points[tree]):
                at = term + 2 * (end - begin) * point
                _share_out(trees, begin, end, trees.terms[at:], meets, flow, low, out)
        term += 2 * (end - begin) * trees.points[tree]


@_compiled
def _decide(trees: ShapTrees, begin: int, end: int, x: NDArray[np.float32], low: int, meets: Floats) -> None:
    """For each branch, 1 where a row meets all conditions of the path so far on the branch's feature, else 0."""
    for i in range(begin, end):
        left, right, above, f = 2 * (i - begin), 2 * (i - begin) + 1, trees.above[i], trees.feature[i]
        start, size = trees.category[i], trees.category[i + 1] - trees.category[i]
        if size > 0:
            for r in range(BLOCK):
                v = x[f, low + r]
                meets[left, r] = 1.0 if v > -1 and v < size and trees.category_left[start + int(v)] else 0.0
        else:
            limit, nan = trees.threshold[i], 1.0 if trees.nan_left[i] else 0.0
            zero = nan if trees.zero_missing[i] else 1.0 if limit >= 0 else 0.0
            for r in range(BLOCK):
                v = np.float64(x[f, low + r])
                goes = 1.0 if v <= limit else 0.0
                goes = nan if np.isnan(v) else goes
                meets[left, r] = zero if v == 0 else goes
        for r in range(BLOCK):
            meets[right, r] = 1.0 - meets[left, r]
        if above >= 0:
            for r in range(BLOCK):
                meets[left, r] *= meets[above, r]
                meets[right, r] *= meets[above, r]


@_compiled
def _share_out(
    trees: ShapTrees, begin: int, end: int, terms: Floats, meets: Floats, flow: Floats, low: int, out: Floats
) -> None:
    """One point of the quadrature: products down to the leaves, then sums of leaves up to the root."""
    flow[2 * (end - begin), :] = 1.0
    for i in range(begin, end):
        into, left, right = trees.into[i], 2 * (i - begin), 2 * (i - begin) + 1
        off_l, in_l, out_l = terms[left, 0], terms[left, 1], terms[left, 2]
        off_r, in_r, out_r = terms[right, 0], terms[right, 1], terms[right, 2]
        for r in range(BLOCK):
            product, goes_l, goes_r = flow[into, r], meets[left, r], meets[right, r]
            flow[left, r] = product * (off_l + goes_l * in_l + goes_r * out_l)
            flow[right, r] = product * (off_r + goes_r * in_r + goes_l * out_r)
    for i in range(end - 1, begin - 1, -1):
        into, left, right, f = trees.into[i], 2 * (i - begin), 2 * (i - begin) + 1, trees.feature[i]
        in_l, out_l, in_r, out_r = terms[left, 3], terms[left, 4], terms[right, 3], terms[right, 4]
        for r in range(BLOCK):
            sum_l, sum_r = flow[left, r], flow[right, r]
            flow[into, r] = sum_l + sum_r
            out[f, low + r] += meets[left, r] * (sum_l * in_l + sum_r * out_r)
            out[f, low + r] += meets[right, r] * (sum_l * out_l + sum_r * in_r)
