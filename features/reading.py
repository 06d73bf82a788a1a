"""A data folder (CSV or Parquet, one file a table) into `Tables`, with findings for what could not be read."""

import csv
import io
from difflib import get_close_matches
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from features.cells import parse, present
from features.check_cells import out_of_range
from features.contract import ACTIONS, TABLES, Column, columns
from features.errors import DataError
from features.findings import Finding, error, first_ids, quoted, warning
from features.settings import Settings
from features.tables import CARRIED, Tables, build

SUFFIXES = (".csv", ".parquet")
# Files somebody may have meant as a table; anything else (a README, a licence) passes without a word.
_DATA_SUFFIXES = frozenset(
    (*SUFFIXES, ".tsv", ".txt", ".xls", ".xlsx", ".json", ".jsonl", ".pq", ".feather", ".gz", ".zip", ".db", ".sqlite")
)
_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}


def read_folder(path: Path, settings: Settings) -> tuple[Tables, list[Finding]]:
    """Read every contract table in `path`.

    Cells that cannot be read become null, with an error finding a column; so do missing tables and columns.

    Raises:
        DataError: the folder is not there, or holds no contract table at all.
    """
    files, findings = table_files(path)
    frames = {}
    for table, file in files.items():
        frame, found = read_table(table, file)
        findings += found
        if frame is not None:
            frames[table] = frame
    return build(frames, settings), findings


def read_table(table: str, file: Path) -> tuple[pl.DataFrame | None, list[Finding]]:
    """One file whole, typed; None where it cannot be read."""
    raw, findings = _raw(table, file)
    if raw is None:
        return None, findings
    frame, found = typed(table, raw)
    return frame, findings + found


def typed(table: str, raw: pl.DataFrame) -> tuple[pl.DataFrame, list[Finding]]:
    """A raw frame (strings or native types) to the contract's columns and types, with findings about its columns.

    >>> frame, findings = typed("fx", pl.DataFrame({"date": ["2025-01-31"], "currency": ["sgd"], "rate": ["x"]}))
    >>> frame["currency"].item(), [finding.column for finding in findings]
    ('SGD', ['rate'])
    """
    declared = _declared(table)
    sources, findings = _sources(table, raw.columns, declared)
    label = next(iter(columns(table)))
    cells: dict[str, pl.Series] = {}
    masks: dict[str, tuple[pl.Series, pl.Series]] = {}
    for name, source in sources.items():
        values, bad = parse(raw[source], declared[name].kind)
        cells[name] = values.alias(name)
        masks[name] = bad, ~present(raw[source])
    labels = cells.get(label, pl.repeat(None, raw.height, dtype=pl.String, eager=True))
    for name, (bad, blank) in masks.items():
        column = declared[name]
        if bad.any():
            seen = quoted(raw[sources[name]].filter(bad))
            message = f"cannot be read: {seen}. Expected {column.kind.expected}. Mend the values or leave them empty."
            findings.append(error(table, name, message, int(bad.sum()), first_ids(labels, bad)))
        if name in ACTIONS:
            # These are summed into engagements on the way to `Tables`: check them while they are still apart.
            findings += out_of_range(table, column, cells[name], labels)
        if column.value_required and blank.any():
            message = "is required but empty. Fill it in or remove the rows."
            findings.append(error(table, name, message, int(blank.sum()), first_ids(labels, blank)))
    return pl.DataFrame(cells) if cells else pl.DataFrame(), findings


def _declared(table: str) -> dict[str, Column]:
    declared = dict(columns(table))
    if table == "creators":
        declared |= {name: columns("creator_snapshots")[name] for name in CARRIED}
    return declared


