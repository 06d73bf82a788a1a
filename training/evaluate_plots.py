"""Plots of a backtest: calibration, captured value, coverage and slices, from history and from the truth."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.stage import Floats
from training.backtest import MODEL, Backtest
from training.plots import calibration, captured, deviance_by_slice, new_figure, paired_bars
from training.truth_figures import deciles
from training.truth_judge import TruthResult

LEVEL = 0.8


def evaluation_figures(
    history: Backtest | None, goals: NDArray[np.str_] | None, truth: TruthResult | None
) -> dict[str, Any]:
    """Figures by name; `goals` names the goal of each judged row of `history`."""
    figures: dict[str, Any] = {}
    covered: dict[str, tuple[Floats, NDArray[np.str_]]] = {}
    if history is not None and goals is not None:
        figures |= {
            "calibration": calibration(history),
            "captured": captured(history),
            "deviance_by_slice": deviance_by_slice(history),
        }
        covered["later placements"] = (history.inside, goals)
    if truth is not None:
        figures |= {"truth_calibration": truth_calibration(truth), "oracle_share_by_slice": share_by_slice(truth)}
        by_goal = {goal: figures_of[MODEL] for goal, figures_of in truth.slices.get("goal", {}).items()}
        names = np.array(list(by_goal), dtype=str)
        covered["truth: all candidates"] = (np.array([one.coverage for one in by_goal.values()]), names)
        covered["truth: picks"] = (np.array([one.coverage_picks for one in by_goal.values()]), names)
    if any(np.isfinite(inside).any() for inside, _ in covered.values()):
        figures["coverage"] = coverage(covered)
    return figures


def truth_calibration(result: TruthResult) -> Any:
    """Mean expected against mean true value by decile of the expected one, model and best rule that expects one."""
    figure, axes = new_figure("Calibration against the truth (SYNTHETIC market)")
    value = result.pool.truth["value"].to_numpy()
    ends = []
    for name in (MODEL, result.best_rule):
        expected = result.advice[name].value
        if expected is None:
            continue
        x, y = deciles(expected, value)
        axes.plot(x, y, marker="o", label=name)
        ends += [*x, *y]
    positive = [end for end in ends if end > 0]
    if positive:
        axes.plot([min(positive), max(positive)], [min(positive), max(positive)], "--", color="grey", label="right")
        axes.set(xscale="log", yscale="log")
    axes.set(xlabel="mean expected value of the decile", ylabel="mean true value")
    axes.legend()
    return figure


def share_by_slice(result: TruthResult) -> Any:
    """Share of oracle of the model and the best rule within each slice; more is better."""
    rows = [
        (f"{kind}: {member} ({of[MODEL].briefs})", of[MODEL].oracle_share, of[result.best_rule].oracle_share)
        for kind, members in result.slices.items()
        for member, of in members.items()
    ]
    names = (MODEL, result.best_rule)
    return paired_bars("Share of oracle by slice (more is better)", "share of oracle", rows, names)


def coverage(covered: dict[str, tuple[Floats, NDArray[np.str_]]]) -> Any:
    """How many outcomes lie inside their 80 % intervals, by goal."""
    figure, axes = new_figure("Coverage of 80 % intervals by goal")
    goals = sorted({str(goal) for _, members in covered.values() for goal in members})
    width = 0.8 / len(covered)
    for number, (name, (inside, members)) in enumerate(covered.items()):
        known = np.isfinite(inside)
        heights = [
            inside[known & (members == goal)].mean() if (known & (members == goal)).any() else np.nan for goal in goals
        ]
        axes.bar(np.arange(len(goals)) + number * width, heights, width=width, label=name)
    axes.axhline(LEVEL, color="grey", linestyle="--", label="right")
    axes.set_xticks(np.arange(len(goals)) + 0.4 - width / 2, goals)
    axes.set(ylabel="share inside", ylim=(0, 1))
    axes.legend(fontsize=8)
    return figure
