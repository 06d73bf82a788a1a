"""Measuring on later placements how far the highest expected returns were kept."""

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import TweedieRegressor

from serving.promise import Promise
from serving.stage import Floats

TOP = 0.2  # share of placements whose expected return counts as high
MIN_TOP, MIN_CAMPAIGNS = 60, 20  # high ones and their campaigns, with fewer of which nothing can be said
SEEN = 0.95  # quantile of expected returns up to which they are told apart: above it a handful decides
USUAL = 0.05  # standard deviation of the slope over markets: what is believed until later placements have shown more
POWER = 1.5  # of the variance by the mean, as of the deviance the model is judged by
MOST = 0.5


def fit_promise(actual: Floats, expected: Floats, cost: Floats, campaign: NDArray[np.int64]) -> Promise:
    """The slope by which actual / expected return falls from the TOP of expected returns on, shrunk towards 0.

    A generalised linear model of the return with two terms, the level of all and the log of a return over the bound.
    The level is left alone: whether a season was good or bad says nothing of picks. How sure the slope is, is judged
    over campaigns, whose placements share a fate (Liang and Zeger 1986); it is believed as far as it is surer than
    USUAL, and promises are never raised.

    Args:
        actual: values of placements the model had not seen, shape (n,).
        expected: their predictions, shape (n,).
        cost: what they cost, NaN where unknown; shape (n,).
        campaign: of which campaign, shape (n,).
    """
    rows = np.flatnonzero((cost > 0) & (expected > 0) & (actual >= 0))
    if len(rows) * TOP < MIN_TOP:
        return Promise()
    returned, foretold = actual[rows] / cost[rows], expected[rows] / cost[rows]
    bound, seen = (float(share) for share in np.quantile(foretold, [1.0 - TOP, SEEN]))
    over = np.log(np.clip(foretold, bound, seen) / bound)
    if len(np.unique(campaign[rows][over > 0])) < MIN_CAMPAIGNS or not returned.any():
        return Promise()
    # with the expected return as offset: ratios, weighed so that their variance is that of the returns
    ratio, weight = returned / foretold, foretold ** (2.0 - POWER)
    fitted = TweedieRegressor(power=POWER, alpha=0.0, link="log", max_iter=1000).fit(over[:, None], ratio, weight)
    slope, variance = float(fitted.coef_[0]), _variance(fitted, over, ratio, weight, campaign[rows])
    believed = slope * USUAL**2 / (USUAL**2 + variance)
    return Promise(bound, float(np.clip(-believed, 0.0, MOST)), seen)


def _variance(
    fitted: TweedieRegressor, over: Floats, ratio: Floats, weight: Floats, campaign: NDArray[np.int64]
) -> float:
    """Variance of the slope, from the scores of whole campaigns."""
    design = np.column_stack([np.ones(len(over)), over])
    mean = fitted.predict(over[:, None])
    _, of = np.unique(campaign, return_inverse=True)
    scores = np.zeros((of.max() + 1, 2))
    np.add.at(scores, of, design * (weight * (ratio - mean) * mean ** (1.0 - POWER))[:, None])
    inverse = np.linalg.pinv((design * (weight * mean ** (2.0 - POWER))[:, None]).T @ design)
    return float((inverse @ scores.T @ scores @ inverse)[1, 1])
