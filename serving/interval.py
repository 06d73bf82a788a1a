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


def roi_interval(value_draws: Floats, cost: Floats, cost_spread: Floats, cost_floor: float) -> tuple[Floats, ...]:
    """80 % bounds of ROI and the chance of a profit, shape (n,) each.

    Args:
        value_draws: equally likely values, shape (n, draws).
        cost: expected cost, shape (n,). Where value or cost is NaN, so are all three.
        cost_spread: standard deviation of log cost where the fee is an estimate, else 0; shape (n,).
        cost_floor: least cost.

    >>> low, high, profit = roi_interval(np.linspace(0, 200, 101)[None, :], np.array([100.0]), np.zeros(1), 1.0)
    >>> low.round(2).item(), high.round(2).item(), profit.round(2).item()
    (-0.8, 0.8, 0.5)
    """
    # nine equally likely cost factors of a log-normal; their normal scores are fixed numbers
    scores = np.array([-1.593, -0.967, -0.589, -0.282, 0.0, 0.282, 0.589, 0.967, 1.593])
    factors = np.exp(cost_spread[:, None] * scores[None, :])
    costs = np.maximum(cost[:, None] * factors, cost_floor)
    roi = (value_draws[:, :, None] / costs[:, None, :] - 1.0).reshape(len(cost), -1)
    low, high = np.quantile(roi, [LOW, HIGH], axis=1)
    return low, high, np.where(np.isnan(low), np.nan, (roi > 0).mean(axis=1))
