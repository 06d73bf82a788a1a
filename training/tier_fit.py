"""Return per cost by tier under one goal: a regression on logs whose errors are shared by creators and campaigns.

The mean of value / cost is modelled as exp(tier + controls) by estimating equations in relative errors, so that a
placement of a small account says as much as one of a big account, and values of 0 and below count as they are. Errors
are kept by placement, so that they can be summed by creator and by campaign: what nobody sees of a creator or a
campaign is shared by all its placements.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RIDGE = 5.0  # placements' worth of doubt about each control, so that rare ones cannot run away
STEPS, LONGEST, CLOSE = 80, 1.0, 1e-7  # scoring steps, the longest in logs, and when to stop
ROUNDS = 2  # of weights, each from the fit before
CELLS = 10  # in which noise is measured against expected value
MOST_ALIKE = 0.9
MOST_SHARE = 0.5  # of a tier that one creator is reckoned to be
TINY = 1e-300


@dataclass(frozen=True)
class TierFit:
    """Log return per cost of t tiers, everything else in the controls equal.

    Attributes:
        level: log of expected value / cost at average controls, shape (t,).
        influence: what each placement adds to the error of each level, shape (n, t).
        weight: of each placement, shape (n,).
    """

    level: Floats
    influence: Floats
    weight: Floats


def fit_tiers(
    ratio: Floats, cost: Floats, tier: Ints, controls: Floats, creator: Ints, prior: Floats | None = None
) -> TierFit:
    """Fit value / cost on tiers and controls.

    Args:
        ratio: value / cost of each placement, shape (n,).
        cost: above 0; it tells how large the value is and so how noisy, shape (n,).
        tier: 0 .. t - 1, every one with ratios that add up to more than 0, shape (n,).
        controls: standardised, shape (n, k).
        creator: 0 .. c - 1, whose placements share an error, shape (n,).
        prior: how many placements each stands for, shape (n,); None: one.

    >>> ratio, tier = np.array([1.0, 3.0, 4.0, 4.0]), np.array([0, 0, 1, 1])
    >>> fit = fit_tiers(ratio, np.ones(4), tier, np.zeros((4, 0)), np.arange(4))
    >>> bool(fit.level[1] > fit.level[0])
    True
    """
    prior = np.ones(len(ratio)) if prior is None else prior
    tiers = int(tier.max()) + 1
    x = np.column_stack([np.eye(tiers)[tier], controls])
    penalty = np.concatenate([np.zeros(tiers), np.full(controls.shape[1], RIDGE)])
    start = np.bincount(tier, weights=prior * ratio) / np.bincount(tier, weights=prior)
    coef = np.concatenate([np.log(start), np.zeros(controls.shape[1])])
    weight = prior
    for _ in range(ROUNDS):
        coef = _solve(x, ratio, weight, penalty, coef)
        mean = _mean(x, coef)
        weight = prior * _precision(ratio / mean - 1.0, mean * cost, creator)
    coef = _solve(x, ratio, weight, penalty, coef)
    bread: Floats = np.linalg.inv((x * weight[:, None]).T @ x + np.diag(penalty)).astype(np.float64)
    # what so many controls took from the errors by chance is given back, as degrees of freedom are
    taken = x.shape[1] - float(np.diag(bread) @ penalty)
    given_back = np.sqrt(len(ratio) / max(len(ratio) - taken, len(ratio) / 4.0))
    error = np.asarray(given_back * weight * (ratio / _mean(x, coef) - 1.0), dtype=np.float64)
    influence, variance = _cautious(((x * error[:, None]) @ bread)[:, :tiers], bread, error, weight, tier, creator)
    # the log of a noisy mean falls short of the log of the true one by half its variance
    return TierFit(coef[:tiers] + variance / 2.0, influence, weight)


def _mean(x: Floats, coef: Floats) -> Floats:
    return np.asarray(np.exp(np.clip(x @ coef, -50.0, 50.0)))


def _solve(x: Floats, ratio: Floats, weight: Floats, penalty: Floats, coef: Floats) -> Floats:
    """Root of sum w x (ratio / mean - 1) = penalty x coef, by scoring with bounded steps."""
    inverse = np.linalg.inv((x * weight[:, None]).T @ x + np.diag(penalty))
    for _ in range(STEPS):
        step = inverse @ (x.T @ (weight * (ratio / _mean(x, coef) - 1.0)) - penalty * coef)
        step *= min(1.0, LONGEST / max(float(np.abs(x @ step).max()), TINY))
        coef = coef + step
        if np.abs(step).max() < CLOSE:
            break
    return coef


def _precision(error: Floats, value: Floats, creator: Ints) -> Floats:
    """One over the variance of each relative error, mean 1.

    The variance is base + share / expected value, as of counts that vary by themselves: few sales are noisier. A
    creator's placements are alike, so that each further one says less.
    """
    edges = np.quantile(value, np.linspace(0.0, 1.0, CELLS + 1)[1:-1])
    cell = np.searchsorted(edges, value)
    count = np.bincount(cell, minlength=CELLS)
    kept = count > 0
    inverse = np.bincount(cell, weights=1.0 / value, minlength=CELLS)[kept] / count[kept]
    noise = np.maximum(np.bincount(cell, weights=error**2, minlength=CELLS)[kept] / count[kept], 1e-12)
    # relative to the noise itself, else the noisiest cell decides alone
    base, share = nnls(np.column_stack([1.0 / noise, inverse / noise]), np.ones(len(noise)))[0]
    variance = base + share / value
    scaled = error / np.sqrt(variance)
    rows = np.bincount(creator).astype(np.float64)
    sums, squares = np.bincount(creator, weights=scaled), np.bincount(creator, weights=scaled**2)
    pairs, size = float((rows * (rows - 1.0)).sum()), float((scaled**2).mean())
    alike = float((sums**2 - squares).sum()) / pairs / size if pairs > 0 and size > 0 else 0.0
    precision = 1.0 / (variance * (1.0 + (rows[creator] - 1.0) * min(max(alike, 0.0), MOST_ALIKE)))
    return np.asarray(precision / precision.mean())


def _cautious(
    influence: Floats, bread: Floats, error: Floats, weight: Floats, tier: Ints, creator: Ints
) -> tuple[Floats, Floats]:
    """Influences made no smaller than a tier of few creators deserves, and the variances (t,) they add up to.

    Two things make few creators look too sure: each pulls the fit towards itself (mended as in a jackknife), and a tier
    that happens to lack its rare big hits looks both poor and calm (mended by the spread all tiers have together).
    """
    tiers = influence.shape[1]
    total = np.bincount(tier, weights=weight, minlength=tiers)
    own = np.bincount(creator * tiers + tier, weights=weight, minlength=(creator.max() + 1) * tiers)
    share = np.minimum(own.reshape(-1, tiers) / total, MOST_SHARE)
    influence = influence / (1.0 - share)[creator]
    spread = float((np.bincount(creator, weights=error) ** 2).sum() / weight.sum())
    usual = spread * np.diag(bread)[:tiers]
    seen = np.array([(np.bincount(creator, weights=influence[:, t]) ** 2).sum() for t in range(tiers)])
    return influence * np.sqrt(np.maximum(usual / np.maximum(seen, TINY), 1.0)), np.maximum(seen, usual)
