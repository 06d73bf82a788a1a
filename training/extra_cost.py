"""Fitting what a placement costs beside its fee."""

import numpy as np
from sklearn.linear_model import PoissonRegressor

from serving.model import ExtraCost
from serving.stage import Floats

MIN_ROWS = 50


def fit_extra_cost(fee: Floats, extra: Floats) -> ExtraCost:
    """Extra cost by fee, from past placements: a quasi-Poisson regression on the log fee.

    Args:
        fee: of each placement, NaN where unknown, shape (n,).
        extra: its product and other cost, shape (n,).

    Returns:
        A constant where fewer than MIN_ROWS placements know a fee; the elasticity lies between 0 and 1.
    """
    rows = np.flatnonzero((fee > 0) & np.isfinite(extra))
    level = float(extra.mean()) if len(extra) else 0.0
    if len(rows) < MIN_ROWS or extra[rows].sum() <= 0:
        return ExtraCost(level, 1.0, 0.0)
    log_fee, mean = np.log(fee[rows]), float(extra[rows].mean())
    centred = log_fee - log_fee.mean()
    if centred.std() < 1e-9:
        return ExtraCost(level, 1.0, 0.0)
    fitted = PoissonRegressor(alpha=0.0, solver="newton-cholesky", max_iter=100).fit(
        centred[:, None], extra[rows] / mean
    )
    elasticity = float(np.clip(fitted.coef_[0], 0.0, 1.0))
    shape = np.exp(elasticity * centred)
    return ExtraCost(mean / float(shape.mean()), float(np.exp(log_fee.mean())), elasticity)
