"""What a run says in words and tables: on the terminal, in MLflow and in the model card."""

import re
from typing import Any

import numpy as np
import polars as pl
from rich.table import Table

from training.backtest import MODEL, Backtest
from training.dataset import Dataset
from training.gains import slice_gains
from training.metrics import TOP, Metrics
from training.ranges import history_ranges
from training.split import iso

COLUMNS = ("deviance", "calibration", "spearman", "captured", "top_roi")
HEADINGS = {
    "deviance": "deviance (less is better)",
    "calibration": "predicted / actual",
    "spearman": "rank correlation",
    "captured": "captured by best tenth",
    "top_roi": "realised ROI of best tenth",
}


def backtest_frame(result: Backtest) -> pl.DataFrame:
    """Model and rules, a row each, the model first and then by deviance."""
    names = sorted(result.metrics, key=lambda name: (name != MODEL, result.metrics[name].deviance))
    return pl.DataFrame(
        [{"prediction": name, **_figures(result.metrics[name])} for name in names], infer_schema_length=None
    )


def slice_frame(result: Backtest) -> pl.DataFrame:
    """Model and rules by goal, tier, platform, country and history of the creator; the model's gain and coverage."""
    gains = {(one.kind, one.member): one for one in slice_gains(result)}
    rows = []
    for kind, members in result.slices.items():
        for member, by_name in members.items():
            one = gains[kind, member]
            own = {"gain": one.gain, "gain_low": one.low, "gain_high": one.high, "coverage_80": _known(one.coverage)}
            for name, metrics in by_name.items():
                shown = own if name == MODEL else dict.fromkeys(own)
                rows.append({"slice": kind, "member": member, "prediction": name, **_figures(metrics), **shown})
    return pl.DataFrame(rows, infer_schema_length=None)


def worst_misses(result: Backtest, data: Dataset, placements: pl.DataFrame, most: int = 50) -> pl.DataFrame:
    """Placements that the model got most wrong, by absolute error, with what they were.

    Args:
        result: the backtest.
        data: features and labels.
        placements: whose creators they were: placement_id and creator_id.
        most: rows.
    """
    market, rows = data.market, result.judged
    p, predicted = market.placements, result.predicted[MODEL]
    frame = pl.DataFrame(
        {
            "placement_id": p.ids.gather(rows),
            "campaign_id": market.campaign_frame["campaign_id"].gather(p.campaign[rows]),
            "agreed_on": [iso(int(day)) for day in p.agreed[rows]],
            **{kind: result.members[kind] for kind in ("goal", "tier", "platform", "country")},
            "delivered": p.delivered[rows] > 0,
            "cost": pl.Series(p.cost[rows]).fill_nan(None),
            "predicted": predicted,
            "actual": result.actual,
        }
    ).with_columns((pl.col("actual") - pl.col("predicted")).alias("error"))
    worst = frame.sort(pl.col("error").abs(), descending=True).head(most)
    creators = placements.select("placement_id", "creator_id")
    named = worst.join(creators, on="placement_id", how="left", maintain_order="left")
    return named.select(
        "placement_id", "campaign_id", "creator_id", pl.exclude("placement_id", "campaign_id", "creator_id")
    )


def backtest_table(result: Backtest) -> Table:
    """The backtest as printed every time, baselines beside the model."""
    title = (
        f"Backtest: {result.target} of {len(result.judged)} placements agreed from {iso(result.split.opens)}, "
        f"taught by {len(result.split.train)} settled before"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("prediction")
    for column in COLUMNS:
        table.add_column(HEADINGS[column], justify="right")
    for row in backtest_frame(result).iter_rows(named=True):
        cells = ["-" if row[column] is None else f"{row[column]:.3f}" for column in COLUMNS]
        table.add_row(row["prediction"], *cells, style="bold" if row["prediction"] == MODEL else None)
    return table


def flat_metrics(result: Backtest) -> dict[str, float]:
    """Every figure under a name MLflow takes, which its UI groups by what stands before the last slash.

    The model's own: `deviance`, `gain_over_best_rule` with `_low` and `_high`; a rule's: `rule/followers/deviance`; a
    slice's: `goal/local/deviance`. What rules make of slices is in the table.
    """
    model, rule = result.metrics[MODEL], result.metrics[result.best_rule]
    ranges = history_ranges(result, result.campaign)[MODEL]
    captured = ranges.captured[TOP]
    out = model.as_dict() | {
        "deviance_best_rule": rule.deviance,
        "gain_over_best_rule": rule.deviance - model.deviance,
        "gain_over_best_rule_low": result.gain[0],
        "gain_over_best_rule_high": result.gain[1],
        "calibration_low": result.calibration_interval[0],
        "calibration_high": result.calibration_interval[1],
        "captured_low": captured.low,
        "captured_high": captured.high,
    }
    if result.coverage is not None:
        low, high = result.coverage_interval
        out |= {
            "coverage_80": result.coverage, "coverage_80_low": low, "coverage_80_high": high,
            "coverage_80_rows": float(result.covered_rows),
        }  # fmt: skip
    for name, metrics in result.metrics.items():
        if name != MODEL:
            out |= {f"rule/{plain(name)}/{figure}": value for figure, value in metrics.as_dict().items()}
    for one in slice_gains(result):
        by_name = result.slices[one.kind][one.member]
        figures = by_name[MODEL].as_dict() | {
            "deviance_best_rule": by_name[result.best_rule].deviance,
            "gain": one.gain,
            "gain_low": one.low,
            "gain_high": one.high,
            "coverage_80": one.coverage,
        }
        out |= {f"{one.kind}/{plain(one.member)}/{figure}": value for figure, value in figures.items()}
    return {name: value for name, value in out.items() if np.isfinite(value)}


def card_metrics(result: Backtest | None) -> dict[str, Any]:
    """The backtest as it stands in the model card."""
    if result is None:
        return {"judged": None, "why": "too few settled placements before and after a split in time"}
    model, rule = result.metrics[MODEL], result.metrics[result.best_rule]
    return {
        "judged": result.target,
        "why_not_value": result.missing,
        "window_opens": iso(result.split.opens),
        "rows": len(result.judged),
        "campaigns": len(np.unique(result.campaign)),
        "model": _figures(model),
        "baselines": {name: _figures(m) for name, m in result.metrics.items() if name != MODEL},
        "best_rule": result.best_rule,
        "gain_over_best_rule": _interval(rule.deviance - model.deviance, *result.gain),
        "calibration_interval": [_known(bound) for bound in result.calibration_interval],
        "coverage_80": result.coverage,
        "coverage_80_rows": result.covered_rows,
        "slices": [
            {"kind": one.kind, "member": one.member, "rows": one.rows, "campaigns": one.campaigns, "state": one.state,
             **_interval(one.gain, one.low, one.high)}
            for one in slice_gains(result)
        ],
    }  # fmt: skip


def _interval(gain: float, low: float, high: float) -> dict[str, float | None]:
    return {"gain": _known(gain), "low": _known(low), "high": _known(high)}


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _figures(metrics: Metrics) -> dict[str, float | int | None]:
    known = metrics.as_dict()
    return {"rows": metrics.rows, **{column: known.get(column) for column in COLUMNS}}


def plain(name: str) -> str:
    """A name with only what MLflow allows in the name of a metric."""
    return re.sub(r"[^0-9A-Za-z_. -]", "", name).replace(" ", "_") or "other"
