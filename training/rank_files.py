"""Ranking briefs from files: one JSON brief, or one a line; the answer as a table."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import polars as pl
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from features.brief import Brief, parse_brief_json
from features.errors import DataError
from serving.answers import Pick, RankAnswer
from serving.plan_answers import PlanAnswer
from serving.ranking import rank
from serving.release import load_release

Asked = TypeVar("Asked", bound=Brief)
Answered = TypeVar("Answered", RankAnswer, PlanAnswer)
Refused = Callable[[DataError], object]

TABLE_ENDINGS = (".csv", ".parquet", ".json")
COLUMNS: dict[str, type[pl.DataType]] = {
    "brief_id": pl.String, "rank": pl.Int64, "creator_id": pl.String, "tier": pl.String, "platform": pl.String,
    "fee": pl.Float64, "fee_source": pl.String, "value": pl.Float64, "roi": pl.Float64, "roi_low": pl.Float64,
    "roi_high": pl.Float64, "p_profit": pl.Float64, "expected_impressions": pl.Float64,
    "expected_engagements": pl.Float64, "expected_conversions": pl.Float64, "model_version": pl.String,
}  # fmt: skip


def rank_file(path: Path, home: Path, refused: Refused | None = None) -> tuple[list[RankAnswer], pl.DataFrame]:
    """Answers of every brief in a file, and their picks as one table; see `answer_file`."""
    answers = answer_file(path, home, parse_brief_json, rank, refused)
    rows = [pick_row(answer, pick) for answer in answers for pick in answer.picks]
    return answers, pl.DataFrame(rows, schema=COLUMNS)


def answer_file(
    path: Path, home: Path, parse: Callable[[str], Asked], ask: Callable[..., Answered], refused: Refused | None = None
) -> list[Answered]:
    """What the release of a home says to every brief in a file, in their order.

    Args:
        path: a .json or .jsonl file.
        home: what is published there answers.
        parse: JSON text -> brief.
        ask: release, brief and `request_id` -> answer.
        refused: is told of a brief that cannot be answered, and the others are; None raises at the first.

    Raises:
        DataError: the file or a brief in it is wrong (the line is named), no brief can be answered, or nothing is
            published.
    """
    briefs = read_briefs(path, parse)
    release = load_release(home)
    answers: list[Answered] = []
    errors: list[DataError] = []
    given = {brief.brief_id for brief in briefs}
    for number, brief in enumerate(briefs, start=1):
        # a brief without an id is known by its place in the file, unless another is called so
        name = str(number) if str(number) not in given else f"number {number} of the file"
        named = brief if brief.brief_id else brief.model_copy(update={"brief_id": name})
        try:
            answers.append(ask(release, named, request_id=f"brief-{number}"))
        except DataError as error:
            errors.append(DataError(f"{path.name}, brief {number}: {error}", field=error.field))
            if refused is None or len(errors) == len(briefs):
                raise errors[0] from error
    if refused is not None:
        for one in errors:
            refused(one)
    return answers


def read_briefs(path: Path, parse: Callable[[str], Asked]) -> list[Asked]:
    """Briefs, each read by `parse`, of a .json file (one) or a .jsonl file (one a line).

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
        return [_parsed(path, text, None, parse)]
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if not lines:
        raise DataError(f"{path.name} holds no brief: write one JSON object a line")
    return [_parsed(path, line, number, parse) for number, line in lines]


def write_table(table: pl.DataFrame, path: Path) -> None:
    """Write picks as .csv, .parquet or .json, beside and then renamed.

    Raises:
        DataError: another ending, or writing failed.
    """
    require_ending(path, TABLE_ENDINGS)
    writers: dict[str, Callable[[Path], object]] = {
        ".csv": table.write_csv,
        ".parquet": table.write_parquet,
        ".json": table.write_json,
    }
    write_beside(path, writers[path.suffix])


