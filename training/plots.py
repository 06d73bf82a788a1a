"""Plots of a run: what a reviewer looks at first."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.declare import Family
from features.matrix import FEATURES
from serving.model import Model
from serving.stage import Floats, Matrix
from training.backtest import MODEL, Backtest

DECILES = 10


def run_figures(result: Backtest | None, model: Model, sample: Matrix) -> dict[str, Any]:
    """Figures by name; without a backtest only what the model itself tells."""
    import matplotlib

    matplotlib.use("Agg")
    figures = {"factor_importance": factor_importance(model, sample)}
    if result is not None:
        figures |= {
            "calibration": calibration(result),
            "captured": captured(result),
            "deviance_by_slice": deviance_by_slice(result),
        }
    return figures


def calibration(result: Backtest) -> Any:
    """Mean predicted against mean actual outcome by decile of the prediction, model and best rule."""
    figure, axes = new_figure(f"Calibration of {result.target} on later placements")
    low, high = np.inf, 0.0
    for name in (MODEL, result.best_rule):
        predicted = result.predicted[name]
        order = np.array_split(np.argsort(predicted, kind="stable"), DECILES)
        x = np.array([predicted[rows].mean() for rows in order if len(rows)])
        y = np.array([result.actual[rows].mean() for rows in order if len(rows)])
        shown = (x > 0) & (y > 0)
        axes.plot(x[shown], y[shown], marker="o", label=name)
        if shown.any():
            low, high = min(low, x[shown].min(), y[shown].min()), max(high, x[shown].max(), y[shown].max())
    if high > 0:
        axes.plot([low, high], [low, high], color="grey", linestyle="--", label="right")
        axes.set(xscale="log", yscale="log")
    axes.set(xlabel=f"mean predicted {result.target} of the decile", ylabel=f"mean actual {result.target}")
    axes.legend()
    return figure


def captured(result: Backtest) -> Any:
    """Share of the actual outcome on the placements predicted best, model against every rule."""
    figure, axes = new_figure(f"Captured {result.target}: share on the best predicted placements")
    share = np.linspace(0, 1, len(result.actual) + 1)
    for name, predicted in result.predicted.items():
        running = np.concatenate([[0.0], np.cumsum(result.actual[np.argsort(-predicted, kind="stable")])])
        axes.plot(share, running / running[-1], label=name, linewidth=2.5 if name == MODEL else 1.0)
    axes.set(xlabel="share of placements, best predicted first", ylabel=f"share of actual {result.target}")
    axes.legend(fontsize=8)
    return figure


def deviance_by_slice(result: Backtest) -> Any:
    """Deviance of the model and the best rule in each slice; less is better."""
    rows = [
        (f"{kind}: {member} ({by_name[MODEL].rows})", by_name[MODEL].deviance, by_name[result.best_rule].deviance)
        for kind, members in result.slices.items()
        for member, by_name in members.items()
    ]
    return paired_bars("Deviance by slice (less is better)", "Tweedie deviance", rows, (MODEL, result.best_rule))


def paired_bars(title: str, xlabel: str, rows: list[tuple[str, float, float]], names: tuple[str, str]) -> Any:
    """Two bars a row, for what `names` says."""
    figure, axes = new_figure(title, height=7.0)
    position = np.arange(len(rows))
    axes.barh(position - 0.2, [row[1] for row in rows], height=0.4, label=names[0])
    axes.barh(position + 0.2, [row[2] for row in rows], height=0.4, label=names[1])
    axes.set_yticks(position, [row[0] for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set(xlabel=xlabel)
    # beside the bars, not over them
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=2)
    return figure


def factor_importance(model: Model, sample: Matrix) -> Any:
    """Mean absolute contribution of each factor to the log of each stage."""
    figure, axes = new_figure("What moves each stage: mean absolute contribution by factor")
    importance = stage_importance(model, sample)
    left = np.zeros(len(importance))
    names = list(importance)
    for family in Family:
        width = np.array([importance[name][family.value] for name in names])
        axes.barh(names, width, left=left, label=family.value)
        left += width
    axes.invert_yaxis()
    axes.set(xlabel="mean |contribution| to the log rate, stacked by factor")
    axes.legend(fontsize=8)
    return figure


def stage_importance(model: Model, sample: Matrix) -> dict[str, dict[str, float]]:
    """Mean absolute contribution by stage and factor over sample rows, shape (rows, f)."""
    families: NDArray[np.str_] = np.array([feature.family.value for feature in FEATURES])
    design = model.scaler.design(sample)
    importance = {}
    for name, stage in model.stages.items():
        parts: Floats = stage.log_contributions(sample, design)
        parts = parts - parts.mean(axis=0)
        importance[name] = {
            family.value: float(np.abs(parts[:, families == family.value].sum(axis=1)).mean()) for family in Family
        }
    return importance


def new_figure(title: str, height: float = 5.0) -> tuple[Any, Any]:
    """A figure with one plot in it, bound to no window."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, height), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title)
    return figure, axes
