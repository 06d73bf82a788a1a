"""Two estimates from a log of what another policy would have returned, with intervals; nothing here knows of markets.

Matched replay weighs the logged placements that the policy could have booked too by one over their chance. The doubly
robust estimate takes the predictions of everybody the policy could have booked, and mends them by the weighted errors
of the same placements: it is right on average if either the chances or the predictions are (Dudik et al. 2011).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.stage import Floats

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

DRAWS = 1000
LEVEL = 0.9
MOST_WEIGHT = 4.0  # times the mean weight of the matched placements; what is above is cut off
TEAM, REPLAY, ROBUST = "team", "matched replay", "doubly robust"
GAIN_REPLAY, GAIN_ROBUST = "gain, matched replay", "gain, doubly robust"
# per campaign: bookings with a known outcome; value and cost logged; weight; weighted value, cost and their errors;
# predicted value and cost of the policy's choices times the bookings
BOOKINGS, VALUE, COST, WEIGHT, W_VALUE, W_COST, VALUE_ERROR, COST_ERROR, P_VALUE, P_COST = range(10)


@dataclass(frozen=True)
class Log:
    """n logged placements of k campaigns, shape (n,) each.

    Attributes:
        campaign: 0 to k - 1.
        chance: with which each was chosen, up to a factor of its campaign; above 0.
        matched: whether the policy could have booked it too.
        value, cost: outcome, NaN where unknown; a placement counts only where both are known.
        predicted_value, predicted_cost: known before it was agreed, by the same rule as for the policy's choices.
    """

    campaign: Ints
    chance: Floats
    matched: Bools
    value: Floats
    cost: Floats
    predicted_value: Floats
    predicted_cost: Floats

    @property
    def known(self) -> Bools:
        """Whether value and cost are both known."""
        return np.isfinite(self.value) & np.isfinite(self.cost)


@dataclass(frozen=True)
class Choices:
    """What the policy may book in each of k campaigns, shape (k,) each.

    Attributes:
        share: of the creators the campaign could have booked.
        value, cost: mean predictions over these.
    """

    share: Floats
    value: Floats
    cost: Floats


@dataclass(frozen=True)
class Estimate:
    """A figure and its interval (90 %)."""

    estimate: float
    low: float
    high: float


def weights(log: Log, choices: Choices, most: float = MOST_WEIGHT) -> Floats:
    """Weight of each logged placement, shape (n,): 0 where it is not matched or its outcome not known.

    Within a campaign, 1 / chance over the sum of these says for how much of the campaign's pool a placement stands,
    whatever shortlist the chances refer to. Divided by the policy's share of the pool and times the campaign's
    bookings, the weights of a campaign add up to about its bookings.

    >>> log = Log(np.zeros(3, int), np.array([0.5, 0.25, 0.25]), np.array([True, True, False]), *[np.ones(3)] * 4)
    >>> weights(log, Choices(np.array([0.5]), np.ones(1), np.ones(1))).round(2).tolist()
    [1.2, 2.4, 0.0]
    """
    known, k = log.known, len(choices.share)
    stands_for = np.where(known, 1.0 / log.chance, 0.0)
    of_campaign = np.bincount(log.campaign, weights=stands_for, minlength=k)
    bookings = np.bincount(log.campaign[known], minlength=k)
    factor = bookings / np.maximum(of_campaign, 1e-300) / choices.share
    weight = np.where(log.matched & known, stands_for * factor[log.campaign], 0.0)
    matched = weight > 0
    return np.asarray(np.minimum(weight, most * weight[matched].mean())) if matched.any() else weight


def totals(log: Log, choices: Choices, weight: Floats) -> Floats:
    """Sums by campaign of everything the figures are made of, shape (k, 10); see BOOKINGS and the names after it."""
    known, k = log.known, len(choices.share)

    def by_campaign(column: Floats) -> Floats:
        return np.bincount(log.campaign, weights=np.where(known, column, 0.0), minlength=k).astype(np.float64)

    bookings = by_campaign(np.ones(len(known)))
    return np.column_stack(
        [
            bookings,
            by_campaign(log.value),
            by_campaign(log.cost),
            by_campaign(weight),
            by_campaign(weight * log.value),
            by_campaign(weight * log.cost),
            by_campaign(weight * (log.value - log.predicted_value)),
            by_campaign(weight * (log.cost - log.predicted_cost)),
            bookings * choices.value,
            bookings * choices.cost,
        ]
    )


def figures(total: Floats) -> dict[str, tuple[Floats, Floats]]:
    """ROI in sum by estimator and the gains over the team, each with its gradient.

    Args:
        total: sums over campaigns, shape (..., 10).

    Returns:
        By name: figures of shape (...) and gradients of shape (..., 10).
    """
    one = np.eye(total.shape[-1])
    s = np.moveaxis(total, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        team = _roi((s[VALUE], one[VALUE]), (s[COST], one[COST]))
        replay = _roi((s[W_VALUE], one[W_VALUE]), (s[W_COST], one[W_COST]))
        value = _sum(_ratio(s, P_VALUE, BOOKINGS), _ratio(s, VALUE_ERROR, WEIGHT))
        cost = _sum(_ratio(s, P_COST, BOOKINGS), _ratio(s, COST_ERROR, WEIGHT))
        robust = _roi(value, cost)
    return {
        TEAM: team,
        REPLAY: replay,
        ROBUST: robust,
        GAIN_REPLAY: (replay[0] - team[0], replay[1] - team[1]),
        GAIN_ROBUST: (robust[0] - team[0], robust[1] - team[1]),
    }


def estimates(by_campaign: Floats, seed: int = 0, draws: int = DRAWS) -> dict[str, Estimate]:
    """Figures with 90 % intervals: symmetric bootstrap-t over campaigns.

    Placements of one campaign are alike, so whole campaigns are drawn. A few large placements carry much of the value,
    which makes plain percentiles too narrow; here each draw's distance from the estimate is measured in its own
    standard error (by the delta method), and their 90 % quantile replaces the normal one (Hall 1988). ROI is skewed,
    so its distances are those of log(1 + ROI); gains can have either sign and are taken as they are. The chances and
    the predictions are not drawn again.

    Args:
        by_campaign: see `totals`, shape (k, 10); campaigns without a booking whose outcome is known are left out.
        seed: of the draws.
        draws: how many.
    """
    rows = by_campaign[by_campaign[:, BOOKINGS] > 0]
    k, width = rows.shape
    count = np.random.default_rng(seed).multinomial(k, np.full(k, 1.0 / k), draws).astype(np.float64)
    products = (rows[:, :, None] * rows[:, None, :]).reshape(k, width * width)
    total, drawn_total = rows.sum(axis=0), count @ rows
    drawn_products = (count @ products).reshape(draws, width, width)
    here, drawn = figures(total), figures(drawn_total)
    out = {}
    for name, (figure, gradient) in here.items():
        error = _standard_error(gradient, products.sum(axis=0).reshape(width, width))
        in_logs = name in (TEAM, REPLAY, ROBUST) and bool(figure > -1.0)
        out[name] = _interval(figure, error, drawn[name][0], _standard_error(drawn[name][1], drawn_products), in_logs)
    return out


def _interval(figure: Floats, error: Floats, drawn: Floats, drawn_error: Floats, in_logs: bool) -> Estimate:
    """The figure, and as far to both sides as 90 % of the draws lie in their own standard errors."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if in_logs:
            level, error = np.log1p(figure), error / (1.0 + figure)
            # a draw that loses more than everything is as far off as can be
            distance = np.abs(np.log1p(np.maximum(drawn, -1.0)) - level) / (drawn_error / (1.0 + drawn))
            distance = np.where(drawn > -1.0, distance, np.where(np.isnan(drawn), np.nan, np.inf))
        else:
            level, distance = figure, np.abs(drawn - figure) / drawn_error
    distance = distance[~np.isnan(distance)]  # a draw without any matched placement says nothing
    reach = error * float(np.quantile(distance, LEVEL, method="higher")) if len(distance) else np.inf
    low, high = float(level - reach), float(level + reach)
    return Estimate(float(figure), *((float(np.expm1(low)), float(np.expm1(high))) if in_logs else (low, high)))


