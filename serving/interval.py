"""How far actual value fell from the expected one on later data, and what that says about a prediction."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEVELS = np.linspace(0.005, 0.995, 100)  # midpoints: 100 equally likely ratios
LOW, HIGH = 0.10, 0.90  # an 80 % interval


@dataclass(frozen=True)
class Interval:
    """Quantiles of actual / expected value, by size of the expected value.

    Attributes:
        edges: bounds between the size bins, base currency, ascending, shape (bins - 1,).
        ratios: quantiles of actual / expected at LEVELS in each bin, shape (bins, 100).
        rows: placements they were measured on.
    """

    edges: Floats
    ratios: Floats
    rows: int

    def draws(self, value: Floats) -> Floats:
        """Equally likely values of each prediction, shape (n, 100).

        >>> one = Interval(np.array([]), np.linspace(0, 2, 100)[None, :], 50)
        >>> one.draws(np.array([10.0])).max().item()
        20.0
        """
        return value[:, None] * self.ratios[np.searchsorted(self.edges, value)]

    def to_json(self) -> dict[str, Any]:
        """For the model artefact."""
        return {"edges": self.edges.tolist(), "ratios": self.ratios.tolist(), "rows": self.rows}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Interval":
        """The inverse of `to_json`."""
        return cls(np.array(data["edges"]), np.array(data["ratios"]), data["rows"])


# nine equally likely values of a standard normal: fixed numbers, so that answers are the same every time
NORMAL_SCORES = np.array([-1.593, -0.967, -0.589, -0.282, 0.0, 0.282, 0.589, 0.967, 1.593])


def roi_draws(value_draws: Floats, cost: Floats, cost_spread: Floats, cost_floor: float) -> Floats:
    """Equally likely ROIs, shape (n, draws x 9); NaN where value or cost is.

    Args:
        value_draws: equally likely values, shape (n, draws).
        cost: expected cost, shape (n,).
        cost_spread: standard deviation of log cost where the fee is an estimate, else 0; shape (n,).
        cost_floor: least cost.
    """
    factors = np.exp(cost_spread[:, None] * NORMAL_SCORES[None, :])
    costs = np.maximum(cost[:, None] * factors, cost_floor)
    rois = value_draws[:, :, None] / costs[:, None, :] - 1.0
    return np.asarray(rois.reshape(len(cost), value_draws.shape[1] * len(NORMAL_SCORES)))


def roi_interval(draws: Floats) -> tuple[Floats, Floats, Floats]:
    """80 % bounds of ROI and the chance of a profit, shape (n,) each; all NaN where the draws are.

    Args:
        draws: equally likely ROIs, shape (n, draws).

    >>> low, high, profit = roi_interval(np.linspace(-1, 1, 101)[None, :])
    >>> low.round(2).item(), high.round(2).item(), profit.round(2).item()
    (-0.8, 0.8, 0.5)
    """
    low, high = np.quantile(draws, [LOW, HIGH], axis=1)
    return low, high, np.where(np.isnan(low), np.nan, (draws > 0).mean(axis=1))


def share_inside(below: Floats, upto: Floats) -> Floats:
    """How much of an outcome lies inside its 80 % interval, shape (n,): 0 or 1 but where draws tie with it.

    Zeros are shared out: where many draws equal the outcome, it counts as inside by the part of their ranks that lies
    between LOW and HIGH (a randomised probability integral transform, in expectation; Czado et al. 2009).

    Args:
        below: share of the draws below the outcome.
        upto: share of the draws not above it.

    >>> share_inside(np.array([0.5, 0.0, 0.95]), np.array([0.5, 0.2, 0.95])).tolist()
    [1.0, 0.5, 0.0]
    """
    width = np.maximum(upto - below, 1e-9)
    part = np.clip((np.minimum(HIGH, upto) - np.maximum(LOW, below)) / width, 0.0, 1.0)
    return np.where(upto > below, part, (below >= LOW) & (below <= HIGH)).astype(np.float64)
