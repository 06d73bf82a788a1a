"""What `backtest` says: tables for the terminal, and the same as frames for MLflow."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict

import polars as pl
from rich.console import RenderableType
from rich.table import Table

from training.backtest import MODEL, Backtest
from training.evaluation import Evaluation
from training.gate import judge_promotion
from training.ranges import Range, Ranges
from training.split import iso
from training.tier_table import tier_report, tier_sentences
from training.truth_judge import TruthResult

CANNOT_TELL = (
    "What history cannot tell: how creators would have done whom nobody booked, so whether picks would have been good; "
    "it shows only how well the outcomes of those who were booked were foretold."
)
TRUTH_COLUMNS = {
    "oracle_share": "share of oracle",
    "lift": "lift",
    "ndcg": "NDCG@10",
    "regret": "regret/brief",
    "promise": "promise/delivery",
    "decile_error": "decile error",
    "coverage": "in 80 %: all",
    "coverage_picks": "picks",
}


def show(found: Evaluation) -> Iterator[RenderableType]:
    """Everything for the terminal, in the order of what matters most: sentences are strings."""
    if found.truth is not None:
        yield truth_table(found.truth)
        yield truth_slice_table(found.truth)
        if found.truth.pool.unanswered:
            yield f"{found.truth.pool.unanswered} briefs have no answer: nobody fits, or their goal could not be learnt"
    if found.no_truth:
        yield found.no_truth
    if found.history is None:
        rows = (len(found.split.train), len(found.split.test))
        yield judge_promotion(found.report.ok, None, rows).lines[-1]
    else:
        yield history_table(found.history, found.ranges)
        if found.history.missing:
            yield f"{found.history.missing}; judged is {found.history.target} alone"
        yield CANNOT_TELL
    yield tier_report(found.tiers)
    yield from tier_sentences(found.tiers)
    if found.follow is not None:
        yield "Following the model:"
        yield from found.follow.sentences()


def truth_table(result: TruthResult) -> Table:
    """How good the picks truly are, the rules beside the model."""
    facts = result.facts
    table = Table(
        title=f"Picks by the truth of {result.figures[MODEL].briefs} held-out briefs of the SYNTHETIC world "
        f"{facts['world']}: ten picks of up to {facts['pool']} candidates, money in {facts['currency']}; in 80 %: "
        "drawn ROIs inside their interval",
        title_justify="left",
    )
    table.add_column("picked by")
    for heading in TRUTH_COLUMNS.values():
        table.add_column(heading, justify="right")
    for row in truth_frame(result).iter_rows(named=True):
        cells = [_cell(column, row[column]) for column in TRUTH_COLUMNS]
        if row["oracle_low"] is not None:
            cells[0] += f" [{row['oracle_low']:.2f}, {row['oracle_high']:.2f}]"
        table.add_row(row["picked_by"], *cells, style="bold" if row["picked_by"] == MODEL else None)
    return table


def truth_frame(result: TruthResult) -> pl.DataFrame:
    """Figures of the model and each rule, the model first and then by share of oracle."""
    names = sorted(result.figures, key=lambda name: (name != MODEL, -result.figures[name].oracle_share))
    return pl.DataFrame([{"picked_by": name, **_known(asdict(result.figures[name]))} for name in names])


def truth_slice_frame(result: TruthResult) -> pl.DataFrame:
    """The same by goal, tier, platform and history of the creator."""
    return pl.DataFrame(
        [
            {"slice": kind, "member": member, "picked_by": name, **_known(asdict(figures))}
            for kind, members in result.slices.items()
            for member, by_name in members.items()
            for name, figures in by_name.items()
        ],
        infer_schema_length=None,
    )


def truth_slice_table(result: TruthResult) -> Table:
    """Share of oracle and lift within each slice, the best rule beside the model."""
    rule = result.best_rule
    table = Table(title=f"By slice: model ({rule})", title_justify="left")
    for heading in ("slice", "member", "briefs", "share of oracle", "lift over pool", "picks in 80 %"):
        table.add_column(heading, justify="left" if heading in ("slice", "member") else "right")
    for kind, members in result.slices.items():
        for member, by_name in members.items():
            model, other = by_name[MODEL], by_name[rule]
            table.add_row(
                kind, member, str(model.briefs), _pair(model.oracle_share, other.oracle_share),
                _pair(model.lift, other.lift), _cell("lift", _known({"": model.coverage_picks})[""]),
            )  # fmt: skip
    return table


def history_table(result: Backtest, ranges: Mapping[str, Ranges]) -> Table:
    """How well later placements were foretold, with 90 % intervals that resample campaigns."""
    table = Table(
        title=f"Later placements: {result.target} of {len(result.judged)} agreed from {iso(result.split.opens)}, "
        f"taught by {len(result.split.train)} settled before; 90 % intervals resample campaigns",
        title_justify="left",
    )
    headings = ("prediction", "deviance (less is better)", "the model's gain on it", "predicted / actual",
                "captured by best tenth", "rank correlation")  # fmt: skip
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "prediction" else "right")
    for name in sorted(result.metrics, key=lambda name: (name != MODEL, result.metrics[name].deviance)):
        metrics, found = result.metrics[name], ranges[name]
        table.add_row(
            name, f"{metrics.deviance:.3f}", "-" if name == MODEL else _ranged(found.gain), _ranged(found.calibration),
            _ranged(found.captured[0.1]), _cell("spearman", _known({"": metrics.spearman})[""]),
            style="bold" if name == MODEL else None,
        )  # fmt: skip
    return table


def history_frame(result: Backtest, ranges: Mapping[str, Ranges]) -> pl.DataFrame:
    """The same in numbers, and what is captured at other shares."""
    rows = []
    for name, found in ranges.items():
        row: dict[str, object] = {"prediction": name, "deviance": result.metrics[name].deviance}
        figures = {"gain": found.gain, "calibration": found.calibration}
        figures |= {f"captured_{share:.2f}": one for share, one in found.captured.items()}
        for figure, one in figures.items():
            row |= {figure: one.figure, f"{figure}_low": one.low, f"{figure}_high": one.high}
        rows.append({**row, "spearman": result.metrics[name].spearman})
    return pl.DataFrame(rows, infer_schema_length=None)


def _pair(own: float, other: float) -> str:
    return " ".join(["-" if math.isnan(own) else f"{own:.2f}", "(-)" if math.isnan(other) else f"({other:.2f})"])


def _ranged(one: Range) -> str:
    return f"{one.figure:.3f} [{one.low:.2f}, {one.high:.2f}]"


def _cell(column: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if column == "regret" else f"{value:.2f}" if column == "lift" else f"{value:.3f}"


def _known(figures: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in figures.items()}
