"""Measuring on later placements how far actual value falls from the expected one."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from serving.interval import LEVELS, Interval, share_inside
from serving.stage import Floats

MIN_ROWS = 60
ROWS_A_BIN = 150
MAX_BINS = 4


def fit_intervals(actual: Floats, expected: Floats, goals: NDArray[np.str_]) -> dict[str, Interval]:
    """Quantiles of actual / expected by goal and by size of the expected value; `any` pools all goals.

    Args:
        actual: values of placements the model had not seen, shape (n,).
        expected: their predictions, shape (n,).
        goals: their goals; one with fewer than MIN_ROWS rows is left to `any`.
    """
    fitted = {"any": _fit(actual, expected)}
    for goal in np.unique(goals):
        rows = goals == goal
        if rows.sum() >= MIN_ROWS:
            fitted[str(goal)] = _fit(actual[rows], expected[rows])
    return fitted


def inside(intervals: Mapping[str, Interval], actual: Floats, expected: Floats, goals: NDArray[np.str_]) -> Floats:
    """Share of each placement's value inside its 80 % interval, shape (n,); zeros are shared out (`share_inside`)."""
    return share_inside(*ranks(intervals, actual, expected, goals))


def ranks(
    intervals: Mapping[str, Interval], actual: Floats, expected: Floats, goals: NDArray[np.str_]
) -> tuple[Floats, Floats]:
    """Share of each placement's draws below its value and of those not above it, shape (n,) each."""
    below, upto = np.zeros(len(actual)), np.zeros(len(actual))
    for goal in np.unique(goals):
        rows = np.flatnonzero(goals == goal)
        draws = intervals.get(str(goal), intervals["any"]).draws(expected[rows])
        below[rows] = (draws < actual[rows, None]).mean(axis=1)
        upto[rows] = (draws <= actual[rows, None]).mean(axis=1)
    return below, upto


def _fit(actual: Floats, expected: Floats) -> Interval:
    bins = int(np.clip(len(actual) // ROWS_A_BIN, 1, MAX_BINS))
    edges = np.unique(np.quantile(expected, np.linspace(0, 1, bins + 1)[1:-1]))
    ratio = actual / np.maximum(expected, 1e-12)
    where = np.searchsorted(edges, expected)
    pooled = _quantiles(ratio)
    ratios = np.array([
        _quantiles(ratio[where == b]) if (where == b).sum() >= MIN_ROWS // 2 else pooled
        for b in range(len(edges) + 1)
    ])  # fmt: skip
    return Interval(edges, ratios, len(actual))


def _quantiles(ratio: Floats) -> Floats:
    """Quantiles at LEVELS, spread for the next placement: between the least and the most of n lies one of n + 1 a share
    (n - 1) / (n + 1) of the time (conformal prediction, Vovk et al. 2005)."""
    n = len(ratio)
    return np.quantile(ratio, np.clip(0.5 + (LEVELS - 0.5) * (n + 1) / max(n - 1, 1), 0.0, 1.0))
