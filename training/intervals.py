"""Measuring on later placements how far actual value falls from the expected one."""

import numpy as np
from numpy.typing import NDArray

from serving.interval import HIGH, LEVELS, LOW, Interval
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


def coverage(intervals: dict[str, Interval], actual: Floats, expected: Floats, goals: NDArray[np.str_]) -> float:
    """Share of placements whose value lies inside its 80 % interval.

    Zeros are shared out: where the lower bound is zero, as many of the zeros count as outside as would make the lower
    tail right (a randomised probability integral transform, in expectation).
    """
    inside = np.zeros(len(actual))
    for row, (value, prediction, goal) in enumerate(zip(actual, expected, goals, strict=True)):
        interval = intervals.get(str(goal), intervals["any"])
        draws = interval.draws(np.array([prediction]))[0]
        below, upto = float((draws < value).mean()), float((draws <= value).mean())
        width = max(upto - below, 1e-9)
        inside[row] = (
            np.clip((min(HIGH, upto) - max(LOW, below)) / width, 0.0, 1.0) if upto > below else (LOW <= below <= HIGH)
        )
    return float(inside.mean())


def _fit(actual: Floats, expected: Floats) -> Interval:
    bins = int(np.clip(len(actual) // ROWS_A_BIN, 1, MAX_BINS))
    edges = np.unique(np.quantile(expected, np.linspace(0, 1, bins + 1)[1:-1]))
    ratio = actual / np.maximum(expected, 1e-12)
    where = np.searchsorted(edges, expected)
    pooled = np.quantile(ratio, LEVELS)
    ratios = np.array([
        np.quantile(ratio[where == b], LEVELS) if (where == b).sum() >= MIN_ROWS // 2 else pooled
        for b in range(len(edges) + 1)
    ])  # fmt: skip
    return Interval(edges, ratios, len(actual))
