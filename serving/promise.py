"""The optimiser's curse: a creator picked for a high expected return owes part of it to luck or to a model that errs.

A return (value / cost) above a bound is shrunk towards it by a power, as far as returns were seen. The order of ROIs
stays as it was.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Promise:
    """How much of a high expected return is promised: return x (bound / return) ^ slope above the bound.

    Attributes:
        bound: expected return up to which everything is promised.
        slope: from 0 (all is promised) to less than 1.
        seen: return up to which that was measured, None where it has no end; what is higher is shrunk by as large a
            part as this.
    """

    bound: float = 1.0
    slope: float = 0.0
    seen: float | None = None

    def kept(self, value: Floats, cost: Floats) -> Floats:
        """Value to promise of expected ones, shape (n,); as it is where the cost is unknown.

        Args:
            value: expected, base currency.
            cost: expected, floored as that of ROI is.

        >>> Promise(2.0, 0.5).kept(np.array([1.0, 8.0]), np.array([1.0, 1.0])).tolist()
        [1.0, 4.0]
        >>> Promise(2.0, 0.5, 8.0).kept(np.array([8.0, 80.0]), np.array([1.0, 1.0])).tolist()
        [4.0, 40.0]
        """
        if self.slope == 0.0:
            return value
        measured = value if self.seen is None else np.minimum(value, self.seen * cost)
        over = np.where(value > self.bound * cost, self.bound * cost / np.where(value > 0, measured, 1.0), 1.0)
        return np.asarray(value * over**self.slope)
