"""The slate log read back as a table; what a power cut or a full disk tore is left out and counted."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError
from pydantic_core import from_json, to_json

from serving.slates import FOLDER

_EXPECTED = ("impressions", "engagements", "clicks", "conversions")
_PICK: dict[str, pl.DataType] = {
    "rank": pl.Int64(), "creator_id": pl.String(), "fee": pl.Float64(), "fee_source": pl.String(),
    "value": pl.Float64(), "roi": pl.Float64(), "roi_low": pl.Float64(), "roi_high": pl.Float64(),
    "p_profit": pl.Float64(), "expected": pl.Struct({name: pl.Float64() for name in _EXPECTED}),
    "explore": pl.Boolean(), "propensity": pl.Float64(),
}  # fmt: skip
_LINE: dict[str, pl.DataType] = {
    "time": pl.Datetime("us", "UTC"), "request_id": pl.String(), "brief_id": pl.String(), "brief": pl.String(),
    "model_version": pl.String(), "data_as_of": pl.String(), "feature_schema": pl.String(), "currency": pl.String(),
    "considered": pl.Int64(), "filtered_out": pl.String(), "picks": pl.List(pl.Struct(_PICK)),
}  # fmt: skip


@dataclass(frozen=True)
class Slates:
    """What a slate log holds.

    Attributes:
        picks: a row a pick, slates in the order of `time` (UTC) and picks in that of `rank`: what its line says of the
            slate (`brief` and `filtered_out` as JSON text) with the brief's `brief_id`, then what it says of the pick
            (`expected_impressions` and so on). All columns are there even where no slate is.
        damaged: lines that were left out: torn when a process or the disk's room ended, or no slates.
        unread: files that could not be read.
    """

    picks: pl.DataFrame
    damaged: int = 0
    unread: tuple[str, ...] = ()

    @property
    def warning(self) -> str | None:
        """What was left out, in a sentence, or None."""
        parts = [f"lines that are damaged ({self.damaged})"] if self.damaged else []
        parts += [f"files that cannot be read ({', '.join(self.unread)})"] if self.unread else []
        return f"left out of the slate log: {' and '.join(parts)}" if parts else None


def read_slates(home: Path) -> Slates:
    """The slates of a home, written by any number of processes, some of which may be writing."""
    frames, damaged, unread = [pl.DataFrame(schema=_LINE)], 0, []
    for path in sorted((home / FOLDER).glob("slates-*.jsonl")):
        try:
            lines = path.read_bytes().splitlines()
        except OSError:
            unread.append(path.name)
            continue
        parsed, torn = _parse([line for line in lines if line])
        frames += parsed
        damaged += torn
    slates = pl.concat(frames).sort("time", maintain_order=True)
    picks = slates.explode("picks", empty_as_null=False).unnest("picks").unnest("expected", separator="_")
    return Slates(picks, damaged, tuple(unread))


def _parse(lines: Sequence[bytes]) -> tuple[list[pl.DataFrame], int]:
    """Frames of the lines that are slates, and how many are not: halves of what fails are tried by themselves."""
    if not lines:
        return [], 0
    try:
        return [_frame(lines)], 0
    except (PolarsError, ValueError, LookupError, TypeError, AttributeError):
        if len(lines) == 1:
            return [], 1
    middle = len(lines) // 2
    (first, torn), (second, more) = _parse(lines[:middle]), _parse(lines[middle:])
    return first + second, torn + more


def _frame(lines: Sequence[bytes]) -> pl.DataFrame:
    """A row a slate; raises one of several errors where a line is not one."""
    texts: dict[str, list[str | None]] = {"brief_id": [], "brief": [], "filtered_out": []}
    for line in lines:
        slate = from_json(line)
        texts["brief_id"].append(slate["brief"].get("brief_id"))
        # Polars reads an object as text too, but does not escape what is in it
        for name in ("brief", "filtered_out"):
            texts[name].append(to_json(slate[name]).decode())
    in_line = {name: kind for name, kind in _LINE.items() if name not in texts} | {"time": pl.String()}
    frame = pl.read_ndjson(io.BytesIO(b"\n".join(lines)), schema=in_line)
    frame = frame.with_columns(
        pl.col("time").str.to_datetime("%+", time_unit="us", time_zone="UTC"),
        *(pl.Series(name, text, dtype=pl.String) for name, text in texts.items()),
    )
    if frame.select("time", "request_id", "picks").null_count().sum_horizontal().item():
        raise ValueError("not a slate")
    return frame.select(list(_LINE))