def _sources(table: str, header: list[str], declared: dict[str, Column]) -> tuple[dict[str, str], list[Finding]]:
    """Which column of the file each declared column is read from."""
    findings: list[Finding] = []
    sources: dict[str, str] = {}
    for name, column in declared.items():
        given = [spelling for spelling in (name, *column.aliases) if spelling in header]
        if given:
            sources[name] = given[0]
        if len(given) > 1:
            message = f"is given twice, as {' and '.join(given)}: {given[0]} is used. Remove the other."
            findings.append(warning(table, name, message))
    accepted = [spelling for name, column in declared.items() for spelling in (name, *column.aliases)]
    unknown = [name for name in header if name not in accepted]
    # A carried snapshot column is never required of the creators table.
    for name, column in columns(table).items():
        if column.column_required and name not in sources:
            spellings = " (or ".join((name, *column.aliases)) + ")" * len(column.aliases)
            close = _close(name, unknown)
            meant = f" Is it {close!r}? Rename that column to {name}." if close else f" Add a column {spellings}."
            findings.append(error(table, name, f"required column is missing.{meant}"))
    for name in unknown:
        close = _close(name, [spelling for spelling in accepted if spelling not in header])
        meant = f": did you mean {close}?" if close else ". Remove it, or see the contract for the names."
        findings.append(warning(table, name, f"unknown column, ignored{meant}"))
    return sources, findings


def _close(name: str, names: list[str]) -> str | None:
    folded = {other.strip().lower().replace(" ", "_"): other for other in names}
    close = get_close_matches(name.strip().lower().replace(" ", "_"), list(folded), n=1, cutoff=0.75)
    return folded[close[0]] if close else None


def table_files(path: Path) -> tuple[dict[str, Path], list[Finding]]:
    """The file of each table there is, and findings about the other files.

    Raises:
        DataError: the folder is not there, or holds no contract table at all.
    """
    expected = f"Expected creators, campaigns and placements (and optionally {', '.join(_optional())}), "
    expected += "each as <table>.csv or <table>.parquet."
    if not path.is_dir():
        what = "is a file, not a folder" if path.exists() else "is not there"
        raise DataError(f"The data folder {path} {what}. {expected}")
    found: dict[str, list[Path]] = {}
    findings: list[Finding] = []
    for file in sorted(path.iterdir()):
        table, suffix = file.stem.lower(), file.suffix.lower()
        if file.is_file() and table in TABLES and suffix in SUFFIXES:
            found.setdefault(table, []).append(file)
        elif suffix in _DATA_SUFFIXES and not file.name.startswith("."):
            findings.append(warning(file.name, None, _stray(file)))
    if not found:
        names = ", ".join(finding.table for finding in findings[:5])
        raise DataError(f"The data folder {path} holds no table{f' (only {names})' if names else ''}. {expected}")
    for table, declaration in TABLES.items():
        if declaration.required and table not in found:
            findings.append(error(table, None, f"required table is missing. Add {table}.csv or {table}.parquet."))
    for table, files in found.items():
        if len(files) > 1:
            names = " and ".join(file.name for file in files)
            message = f"is there twice, as {names}: which one counts is unclear. Remove one ({files[0].name} was read)."
            findings.append(error(table, None, message))
    return {table: files[0] for table, files in found.items()}, findings


def _optional() -> list[str]:
    return [name for name, declaration in TABLES.items() if not declaration.required]


def _stray(file: Path) -> str:
    stem, suffix = file.stem.lower(), file.suffix.lower()
    if stem in TABLES:
        return f"ignored: only .csv and .parquet files are read. Save it as {stem}.csv."
    close = _close(stem, list(TABLES))
    meant = f": did you mean {close}{suffix if suffix in SUFFIXES else '.csv'}?" if close else "."
    return f"ignored: no table of the contract has this name{meant}"


def _raw(table: str, file: Path) -> tuple[pl.DataFrame | None, list[Finding]]:
    """The file as a frame with stripped column names and without blank rows, or None and the reason."""
    frame: pl.DataFrame | None = None
    message: str | None
    if file.stat().st_size == 0:
        message = empty(file)
    elif file.suffix.lower() == ".parquet":
        frame, message = _parquet(file)
    else:
        frame, message = _csv(table, file)
    if frame is None:
        return None, [error(table, None, message or f"{file.name} could not be read.")]
    return frame, [] if frame.height else [no_rows(table, file)]


