"""Rows on their way from files in any order to buckets: appended as they come, read back by bucket."""

from io import BytesIO
from pathlib import Path
from types import TracebackType

import numpy as np
import polars as pl
from numpy.typing import NDArray


class Spill:
    """One file of Arrow pieces, each the rows of one batch that belong to one bucket.

    Thousands of open files or Parquet writers would cost more memory than the rows; what is held here is where each
    piece begins.
    """

    def __init__(self, path: Path, buckets: int) -> None:
        self._file = path.open("w+b")
        self._buckets = buckets
        self._bounds: list[NDArray[np.int64]] = []

    def __enter__(self) -> "Spill":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, frame: pl.DataFrame, buckets: pl.Series) -> None:
        """Append rows, each to the bucket (0 to the number of buckets - 1) of the same position; order is kept."""
        if frame.height == 0:
            return
        codes = buckets.to_numpy()
        ends = np.cumsum(np.bincount(codes, minlength=self._buckets))
        by_bucket = frame[np.argsort(codes, kind="stable")]
        self._file.seek(0, 2)
        bounds = [self._file.tell()]
        for start, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True):
            written = 0
            if end > start:
                piece = BytesIO()
                by_bucket.slice(start, end - start).write_ipc_stream(piece, compression="lz4")
                written = self._file.write(piece.getbuffer())
            bounds.append(bounds[-1] + written)
        self._bounds.append(np.array(bounds, dtype=np.int64))

    def clear(self) -> None:
        """Forget every row."""
        self._bounds.clear()
        self._file.truncate(0)

    def bucket(self, number: int) -> pl.DataFrame:
        """A bucket's rows in the order they were added; without columns where there are none."""
        pieces = []
        for bounds in self._bounds:
            start, end = int(bounds[number]), int(bounds[number + 1])
            if end > start:
                self._file.seek(start)
                pieces.append(pl.read_ipc_stream(BytesIO(self._file.read(end - start))))
        return pl.concat(pieces, rechunk=True) if pieces else pl.DataFrame()


def bucket_of(keys: pl.Series, buckets: int) -> pl.Series:
    """The bucket of each key, by a hash that is the same throughout a run; rows without a key are spread.

    >>> codes = bucket_of(pl.Series(["a", "b", "a", None]), 4)
    >>> codes[0] == codes[2], int(codes[3])
    (True, 3)
    """
    places = pl.Series(np.arange(len(keys), dtype=np.uint64))
    spread = pl.select(pl.when(keys.is_null()).then(places).otherwise(keys.hash(seed=0)))
    return (spread.to_series() % buckets).cast(pl.Int64)
