"""What one training run leaves in MLflow, put together from its parts."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from rich.console import Console

from features.check import Report, render
from features.matrix import NAMES, schema_hash
from features.value import GOALS
from serving.model import Model
from serving.stage import Matrix
from training import plots_champion, report
from training.backtest import Backtest
from training.card_text import card_text
from training.dataset import Dataset
from training.drift import Drift, State
from training.duel import Duel
from training.exposure import Exposure
from training.gains import slice_gains
from training.gate import Verdict
from training.plots import marked, result_figures
from training.plots_intervals import gain_by_slice, interval_coverage
from training.plots_shap import factor_importance, shap_summary, stage_parts, value_parts
from training.registry import ModelRecord
from training.run_text import describe
from training.split import iso
from training.stage_fit import FitOptions
from training.surroundings import Surroundings, surroundings
from training.tracking import ChildRecord, RunRecord
from training.tune import Tuned, searched

# what of the data a run names
RECORDED = {
    "placements": ("placement_id", "campaign_id", "creator_id", "agreed_on", "fee", "impressions", "revenue"),
    "campaigns": ("campaign_id", "goal", "starts_on"),
    "creators": ("creator_id", "platform", "country"),
}
DATED = {"placements": "agreed_on", "campaigns": "starts_on"}
SAMPLE_ROWS = 200  # rows behind the plots of contributions and the signature


@dataclass(frozen=True)
class Training:
    """A training run as it is to be recorded.

    Attributes:
        model: fitted, with its card.
        data: features and labels of every placement.
        recorded: RECORDED columns by table.
        checked: report of the data checks.
        rows: placements the model was fitted on.
        result: the backtest, None where nothing could be judged.
        verdict: of the gate.
        options: of the trees.
        duel: with the version in force; why there was none in words; None for a first model.
        champion: card of the version in force, None for a first model.
        drift: of the data against what the version in force was trained on; None where it was not looked at.
        exposure: who is picked; None where it could not be had.
        live: what is served now and how to go back, a sentence.
        around: what it was computed with.
    """

    model: Model
    data: Dataset
    recorded: Mapping[str, pl.DataFrame]
    checked: Report
    rows: NDArray[np.int64]
    result: Backtest | None
    verdict: Verdict
    options: FitOptions
    duel: Duel | str | None = None
    champion: Mapping[str, Any] | None = None
    drift: Sequence[Drift] | None = None
    exposure: Exposure | None = None
    live: str = ""
    around: Surroundings = field(default_factory=surroundings)

    @property
    def card(self) -> dict[str, Any]:
        """The model card, with exposure."""
        return {**self.model.card, **({} if self.exposure is None else {"exposure": self.exposure.card()})}


def run_record(training: Training, artefact: Path) -> RunRecord:
    """The record of a run whose model lies in the folder `artefact`."""
    rows = training.rows[:: max(len(training.rows) // SAMPLE_ROWS, 1)][:SAMPLE_ROWS]
    sample, card = training.data.x[rows], training.card
    metrics = _metrics(training)
    return RunRecord(
        name=f"train {card['as_of']} {card['data']['folder']}: {_verdict(training)}",
        description=describe(card, training.verdict, training.duel, training.champion, training.drift, training.live),
        params=_params(training),
        metrics=metrics,
        tags=_tags(training, metrics),
        texts={
            "check.txt": _as_text(training.checked),
            "verdict.txt": training.verdict.text(),
            "model_card.md": card_text(card, training.live),
        },
        dicts={"model_card.json": card, "environment.json": training.around.as_dict()},
        tables=_tables(training),
        figures=_figures(training, rows, sample),
        datasets=datasets(training.recorded, card["data"]["folder"]),
        model=ModelRecord(training.model, artefact, sample, training.verdict.text()),
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


def datasets(recorded: Mapping[str, pl.DataFrame], folder: str) -> dict[str, tuple[pl.DataFrame, str]]:
    """The data of a run as MLflow records them: names, sizes and digests."""
    return {name: (frame, folder) for name, frame in recorded.items()}


def data_frame(recorded: Mapping[str, pl.DataFrame], digest: str) -> pl.DataFrame:
    """Rows and dates of each table; the digest is of all files together."""
    rows = []
    for name, frame in recorded.items():
        days = frame[DATED[name]].drop_nulls().dt.date() if name in DATED else None
        known = days is not None and len(days) > 0
        rows.append({
            "table": name, "rows": frame.height,
            "first_day": str(days.min()) if days is not None and known else None,
            "last_day": str(days.max()) if days is not None and known else None,
            "digest_of_folder": digest,
        })  # fmt: skip
    return pl.DataFrame(rows, infer_schema_length=None)


def _params(training: Training) -> dict[str, Any]:
    card, result, model = training.model.card, training.result, training.model
    return {
        "as_of": card["as_of"],
        "seed": training.options.seed,
        **searched(training.options),
        "features": len(NAMES),
        "feature_schema": schema_hash(),
        "rows_train": len(training.rows),
        "rows_backtest_train": 0 if result is None else len(result.split.train),
        "rows_backtest_judged": 0 if result is None else len(result.judged),
        "window_opens": "" if result is None else iso(result.split.opens),
        "currency": model.basis.currency,
        "cost_floor": model.basis.cost_floor,
        "data_digest": card["data"]["digest"],
        "data_from": card["data"]["agreed_from"],
        "data_to": card["data"]["agreed_to"],
        **training.around.params(),
    }


def _metrics(training: Training) -> dict[str, float]:
    out = {} if training.result is None else report.flat_metrics(training.result)
    duel, drift = training.duel, training.drift
    if isinstance(duel, Duel):
        out |= {
            "champion/rows": float(duel.rows), "champion/deviance": duel.champion_deviance,
            "champion/deviance_challenger": duel.challenger_deviance, "champion/gain": duel.gain,
            "champion/gain_low": duel.interval[0], "champion/gain_high": duel.interval[1],
            "champion/calibration": duel.champion_calibration,
        }  # fmt: skip
    if drift is not None:
        out["drift/columns"] = float(len(drift))
        out["drift/columns_moved"] = float(sum(one.state is State.DRIFT for one in drift))
        out["drift/largest_psi"] = max((one.psi for one in drift if np.isfinite(one.psi)), default=np.nan)
    if training.exposure is not None:
        out |= training.exposure.metrics()
    return {name: value for name, value in out.items() if np.isfinite(value)}


def _tags(training: Training, metrics: Mapping[str, float]) -> dict[str, str]:
    card, duel = training.model.card, training.duel
    gain = metrics.get("gain_over_best_rule")
    return {
        "kind": "train",
        "verdict": _verdict(training),
        **training.verdict.tags(),
        "synthetic": str(card["synthetic"]).lower(),
        "data_digest": card["data"]["digest"],
        "judged": "nothing" if training.result is None else training.result.target,
        "gain_over_best_rule": "" if gain is None else f"{gain:.4f}",
        "compared_with": duel.champion if isinstance(duel, Duel) else "",
        "code": training.around.code,
    }


def _verdict(training: Training) -> str:
    return "promote" if training.verdict.promote else "do not promote"


def _tables(training: Training) -> dict[str, pl.DataFrame]:
    out = {"data": data_frame(training.recorded, training.model.card["data"]["digest"])}
    if training.result is not None:
        out |= {
            "backtest": report.backtest_frame(training.result),
            "slices": report.slice_frame(training.result),
            "worst_misses": report.worst_misses(training.result, training.data, training.recorded["placements"]),
        }
    if isinstance(training.duel, Duel):
        out["champion"] = plots_champion.duel_frame(training.duel)
    if training.drift:
        out["drift"] = plots_champion.drift_frame(training.drift)
    if training.exposure is not None:
        out["exposure"] = training.exposure.table
    return out


def _figures(training: Training, rows: NDArray[np.int64], sample: Matrix) -> dict[str, Any]:
    model, result, duel = training.model, training.result, training.duel
    parts = stage_parts(model, sample)
    goals = np.array(GOALS)[training.data.labels.goal[rows]]
    out = {
        "factor_importance": factor_importance(parts),
        "shap_summary": shap_summary(value_parts(model, parts, goals), sample),
    }
    if result is not None:
        out |= result_figures(result) | {"gain_by_slice": gain_by_slice(slice_gains(result), result)}
        if result.coverage is not None:
            out["interval_coverage"] = interval_coverage(result)
    if isinstance(duel, Duel):
        out["champion_by_slice"] = plots_champion.duel_by_slice(duel)
    if training.drift:
        against = "in force" if training.champion is None else str(training.champion["version"])
        out["drift"] = plots_champion.drift_by_column(training.drift, against)
    return marked(out) if model.card["synthetic"] else out


def _as_text(checked: Report) -> str:
    text = io.StringIO()
    Console(file=text, width=120).print(render(checked))
    return text.getvalue()
