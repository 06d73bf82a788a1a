"""The trees of some stages as one brief leaves them: pruned, packed into masks and ready to be walked.

A third or more of the splits ask only about the brief, and fall away.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.columns import Bytes
from serving.kernels import LUT_LEAVES, MOST_LEAVES, NEVER, STEP, prune, walk
from serving.layout import Ints, Layout

_LOWEST = np.array([0] + [(byte & -byte).bit_length() - 1 for byte in range(1, 256)], dtype=np.int64)


@dataclass(frozen=True)
class Masks:
    """Splits of groups of trees that share a mask, padded to a multiple of STEP each.

    Attributes:
        start: where each group's splits begin, shape (groups + 1,).
        stage: row of the sums that a group adds to, shape (groups,).
        added: what a group adds: by mask (groups, 256) for small trees, by leaf (groups, MOST_LEAVES) for large ones.
        column, edge, keep: the column asked, the edge, and the leaves that a yes keeps.
    """

    start: Ints
    stage: Ints
    added: Ints
    column: Ints
    edge: Bytes
    keep: NDArray[Any]


@dataclass(frozen=True)
class Program:
    """What to do with the bytes of a row to get the sums of its trees, by stage.

    Attributes:
        rows: rows of the sums, by the stages asked for.
        columns: columns of the layout that are read, in the order in which `run` wants them.
        constant: what trees without a split left add, shape (rows,).
    """

    columns: Ints
    constant: Ints
    small: Masks
    large: Masks

    def run(self, bytes_: Bytes, sums: Ints) -> None:
        """Add the trees to the sums.

        Args:
            bytes_: those of `columns`, shape (columns, n).
            sums: in fixed point, shape (rows, n).
        """
        s, g = self.small, self.large
        walk(
            bytes_, s.start, s.stage, s.added, s.column, s.edge, s.keep, g.start, g.stage, g.added, g.column, g.edge,
            g.keep, sums,
        )  # fmt: skip


def specialise(layout: Layout, brief_values: NDArray[np.float32], stages: Sequence[int]) -> Program:
    """The program of some stages for a brief.

    Args:
        layout: of the model.
        brief_values: features of scope `brief`, in the order of FEATURES; shape (f,).
        stages: rows of the layout's stages, which become rows 0, 1, ... of the sums.
    """
    row_of = np.full(len(layout.stages), -1, dtype=np.int32)
    row_of[list(stages)] = np.arange(len(stages))
    trees = np.flatnonzero(row_of[layout.tree_stage] >= 0).astype(np.int32)
    most_splits = int(np.diff(layout.split_start)[trees].sum())
    column, edge = np.empty(most_splits, np.int32), np.empty(most_splits, np.uint8)
    keep, leaf = np.empty(most_splits, np.uint32), np.empty(most_splits + len(trees), np.int32)
    split_start, leaf_start = np.empty(len(trees) + 1, np.int64), np.empty(len(trees) + 1, np.int64)
    prune(
        trees, layout.split_start, layout.leaf_start, layout.left, layout.right, layout.brief_goes(brief_values),
        layout.column, layout.edge, layout.fixed_leaf, column, edge, keep, leaf, split_start, leaf_start,
    )  # fmt: skip
    used, slot = np.unique(column[: split_start[-1]], return_inverse=True)
    left = _Pruned(row_of[layout.tree_stage[trees]], slot.astype(np.int32), edge, keep, leaf, split_start, leaf_start)
    size = left.sizes
    constant = np.zeros(len(stages), dtype=np.int32)
    lone = np.flatnonzero(size == 1)
    np.add.at(constant, left.stage[lone], leaf[leaf_start[lone]])
    small = np.flatnonzero((size > 1) & (size <= LUT_LEAVES))
    return Program(
        columns=used.astype(np.int32),
        constant=constant,
        small=_small(left, small),
        large=_large(left, np.flatnonzero(size > LUT_LEAVES)),
    )


@dataclass(frozen=True)
class _Pruned:
    """Trees after pruning: the stage of each, and the arrays that `prune` fills."""

    stage: Ints
    column: Ints
    edge: Bytes
    keep: NDArray[np.uint32]
    leaf: Ints
    split_start: NDArray[np.int64]
    leaf_start: NDArray[np.int64]

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Leaves of each tree."""
        return np.diff(self.leaf_start)


