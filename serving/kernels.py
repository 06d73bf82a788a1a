"""Compiled loops of fast scoring: values to bytes, trees specialised to a brief, trees walked as bit masks.

A tree of L leaves is a mask of L bits, all set, leaves numbered from left to right. A split that sends a row to the
right clears the leaves below its left branch; when all splits have been asked, in any order, the lowest bit left is
the leaf that the row falls into (QuickScorer: Lucchese et al. 2015). Asked for a block of rows at a time, a split is a
comparison of bytes and a conjunction of masks in vector registers. Trees of few leaves share one mask of eight bits,
whose 256 sums are tabled.

Nothing is compiled on import, nor kept on disk: what numba keeps there it would unpickle.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit, types
from numba.cpython.unsafe.numbers import trailing_zeros
from numpy.typing import NDArray

Array = NDArray[Any]
_Loop = TypeVar("_Loop", bound=Callable[..., None])

I4, I8, F4, F8, U1 = types.int32, types.int64, types.float32, types.float64, types.uint8

BLOCK = 2048  # rows whose masks stay in the innermost cache
STEP = 4  # splits asked in one pass over a block
LUT_LEAVES, MOST_LEAVES = 8, 32
NEVER = 255  # no byte is greater: the split of a padding entry


def _compiled(loop: _Loop) -> _Loop:
    return njit(nogil=True, error_model="numpy", boundscheck=False)(loop)  # type: ignore[return-value] # called alike


def compile_loops() -> None:
    """Compile every loop for the arrays it gets, instead of in the first request; takes seconds."""
    ints, longs, floats, singles, bytes_ = (types.Array(of, 1, "C") for of in (I4, I8, F8, F4, U1))
    rows, matrix, table = (types.Array(of, 2, "C") for of in (U1, F8, I4))
    masks, flags = types.Array(types.uint32, 1, "C"), types.Array(types.boolean, 1, "C")
    group, goes = (ints, ints, table, ints, bytes_), types.Array(types.int8, 1, "C")
    loops: dict[Any, tuple[types.Type, ...]] = {
        walk: (rows, *group, bytes_, *group, masks, table),
        prune: (*[ints] * 5, goes, ints, bytes_, ints, ints, bytes_, masks, ints, longs, longs),
        add_linear: (matrix, *[singles] * 4, matrix, matrix, floats, table, ints, table),
        count_about: (matrix, floats, longs, singles, longs, bytes_, rows, flags),
    }
    for loop, arguments in loops.items():
        loop.compile(arguments)


@_compiled
def count_about(
    values: Array, off: Array, source: Array, edges: Array, start: Array, missing: Array, out: Array, unsure: Array
) -> None:
    """How many of at most 255 float32 edges values are above, as bytes, though each may be a little off.

    Args:
        values: before they are rounded to float32, shape (v, n).
        off: how far at most, shape (v,).
        source: row of the values that each column reads, shape (c,).
        edges, start: ascending float32 edges, and where each column's begin, shape (c + 1,).
        missing: byte for NaN of each column, shape (c,).
        out: the bytes, shape (c, n).
        unsure: set to True where another value as near would have another byte, shape (n,).
    """
    n = values.shape[1]
    near, above, least = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.int32), np.empty(BLOCK, np.int32)
    apart = np.empty(BLOCK, np.int32)
    for low in range(0, n, BLOCK):
        k = min(BLOCK, n - low)
        for i in range(k):
            apart[i] = 0
        for c in range(len(source)):
            x, by, bytes_ = values[source[c], low : low + k], off[source[c]], out[c, low : low + k]
            first, last = start[c], start[c + 1]
            most = last - (last - first) % STEP
            for side in range(2 if by > 0.0 else 1):
                for i in range(k):
                    near[i] = np.float32(x[i] + by) if side else np.float32(x[i] - by)
                    above[i] = 0  # as wide as the values, so that lanes match
                for j in range(first, most, STEP):
                    e0, e1, e2, e3 = edges[j], edges[j + 1], edges[j + 2], edges[j + 3]
                    for i in range(k):
                        above[i] += (
                            np.int32(near[i] > e0) + np.int32(near[i] > e1) + np.int32(near[i] > e2)
                            + np.int32(near[i] > e3)
                        )  # fmt: skip
                for j in range(most, last):
                    edge = edges[j]
                    for i in range(k):
                        above[i] += np.int32(near[i] > edge)
                if side:
                    for i in range(k):
                        apart[i] += above[i] - least[i]
                else:
                    for i in range(k):
                        least[i] = above[i]
                        bytes_[i] = np.uint8(missing[c]) if np.isnan(x[i]) else np.uint8(above[i])
        for i in range(k):
            if apart[i] > 0:
                unsure[low + i] = True


@_compiled
def add_linear(
    values: Array, low: Array, high: Array, mean: Array, scale: Array, coef: Array, missing: Array, unit: Array,
    kind_sums: Array, kind: Array, sums: Array,
) -> None:  # fmt: skip
    """Add a linear base to the sums: that of some features, and what was summed by kind.

    Args:
        values: before they are rounded to float32, shape (f, n).
        low, high, mean, scale: the scaler's, float32, shape (f,); the arithmetic is that of `Scaler.design`.
        coef, missing: of a standardised value and of a missing one, shape (stages, f).
        unit: 1 in logs in fixed point, shape (stages,).
        kind_sums: in fixed point, shape (stages, kinds).
        kind: shape (n,).
        sums: in fixed point, shape (stages, n); added to.
    """
    f, n = values.shape
    z, known = np.empty((f, BLOCK), np.float32), np.empty((f, BLOCK), np.bool_)
    total = np.empty(BLOCK, np.float64)
    for first in range(0, n, BLOCK):
        k = min(BLOCK, n - first)
        for j in range(f):
            x, zj, here = values[j, first : first + k], z[j], known[j]
            for i in range(k):
                here[i] = not np.isnan(x[i])
                clipped = min(max(np.float32(x[i]), low[j]), high[j]) if here[i] else mean[j]
                zj[i] = (clipped - mean[j]) / scale[j]
        for s in range(len(coef)):
            for i in range(k):
                total[i] = 0.0
            for j in range(f):
                zj, here, slope, gap = z[j], known[j], coef[s, j], missing[s, j]
                for i in range(k):
                    total[i] += slope * zj[i] if here[i] else gap
            added, table, own = sums[s, first : first + k], kind_sums[s], kind[first : first + k]
            for i in range(k):
                added[i] += np.int32(np.rint(total[i] * unit[s])) + table[own[i]]


@_compiled
def prune(
    trees: Array, split_start: Array, leaf_start: Array, left: Array, right: Array, goes: Array, column: Array,
    edge: Array, leaf: Array, out_column: Array, out_edge: Array, out_mask: Array, out_leaf: Array, out_splits: Array,
    out_leaves: Array,
) -> None:  # fmt: skip
    """What is left of trees when some splits are decided beforehand.

    Args:
        trees: which trees, shape (t,).
        split_start, leaf_start: where each tree's splits and leaves begin.
        left, right: branches of each split within its tree, ~leaf where negative.
        goes: of each split 1 if it always goes left, 0 if right, -1 if the row decides.
        column, edge: what a split asks: whether the row's byte in a column is above the edge.
        leaf: values of the leaves.
        out_column, out_edge, out_mask: the splits left and the leaves they keep when the answer is yes.
        out_leaf: the leaves left, from left to right.
        out_splits, out_leaves: where each tree's begin, shape (t + 1,).
    """
    split_of = np.empty(2 * MOST_LEAVES, np.int64)
    entry_of = np.empty(2 * MOST_LEAVES, np.int64)
    begins = np.empty(MOST_LEAVES, np.int64)
    splits, leaves = 0, 0
    for t in range(len(trees)):
        out_splits[t], out_leaves[t] = splits, leaves
        base, first, here = split_start[trees[t]], leaf_start[trees[t]], splits
        counted = 0
        split_of[0] = 0 if split_start[trees[t] + 1] > base else -1
        entry_of[0] = -1
        depth = 1
        while depth > 0:
            depth -= 1
            at, entry = split_of[depth], entry_of[depth]
            if entry >= 0:
                # its left branch is done: the leaves counted since are what a yes takes away
                gone = ((np.int64(1) << counted) - 1) ^ ((np.int64(1) << begins[entry - here]) - 1)
                out_mask[entry] = np.uint32(~gone & 0xFFFFFFFF)
                at = right[base + at]
            while at >= 0:
                known = goes[base + at]
                if known == 1:
                    at = left[base + at]
                elif known == 0:
                    at = right[base + at]
                else:
                    out_column[splits], out_edge[splits] = column[base + at], edge[base + at]
                    begins[splits - here] = counted
                    split_of[depth], entry_of[depth] = at, splits
                    depth += 1
                    splits += 1
                    at = left[base + at]
            out_leaf[leaves] = leaf[first + ~at]
            leaves += 1
            counted += 1
    out_splits[len(trees)], out_leaves[len(trees)] = splits, leaves


@_compiled
def _ask(
    bytes_: Array, first: int, last: int, column: Array, edge: Array, keep: Array, everything: Any, mask: Array
) -> None:
    """Ask some splits of a block of rows: what is left of the masks; `first` to `last` are a multiple of STEP."""
    for i in range(len(mask)):
        mask[i] = everything
    for j in range(first, last, STEP):
        b0, b1, b2, b3 = bytes_[column[j]], bytes_[column[j + 1]], bytes_[column[j + 2]], bytes_[column[j + 3]]
        e0, e1, e2, e3 = edge[j], edge[j + 1], edge[j + 2], edge[j + 3]
        m0, m1, m2, m3 = keep[j], keep[j + 1], keep[j + 2], keep[j + 3]
        for i in range(len(mask)):
            mask[i] = (
                mask[i] & (m0 if b0[i] > e0 else everything) & (m1 if b1[i] > e1 else everything)
                & (m2 if b2[i] > e2 else everything) & (m3 if b3[i] > e3 else everything)
            )  # fmt: skip


@_compiled
def walk(
    bytes_: Array, small_start: Array, small_stage: Array, small_table: Array, small_column: Array, small_edge: Array,
    small_mask: Array, large_start: Array, large_stage: Array, large_leaf: Array, large_column: Array,
    large_edge: Array, large_mask: Array, sums: Array,
) -> None:  # fmt: skip
    """Add every tree's leaf to the sums of its stage.

    Args:
        bytes_: shape (columns, n).
        small_start: where the splits of each group of small trees begin, a multiple of STEP; shape (groups + 1,).
        small_stage: row of `sums` that a group adds to, shape (groups,).
        small_table: what a mask adds, shape (groups, 256).
        small_column, small_edge, small_mask: splits, the masks uint8.
        large_...: the same of single larger trees; their leaves have shape (trees, MOST_LEAVES), masks are uint32.
        sums: int32, shape (stages, n); added to.
    """
    n = bytes_.shape[1]
    small, large = np.empty(BLOCK, np.uint8), np.empty(BLOCK, np.uint32)
    for low in range(0, n, BLOCK):
        high = min(low + BLOCK, n)
        block, few, many = bytes_[:, low:high], small[: high - low], large[: high - low]
        for g in range(len(small_stage)):
            first, last = small_start[g], small_start[g + 1]
            _ask(block, first, last, small_column, small_edge, small_mask, np.uint8(0xFF), few)
            added, table = sums[small_stage[g], low:high], small_table[g]
            for i in range(len(few)):
                added[i] += table[few[i]]
        for t in range(len(large_stage)):
            first, last = large_start[t], large_start[t + 1]
            _ask(block, first, last, large_column, large_edge, large_mask, np.uint32(0xFFFFFFFF), many)
            added, leaves = sums[large_stage[t], low:high], large_leaf[t]
            for i in range(len(many)):
                added[i] += leaves[trailing_zeros(many[i])]  # type: ignore[call-arg]