def require_ending(path: Path, endings: Sequence[str]) -> None:
    """Refuse a file to write whose ending says no known format.

    Raises:
        DataError: naming the endings.
    """
    if path.suffix not in endings:
        raise DataError(f"{path.name}: write to a {', '.join(endings[:-1])} or {endings[-1]} file")


def write_beside(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside its place, then rename it: it is whole or not there.

    Raises:
        DataError: writing failed.
    """
    beside = path.with_name(f".{path.name}.part")
    try:
        write(beside)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise DataError(f"{path} cannot be written: {error}") from error


def readable(answer: RankAnswer) -> RenderableType:
    """One answer as a table for people, with the strongest reason of each pick."""
    table = Table("rank", "creator", "platform", "tier", "fee", "value", "ROI", "80 % interval", "P(profit)", "why")
    for pick in answer.picks:
        cells = (
            str(pick.rank),
            creator_name(pick),
            pick.platform,
            pick.tier,
            f"{amount(pick.fee)} ({pick.fee_source})",
            amount(pick.expected.value),
            ratio(pick.roi),
            f"{ratio(pick.roi_low)} to {ratio(pick.roi_high)}",
            percent(pick.p_profit),
            pick.reasons[0].text if pick.reasons else "",
        )
        # a name may hold what the terminal's markup means something by
        table.add_row(*map(Text, cells))
    removed = ", ".join(f"{reason} {count}" for reason, count in answer.filtered_out.items())
    head = head_line(answer, f"{len(answer.picks)} picks")
    lines = [f"value = {answer.value_basis['formula']}", *([f"filtered out: {removed}"] if removed else [])]
    return Group(Text(head), table, *map(Text, lines))


def head_line(answer: RankAnswer | PlanAnswer, what: str) -> str:
    """Which brief was answered with what, from how many creators, by which model."""
    basis = answer.value_basis
    return (
        f"Brief {answer.brief_id}: {what} of {answer.considered} creators, goal {basis['goal']}, "
        f"amounts in {answer.currency}, data as of {answer.data_as_of}, model {answer.model_version}"
        + (" - SYNTHETIC DATA" if basis.get("synthetic") else "")
    )


def pick_row(answer: RankAnswer | PlanAnswer, pick: Pick) -> dict[str, object]:
    """A pick by `COLUMNS`."""
    return {
        "brief_id": answer.brief_id,
        **{name: getattr(pick, name) for name in ("rank", "creator_id", "tier", "platform", "fee", "fee_source")},
        "value": pick.expected.value,
        **{name: getattr(pick, name) for name in ("roi", "roi_low", "roi_high", "p_profit")},
        "expected_impressions": pick.expected.impressions,
        "expected_engagements": pick.expected.engagements,
        "expected_conversions": pick.expected.conversions,
        "model_version": answer.model_version,
    }


def creator_name(pick: Pick) -> str:
    """A creator's name with the id that tables know it by."""
    return f"{pick.username} ({pick.creator_id})" if pick.username else pick.creator_id


def amount(value: float | None) -> str:
    """An amount of money or a count; decimals only where it is small.

    >>> amount(12345.6), amount(2.0), amount(0.25), amount(None)
    ('12,346', '2', '0.25', '-')
    """
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 10 or value == round(value) else f"{value:.2g}"


def ratio(value: float | None) -> str:
    """An ROI.

    >>> ratio(0.5), ratio(-0.001), ratio(None)
    ('+0.50', '+0.00', '-')
    """
    return "-" if value is None else f"{round(value, 2) + 0.0:+.2f}"


def percent(value: float | None) -> str:
    """A share or a probability.

    >>> percent(0.814), percent(None)
    ('81%', '-')
    """
    return "-" if value is None else f"{value:.0%}"


def _parsed(path: Path, text: str, line: int | None, parse: Callable[[str], Asked]) -> Asked:
    try:
        return parse(text)
    except DataError as error:
        where = path.name if line is None else f"{path.name}, line {line}"
        raise DataError(f"{where}: {error}", field=error.field) from error
