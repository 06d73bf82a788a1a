"""What came of the synthetic placements: expected rates first, then one noisy draw of what was measured.

The funnel is impressions -> engagements and clicks -> conversions -> revenue, each stage with its own causes.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from training.sample_campaigns import Campaigns, campaign_ids
from training.sample_cliffs import cliff_effects
from training.sample_creators import Creators
from training.sample_fx import Rates
from training.sample_profiles import days_to_dates, month_of
from training.sample_world import (
    CURRENCIES,
    DELIVERABLES,
    LOG_REFERENCE,
    PLATFORMS,
    Bools,
    Floats,
    Ints,
    World,
    known_only,
    label,
    per_platform,
    pick_index,
    significant,
    tier_of,
)

# the draws' own constants, read by training.sample_expected too
MOST_ENGAGE, MOST_CLICK, MOST_BUY = 0.6, 0.3, 0.5  # caps on the share of viewers and of clickers
GIFTED, GIFT, GIFT_OF_FEE, GIFT_MOST = (
    0.5,
    8.0,
    0.05,
    0.5,
)  # gamma(2) gifts: chance, scale in USD or in fees, most in fees
OTHER_PAID, OTHER_OF_FEE = 0.4, (0.02, 0.12)
REFUNDED = 0.7  # placements with sales that see any refund

FATIGUE_DAYS = 60
LATE, LATEST = 0.15, 20  # share of outcomes that settle late, by 1 to so many days (a guess)
_WINDOW = 30  # days after posting at which outcomes are final
# factor on impressions and on conversions by calendar month: crowded and spendthrift at the year's end
_SEASON_VIEWS = np.array([0.95, 0.97, 1.0, 1.0, 1.02, 1.03, 1.05, 1.05, 1.0, 1.0, 0.93, 0.9])
_SEASON_SALES = np.array([0.85, 0.95, 0.95, 0.97, 1.0, 1.05, 0.95, 0.92, 1.0, 1.05, 1.35, 1.2])
# what polish does for clicks by goal, in the order of GOALS: studio work sells an image, the raw sells a product
_POLISH_BY_GOAL = np.array([0.4, -0.2, -0.4, 0.3, -0.4])
DELIVERABLE_NAMES = tuple(d.name for d in DELIVERABLES)


@dataclass(frozen=True)
class Bookings:
    """Who was booked, when and for what; row = placement. Days count from today = 0."""

    campaign: Ints
    creator: Ints
    propensity: Floats
    agreed: Ints
    posted: Ints
    deliverable: Ints
    recent: Ints  # the creator's other paid posts in the 60 days before

    def __len__(self) -> int:
        return len(self.campaign)


@dataclass(frozen=True)
class Rate:
    """Expected rates of each placement, in logs: views, engagements per view, clicks per view, sales per click."""

    impressions: Floats
    engagement: Floats
    clicks: Floats
    sales: Floats


def make_bookings(
    creators: Creators, campaigns: Campaigns, chosen: tuple[Ints, Ints, Floats], rng: np.random.Generator
) -> Bookings:
    """Give every chosen placement its dates and its deliverable; the rows come out in the order they were agreed."""
    campaign, creator, propensity = chosen
    n = len(campaign)
    agreed = np.minimum(campaigns.start[campaign] + rng.geometric(0.15, n) - 1, 0)
    order = np.lexsort((creator, campaign, agreed))
    campaign, creator, propensity, agreed = campaign[order], creator[order], propensity[order], agreed[order]
    posted = agreed + 2 + np.minimum(rng.geometric(0.12, n), 28)
    deliverable = pick_index(rng, np.cumsum(deliverable_shares(), axis=1)[creators.platform[creator]])
    return Bookings(campaign, creator, propensity, agreed, posted, deliverable, _recent(creator, posted))


def deliverable_shares() -> Floats:
    """Chance of each deliverable by platform, (platforms, deliverables); rows sum to 1."""
    return np.array([[p.deliverables.get(name, 0.0) for name in DELIVERABLE_NAMES] for p in PLATFORMS])


def expected_rates(world: World, creators: Creators, campaigns: Campaigns, bookings: Bookings, today: int) -> Rate:
    """What each placement could be expected to do, before any luck; `today` is days since 1970-01-01."""
    who, which = bookings.creator, bookings.campaign
    month = month_of(bookings.posted, creators.months)
    size = creators.followers[who, month] - LOG_REFERENCE
    views, engagement = creators.views[who, month], creators.engagement[who, month]
    fit = np.einsum("pn,pn->p", creators.fit[who], campaigns.niches[which])
    reach = np.minimum(np.einsum("pn,pn->p", creators.audience[who], campaigns.target[which]), 1.0)
    spoken = np.einsum("pn,pn->p", creators.languages[who], campaigns.languages[which].astype(float))
    season = _calendar_month(today + bookings.posted)
    kind = np.array([d[1:] for d in DELIVERABLES])[bookings.deliverable]
    goal, platform = campaigns.goal[which], creators.platform[who]
    polish = _POLISH_BY_GOAL[goal] + per_platform("polish_taste")[platform]
    usual = np.log(per_platform("engagement"))[platform]
    local, launch = campaigns.is_goal("local")[which], campaigns.is_goal("launch")[which]
    seen, engaged = np.zeros(len(who)), np.zeros(len(who))
    if world.cliffs:
        seen, engaged = cliff_effects(creators, campaigns, who, which, month)
    if world.better_tier is not None:
        seen = seen + np.log1p(world.better_by) * (tier_of(creators.followers[who, month]) == world.better_tier)
    return Rate(
        impressions=views
        + world.fit_views * (fit - 0.5)
        + np.log(kind[:, 0] * _SEASON_VIEWS[season])
        - world.fatigue * np.minimum(bookings.recent, 6)
        + seen,
        engagement=engagement
        - world.fit_engagement * ((fit - world.fit_peak) ** 2 - 0.09)
        + np.where(launch, np.log(world.launch_engagement), 0.0)
        + engaged,
        clicks=np.log(world.click_rate * kind[:, 2])
        + world.fit_clicks * (fit - 0.5)
        + world.geography_clicks * np.log(0.15 + 0.85 * reach)
        + world.language_clicks * np.log(0.3 + 0.7 * spoken)
        + world.engagement_clicks * (engagement + engaged - usual)
        + world.sponsored_clicks * (creators.sponsored_share[who] - 0.16)
        + world.polish_clicks * polish * (creators.polish[who] - 0.5)
        + np.log(creators.credibility[who] / world.usual_credibility),
        sales=np.log(world.sale_rate * kind[:, 3] * _SEASON_SALES[season])
        + creators.selling[who]
        + campaigns.brand_quality[which]
        + world.fit_sales * (fit - 0.5)
        # a shop can only be visited by who lives there
        + np.where(local, 1.0, world.geography_sales) * np.log(0.1 + 0.9 * reach)
        + world.price_sales * np.log(campaigns.price[which] / 40.0)
        + world.followers_sales * size
        + np.where(local, world.local_sales, 0.0)
        + np.where(campaigns.is_new[which], world.new_product_sales, 0.0),
    )


def placements_table(
    world: World,
    market: tuple[Creators, Campaigns, Bookings, Rates],
    rate: Rate,
    rng: np.random.Generator,
) -> tuple[pl.DataFrame, Floats]:
    """One draw of costs and outcomes, the contract's `placements`, and each campaign's cost in its own currency.

    Outcomes are empty where the post failed to appear or is not settled yet; clicks and sales also where nobody
    tracked them.
    """
    creators, campaigns, bookings, rates = market
    n, which, who = len(bookings), bookings.campaign, bookings.creator
    fee, product, other = draw_costs(world, creators, bookings, rng)
    dollars = rates.usd(campaigns.currency[which], bookings.agreed)
    delivered = rng.random(n) < creators.delivery[who]
    late = np.where(rng.random(n) < LATE, rng.integers(1, LATEST + 1, n), 0)
    due = np.where(delivered, bookings.posted, np.minimum(bookings.posted, bookings.agreed + 14))
    settled_on = due + _WINDOW + late
    settled, posted = settled_on <= 0, delivered & (bookings.posted <= 0)
    seen = settled & delivered
    tracked = seen & _tracked(world, creators, bookings, len(campaigns), rng)
    drawn = draw_counts(world, campaigns, bookings, rate, rng)
    local = campaigns.is_goal("local")[which]
    sold, returned = draw_revenue(world, campaigns.price[which], drawn["conversions"], rng)
    revenue = sold / dollars
    refunds = revenue * returned
    amounts = {name: significant(usd / dollars) for name, usd in (("fee", fee), ("product", product), ("other", other))}
    table = pl.DataFrame(
        {
            "placement_id": "x" + pl.Series(np.arange(n)).cast(pl.String).str.zfill(7),
            "campaign_id": campaign_ids(which),
            "creator_id": creators.ids.gather(who),
            "agreed_on": days_to_dates(rates.today, bookings.agreed),
            "posted_at": known_only(days_to_dates(rates.today, bookings.posted), posted),
            "deliverable": label(DELIVERABLE_NAMES, bookings.deliverable),
            "delivered": known_only(delivered, settled | posted),
            "fee": known_only(amounts["fee"], rng.random(n) < 0.985),
            "product_cost": amounts["product"],
            "other_cost": amounts["other"],
            "currency": label(CURRENCIES, campaigns.currency[which]),
            **{name: known_only(drawn[name], seen) for name in ("impressions", "reach", "engagements")},
            **{name: known_only(drawn[name], tracked) for name in ("clicks", "conversions")},
            "revenue": known_only(revenue.round(2), tracked),
            "refunds": known_only(refunds.round(2), tracked),
            "new_customers": known_only(drawn["new_customers"], tracked),
            "visits": known_only(drawn["visits"], tracked & local),
            "settled_at": known_only(days_to_dates(rates.today, settled_on), settled),
            "propensity": np.clip(bookings.propensity, 1e-6, 1.0).round(6),
        }
    )
    cost = amounts["fee"] + amounts["product"] + amounts["other"]
    return table, np.bincount(which, weights=cost, minlength=len(campaigns)).astype(np.float64)


def draw_counts(
    world: World, campaigns: Campaigns, bookings: Bookings, rate: Rate, rng: np.random.Generator
) -> dict[str, Ints]:
    """Whole counts of what happened, as if every placement had been delivered and tracked."""
    n = len(bookings)
    impressions = np.exp(rate.impressions + rng.normal(0.0, world.impression_noise, n)).astype(np.int64)
    engaged = np.exp(np.minimum(rate.engagement + rng.normal(0.0, world.engagement_noise, n), np.log(MOST_ENGAGE)))
    clicked = np.exp(np.minimum(rate.clicks + rng.normal(0.0, world.click_noise, n), np.log(MOST_CLICK)))
    clicks = rng.binomial(impressions, clicked)
    mixed = np.exp(np.minimum(rate.sales, np.log(MOST_BUY))) * rng.gamma(world.sale_shape, 1.0 / world.sale_shape, n)
    conversions = np.minimum(rng.poisson(clicks * mixed), clicks)
    return {
        "impressions": impressions,
        "reach": np.round(impressions * rng.uniform(0.6, 0.95, n)).astype(np.int64),
        "engagements": rng.binomial(impressions, engaged),
        "clicks": clicks,
        "conversions": conversions,
        "new_customers": rng.binomial(conversions, np.where(campaigns.is_new[bookings.campaign], 0.75, 0.5)),
        "visits": conversions + rng.poisson(2.0 * conversions + 0.05 * clicks),
    }


def draw_revenue(world: World, price: Floats, conversions: Ints, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Revenue in the currency of the price, and the share of it that is refunded."""
    n = len(conversions)
    luck = rng.normal(world.basket_mean, world.basket_spread, n)
    basket = price * np.exp(luck / np.sqrt(np.maximum(conversions, 1)))
    returned = np.minimum(rng.gamma(1.0, world.refund_share, n), 1.0) * (rng.random(n) < REFUNDED)
    return conversions * basket, returned


