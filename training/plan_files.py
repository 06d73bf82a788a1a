"""Planning budgets from files of briefs, each with its `plan`; the answers as a table, text or charts."""

from functools import partial
from pathlib import Path

import polars as pl
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from features.plan_options import parse_plan_json
from serving.plan_answers import PlanAnswer
from serving.planning import plan
from training import plan_words
from training.plan_html import page
from training.rank_files import (
    COLUMNS,
    TABLE_ENDINGS,
    Refused,
    answer_file,
    pick_row,
    require_ending,
    write_beside,
    write_table,
)

PAGE_ENDING = ".html"
# words that a terminal has no room for
PAGE_COLUMN = "why"
PLAN_COLUMNS: dict[str, type[pl.DataType]] = {
    **COLUMNS, "deliverable": pl.String, "spend": pl.Float64, "value_added": pl.Float64,
    "posting_position": pl.Int64, "replacement": pl.String,
}  # fmt: skip


def plan_file(path: Path, home: Path, *, out: Path | None = None, refused: Refused | None = None) -> list[PlanAnswer]:
    """Plans of every brief in a file; written to `out` where one is given.

    Args:
        path: a .json or .jsonl file of briefs.
        home: what is published there plans.
        out: .csv, .parquet or .json for the table of picks, .html for charts.
        refused: see `answer_file`.

    Raises:
        DataError: as `answer_file`, or `out` cannot be written.
    """
    if out is not None:
        require_ending(out, (*TABLE_ENDINGS, PAGE_ENDING))
    charts = out is not None and out.suffix == PAGE_ENDING
    answers = answer_file(path, home, parse_plan_json, partial(plan, curve=charts), refused)
    if out is not None and charts:
        write_beside(out, lambda beside: beside.write_text(page(answers), encoding="utf-8"))
    elif out is not None:
        write_table(plan_table(answers), out)
    return answers


def plan_table(answers: list[PlanAnswer]) -> pl.DataFrame:
    """A row a pick, by `PLAN_COLUMNS`; `replacement` is the creator to ask where the pick declines."""
    return pl.DataFrame([row for answer in answers for row in _rows(answer)], schema=PLAN_COLUMNS)


def readable(answer: PlanAnswer) -> RenderableType:
    """One plan for people: the picks, the alternatives beside it, and what to conclude."""
    tables = [
        plan_words.pick_table(answer),
        plan_words.alternatives_table(answer),
        plan_words.sensitivity_table(answer),
    ]
    picks, beside, sensitivity = (_drawn(table) for table in tables)
    return Group(
        Text(plan_words.head(answer)),
        *map(Text, plan_words.summary(answer)),
        picks,
        beside,
        *map(Text, plan_words.conclusions(answer)),
        sensitivity,
        *(Text(f"Note: {note}") for note in answer.notes),
        *map(Text, plan_words.basis(answer)),
    )


def _rows(answer: PlanAnswer) -> list[dict[str, object]]:
    position = {creator: place for place, creator in enumerate(answer.posting_order, start=1)}
    return [
        {
            **pick_row(answer, pick),
            "deliverable": pick.deliverable,
            "spend": pick.spend,
            "value_added": pick.value_added,
            "posting_position": position.get(pick.creator_id),
            "replacement": None if pick.replacement is None else pick.replacement.creator_id,
        }
        for pick in answer.plan.picks
    ]


def _drawn(table: plan_words.TextTable) -> Table:
    shown = [place for place, column in enumerate(table.columns) if column != PAGE_COLUMN]
    drawn = Table(title=Text(table.title), title_justify="left")
    for place in shown:
        column = table.columns[place]
        drawn.add_column(column, justify="right" if table.is_numeric(column) else "left", overflow="fold")
    for row in table.rows:
        drawn.add_row(*(Text(row[place]) for place in shown))
    return drawn
