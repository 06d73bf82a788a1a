"""Plots of a run: what a reviewer looks at first."""

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np

from training.backtest import MODEL, Backtest
from training.metrics import bootstrap

DECILES = 10
TITLE_WIDTH = 70  # letters, of what fits above a plot with long names beside it
MONEY = ("value", "net_revenue")
SYNTHETIC_NOTE = "SYNTHETIC sample market: says nothing of real creators"


def result_figures(result: Backtest) -> dict[str, Any]:
    """Figures of a backtest by name."""
    return {
        "calibration": calibration(result),
        "captured": captured(result),
        "deviance_by_slice": deviance_by_slice(result),
    }


def calibration(result: Backtest) -> Any:
    """Mean predicted against mean actual outcome by decile of the prediction, model and best rule.

    The bars are 90 % intervals of the model's means, bootstrap by campaign.
    """
    what = quantity(result)
    figure, axes = new_figure(f"Calibration: predicted and actual {result.target} of {len(result.judged)} placements")
    low, high = np.inf, 0.0
    for name in (MODEL, result.best_rule):
        predicted = result.predicted[name]
        order = [rows for rows in np.array_split(np.argsort(predicted, kind="stable"), DECILES) if len(rows)]
        x = np.array([predicted[rows].mean() for rows in order])
        y = np.array([result.actual[rows].mean() for rows in order])
        shown = (x > 0) & (y > 0)
        if name == MODEL:
            ends = np.array([bootstrap(result.actual[rows], result.campaign[rows]) for rows in order])
            # a mean that may be 0 has no place on a log scale
            bars = np.abs(np.maximum(ends, y[:, None] / 100) - y[:, None])[shown].T
            axes.errorbar(x[shown], y[shown], yerr=bars, marker="o", capsize=3, label="model (90 % interval)")
        else:
            axes.plot(x[shown], y[shown], marker="o", alpha=0.7, label=f"best rule: {name}")
        if shown.any():
            low, high = min(low, x[shown].min(), y[shown].min()), max(high, x[shown].max(), y[shown].max())
    if high > 0:
        axes.plot([low, high], [low, high], color="grey", linestyle="--", label="right")
        axes.set(xscale="log", yscale="log")
    axes.set(xlabel=f"mean predicted {what} of the decile", ylabel=f"mean actual {what}")
    axes.legend()
    return figure


def captured(result: Backtest) -> Any:
    """Share of the actual outcome on the placements predicted best, model against every rule."""
    rows = len(result.judged)
    figure, axes = new_figure(f"Captured {result.target}: what the best predicted of {rows} placements brought")
    share = np.linspace(0, 1, len(result.actual) + 1)
    for name, predicted in result.predicted.items():
        running = np.concatenate([[0.0], np.cumsum(result.actual[np.argsort(-predicted, kind="stable")])])
        own = name == MODEL
        axes.plot(share, running / running[-1], label=name, linewidth=3 if own else 1.0, zorder=3 if own else 2)
    axes.plot([0, 1], [0, 1], color="grey", linestyle="--", label="by chance")
    axes.set(xlabel="share of placements, best predicted first", ylabel=f"share of actual {quantity(result)}")
    axes.legend(fontsize=8, loc="lower right")
    return figure


def deviance_by_slice(result: Backtest) -> Any:
    """Deviance of the model and the best rule in each slice; less is better."""
    rows = [
        (f"{kind}: {member} ({by_name[MODEL].rows})", by_name[MODEL].deviance, by_name[result.best_rule].deviance)
        for kind, members in result.slices.items()
        for member, by_name in members.items()
    ]
    title = f"Error by slice: deviance of {result.target} (less is better)"
    names = (MODEL, f"best rule: {result.best_rule}")
    return paired_bars(title, "mean Tweedie deviance; in brackets: placements", rows, names)


def paired_bars(title: str, xlabel: str, rows: list[tuple[str, float, float]], names: tuple[str, str]) -> Any:
    """Two bars a row, for what `names` says."""
    figure, axes = new_figure(title, height=row_height(len(rows)))
    position = np.arange(len(rows))
    axes.barh(position - 0.2, [row[1] for row in rows], height=0.4, label=names[0])
    axes.barh(position + 0.2, [row[2] for row in rows], height=0.4, label=names[1])
    axes.set_yticks(position, [row[0] for row in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set(xlabel=xlabel)
    # beside the bars, not over them
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def quantity(result: Backtest) -> str:
    """What was judged, with its unit."""
    return f"{result.target} ({result.model.basis.currency})" if result.target in MONEY else result.target


def row_height(rows: int) -> float:
    """Inches for a plot of some rows of text."""
    return max(3.0, 1.6 + 0.24 * rows)


def new_figure(title: str, height: float = 5.0) -> tuple[Any, Any]:
    """A figure with one plot in it, bound to no window; a long title goes on in the next line."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.use("Agg")
    figure = Figure(figsize=(8.0, height), layout="constrained")
    axes = figure.subplots()
    lines = (wrapped for line in title.splitlines() for wrapped in textwrap.wrap(line, TITLE_WIDTH))
    axes.set_title("\n".join(lines), fontsize=11)
    return figure, axes


def marked(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Figures of synthetic data, each saying so."""
    for figure in figures.values():
        figure.suptitle(SYNTHETIC_NOTE, fontsize=8, color="firebrick")
    return dict(figures)
