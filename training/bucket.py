"""A data folder, possibly larger than memory, into a folder of Parquet partitioned by creator (`features.buckets`).

Two passes: every file once, in batches, its rows appended to spill files by bucket; then every bucket once, checked,
completed, converted and sorted. Memory holds a batch or a bucket, campaigns, fx and overlaps, and a few columns of
all placements at a time. The folder is written beside its place and renamed.
"""

import hashlib
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import polars as pl
from polars.exceptions import PolarsError

from features.buckets import MANIFEST, ORDER, WHOLE, FileFacts, Manifest, Shaping, is_bucketed
from features.check import CheckFailed, Report, commission_only_rate
from features.check_cells import cell_findings
from features.check_rows import rate_findings
from features.contract import TABLES
from features.errors import DataError
from features.findings import Finding
from features.money import converted, named_currencies, only_currency
from features.reading import read_table, table_files
from features.settings import Settings
from features.tables import build
from training.bucket_findings import merged_gaps
from training.bucket_input import PEOPLE, Batch, FirstPass, placed, stream
from training.bucket_parts import Written, save, write_parts, writing
from training.bucket_rules import AllPlacements, lacking, market_rules, people_by_bucket, row_rules
from training.bucket_spill import Spill

Say = Callable[[str], None]

MOST = 4096
CELLS_A_BUCKET = 5_000_000  # of a quarter of a million snapshots: two buckets in memory take a few hundred megabytes
BYTES_A_CELL = 7  # of CSV