def draw_costs(
    world: World, creators: Creators, bookings: Bookings, rng: np.random.Generator
) -> tuple[Floats, Floats, Floats]:
    """Fee, product cost and other cost in USD."""
    n, who = len(bookings), bookings.creator
    fee = creators.fee_at(who, month_of(bookings.agreed, creators.months)) + rng.normal(0.0, world.fee_noise, n)
    fee = np.exp(fee) * np.array([d.fee for d in DELIVERABLES])[bookings.deliverable]
    gifted = rng.random(n) < GIFTED
    gift = rng.gamma(2.0, GIFT_OF_FEE, n) * fee if world.gift_of_fee else rng.gamma(2.0, GIFT, n)
    product = np.where(gifted, np.minimum(gift, GIFT_MOST * fee), 0.0)
    other = np.where(rng.random(n) < OTHER_PAID, fee * rng.uniform(*OTHER_OF_FEE, n), 0.0)
    return fee, product, other


def _tracked(world: World, creators: Creators, bookings: Bookings, campaigns: int, rng: np.random.Generator) -> Bools:
    """Whether clicks and sales were measured: a choice of each campaign, and on each of its platforms."""
    by_campaign = rng.random((campaigns, 1)) < world.tracked_campaigns
    by_platform = rng.random((campaigns, len(PLATFORMS))) < per_platform("tracked")
    return np.asarray((by_campaign & by_platform)[bookings.campaign, creators.platform[bookings.creator]])


def _recent(creator: Ints, posted: Ints) -> Ints:
    """How many of the creator's other paid posts fall in the 60 days before each, the same day not counted."""
    key = creator * 2**20 + (posted - posted.min() + 64)
    ordered = np.sort(key)
    return np.asarray(np.searchsorted(ordered, key) - np.searchsorted(ordered, key - FATIGUE_DAYS), dtype=np.int64)


def _calendar_month(day: Ints) -> Ints:
    """January is 0."""
    return np.asarray(day.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % 12)
