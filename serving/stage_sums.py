"""What a stage sums up to for one brief: its linear base, and the bytes with which its trees are walked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.matrix import FEATURES
from serving.columns import Bytes, Readers
from serving.filters import Mask
from serving.kernels import add_linear
from serving.layout import Layout
from serving.model import Model
from serving.prepared import Ints, Prepared
from serving.specialise import Program
from serving.stage import Floats

PAIR = tuple(i for i, f in enumerate(FEATURES) if f.scope == "pair" and f.beside_price is None)
PRICED = tuple(i for i, f in enumerate(FEATURES) if f.beside_price is not None)
READ = PAIR + PRICED  # rows of the values that are worked out for each creator


@dataclass(frozen=True)
class LinearSums:
    """The linear base of some stages over the features that differ within a kind.

    Attributes:
        scaler: low, high, mean and scale of these features, float32, shape (4, f).
        coef, missing: of a standardised value and of a missing one, shape (stages, f).
        unit: 1 in logs in fixed point, shape (stages,).
        kind_sums: what is the same within a kind, in fixed point, shape (stages, kinds).
    """

    scaler: NDArray[np.float32]
    coef: Floats
    missing: Floats
    unit: Floats
    kind_sums: Ints

    @classmethod
    def of(
        cls, model: Model, layout: Layout, rows: list[int], features: Sequence[int], kind_sums: Ints
    ) -> "LinearSums":
        """Those of some rows of the layout's stages, reading some features."""
        read, s = list(features), model.scaler
        coef = np.stack([layout.stages[row].coef for row in rows])
        return cls(
            scaler=np.stack([column[read] for column in (s.low, s.high, s.mean, s.scale)]).astype(np.float32),
            coef=np.ascontiguousarray(coef[:, read]),
            missing=np.ascontiguousarray(coef[:, [len(FEATURES) + feature for feature in read]]),
            unit=layout.scale[rows],
            kind_sums=np.ascontiguousarray(kind_sums[rows]),
        )

    def add(self, values: Floats, kind: Ints, sums: Ints) -> None:
        """Add it to the sums of n creators; values have shape (f, n)."""
        low, high, mean, scale = self.scaler
        add_linear(values, low, high, mean, scale, self.coef, self.missing, self.unit, self.kind_sums, kind, sums)


@dataclass(frozen=True)
class TreeBytes:
    """A program and where the bytes it reads come from: first of creators, then of kinds, then of values of pairs.

    Attributes:
        creator: rows of what was prepared.
        kind: the bytes of all kinds, shape (columns, kinds).
        readers: of the values.
        off: how far each row of the values may be away from the true ones.
    """

    program: Program
    creator: NDArray[np.intp]
    kind: Bytes
    readers: Readers
    off: Floats

    @classmethod
    def of(
        cls, layout: Layout, program: Program, kind_values: Mapping[int, NDArray[np.float32]], fee_error: float
    ) -> "TreeBytes":
        """Sort the columns that a program reads."""
        columns = [layout.columns[c] for c in program.columns]
        tables = [column.bytes_of(kind_values[column.feature]) for column in columns if column.feature in kind_values]
        creator, kinds = int((program.columns < layout.creator_columns).sum()), len(next(iter(kind_values.values())))
        return cls(
            program=program,
            creator=program.columns[:creator].astype(np.intp),
            kind=np.array(tables, dtype=np.uint8).reshape(len(tables), kinds),
            readers=Readers.of(columns[creator + len(tables) :], READ),
            off=np.repeat([0.0, fee_error], [len(PAIR), len(PRICED)]),
        )

    def bytes_of(
        self, prepared: Prepared, span: slice | NDArray[np.int64], kind: Ints, values: Floats
    ) -> tuple[Bytes, Mask]:
        """The bytes the program reads, shape (columns, n), and whose may be others at a fee a little off."""
        out = np.empty((len(self.program.columns), len(kind)), dtype=np.uint8)
        first, second = len(self.creator), len(self.creator) + len(self.kind)
        if isinstance(span, slice):
            np.take(prepared.bytes_[:, span], self.creator, axis=0, out=out[:first], mode="clip")
        else:
            for place, row in enumerate(self.creator):
                np.take(prepared.bytes_[row], span, out=out[place], mode="clip")
        np.take(self.kind, kind, axis=1, out=out[first:second], mode="clip")
        return out, self.readers.read(values, self.off, out[second:])
