"""Exact expectations of the synthetic market's own draws: what a placement costs and brings about on average.

They mirror `draw_counts`, `draw_costs` and `draw_revenue` of `training.sample_outcomes`, draw by draw: means of
log-normals, of rates capped from above, of a Poisson mixed with a gamma and capped by the clicks. Left out are only
the roundings of money (to three digits) and what lies below a thousandth.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import gammainc, gammaincc, gammaincinv, ndtr
from scipy.stats import nbinom, poisson

from training.sample_campaigns import Campaigns
from training.sample_creators import Creators
from training.sample_outcomes import (
    GIFT,
    GIFT_MOST,
    GIFT_OF_FEE,
    GIFTED,
    MOST_BUY,
    MOST_CLICK,
    MOST_ENGAGE,
    OTHER_OF_FEE,
    OTHER_PAID,
    REFUNDED,
    Bookings,
    Rate,
)
from training.sample_profiles import month_of
from training.sample_world import DELIVERABLES, Floats, Ints, World

_FEW = 150  # clicks up to which every count is summed; above, the Poisson's own noise no longer matters
_MANY = 200.0  # buyers from which they are treated as a continuous number
_COUNTS = 4000


@dataclass(frozen=True)
class Expected:
    """Means of each placement; fee and cost in USD are paid whatever happens, the rest is what a delivered post does.

    All of shape (placements,); `net_revenue` in USD, after refunds, whether or not sales are tracked.
    """

    fee: Floats
    cost: Floats
    impressions: Floats
    engagements: Floats
    clicks: Floats
    conversions: Floats
    net_revenue: Floats


@dataclass(frozen=True)
class SalesTable:
    """Buyers and their spending by log mean clicks (rows) and log buyers per click (columns).

    `kept` is the mean number of buyers over clicks x rate (below 1 where it would exceed the clicks), `basket` the
    mean sum of baskets over price x clicks x rate.
    """

    clicks: Floats
    rate: Floats
    kept: Floats
    basket: Floats

    def at(self, log_clicks: Floats, log_rate: Floats) -> tuple[Floats, Floats]:
        """`kept` and `basket` of each placement, interpolated."""
        row, right = _place(self.clicks, log_clicks)
        column, up = _place(self.rate, log_rate)
        corners = [
            (row, column, (1 - right) * (1 - up)),
            (row + 1, column, right * (1 - up)),
            (row, column + 1, (1 - right) * up),
            (row + 1, column + 1, right * up),
        ]
        kept = np.sum([weight * self.kept[r, c] for r, c, weight in corners], axis=0)
        return np.asarray(kept), np.asarray(np.sum([weight * self.basket[r, c] for r, c, weight in corners], axis=0))


def capped_mean(log_level: Floats, spread: float, cap: float) -> Floats:
    """Mean of min(exp(log_level + spread x standard normal), cap).

    >>> float(capped_mean(np.array([np.log(0.01)]), 0.3, 0.3)[0].round(6))  # far from the cap: 0.01 exp(0.045)
    0.01046
    """
    if spread == 0:
        return np.minimum(np.exp(log_level), cap)
    room = (np.log(cap) - log_level) / spread
    return np.asarray(np.exp(log_level + spread**2 / 2) * ndtr(room - spread) + cap * ndtr(-room))


def expected_outcomes(
    world: World, creators: Creators, campaigns: Campaigns, bookings: Bookings, rate: Rate, sales: SalesTable
) -> Expected:
    """Means of placements with these dates and deliverables; `rate` is of `expected_rates`."""
    # whole views are rounded down: half a view less on average
    impressions = np.maximum(np.exp(rate.impressions + world.impression_noise**2 / 2) - 0.5, 1e-9)
    clicks = impressions * capped_mean(rate.clicks, world.click_noise, MOST_CLICK)
    log_rate = np.minimum(rate.sales, np.log(MOST_BUY))
    kept, basket = sales.at(np.log(clicks), log_rate)
    buyers = clicks * np.exp(log_rate)
    # the refunded share is exponential and at most 1
    refunded = REFUNDED * world.refund_share * (1 - np.exp(-1 / world.refund_share))
    fee, cost = expected_costs(world, creators, bookings)
    return Expected(
        fee=fee,
        cost=cost,
        impressions=impressions,
        engagements=impressions * capped_mean(rate.engagement, world.engagement_noise, MOST_ENGAGE),
        clicks=clicks,
        conversions=buyers * kept,
        net_revenue=buyers * basket * campaigns.price[bookings.campaign] * (1 - refunded),
    )


def expected_costs(world: World, creators: Creators, bookings: Bookings) -> tuple[Floats, Floats]:
    """Mean fee and mean cost (fee, gifts and other cost) in USD."""
    who = bookings.creator
    usual = np.exp(creators.fee_at(who, month_of(bookings.agreed, creators.months)))
    usual = usual * np.array([d.fee for d in DELIVERABLES])[bookings.deliverable]
    fee = usual * np.exp(world.fee_noise**2 / 2)
    if world.gift_of_fee:
        gift = fee * _gamma2_capped(np.array([GIFT_OF_FEE]), np.array([GIFT_MOST]))
    else:
        nodes, weights = np.polynomial.hermite_e.hermegauss(15)
        gift = np.zeros(len(fee))
        for node, weight in zip(nodes, weights / weights.sum(), strict=True):
            most = GIFT_MOST * usual * np.exp(world.fee_noise * node)
            gift += weight * _gamma2_capped(np.array([GIFT]), most)
    other = OTHER_PAID * fee * sum(OTHER_OF_FEE) / 2
    return fee, fee + GIFTED * gift + other


def sales_table(world: World) -> SalesTable:
    """Tabulate buyers and baskets for the world's noise; about a second."""
    clicks, rate = np.linspace(-5.0, 17.0, 111), np.append(np.linspace(-12.0, -4.0, 17), np.linspace(-3.8, -0.7, 32))
    rate = np.append(rate[rate < np.log(MOST_BUY)], np.log(MOST_BUY))
    shape, p = world.sale_shape, np.exp(rate)
    n, k = np.arange(_FEW + 1), np.arange(_FEW + 1)[:, None]
    few, few_extra = np.zeros((len(n), len(p))), np.zeros((len(n), len(p)))
    extra = _extra(world, np.arange(_FEW + 1).astype(float))
    for column, chance in enumerate(p):
        success = shape / (shape + n * chance)
        mass = np.where(k < n, nbinom.pmf(k, shape, success), 0.0)
        rest = 1.0 - mass.sum(axis=0)  # would be n or more: n
        few[:, column] = (k * mass).sum(axis=0) + n * rest
        few_extra[:, column] = extra @ mass + extra[n] * rest
    spread = float(np.hypot(world.impression_noise, world.click_noise))
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)
    weights = weights / weights.sum()
    # mean clicks of each grid row at each node of the log-normal: (rows, nodes)
    mean = np.exp(clicks[:, None] + spread * nodes - spread**2 / 2)
    counts = poisson.pmf(n, np.minimum(mean, 100.0)[:, :, None])
    large = mean > 100.0
    share = p * gammainc(shape + 1, shape / p) + gammaincc(shape, shape / p)  # mean of min(p x gamma, 1)
    grid = np.linspace(-16.0, 20.0, 145)
    by_mean = _extra_by_mean(world, np.exp(grid))
    many_extra = np.interp(np.log(mean)[:, :, None] + rate, grid, by_mean)
    bought = np.where(large[:, :, None], mean[:, :, None] * share, counts @ few)
    spent = np.where(large[:, :, None], many_extra, counts @ few_extra)
    usual = np.exp(clicks)[:, None] * p
    kept = np.einsum("mzp,z->mp", bought, weights) / usual
    return SalesTable(clicks, rate, kept, kept + np.einsum("mzp,z->mp", spent, weights) / usual)


