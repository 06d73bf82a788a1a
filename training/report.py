"""What a run says in words and tables: on the terminal, in MLflow and in the model card."""

import re
from typing import Any

import polars as pl
from rich.table import Table

from training.backtest import MODEL, Backtest
from training.metrics import Metrics
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
    """Model and rules by goal, tier, platform and history of the creator."""
    return pl.DataFrame(
        [
            {"slice": kind, "member": member, "prediction": name, **_figures(metrics)}
            for kind, members in result.slices.items()
            for member, by_name in members.items()
            for name, metrics in by_name.items()
        ],
        infer_schema_length=None,
    )


def worst_misses(result: Backtest, ids: pl.Series, most: int = 50) -> pl.DataFrame:
    """Placements that the model got most wrong, by absolute error."""
    predicted = result.predicted[MODEL]
    frame = pl.DataFrame(
        {"placement_id": ids.gather(result.judged), "predicted": predicted, "actual": result.actual}
    ).with_columns((pl.col("actual") - pl.col("predicted")).alias("error"))
    return frame.sort(pl.col("error").abs(), descending=True).head(most)


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
    """Every figure under a name MLflow takes: `deviance`, `rule/followers/deviance`, `goal/local/deviance`."""
    out: dict[str, float] = {}
    for name, metrics in result.metrics.items():
        prefix = "" if name == MODEL else f"rule/{plain(name)}/"
        out |= {f"{prefix}{figure}": value for figure, value in metrics.as_dict().items()}
    for kind, members in result.slices.items():
        for member, by_name in members.items():
            for name, metrics in by_name.items():
                who = "model" if name == MODEL else plain(name)
                out |= {f"{kind}/{plain(member)}/{who}/{figure}": v for figure, v in metrics.as_dict().items()}
    if result.coverage is not None:
        out["coverage_80"] = result.coverage
    out["gain_over_best_rule"] = result.metrics[result.best_rule].deviance - result.metrics[MODEL].deviance
    out["gain_low"], out["gain_high"] = result.gain
    return out


def card_metrics(result: Backtest | None) -> dict[str, Any]:
    """The backtest as it stands in the model card."""
    if result is None:
        return {"judged": None, "why": "too few settled placements before and after a split in time"}
    return {
        "judged": result.target,
        "why_not_value": result.missing,
        "window_opens": iso(result.split.opens),
        "rows": len(result.judged),
        "model": _figures(result.metrics[MODEL]),
        "baselines": {name: _figures(m) for name, m in result.metrics.items() if name != MODEL},
        "coverage_80": result.coverage,
    }


def _figures(metrics: Metrics) -> dict[str, float | None]:
    known = metrics.as_dict()
    return {"rows": known["rows"], **{column: known.get(column) for column in COLUMNS}}


def plain(name: str) -> str:
    """A name with only what MLflow allows in the name of a metric."""
    return re.sub(r"[^0-9A-Za-z_. -]", "", name).replace(" ", "_") or "other"
