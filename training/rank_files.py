"""Ranking briefs from files: one JSON brief, or one a line; the answer as a table."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
from rich.console import Group, RenderableType
from rich.table import Table

from features.brief import Brief, parse_brief_json
from features.errors import DataError
from serving.answers import RankAnswer
from serving.ranking import rank
from serving.release import load_release

COLUMNS: dict[str, type[pl.DataType]] = {
    "brief_id": pl.String, "rank": pl.Int64, "creator_id": pl.String, "tier": pl.String, "platform": pl.String,
    "fee": pl.Float64, "fee_source": pl.String, "value": pl.Float64, "roi": pl.Float64, "roi_low": pl.Float64,
    "roi_high": pl.Float64, "p_profit": pl.Float64, "expected_impressions": pl.Float64,
    "expected_engagements": pl.Float64, "expected_conversions": pl.Float64, "model_version": pl.String,
}  # fmt: skip


def rank_file(path: Path, home: Path) -> tuple[list[RankAnswer], pl.DataFrame]:
    """Answers of every brief in a file, and their picks as one table.

    Raises:
        DataError: the file or a brief in it is wrong (the line is named), or nothing is published.
    """
    briefs = read_briefs(path)
    release = load_release(home)
    answers = []
    given = {brief.brief_id for brief in briefs}
    for number, brief in enumerate(briefs, start=1):
        # a brief without an id is known by its place in the file, unless another is called so
        name = str(number) if str(number) not in given else f"number {number} of the file"
        named = brief if brief.brief_id else brief.model_copy(update={"brief_id": name})
        try:
            answers.append(rank(release, named, request_id=f"brief-{number}"))
        except DataError as error:
            raise DataError(f"{path.name}, brief {number}: {error}", field=error.field) from error
    return answers, pl.DataFrame([row for answer in answers for row in _rows(answer)], schema=COLUMNS)


def read_briefs(path: Path) -> list[Brief]:
    """Briefs of a .json file (one) or a .jsonl file (one a line).

    Raises:
        DataError: naming the line.
    """
    if path.suffix not in (".json", ".jsonl"):
        raise DataError(f"{path.name}: briefs are read from a .json file (one) or a .jsonl file (one a line)")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"there is no file {path}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path.name} is not UTF-8: save it as UTF-8") from None
    if path.suffix == ".json":
        return [_parsed(path, text, None)]
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if not lines:
        raise DataError(f"{path.name} holds no brief: write one JSON object a line")
    return [_parsed(path, line, number) for number, line in lines]


def write_table(table: pl.DataFrame, path: Path) -> None:
    """Write picks as .csv, .parquet or .json, beside and then renamed.

    Raises:
        DataError: another ending.
    """
    writers: dict[str, Callable[[Path], object]] = {
        ".csv": table.write_csv,
        ".parquet": table.write_parquet,
        ".json": table.write_json,
    }
    if path.suffix not in writers:
        raise DataError(f"{path.name}: write to a .csv, .parquet or .json file")
    beside = path.with_name(f".{path.name}.part")
    try:
        writers[path.suffix](beside)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise DataError(f"{path} cannot be written: {error}") from error


def readable(answer: RankAnswer) -> RenderableType:
    """One answer as a table for people, with the strongest reason of each pick."""
    basis = answer.value_basis
    head = (
        f"Brief {answer.brief_id}: {len(answer.picks)} picks of {answer.considered} creators, goal {basis['goal']}, "
        f"amounts in {answer.currency}, data as of {answer.data_as_of}, model {answer.model_version}"
        + (" - SYNTHETIC DATA" if basis.get("synthetic") else "")
    )
    table = Table("rank", "creator", "platform", "tier", "fee", "value", "ROI", "80 % interval", "P(profit)", "why")
    for pick in answer.picks:
        table.add_row(
            str(pick.rank),
            f"{pick.username} ({pick.creator_id})" if pick.username else pick.creator_id,
            pick.platform,
            pick.tier,
            f"{_amount(pick.fee)} ({pick.fee_source})",
            _amount(pick.expected.value),
            _ratio(pick.roi),
            f"{_ratio(pick.roi_low)} to {_ratio(pick.roi_high)}",
            "-" if pick.p_profit is None else f"{pick.p_profit:.0%}",
            pick.reasons[0].text if pick.reasons else "",
        )
    removed = ", ".join(f"{reason} {count}" for reason, count in answer.filtered_out.items())
    lines: list[RenderableType] = [head, table, f"value = {basis['formula']}"]
    return Group(*lines, *([f"filtered out: {removed}"] if removed else []))


def _rows(answer: RankAnswer) -> list[dict[str, object]]:
    return [
        {
            "brief_id": answer.brief_id,
            **{name: getattr(pick, name) for name in ("rank", "creator_id", "tier", "platform", "fee", "fee_source")},
            "value": pick.expected.value,
            **{name: getattr(pick, name) for name in ("roi", "roi_low", "roi_high", "p_profit")},
            "expected_impressions": pick.expected.impressions,
            "expected_engagements": pick.expected.engagements,
            "expected_conversions": pick.expected.conversions,
            "model_version": answer.model_version,
        }
        for pick in answer.picks
    ]


def _parsed(path: Path, text: str, line: int | None) -> Brief:
    try:
        return parse_brief_json(text)
    except DataError as error:
        where = path.name if line is None else f"{path.name}, line {line}"
        raise DataError(f"{where}: {error}", field=error.field) from error


def _amount(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{round(value, 2) + 0.0:+.2f}"
