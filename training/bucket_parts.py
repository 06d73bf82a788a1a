"""The second pass: every bucket once, checked, completed, converted to the base currency, sorted and written."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from features.buckets import ORDER, ROW, FileFacts, part_name
from features.check_market import COMMISSION_READS
from features.errors import DataError
from features.money import converted, missing_rates
from features.settings import Settings
from features.tables import Tables, build
from training.bucket_input import FirstPass
from training.bucket_rules import RULED, Seen, look
from training.bucket_spill import Spill

COMPRESSION_LEVEL = 1  # of zstd: written once, and speed counts more than the last bytes


@dataclass(frozen=True)
class Written:
    """What the second pass leaves.

    Args:
        seen: what the rules gathered.
        parts: files of each bucket; not all of them where the data have errors.
        ruled: files of what the rules on all placements look at.
        paid: COMMISSION_READS of every placement written that has a fee, in the base currency.
    """

    seen: Seen
    parts: tuple[dict[str, FileFacts], ...]
    ruled: tuple[Path, ...]
    paid: pl.DataFrame


@contextmanager
def writing(out: Path, problems: tuple[type[Exception], ...] = (OSError, PolarsError)) -> Iterator[None]:
    """What goes wrong in here is about the place written to: a full disk, no permission.

    Args:
        out: the name to give.
        problems: what such errors are raised as; Polars wraps those of Parquet files.

    Raises:
        DataError: in place of what was raised.
    """
    try:
        yield
    except problems as problem:
        reason = getattr(problem, "strerror", None) or str(problem).splitlines()[0]
        raise DataError(
            f"writing {out} failed ({reason}); nothing is left of it. While it runs it takes about four times the room "
            "of the data as Parquet: free some, or choose another OUT."
        ) from problem


def write_parts(
    read: FirstPass, folder: Path, buckets: int, settings: Settings, *, out: Path, say: Callable[[str], None]
) -> Written:
    """Look at every bucket, and write it unless the data have errors.

    Args:
        read: what the first pass left.
        folder: where the buckets go, and into `spill` what only the rules need.
        buckets: their number.
        settings: in force.
        out: the name to give in errors.
        say: told each bucket.
    """
    whole = read.whole
    seen = Seen(read.any_creator, pl.concat([whole.audience_overlap["creator_a"], whole.audience_overlap["creator_b"]]))
    seen.add_dates(whole)
    seen.gaps += missing_rates(whole, settings, read.base)
    wrong = any(finding.severity == "error" for finding in read.findings)
    parts: list[dict[str, FileFacts]] = []
    ruled: list[Path] = []
    paid = [whole.placements.select(COMMISSION_READS)]
    for bucket in range(buckets):
        say(f"bucket {bucket + 1} of {buckets}")
        rows, tables = _bucket(read.spills, whole, bucket, settings)
        look(seen, tables, read.base, settings)
        with writing(out):
            if len(rows):
                ruled.append(folder / "spill" / f"ruled-{bucket}.parquet")
                tables.placements.select(RULED).with_columns(rows).write_parquet(ruled[-1], compression="lz4")
        if wrong or seen.gaps or any(finding.severity == "error" for finding in seen.duplicates):
            continue
        tables = converted(tables, settings, read.base)
        paid.append(tables.placements.select(COMMISSION_READS).drop_nulls("fee"))
        with writing(out):
            parts.append(_write_part(folder, bucket, tables, rows))
    return Written(seen, tuple(parts), tuple(ruled), pl.concat(paid))


def save(path: Path, frame: pl.DataFrame) -> FileFacts:
    """Write one table."""
    frame.write_parquet(path, compression="zstd", compression_level=COMPRESSION_LEVEL)
    return FileFacts.of(path, frame.height)


def _bucket(spills: Mapping[str, Spill], whole: Tables, bucket: int, settings: Settings) -> tuple[pl.Series, Tables]:
    """The rows of a bucket's placements in the table as given, and its tables beside the whole campaigns and fx."""
    frames = {table: spills[table].bucket(bucket) for table in ORDER}
    placements = frames["placements"]
    rows = placements[ROW] if placements.height else pl.Series(ROW, [], dtype=pl.Int64)
    return rows, replace(build({**frames, "campaigns": whole.campaigns}, settings), fx=whole.fx)


def _write_part(folder: Path, bucket: int, tables: Tables, rows: pl.Series) -> dict[str, FileFacts]:
    (folder / part_name(bucket, "creators")).parent.mkdir()
    frames = {**tables.by_name(), "placements": tables.placements.with_columns(rows)}
    return {table: save(folder / part_name(bucket, table), _in_order(frames[table], table)) for table in ORDER}


def _in_order(frame: pl.DataFrame, table: str) -> pl.DataFrame:
    """Rows by what the reader expects, and where that is equal by every other column: there is only one order."""
    keys = list(ORDER[table])
    frame = frame.sort(keys, maintain_order=True)
    same = pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).shift(1)) for name in keys).slice(1)
    rest = [name for name, dtype in frame.schema.items() if name not in keys and not dtype.is_nested()]
    if rest and frame.height > 1 and frame.select(same.any()).item():
        frame = frame.sort([*keys, *rest])
    return frame