def _extra(world: World, buyers: Floats) -> Floats:
    """What so many buyers spend beyond the price, in prices: baskets average out as buyers grow."""
    some = np.maximum(buyers, 1.0)
    return np.asarray(buyers * np.expm1(world.basket_mean / np.sqrt(some) + world.basket_spread**2 / (2 * some)))


def _extra_by_mean(world: World, mean: Floats) -> Floats:
    """Mean of `_extra` where the number of buyers is a Poisson mixed with a gamma, not capped by the clicks."""
    shape = world.sale_shape
    levels = gammaincinv(shape, (np.arange(2000) + 0.5) / 2000) / shape
    count = np.arange(_COUNTS)[:, None]
    small = mean < _MANY
    result = np.asarray(_extra(world, mean[:, None] * levels).mean(axis=1))
    mass = nbinom.pmf(count, shape, shape / (shape + mean[small]))
    result[small] = _extra(world, count.astype(float)[:, 0]) @ mass
    return result


def _gamma2_capped(scale: Floats, most: Floats) -> Floats:
    """Mean of min(gamma of shape 2 and this scale, most)."""
    ratio = most / scale
    return np.asarray(scale * (2.0 - np.exp(-ratio) * (2.0 + ratio)))


def _place(grid: Floats, value: Floats) -> tuple[Ints, Floats]:
    """The grid cell of each value and how far it lies in it; beyond the ends the value of the end."""
    cell = np.clip(np.searchsorted(grid, value, side="right") - 1, 0, len(grid) - 2)
    return cell, np.clip((value - grid[cell]) / (grid[cell + 1] - grid[cell]), 0.0, 1.0)
