"""What a prediction is judged by; every figure is computed the same way for the model and for each rule."""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

Floats = NDArray[np.float64]

POWER = 1.5  # Tweedie: between counts and amounts, finite at zero
TOP = 0.10


@dataclass(frozen=True)
class Metrics:
    """Figures of one set of predictions.

    Attributes:
        rows: placements judged.
        deviance: mean Tweedie deviance (power 1.5) of outcome / mean outcome; less is better.
        calibration: predicted / actual, in sum; 1 is right.
        spearman: rank correlation of predicted and actual.
        captured: share of the actual outcome on the tenth of placements predicted best.
        top_roi: realised ROI of the tenth predicted best by ROI (sum of value / sum of cost - 1), NaN without cost.
    """

    rows: int
    deviance: float
    calibration: float
    spearman: float
    captured: float
    top_roi: float

    def as_dict(self) -> dict[str, float]:
        """Finite figures by name, for logging."""
        return {name: float(value) for name, value in asdict(self).items() if np.isfinite(value)}


def judge(actual: Floats, predicted: Floats, cost: Floats | None = None) -> Metrics:
    """Figures of predictions against outcomes, shape (n,) each.

    Args:
        actual: outcomes; negative ones count as 0 in the deviance.
        predicted: positive predictions.
        cost: costs, NaN where unknown; None where the outcome is not money.

    >>> judge(np.array([1.0, 3.0]), np.array([1.0, 3.0])).deviance
    0.0
    """
    return Metrics(
        rows=len(actual),
        deviance=float(np.mean(tweedie(actual, predicted))) if len(actual) else np.nan,
        calibration=float(predicted.sum() / actual.sum()) if actual.sum() > 0 else np.nan,
        spearman=rank_correlation(predicted, actual),
        captured=captured(actual, predicted),
        top_roi=np.nan if cost is None else top_roi(actual, predicted, cost),
    )


def tweedie(actual: Floats, predicted: Floats) -> Floats:
    """Unit Tweedie deviances (power 1.5) after division by the mean outcome, shape (n,).

    2 (y^.5 - m^.5)^2 / m^.5 x 2, the closed form at power 1.5 (Jorgensen 1987).
    """
    mean = max(float(np.maximum(actual, 0.0).mean()), 1e-300)
    y = np.maximum(actual, 0.0) / mean
    m = np.maximum(predicted / mean, 1e-9)
    return np.asarray(4.0 * (np.sqrt(y) - np.sqrt(m)) ** 2 / np.sqrt(m))


def rank_correlation(a: Floats, b: Floats) -> float:
    """Spearman's rho; NaN where either side is constant."""
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return np.nan
    return float(spearmanr(a, b).statistic)


def captured(actual: Floats, score: Floats, top: float = TOP) -> float:
    """Share of the actual outcome on the best-scored `top` of the rows."""
    count = max(int(np.ceil(len(actual) * top)), 1)
    total = actual.sum()
    return float(actual[np.argsort(-score, kind="stable")[:count]].sum() / total) if total > 0 else np.nan


def top_roi(value: Floats, predicted: Floats, cost: Floats, top: float = TOP) -> float:
    """Realised ROI, in sum, of the rows whose predicted value per cost is highest."""
    rows = np.flatnonzero(cost > 0)
    if len(rows) == 0:
        return np.nan
    count = max(int(np.ceil(len(rows) * top)), 1)
    best = rows[np.argsort(-predicted[rows] / cost[rows], kind="stable")[:count]]
    return float(value[best].sum() / cost[best].sum() - 1.0)


def bootstrap(
    by_row: Floats, groups: NDArray[np.int64], seed: int = 0, draws: int = 400, level: float = 0.9
) -> tuple[float, float]:
    """Interval of a mean over rows, resampling whole groups (campaigns), since their rows are alike."""
    return bootstrap_ratio(by_row, np.ones(len(by_row)), groups, seed, draws, level)


def bootstrap_ratio(
    top: Floats, bottom: Floats, groups: NDArray[np.int64], seed: int = 0, draws: int = 400, level: float = 0.9
) -> tuple[float, float]:
    """Interval of a ratio of sums over rows, resampling whole groups; NaN where the sum below may be 0."""
    unique, group = np.unique(groups, return_inverse=True)
    tops, bottoms = np.bincount(group, weights=top), np.bincount(group, weights=bottom)
    picks = np.random.default_rng(seed).integers(0, len(unique), (draws, len(unique)))
    below = bottoms[picks].sum(axis=1)
    if (below <= 0).any():
        return np.nan, np.nan
    low, high = np.quantile(tops[picks].sum(axis=1) / below, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
