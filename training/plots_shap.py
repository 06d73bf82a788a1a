"""What moves predictions: exact contributions of features, the same that the reasons of an answer are made of."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.declare import Family
from features.matrix import FEATURES, NAMES
from serving.model import Model
from serving.stage import Floats, Matrix
from training.plots import new_figure, row_height

SHOWN = 20
SWARM_BINS = 60  # along the axis: points of a bin are stacked
SPREAD = 0.4  # of a row, on either side


def stage_parts(model: Model, sample: Matrix) -> dict[str, Floats]:
    """What each feature adds to the log of each stage beside the mean of the sample, shape (rows, f) by stage."""
    design = model.scaler.design(sample)
    parts = {name: stage.log_contributions(sample, design) for name, stage in model.stages.items()}
    return {name: part - part.mean(axis=0) for name, part in parts.items()}


def value_parts(model: Model, parts: Mapping[str, Floats], goals: NDArray[np.str_]) -> Floats:
    """What each feature adds to the log of each row's value: the sum over the stages that its goal needs.

    Args:
        model: the funnel.
        parts: from `stage_parts`.
        goals: of the rows, shape (rows,); of a launch the sales are shown.

    Returns:
        Contributions, shape (rows, f); of a goal that the model cannot answer zeros.
    """
    total = np.zeros((len(goals), len(NAMES)))
    for goal in np.unique(goals):
        rows = np.flatnonzero(goals == goal)
        for stage in model.path_to(str(goal)):
            total[rows] += parts[stage.quantity][rows]
    return total


def stage_importance(parts: Mapping[str, Floats]) -> dict[str, dict[str, float]]:
    """Mean absolute contribution by stage and factor."""
    families: NDArray[np.str_] = np.array([feature.family.value for feature in FEATURES])
    return {
        name: {family.value: float(np.abs(part[:, families == family.value].sum(axis=1)).mean()) for family in Family}
        for name, part in parts.items()
    }


def factor_importance(parts: Mapping[str, Floats]) -> Any:
    """Mean absolute contribution of each factor to the log of each stage."""
    rows = len(next(iter(parts.values()), ()))
    figure, axes = new_figure(f"What moves each stage: mean contribution by factor, {rows} placements", height=4.0)
    importance = stage_importance(parts)
    left = np.zeros(len(importance))
    names = list(importance)
    for family in Family:
        width = np.array([importance[name][family.value] for name in names])
        axes.barh(names, width, left=left, label=family.value.replace("_", " "))
        left += width
    axes.invert_yaxis()
    axes.set(xlabel="mean |contribution| to the log of the stage, stacked by factor")
    figure.legend(loc="outside lower center", ncols=4, fontsize=8)
    return figure


def shap_summary(contributions: Floats, sample: Matrix) -> Any:
    """A point a placement and feature: where it lies is the contribution, its colour the value of the feature.

    Args:
        contributions: to the log of value, shape (rows, f).
        sample: the features themselves, same shape.
    """
    order = np.argsort(-np.abs(contributions).mean(axis=0), kind="stable")[:SHOWN]
    order = order[np.abs(contributions[:, order]).max(axis=0) > 0]
    title = f"What moves expected value: {len(order)} strongest features\n({len(sample)} placements)"
    figure, axes = new_figure(title, height=row_height(len(order)) + 0.6)
    reach = float(np.abs(contributions[:, order]).max(initial=1e-9))
    axes.axvline(0, color="lightgrey", zorder=0)
    for row, feature in enumerate(order):
        x, shade = contributions[:, feature], _shades(sample[:, feature])
        y = row + _stacked(x, reach)
        unknown = np.isnan(shade)
        axes.scatter(x[unknown], y[unknown], s=7, color="lightgrey", linewidths=0)
        points = axes.scatter(
            x[~unknown], y[~unknown], s=7, c=shade[~unknown], cmap="cool", vmin=0, vmax=1, linewidths=0
        )
    axes.set_yticks(np.arange(len(order)), [NAMES[feature].replace("_", " ") for feature in order], fontsize=8)
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.set(xlabel="contribution to the log of expected value: right raises it (0.1 is about 10 %)")
    if len(order):
        bar = figure.colorbar(points, ax=axes, ticks=[0, 1], aspect=40)
        bar.ax.set_yticklabels(["low", "high"])
        bar.set_label("feature's value (grey: unknown)", fontsize=8)
    return figure


def _shades(values: NDArray[np.float32]) -> Floats:
    """Where each value lies between the 5th and 95th percentile of what is known, 0 to 1; NaN where unknown."""
    known = values[~np.isnan(values)].astype(np.float64)
    if not len(known):
        return np.full(len(values), np.nan)
    low, high = np.quantile(known, [0.05, 0.95])
    if high <= low:
        low, high = float(known.min()), float(known.max())
    return np.asarray(np.clip((values - low) / max(high - low, 1e-12), 0.0, 1.0), dtype=np.float64)


def _stacked(x: Floats, reach: float) -> Floats:
    """Offsets that stack points of about the same place on either side of their row, shape (n,)."""
    bins = np.floor((x / reach + 1) / 2 * SWARM_BINS).astype(np.int64)
    order = np.argsort(bins, kind="stable")
    _, first, counts = np.unique(bins[order], return_index=True, return_counts=True)
    place = np.arange(len(x)) - np.repeat(first, counts)
    away = (place + 1) // 2 * np.where(place % 2, 1.0, -1.0)
    offsets = np.empty(len(x))
    offsets[order] = away
    return offsets / max(float(np.abs(away).max(initial=1.0)), 8.0) * SPREAD
