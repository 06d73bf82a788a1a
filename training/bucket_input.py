"""The first pass over a data folder: every file once, in batches, into rows by bucket."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from features.batches import Unreadable, raw_batches
from features.buckets import ROW
from features.check_cells import cell_findings
from features.check_market import undated
from features.findings import Finding, error
from features.money import named_currencies
from features.reading import no_rows, typed
from features.settings import Settings
from features.tables import CARRIED, Tables, build
from training.bucket_findings import merged, shifted
from training.bucket_spill import Spill, bucket_of

PEOPLE = "people"  # creators of a known person, by person: accounts of one person may lie in several buckets


@dataclass(frozen=True)
class Batch:
    """How much of a file is held at once: rows of Parquet, bytes of CSV."""

    rows: int
    size: int


@dataclass
class Streamed:
    """What streaming one table came to.

    Args:
        findings: of reading it.
        cells: of its values, under the names of the tables they are in.
        currencies: every currency it names.
        rows: number of rows read.
        dated: whether any snapshot in it has a date.
        named: whether any row names a creator.
    """

    findings: list[Finding] = field(default_factory=list)
    cells: list[Finding] = field(default_factory=list)
    currencies: set[str] = field(default_factory=set)
    rows: int = 0
    dated: bool = False
    named: bool = False


@dataclass(frozen=True)
class FirstPass:
    """What the first pass leaves.

    Args:
        spills: rows by bucket, by table.
        whole: the tables that are not partitioned; the others have no rows.
        findings: what is known to be wrong already.
        base: currency to convert to.
        any_creator: whether any creator is named; if not, no reference to one is asked about.
    """

    spills: Mapping[str, Spill]
    whole: Tables
    findings: tuple[Finding, ...]
    base: str
    any_creator: bool


def stream(
    table: str, file: Path, spills: Mapping[str, Spill], buckets: int, settings: Settings, batch: Batch
) -> Streamed:
    """Read one file batch by batch and append its typed rows to `spills[table]`, each to its creator's bucket.

    Placements get a column `row`; the persons behind creators go to `spills["people"]` too. Of a file that cannot be
    read to its end nothing is kept but that finding.
    """
    found = Streamed()
    try:
        for raw in raw_batches(table, file, rows=batch.rows, size=batch.size):
            _add(found, table, raw, spills, buckets, settings)
    except Unreadable as problem:
        spills[table].clear()
        if table == "creators":
            spills[PEOPLE].clear()
        return Streamed(findings=[error(table, None, str(problem))])
    first = [] if found.rows else [no_rows(table, file)]
    found.findings, found.cells = first + merged(found.findings), merged(found.cells)
    return found


def placed(cells: list[Finding], *, dated: bool) -> list[Finding]:
    """Findings of snapshot columns under the table people know them from: creators, where no snapshot has a date."""
    place = "creator_snapshots" if dated else "creators"
    return merged(
        Finding(finding.severity, place, finding.column, finding.message, finding.count, finding.ids)
        if finding.table in ("creators", "creator_snapshots") and finding.column in CARRIED
        else finding
        for finding in cells
    )


def _add(
    found: Streamed, table: str, raw: pl.DataFrame, spills: Mapping[str, Spill], buckets: int, settings: Settings
) -> None:
    frame, findings = typed(table, raw)
    found.findings += shifted(findings, found.rows)
    if frame.height == 0:
        return
    if "creator_id" not in frame.columns:
        frame = frame.with_columns(pl.lit(None, pl.String).alias("creator_id"))
    found.named |= frame["creator_id"].count() > 0
    tables = build({table: frame}, settings)
    found.cells += shifted([*cell_findings(tables), *undated(tables)], found.rows)
    found.currencies |= named_currencies(tables)
    found.dated |= tables.creator_snapshots["known_at"].count() > 0
    if table == "placements":
        frame = frame.with_columns(pl.int_range(found.rows, found.rows + frame.height, dtype=pl.Int64).alias(ROW))
    if table == "creators":
        people = tables.creators.select("creator_id", "person_id", "platform").drop_nulls("person_id")
        spills[PEOPLE].add(people, bucket_of(people["person_id"], buckets))
    spills[table].add(frame, bucket_of(frame["creator_id"], buckets))
    found.rows += frame.height
