"""A bucketed data folder: Parquet partitioned by creator, with a manifest. Read here, written by `training.bucket`.

    buckets.json                    the manifest, written last
    campaigns.parquet, fx.parquet, audience_overlap.parquet
    bucket-00000/<table>.parquet    every row of a creator lies in one bucket

The frames are those of `Tables`, checked, complete and in the base currency.
"""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars.exceptions import PanicException, PolarsError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from features.check import Report
from features.errors import DataError
from features.findings import Finding
from features.settings import Settings
from features.tables import Tables, canonical_schema

FORMAT = 2
MANIFEST = "buckets.json"
ROW = "row"  # of a placement: its position in the table as given, from 0
WHOLE = ("campaigns", "fx", "audience_overlap")
# What the rows of a bucket are sorted by, nulls first; the writer goes on to every other column.
ORDER: Mapping[str, tuple[str, ...]] = {
    "creators": ("creator_id",),
    "creator_snapshots": ("creator_id", "known_at", "snapshot_at"),
    "creator_audience": ("creator_id", "snapshot_at", "dimension", "code", "weight"),
    "creator_prices": ("creator_id", "deliverable", "known_at"),
    "placements": (ROW,),
}
_EPOCH = date(1970, 1, 1).toordinal()
_DISTINCT = ("creators", "placements")  # no two rows are equal in what they are sorted by

