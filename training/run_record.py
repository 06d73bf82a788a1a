"""What one training run leaves in MLflow, put together from its parts."""

import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from rich.console import Console

from features.check import Report, render
from features.matrix import NAMES, schema_hash
from serving.model import Model
from training import report
from training.backtest import Backtest
from training.dataset import Dataset
from training.gate import Verdict
from training.plots import run_figures
from training.split import iso
from training.stage_fit import FitOptions
from training.tracking import ChildRecord, ModelRecord, RunRecord
from training.tune import Tuned, searched

# what of the data a run names
RECORDED = {
    "placements": ("placement_id", "campaign_id", "creator_id", "agreed_on", "fee", "impressions", "revenue"),
    "campaigns": ("campaign_id", "goal", "starts_on"),
    "creators": ("creator_id", "platform", "country"),
}
SAMPLE_ROWS = 200  # rows behind the factor plot and the signature


def run_record(
    model: Model, artefact: Path, data: Dataset, recorded: Mapping[str, pl.DataFrame], checked: Report,
    rows: NDArray[np.int64], result: Backtest | None, verdict: Verdict, options: FitOptions,
) -> RunRecord:  # fmt: skip
    """The record of a run whose model lies in the folder `artefact`."""
    step = max(len(rows) // SAMPLE_ROWS, 1)
    sample = data.x[rows[::step][:SAMPLE_ROWS]]
    card = model.card
    kind = "the SYNTHETIC sample market" if card["synthetic"] else "the team's own data"
    judged = "nothing could be judged" if result is None else f"judged on {result.target}"
    metrics = {} if result is None else report.flat_metrics(result)
    tables_of_run = {} if result is None else {
        "backtest": report.backtest_frame(result),
        "slices": report.slice_frame(result),
        "worst_misses": report.worst_misses(result, data.market.placements.ids),
    }  # fmt: skip
    return RunRecord(
        name=f"train {card['as_of']} {card['data']['folder']}",
        description=(
            f"Funnel of {len(model.stages)} stages on {len(rows)} settled placements of {kind}, as of "
            f"{card['as_of']}; {judged}.\n\n{verdict.text()}"
        ),
        params=_params(model, rows, result, options),
        metrics=metrics,
        tags={
            "kind": "train",
            "verdict": "promote" if verdict.promote else "do not promote",
            "synthetic": str(card["synthetic"]).lower(),
            "data_digest": card["data"]["digest"],
            "judged": "nothing" if result is None else result.target,
            "gain_over_best_rule": "" if result is None else f"{metrics['gain_over_best_rule']:.4f}",
        },
        texts={"check.txt": _as_text(checked), "verdict.txt": verdict.text()},
        dicts={"model_card.json": dict(card)},
        tables=tables_of_run,
        figures=run_figures(result, model, sample),
        datasets=datasets(recorded, card["data"]["folder"]),
        model=ModelRecord(model, artefact, sample, verdict.text()),
    )


def with_trials(record: RunRecord, tuned: Tuned) -> RunRecord:
    """The record with what tuning tried: a nested run a trial, numbered as tried, the defaults first."""
    metrics = {} if not tuned.trials else {
        "inner_deviance": tuned.best.deviance, "inner_deviance_defaults": tuned.trials[0].deviance
    }  # fmt: skip
    children = tuple(
        ChildRecord(
            name=f"trial {number}",
            params=searched(trial.options),
            metrics={"inner_deviance": trial.deviance},
            tags={"kind": "trial", "chosen": str(trial is tuned.best).lower(), "judged": tuned.target or ""},
        )
        for number, trial in enumerate(tuned.trials, start=1)
    )
    return replace(
        record,
        description=f"{record.description}\n\n{tuned.text()}",
        params={**record.params, "trials": len(tuned.trials)},
        metrics={**record.metrics, **metrics},
        children=children,
    )


def _params(model: Model, rows: NDArray[np.int64], result: Backtest | None, options: FitOptions) -> dict[str, Any]:
    return {
        "as_of": model.card["as_of"],
        "seed": options.seed,
        **searched(options),
        "features": len(NAMES),
        "feature_schema": schema_hash(),
        "rows_train": len(rows),
        "rows_backtest_train": 0 if result is None else len(result.split.train),
        "rows_backtest_judged": 0 if result is None else len(result.judged),
        "window_opens": "" if result is None else iso(result.split.opens),
        "currency": model.basis.currency,
        "cost_floor": model.basis.cost_floor,
    }


def datasets(recorded: Mapping[str, pl.DataFrame], folder: str) -> dict[str, tuple[pl.DataFrame, str]]:
    """The data of a run as MLflow records them: names, sizes and digests."""
    return {name: (frame, folder) for name, frame in recorded.items()}


def _as_text(checked: Report) -> str:
    text = io.StringIO()
    Console(file=text, width=120).print(render(checked))
    return text.getvalue()