def empty(file: Path) -> str:
    """What to say of a file without a byte."""
    return f"{file.name} is empty. Fill it or remove it."


def no_rows(table: str, file: Path) -> Finding:
    """What to say of a file that has columns only."""
    severity = error if TABLES[table].required else warning
    return severity(table, None, f"{file.name} has a header but no rows.")


def unreadable_parquet(file: Path, problem: Exception) -> str:
    """What to say of a Parquet file that cannot be read."""
    reason = str(problem).splitlines()[0]
    return f"{file.name} is not a complete Parquet file ({reason}). Write or copy it again."


def _parquet(file: Path) -> tuple[pl.DataFrame | None, str | None]:
    try:
        return pl.read_parquet(file, glob=False), None
    except (PolarsError, OSError) as problem:
        return None, unreadable_parquet(file, problem)


def _csv(table: str, file: Path) -> tuple[pl.DataFrame | None, str | None]:
    data = file.read_bytes()
    names, bad_header = csv_header(table, data, file.name)
    problem = not_utf8(data, file.name) or bad_header
    return (None, problem) if problem else csv_rows(data, len(names), file.name)


def csv_header(table: str, data: bytes, file: str) -> tuple[list[str], str | None]:
    """Column names of a CSV file that begins with `data`, and what is wrong with them."""
    names = [name.strip() for name in next((row for row in csv.reader(io.StringIO(_head(data))) if row), [])]
    return names, _bad_header(table, names, file)


def csv_rows(data: bytes, width: int, file: str, before: int = 0) -> tuple[pl.DataFrame | None, str | None]:
    """CSV in UTF-8, header included, without blank rows; or None and the reason, with line numbers from `before` on."""
    try:
        # Without type inference: "007" stays an id, and one bad cell costs that cell, not the file.
        frame = pl.read_csv(data, infer_schema=False, raise_if_empty=False)
    except PolarsError as failure:
        reason = str(failure).splitlines()[0]
        return None, _ragged(data, width, file, before) or f"{file} is not valid CSV ({reason}). Mend the file."
    frame.columns = [name.strip() or f"(unnamed {at + 1})" for at, name in enumerate(frame.columns)]
    # A trailing comma on every line makes a column that says nothing.
    frame = frame.drop([name for name in frame.columns if name.startswith("(unnamed") and frame[name].is_null().all()])
    return frame.filter(pl.any_horizontal(pl.all().is_not_null())), None


def _head(data: bytes) -> str:
    return data[: 1 << 16].decode("utf-8-sig", errors="ignore").lstrip("\r\n")


def not_utf8(data: bytes, name: str, before: int = 0) -> str | None:
    """What is wrong with the encoding, with the line number counted from `before` on; None: nothing."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return f"{name} is UTF-16, not UTF-8. Save it as CSV UTF-8."
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as problem:
        line = before + data.count(b"\n", 0, problem.start) + 1
        return f"{name} is not UTF-8 (line {line}; it may be GBK or Windows-1252). Save it as CSV UTF-8."
    return None


def _bad_header(table: str, names: list[str], file: str) -> str | None:
    if not any(names):
        return f"{file} is empty. Fill it or remove it."
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        return f"{file} has two columns named {', '.join(twice)}. Remove or rename one."
    known = set(_declared(table)) | {alias for column in columns(table).values() for alias in column.aliases}
    if not known & set(names):
        for delimiter, word in _DELIMITERS.items():
            if any(delimiter in name for name in names):
                return f"{file} is separated by {word} ({delimiter!r}); commas are expected. Save it with commas."
    return None


def _ragged(data: bytes, width: int, file: str, before: int) -> str | None:
    """Which lines have more cells than the header: usually a comma in text or in a number, not quoted."""
    rows = csv.reader(io.StringIO(data.decode("utf-8-sig")))
    try:
        long = [str(before + rows.line_num) for row in rows if len(row) > width][:5]
    except csv.Error:
        return None
    if not long:
        return None
    return (
        f"{file} has lines with more cells than the header (line {', '.join(long)}). "
        "Put cells that contain a comma in double quotes."
    )