def _small(left: _Pruned, trees: NDArray[np.int64]) -> Masks:
    """Trees of few leaves, as many of a stage to a mask of eight bits as fit: largest first, each in the first gap."""
    size, stage = left.sizes[trees], left.stage[trees]
    order = np.lexsort((-size, stage))
    trees, size, stage = trees[order], size[order], stage[order]
    group, offset, groups = _fill(size, stage)
    by_group = np.argsort(group, kind="stable")
    trees, size, stage = trees[by_group], size[by_group], stage[by_group]
    group, offset = group[by_group], offset[by_group]
    table = np.zeros((groups, 256), dtype=np.int32)
    if groups:
        own = (np.arange(256) >> offset[:, None]) & ((1 << size) - 1)[:, None]
        leaves = left.leaf[left.leaf_start[trees][:, None] + _LOWEST[own]]
        table = np.add.reduceat(leaves, np.searchsorted(group, np.arange(groups)), axis=0)
    splits = size - 1
    source = _ranges(left.split_start[trees], splits)
    shift = np.repeat(offset, splits)
    full = (1 << np.repeat(size, splits)) - 1
    # of the other trees of the group everything is kept
    keep = (((left.keep[source] & full) | ~full) << shift) | ((1 << shift) - 1)
    first = np.searchsorted(group, np.arange(groups))
    return _padded(left, source, np.repeat(group, splits), (keep & 0xFF).astype(np.uint8), stage[first], table)


def _large(left: _Pruned, trees: NDArray[np.int64]) -> Masks:
    """Each larger tree with a mask of its own."""
    size = left.sizes[trees]
    table = np.zeros((len(trees), MOST_LEAVES), dtype=np.int32)
    where = np.arange(MOST_LEAVES) < size[:, None]
    table[where] = left.leaf[_ranges(left.leaf_start[trees], size)]
    source = _ranges(left.split_start[trees], size - 1)
    group = np.repeat(np.arange(len(trees)), size - 1)
    return _padded(left, source, group, left.keep[source], left.stage[trees], table)


def _fill(size: NDArray[np.int64], stage: Ints) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Group and first bit of each tree, and how many groups there are; sizes fall within a stage."""
    group, offset = np.zeros(len(size), dtype=np.int64), np.zeros(len(size), dtype=np.int64)
    free: list[list[int]] = []
    groups, of_stage = 0, -1
    for tree, (leaves, own) in enumerate(zip(size.tolist(), stage.tolist(), strict=True)):
        if own != of_stage:
            # groups with a gap, by how many bits are free
            free, of_stage = [[] for _ in range(LUT_LEAVES + 1)], own
        room = next((bits for bits in range(leaves, LUT_LEAVES + 1) if free[bits]), None)
        if room is None:
            group[tree], room = groups, LUT_LEAVES
            groups += 1
        else:
            group[tree] = free[room].pop()
        offset[tree] = LUT_LEAVES - room
        free[room - leaves].append(int(group[tree]))
    return group, offset, groups


def _ranges(start: NDArray[np.int64], length: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions start, start + 1, ... of several ranges, one after the other.

    >>> _ranges(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    ends = np.cumsum(length)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - length, length) + np.repeat(start, length)


def _padded(
    left: _Pruned, source: NDArray[np.int64], group: NDArray[np.int64], keep: NDArray[Any], stage: Ints, added: Ints
) -> Masks:
    """Splits of each group, filled up to a multiple of STEP with splits that never say yes."""
    count = np.bincount(group, minlength=len(stage))
    room = -(-count // STEP) * STEP
    start = np.concatenate([[0], np.cumsum(room)]).astype(np.int32)
    place = _ranges(start[:-1].astype(np.int64), count)
    column, edge = np.zeros(start[-1], np.int32), np.full(start[-1], NEVER, np.uint8)
    kept = np.zeros(start[-1], keep.dtype)
    column[place], edge[place], kept[place] = left.column[source], left.edge[source], keep
    return Masks(start, stage.astype(np.int32), np.ascontiguousarray(added, dtype=np.int32), column, edge, kept)