Term = tuple[Floats, Floats]  # a quantity and its gradient


def _ratio(s: Floats, above: int, below: int) -> Term:
    one = np.eye(len(s))
    return _over((s[above], one[above]), (s[below], one[below]))


def _over(above: Term, below: Term) -> Term:
    value = above[0] / below[0]
    return value, (above[1] - value[..., None] * below[1]) / below[0][..., None]


def _sum(a: Term, b: Term) -> Term:
    return a[0] + b[0], a[1] + b[1]


def _roi(value: Term, cost: Term) -> Term:
    ratio, gradient = _over(value, cost)
    return ratio - 1.0, gradient


def _standard_error(gradient: Floats, products: Floats) -> Floats:
    """Delta method: each campaign's influence on a ratio of sums is its sums times the gradient."""
    squares = np.einsum("...i,...ij,...j->...", gradient, products, gradient)
    return np.asarray(np.sqrt(np.maximum(squares, 0.0)))


def effective_size(weight: Floats) -> float:
    """Kish's effective sample size, (sum w)^2 / sum w^2; 0 without any weight.

    >>> effective_size(np.array([1.0, 1.0, 0.0]))
    2.0
    """
    squares = float((weight**2).sum())
    return float(weight.sum()) ** 2 / squares if squares > 0 else 0.0


def by_name(found: Mapping[str, Estimate]) -> list[dict[str, str | float]]:
    """A row an estimate."""
    return [{"what": name, "estimate": e.estimate, "low": e.low, "high": e.high} for name, e in found.items()]
