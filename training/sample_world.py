"""What the synthetic market is made of: its countries, platforms, niches and the size of every effect.

All of it is invented. Where a number follows a published finding, the field names the paper; the rest are working
guesses, set so that a typical placement comes out near break-even.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

MONTH_DAYS = 30.4375
REFERENCE_FOLLOWERS = 30_000.0
GOALS = ("awareness", "engagement", "conversion", "launch", "local")


class Country(NamedTuple):
    """A home market; `weight` is its share of the creators, `kin` where the rest of their audience lives."""

    code: str
    language: str
    currency: str
    weight: float
    fee_level: float
    kin: tuple[str, str, str]


COUNTRIES = (
    Country("US", "en", "USD", 0.22, 1.20, ("GB", "IN", "BR")),
    Country("GB", "en", "GBP", 0.08, 1.10, ("US", "IN", "DE")),
    Country("DE", "de", "EUR", 0.07, 1.10, ("GB", "FR", "US")),
    Country("FR", "fr", "EUR", 0.06, 1.00, ("GB", "US", "ES")),
    Country("ES", "es", "EUR", 0.05, 0.90, ("US", "FR", "IT")),
    Country("IT", "it", "EUR", 0.04, 0.90, ("ES", "US", "DE")),
    Country("SG", "en", "SGD", 0.06, 1.10, ("MY", "ID", "CN")),
    Country("MY", "ms", "MYR", 0.05, 0.85, ("SG", "ID", "CN")),
    Country("ID", "id", "USD", 0.06, 0.75, ("MY", "SG", "US")),
    Country("JP", "ja", "JPY", 0.04, 1.05, ("US", "CN", "SG")),
    Country("BR", "pt", "USD", 0.06, 0.80, ("US", "ES", "IT")),
    Country("IN", "hi", "USD", 0.06, 0.75, ("US", "GB", "SG")),
    Country("CN", "zh", "CNY", 0.20, 0.95, ("SG", "MY", "US")),
)
COUNTRY_CODES = tuple(c.code for c in COUNTRIES)
LANGUAGES = tuple(sorted({c.language for c in COUNTRIES}))
CURRENCIES = tuple(sorted({c.currency for c in COUNTRIES}))
USD_FOR_ONE = {"CNY": 0.139, "EUR": 1.09, "GBP": 1.27, "JPY": 0.0067, "MYR": 0.225, "SGD": 0.745, "USD": 1.0}


class Deliverable(NamedTuple):
    """A kind of post: factors on impressions, fee, clicks per impression and conversions per click."""

    name: str
    views: float
    fee: float
    clicks: float
    sales: float


DELIVERABLES = (
    Deliverable("post", 0.9, 0.9, 0.9, 1.0),
    Deliverable("story", 0.5, 0.5, 1.6, 1.0),
    Deliverable("video", 1.0, 1.0, 1.0, 1.0),
    Deliverable("reel", 1.2, 1.1, 0.9, 1.0),
    Deliverable("note", 1.0, 1.0, 1.1, 1.1),
    Deliverable("article", 1.0, 1.0, 1.2, 1.0),
    Deliverable("live", 0.7, 1.1, 1.4, 1.3),
)


class Platform(NamedTuple):
    """A platform: views and fee (USD) of an account with 30,000 followers, and how both grow with followers in logs.

    TikTok's views slope of .10 is Tian et al. 2024; fees there follow the .32 paid slope of IZEA 2022.
    Weibo's engagement per spend rises with followers (Leung et al. 2022): its views outgrow its fees.
    """

    name: str
    weight: float
    views: float
    views_slope: float
    engagement: float
    fee: float
    fee_slope: float
    deliverables: dict[str, float]
    tracked: float
    polish_taste: float


_SHORT_VIDEO = {"video": 0.85, "live": 0.15}
PLATFORMS = (
    Platform("instagram", 0.42, 20e3, 0.75, 0.058, 92, 0.70, {"post": 0.3, "story": 0.2, "reel": 0.5}, 0.85, 0.1),
    Platform("tiktok", 0.32, 34e3, 0.10, 0.065, 135, 0.34, _SHORT_VIDEO, 0.75, -0.5),
    Platform("youtube", 0.26, 19e3, 0.75, 0.052, 90, 0.68, {"video": 1.0}, 0.85, 0.4),
    Platform("xiaohongshu", 0.25, 22e3, 0.40, 0.070, 112, 0.48, {"note": 0.8, "video": 0.2}, 0.6, -0.4),
    Platform("douyin", 0.30, 34e3, 0.30, 0.052, 150, 0.45, _SHORT_VIDEO, 0.85, -0.3),
    Platform("weibo", 0.20, 17e3, 0.78, 0.045, 88, 0.67, {"post": 0.7, "video": 0.3}, 0.6, 0.2),
    Platform("wechat", 0.12, 15e3, 0.80, 0.042, 82, 0.68, {"article": 1.0}, 0.7, 0.5),
    Platform("bilibili", 0.13, 21e3, 0.55, 0.075, 108, 0.58, {"video": 0.9, "live": 0.1}, 0.65, 0.1),
)
PLATFORM_NAMES = tuple(p.name for p in PLATFORMS)
CHINESE = frozenset({"xiaohongshu", "douyin", "weibo", "wechat", "bilibili"})
# Overseas Chinese readers: Xiaohongshu is the one Chinese platform with creators in Singapore and Malaysia.
_ABROAD = {("SG", "xiaohongshu"): 0.12, ("MY", "xiaohongshu"): 0.08}

# niche -> share of women in a typical audience
FEMALE_SHARE = {
    "beauty": 0.85, "fashion": 0.74, "fitness": 0.5, "food": 0.58, "travel": 0.54, "gaming": 0.24, "tech": 0.27,
    "home": 0.66, "parenting": 0.78, "pets": 0.62, "finance": 0.36, "education": 0.52, "music": 0.5, "sports": 0.3,
    "auto": 0.18, "health": 0.6,
}  # fmt: skip
NICHES = tuple(FEMALE_SHARE)
_KIN_NICHES = (
    {"beauty", "fashion"}, {"fitness", "health", "sports"}, {"food", "home", "parenting"}, {"travel", "food"},
    {"gaming", "tech", "music"}, {"tech", "auto", "finance"}, {"pets", "home"}, {"education", "parenting", "finance"},
    {"sports", "auto"}, {"health", "food"},
)  # fmt: skip


@dataclass(frozen=True)
class World:
    """Size of every effect in the market; effects and spreads are in logs unless said otherwise."""

    followers_median: float = REFERENCE_FOLLOWERS
    followers_spread: float = 1.9
    monthly_growth: float = 0.012
    sponsored_loss: float = 0.0019  # subscribers lost per sponsored post (Cheng & Zhang 2025)
    credible_share: float = 0.78  # about 22 % of followers are suspicious on average (domain.md)
    credible_spread: float = 14.0  # concentration of the beta between creators: smaller means more varied
    credible_slope: float = 0.0  # on the log odds, a log of followers: the trend with size is disputed (domain.md)
    usual_credibility: float = 0.78  # at which credibility neither adds nor takes clicks
    delivered_share: float = 0.92  # of agreed placements; Later plans with .80 for creators who are not yet known

    views_slope: float | None = None  # views on followers, of every platform; None: each platform its own
    views_spread: float = 0.5
    views_drift: float = 0.06  # a month, as a random walk
    reading_noise: float = 0.3  # of views and engagement in a snapshot
    engagement_spread: float = 0.4
    engagement_drift: float = 0.04
    engagement_peak: float = 40_000.0  # engagement is an inverted U in followers (Wies et al. 2023)
    engagement_curvature: float = 0.03
    best_posts_per_week: float = 5.0  # Leung et al. 2022
    posts_curvature: float = 0.06

    quoted_share: float = 0.55
    quote_noise: float = 0.2
    quote_markup: float = 0.06
    quote_slope: float = 0.10  # rate cards rise faster with followers than paid fees: .85-.95 against .32 (IZEA 2022)
    fee_slope: float | None = None  # paid fees on followers, of every platform; None: each platform its own
    fee_spread: float = 0.35  # between creators of one size and platform
    fee_per_views: float = 0.5  # how far fees follow views above or below what the followers suggest
    fee_noise: float = 0.25  # each negotiation
    gift_of_fee: bool = False  # gifts worth a tenth of the fee on average, instead of 16 USD whatever the fee

    goal_shares: tuple[float, ...] = (0.25, 0.2, 0.3, 0.15, 0.1)  # of campaigns, in the order of GOALS
    extra_countries: tuple[float, ...] = (0.4, 0.4, 0.2)  # chance of 0, 1 or 2 target countries beside the home
    everywhere: float = 0.1  # chance that a campaign, unless its goal is local, targets all countries alike

    candidates: int = 192  # a campaign's shortlist, of which it books some
    choice_followers: float = 0.2
    choice_engagement: float = 0.4
    choice_fit: float = 1.3
    choice_geography: float = 3.2

    fit_views: float = 0.5
    fatigue: float = 0.08  # for each of the creator's paid posts in the 60 days before
    impression_noise: float = 0.6
    fit_peak: float = 0.8  # follower-brand fit is an inverted U for engagement (Leung et al. 2022)
    fit_engagement: float = 1.2
    launch_engagement: float = 0.695  # launches draw 30.5 % less engagement (Leung et al. 2022)
    engagement_noise: float = 0.3

    click_rate: float = 0.013  # clicks per impression at a middling fit
    fit_clicks: float = 0.7
    geography_clicks: float = 0.35
    language_clicks: float = 0.4
    engagement_clicks: float = 0.35
    sponsored_clicks: float = -1.2  # a high sponsored share is a negative signal (Cheng & Zhang 2025)
    polish_clicks: float = 0.8
    click_noise: float = 0.3

    sale_rate: float = 0.09  # conversions per click for a product of 40 USD
    selling_spread: float = 0.6  # hidden, persistent; two thirds of its variance belongs to the person
    brand_spread: float = 0.2
    fit_sales: float = 0.4
    geography_sales: float = 0.45
    price_sales: float = -0.5
    # Revenue per follower falls from EUR .265 (nano) to .049 (macro), about -.4 in logs (Beichert et al. 2024);
    # views that grow more slowly than followers make up most of it, buyers per click the rest.
    followers_sales: float = -0.10
    new_product_sales: float = -0.5
    local_sales: float = 0.7  # who lives near the shop and comes, buys
    sale_shape: float = 1.1  # of the gamma mixed into the Poisson: smaller means more zeros and fatter tails
    refund_share: float = 0.07
    basket_mean: float = 0.05  # log of what a buyer spends over the price, nearer 0 the more buyers
    basket_spread: float = 0.25
    tracked_campaigns: float = 0.95  # times the platform's tracked share: about 75 % of placements have sales data

    better_tier: int | None = None  # a tier (0 nano .. 3 mega) whose paid posts are seen by more people
    better_by: float = 0.2  # by how much more, and so how much more value per cost
    cliffs: bool = False  # interactions and thresholds, see training.sample_cliffs


def niche_affinity() -> Floats:
    """How well a post about one niche suits another, (16, 16): 1 the same, .5 kin, .1 strangers.

    >>> float(niche_affinity()[NICHES.index("beauty"), NICHES.index("fashion")])
    0.5
    """
    kin = np.array([[any({a, b} <= group for group in _KIN_NICHES) for b in NICHES] for a in NICHES])
    result = np.where(kin, 0.5, 0.1)
    np.fill_diagonal(result, 1.0)
    return result


def platform_weights() -> Floats:
    """Chance of each platform by country, (countries, platforms), rows sum to 1; 0 where it is not used."""
    weights = np.array(
        [
            [
                _ABROAD.get((c.code, p.name), p.weight if (c.code == "CN") == (p.name in CHINESE) else 0.0)
                for p in PLATFORMS
            ]
            for c in COUNTRIES
        ]
    )
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def per_platform(field: str) -> Floats:
    """One number of every platform, as an array.

    >>> float(per_platform("views_slope")[1])
    0.1
    """
    return np.array([getattr(p, field) for p in PLATFORMS], dtype=float)


def slopes(world: World, field: str) -> Floats:
    """`views_slope` or `fee_slope` of every platform: the world's where it sets one, else the platform's own.

    >>> slopes(World(views_slope=0.1), "views_slope").tolist() == [0.1] * len(PLATFORMS)
    True
    """
    one: float | None = getattr(world, field)
    return per_platform(field) if one is None else np.full(len(PLATFORMS), one)


def tier_of(log_followers: Floats) -> Ints:
    """Tier by log followers: 0 nano, 1 micro, 2 macro, 3 mega.

    >>> tier_of(np.log([9_999.0, 10_000.0, 2e6])).tolist()
    [0, 1, 3]
    """
    return np.asarray(np.searchsorted([1e4, 1e5, 1e6], np.exp(log_followers) + 1e-6, side="right"), dtype=np.int64)


def pick_index(rng: np.random.Generator, cumulative: Floats) -> Ints:
    """One category a row, drawn from cumulative chances of shape (rows, categories)."""
    draw = rng.random(len(cumulative))[:, None]
    return np.asarray((draw >= cumulative[:, :-1]).sum(axis=1), dtype=np.int64)


def label(names: tuple[str, ...], index: Ints) -> pl.Series:
    """Names by index; a negative index gives null.

    >>> label(("a", "b"), np.array([1, -1])).to_list()
    ['b', None]
    """
    known = index >= 0
    return known_only(pl.Series(names, dtype=pl.String).gather(np.where(known, index, 0)), known)


def known_only(values: pl.Series | NDArray[np.generic], known: Bools) -> pl.Series:
    """The values, null where they are not known.

    >>> known_only(np.array([1, 2]), np.array([True, False])).to_list()
    [1, None]
    """
    return pl.select(pl.when(pl.Series(known)).then(pl.Series(values))).to_series()


def significant(values: Floats, digits: int = 3) -> Floats:
    """Rounded to so many significant digits, as prices are quoted.

    >>> significant(np.array([1234.5, 0.0])).tolist()
    [1230.0, 0.0]
    """
    size = np.floor(np.log10(np.maximum(np.abs(values), 1e-9)))
    step = 10.0 ** (size - digits + 1)
    return np.round(np.round(values / step) * step, 2)


LOG_REFERENCE = math.log(REFERENCE_FOLLOWERS)