Natural = Annotated[int, Field(ge=0)]
# a day number whose day and whose morrow have a date
Day = Annotated[int, Field(ge=date.min.toordinal() - _EPOCH, lt=date.max.toordinal() - _EPOCH)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class FileFacts(_Strict):
    """What a file must hold: rows, its size in bytes, and the CRC-32 of these, which Parquet files do not keep."""

    rows: Natural
    size: Natural
    checksum: Natural

    @classmethod
    def of(cls, path: Path, rows: int) -> "FileFacts":
        """Those of a file of that many rows."""
        data = path.read_bytes()
        return cls(rows=rows, size=len(data), checksum=zlib.crc32(data))


class Shaping(_Strict):
    """The settings that shaped the frames."""

    base_currency: str
    attribution_days: int
    fx_max_age_days: int

    @classmethod
    def of(cls, settings: Settings) -> "Shaping":
        """Those of `settings`.

        >>> Shaping.of(Settings()).attribution_days
        30
        """
        return cls(**{name: getattr(settings, name) for name in cls.model_fields})


class Manifest(_Strict):
    """What a bucketed folder holds.

    Args:
        format: of the folder.
        base_currency: of every amount.
        shaped_by: settings the folder was written with.
        source: digest of the names and sizes of the files it was made from.
        rows: by table, over all buckets.
        dates: first and last day by table, where rows are dated.
        oldest_fact: UTC day number of the oldest fact, as `training.split.oldest_fact`; None: nothing is dated.
        newest_fact: UTC day number of the newest fact, as `training.split.newest_fact`.
        commission_only_rate: as `features.check.commission_only_rate` over all placements.
        findings: warnings of the check.
        missing: what the data lack that decides what they can answer.
        whole: the tables that are not partitioned.
        parts: the tables of each bucket.
    """

    format: int = FORMAT
    base_currency: str
    shaped_by: Shaping
    source: str
    rows: dict[str, Natural]
    dates: dict[str, tuple[date, date]]
    oldest_fact: Day | None
    newest_fact: Day | None
    commission_only_rate: float | None
    findings: tuple[Finding, ...]
    missing: tuple[str, ...]
    whole: dict[str, FileFacts]
    parts: tuple[dict[str, FileFacts], ...]

    @property
    def buckets(self) -> int:
        """Number of buckets."""
        return len(self.parts)

    def report(self) -> Report:
        """The check report of the data it was made from."""
        return Report(self.findings, self.rows, self.dates, self.base_currency, self.missing)


@dataclass(frozen=True)
class Bucket:
    """One bucket.

    Args:
        tables: its creators and their rows; campaigns, fx and audience_overlap whole.
        rows: int64 (placements,): position of each placement in the table as given, increasing.
    """

    tables: Tables
    rows: NDArray[np.int64]


def is_bucketed(folder: Path) -> bool:
    """Whether `folder` was written by `influencer-roi bucket`.

    >>> is_bucketed(Path("no-such-folder"))
    False
    """
    return (folder / MANIFEST).is_file()


def part_name(bucket: int, table: str) -> str:
    """Where a bucket's table lies in the folder.

    >>> part_name(7, "creators")
    'bucket-00007/creators.parquet'
    """
    return f"bucket-{bucket:05d}/{table}.parquet"


def read_manifest(folder: Path, settings: Settings | None = None) -> Manifest:
    """The manifest of a bucketed folder.

    Args:
        folder: the bucketed folder.
        settings: those in force; None where they do not matter.

    Raises:
        DataError: it is missing, cannot be read, has another format, or was written with other settings.
    """
    path = folder / MANIFEST
    try:
        text = path.read_text(encoding="utf-8")
        said = json.loads(text)
        if isinstance(said, dict) and said.get("format") != FORMAT:
            raise DataError(f"{path} is of format {said.get('format')}, not {FORMAT}. {_again(folder)}")
        manifest = Manifest.model_validate_json(text)
        _require_complete(manifest, path, folder)
    except FileNotFoundError as problem:
        raise DataError(f"{path} is not there: this is no bucketed folder. {_again(folder)}") from problem
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{path} cannot be used: {where}: {first['msg']}. {_again(folder)}") from problem
    except (OSError, ValueError) as problem:
        raise DataError(f"{path} cannot be read ({problem}). {_again(folder)}") from problem
    if settings is not None:
        require_settings(manifest, folder, settings)
    return manifest


def require_settings(manifest: Manifest, folder: Path, settings: Settings) -> None:
    """Refuse a folder that other settings shaped.

    Raises:
        DataError: naming each setting with both values.
    """
    then, now = manifest.shaped_by.model_dump(), Shaping.of(settings).model_dump()
    other = [f"{name} {then[name]!r}, now {now[name]!r}" for name in now if then[name] != now[name]]
    if other:
        raise DataError(
            f"{folder} was written with other settings: {'; '.join(other)}. Set them back in config.toml of the home, "
            f"or write the folder again: remove it, then run influencer-roi bucket DIR {folder}"
        )


def read_whole(folder: Path, manifest: Manifest) -> dict[str, pl.DataFrame]:
    """Campaigns, fx and audience_overlap, which every bucket holds whole.

    Raises:
        DataError: as `read_bucket`.
    """
    return {table: _frame(folder, f"{table}.parquet", table, manifest.whole[table]) for table in WHOLE}


def read_bucket(
    folder: Path, manifest: Manifest, bucket: int, whole: Mapping[str, pl.DataFrame] | None = None
) -> Bucket:
    """One bucket, tested against the manifest and the promised columns and order.

    Args:
        folder: the bucketed folder.
        manifest: as read from it.
        bucket: 0 to manifest.buckets - 1.
        whole: what `read_whole` gave, where many buckets are read one after the other.

    Raises:
        DataError: there is no such bucket; or a file is missing, cut short, unsorted, or not the table it should be.
    """
    if not 0 <= bucket < manifest.buckets:
        raise DataError(f"{folder} has no bucket {bucket}: they are 0 to {manifest.buckets - 1}.")
    parts = {
        table: _frame(folder, part_name(bucket, table), table, manifest.parts[bucket][table], order)
        for table, order in ORDER.items()
    }
    rows = parts["placements"][ROW].to_numpy()
    parts["placements"] = parts["placements"].drop(ROW)
    return Bucket(Tables(**parts, **(whole or read_whole(folder, manifest))), rows)


def part_schema(table: str) -> dict[str, pl.DataType]:
    """Columns and types of a table's files.

    >>> list(part_schema("placements"))[-1], list(part_schema("fx"))
    ('row', ['date', 'currency', 'rate'])
    """
    return {**canonical_schema(table), **({ROW: pl.Int64()} if table == "placements" else {})}


def _frame(folder: Path, name: str, table: str, facts: FileFacts, order: tuple[str, ...] = ()) -> pl.DataFrame:
    path = folder / name
    try:
        size = path.stat().st_size
        if size != facts.size:
            short = "is cut short" if size < facts.size else "was replaced"
            raise DataError(f"{path} {short}: {size} bytes, not {facts.size}. {_again(folder)}")
        data = path.read_bytes()
        if zlib.crc32(data) != facts.checksum:
            raise DataError(f"{path} was changed: it holds other bytes than were written. {_again(folder)}")
        frame = pl.read_parquet(data)
    except FileNotFoundError as problem:
        raise DataError(f"{path} is missing. {_again(folder)}") from problem
    except (PolarsError, PanicException, OSError) as problem:
        reason = str(problem).splitlines()[0]
        raise DataError(f"{path} is not a complete Parquet file ({reason}). {_again(folder)}") from problem
    if frame.height != facts.rows:
        raise DataError(f"{path} holds {frame.height} rows, not {facts.rows}. {_again(folder)}")
    expected = part_schema(table)
    if list(frame.schema.items()) != list(expected.items()):
        raise DataError(f"{path}: {_other_columns(dict(frame.schema), expected)}. {_again(folder)}")
    if order and not _sorted(frame, order, strictly=table in _DISTINCT):
        raise DataError(f"{path} is not sorted by {', '.join(order)}. {_again(folder)}")
    return frame


def _require_complete(manifest: Manifest, path: Path, folder: Path) -> None:
    """Every table is there, and the buckets add up to the totals."""
    if not manifest.parts:
        raise DataError(f"{path} names no bucket. {_again(folder)}")
    if set(manifest.whole) != set(WHOLE) or any(set(part) != set(ORDER) for part in manifest.parts):
        raise DataError(f"{path} does not name every table of every bucket. {_again(folder)}")
    for table in ORDER:
        if sum(part[table].rows for part in manifest.parts) != manifest.rows.get(table):
            raise DataError(f"{path}: the buckets' {table} rows do not add up to their total. {_again(folder)}")


def _other_columns(found: Mapping[str, pl.DataType], expected: Mapping[str, pl.DataType]) -> str:
    for name, dtype in expected.items():
        if name not in found:
            return f"column {name} is missing"
        if found[name] != dtype:
            return f"column {name} holds {found[name]}, not {dtype}"
    more = [name for name in found if name not in expected]
    return f"column {more[0]} does not belong there" if more else "the columns are in another order"


def _sorted(frame: pl.DataFrame, order: tuple[str, ...], *, strictly: bool) -> bool:
    """Whether no row is before its predecessor (or, strictly, equal to it), nulls first."""
    before: pl.Expr = pl.lit(value=strictly)
    for name in reversed(order):
        this, last = pl.col(name), pl.col(name).shift(1)
        smaller = (this < last).fill_null(this.is_null() & last.is_not_null())
        before = smaller | (this.eq_missing(last) & before)
    return not frame.select(before.slice(1).any()).item() if frame.height > 1 else True


def _again(folder: Path) -> str:
    return f"Write it again: remove {folder}, then run influencer-roi bucket DIR {folder}"