def bucket(
    folder: Path,
    out: Path,
    settings: Settings,
    *,
    buckets: int | None = None,
    batch: Batch | None = None,
    say: Say = lambda _: None,
) -> Manifest:
    """Check `folder` and write it as a bucketed folder `out`; what is written is as its manifest says.

    Args:
        folder: data folder of <table>.csv or <table>.parquet.
        out: must not be there, or be empty, and not lie inside `folder`.
        settings: in force; those that shape the tables are kept in the manifest.
        buckets: how many; None means about a quarter of a million snapshots each.
        batch: how much of a file is held at once.
        say: told which step has begun.

    Raises:
        CheckFailed: the data have errors; nothing is written.
        DataError: the folder or `out` cannot be used, or writing failed; nothing is left at `out`.
    """
    _require_usable(folder, out)
    files, findings = table_files(folder)
    count = buckets or default_buckets(files)
    # pieces of a batch are kept by bucket: larger batches, where there are many
    rows = min(max(250_000, 250 * count), 1_000_000)
    place = out.resolve()
    partial = place.parent / f".{place.name}-partial-{uuid4().hex[:8]}"
    try:
        with writing(out):
            partial.mkdir(parents=True)
            spill_folder = partial / "spill"
            spill_folder.mkdir()
        with ExitStack() as stack:
            with writing(out):
                spills = {name: stack.enter_context(Spill(spill_folder / name, count)) for name in (*ORDER, PEOPLE)}
            read = _read(files, findings, spills, count, settings, batch or Batch(rows, 128 * rows), out, say)
            written = write_parts(read, partial, count, settings, out=out, say=say)
            say("checking")
            report = _report(read, written, count, settings)
        if not report.ok:
            raise CheckFailed(report)
        frames = converted(read.whole, settings, read.base).by_name()
        with writing(out):
            whole = {table: save(partial / f"{table}.parquet", frames[table]) for table in WHOLE}
            manifest = _manifest(read, written, whole, report, settings, _source(folder, files))
            shutil.rmtree(spill_folder)
            (partial / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")
            if place.exists():
                place.rmdir()
            partial.rename(place)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest


def default_buckets(files: dict[str, Path]) -> int:
    """As many that one holds about 250,000 snapshots, by the Parquet files' own counts or the size of CSV files."""
    cells = sum(_cells(file) for table, file in files.items() if table in ORDER)
    return max(1, min(MOST, -(-cells // CELLS_A_BUCKET)))


def _cells(file: Path) -> int:
    if file.suffix.lower() != ".parquet":
        return file.stat().st_size // BYTES_A_CELL
    try:
        scan = pl.scan_parquet(file, glob=False)
        return int(scan.select(pl.len()).collect().item()) * len(scan.collect_schema())
    except (PolarsError, OSError):
        return 0  # reading it says what is wrong


def _require_usable(folder: Path, out: Path) -> None:
    if is_bucketed(folder):
        raise DataError(f"{folder} is a bucketed folder already: give the data folder it was made from.")
    inside, place = folder.resolve(), out.resolve()
    if place == inside or inside in place.parents:
        raise DataError(f"OUT {out} lies inside the data folder {folder}: choose a folder outside it.")
    if out.exists() and not out.is_dir():
        raise DataError(f"OUT {out} is a file: choose a folder that is not there yet.")
    if out.is_dir() and any(out.iterdir()):
        raise DataError(f"OUT {out} is not empty: choose a folder that is not there yet, or remove it.")


def _source(folder: Path, files: dict[str, Path]) -> str:
    """A digest of names and sizes: cheap, and other once a file has grown."""
    said = "\n".join(f"{file.relative_to(folder)} {file.stat().st_size}" for file in sorted(files.values()))
    return hashlib.sha256(said.encode()).hexdigest()


def _read(
    files: dict[str, Path],
    findings: list[Finding],
    spills: dict[str, Spill],
    count: int,
    settings: Settings,
    batch: Batch,
    out: Path,
    say: Say,
) -> FirstPass:
    whole, streams, found = {}, {}, list(findings)
    for table, file in files.items():
        say(f"reading {file.name}")
        if table in ORDER:
            with writing(out, (OSError,)):
                streams[table] = stream(table, file, spills, count, settings, batch)
            found += streams[table].findings
        else:
            frame, reading = read_table(table, file)
            found += reading
            if frame is not None:
                whole[table] = frame
    tables = build(whole, settings)
    dated = any(one.dated for one in streams.values())
    cells = cell_findings(tables) + placed([f for one in streams.values() for f in one.cells], dated=dated)
    named = named_currencies(tables).union(*(one.currencies for one in streams.values()))
    any_creator = "creators" in streams and streams["creators"].named
    return FirstPass(spills, tables, tuple(found + _by_table(cells)), only_currency(named, settings), any_creator)


def _by_table(findings: list[Finding]) -> list[Finding]:
    order = {name: at for at, name in enumerate(TABLES)}
    return sorted(findings, key=lambda finding: order.get(finding.table, -1))


def _report(read: FirstPass, written: Written, count: int, settings: Settings) -> Report:
    """The rules over everything, and what they and both passes found."""
    whole, base, seen = read.whole, read.base, written.seen
    placements = AllPlacements(written.ruled)
    findings = [
        *read.findings,
        *row_rules(seen, whole, placements),
        *rate_findings(whole, merged_gaps(seen.gaps), settings, base),
        *market_rules(seen, whole, placements, people_by_bucket(read.spills[PEOPLE], count)),
    ]
    rows = {**seen.rows, **{table: whole.by_name()[table].height for table in WHOLE}}
    return Report(
        findings=tuple(sorted(findings, key=lambda finding: finding.severity != "error")),
        rows={table: rows[table] for table in TABLES},
        dates={table: seen.dates[table] for table in TABLES if table in seen.dates},
        base_currency=base,
        missing=lacking(whole, placements),
    )


def _manifest(
    read: FirstPass, written: Written, whole: dict[str, FileFacts], report: Report, settings: Settings, source: str
) -> Manifest:
    facts = written.seen.facts
    return Manifest(
        base_currency=report.base_currency,
        shaped_by=Shaping.of(settings),
        source=source,
        rows=report.rows,
        dates=report.dates,
        oldest_fact=min(facts, default=None),
        newest_fact=max(facts, default=None),
        commission_only_rate=commission_only_rate(replace(read.whole, placements=written.paid)),
        findings=report.findings,
        missing=report.missing,
        whole=whole,
        parts=written.parts,
    )
