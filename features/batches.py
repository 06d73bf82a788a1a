"""A file of a data folder in batches, for files larger than memory; each batch reads as the whole file would."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from features.reading import csv_header, csv_rows, empty, not_utf8, unreadable_parquet

# A record beyond this is a quote that was never closed, and would have to be held in memory whole.
LONGEST_RECORD = 64 << 20
_BOM = b"\xef\xbb\xbf"


class Unreadable(Exception):
    """A file cannot be read to its end; the message says why and what to do."""


def raw_batches(table: str, file: Path, *, rows: int, size: int) -> Iterator[pl.DataFrame]:
    """The file's rows in order, columns as `features.reading.typed` takes them.

    The first batch may have no row; no batch is without columns.

    Args:
        table: name of the contract's table.
        file: .csv or .parquet.
        rows: of a Parquet batch.
        size: bytes of a CSV batch, at least a record each.

    Raises:
        Unreadable: the file is empty, cut short, not UTF-8 or not a table; possibly after some batches.
    """
    if file.stat().st_size == 0:
        raise Unreadable(empty(file))
    yield from _parquet(file, rows) if file.suffix.lower() == ".parquet" else _csv(table, file, size)


def _parquet(file: Path, rows: int) -> Iterator[pl.DataFrame]:
    try:
        scan = pl.scan_parquet(file, glob=False)
        yield pl.DataFrame(schema=scan.collect_schema())
        yield from scan.collect_batches(chunk_size=rows, maintain_order=True)
    except (PolarsError, OSError) as problem:
        raise Unreadable(unreadable_parquet(file, problem)) from problem


def _csv(table: str, file: Path, size: int) -> Iterator[pl.DataFrame]:
    try:
        yield from _csv_batches(table, file, size)
    except OSError as problem:
        raise Unreadable(f"{file.name} cannot be read ({problem.strerror}). Copy or write it again.") from problem


def _csv_batches(table: str, file: Path, size: int) -> Iterator[pl.DataFrame]:
    """Batches of whole records, each read with the file's header before it."""
    with file.open("rb") as source:
        data, end, last = b"", 0, False
        while not (end or last):
            more = source.read(max(size, 1 << 16))
            data, last = data + more, not more
            end = _first_end(data)
            _refuse_endless(data, end, file, 0)
        names, problem = csv_header(table, data, file.name)
        problem = not_utf8(data[:2], file.name) if data[:2] in (b"\xff\xfe", b"\xfe\xff") else problem
        if problem:
            raise Unreadable(problem)
        header, data = (data[:end], data[end:]) if end else (data, b"")
        ahead = line = header.count(b"\n")
        first = True
        while data or first or not last:
            end = len(data) if last else _last_end(data)
            _refuse_endless(data, end, file, line)
            if end or first:
                piece, data = data[:end], data[end:]
                yield _read(header + piece, len(names), file.name, line - ahead)
                line += piece.count(b"\n")
                first = False
            if not last:
                more = source.read(size)
                data, last = data + more, not more


def _read(data: bytes, width: int, name: str, before: int) -> pl.DataFrame:
    problem = not_utf8(data, name, before)
    frame, reason = (None, problem) if problem else csv_rows(data, width, name, before)
    if frame is None:
        raise Unreadable(reason or f"{name} could not be read.")
    return frame


def _refuse_endless(data: bytes, end: int, file: Path, line: int) -> None:
    if not end and len(data) > LONGEST_RECORD:
        raise Unreadable(
            f"{file.name} has a record of more than {LONGEST_RECORD >> 20} MB from line {line + 1} on: "
            "a double quote there is not closed. Mend the file."
        )


def _first_end(data: bytes) -> int:
    """Where the first record that is not blank ends: behind a line end outside quotes. 0: not in these bytes."""
    start = len(_BOM) if data.startswith(_BOM) else 0
    while data[start : start + 1] in (b"\r", b"\n"):
        start += 1
    quotes, end = 0, start
    while (found := data.find(b"\n", end) + 1) > 0:
        quotes += data.count(b'"', end, found)
        end = found
        if quotes % 2 == 0:
            return end
    return 0


def _last_end(data: bytes) -> int:
    """Where the last complete record ends; `data` begins with a record. 0: not in these bytes."""
    end = data.rfind(b"\n") + 1
    quotes = data.count(b'"', 0, end)
    while end and quotes % 2:
        earlier = data.rfind(b"\n", 0, end - 1) + 1
        quotes -= data.count(b'"', earlier, end)
        end = earlier
    return end
