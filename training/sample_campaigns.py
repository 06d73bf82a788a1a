"""The synthetic market's campaigns, and which creators their managers booked: a biased choice with known chances."""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from features.errors import DataError
from training.sample_creators import Creators
from training.sample_fx import Rates
from training.sample_profiles import days_to_dates, month_of
from training.sample_world import (
    COUNTRIES,
    COUNTRY_CODES,
    CURRENCIES,
    GOALS,
    LANGUAGES,
    MONTH_DAYS,
    NICHES,
    PLATFORM_NAMES,
    Bools,
    Floats,
    Ints,
    World,
    known_only,
    label,
    niche_affinity,
    pick_index,
    platform_weights,
    significant,
)

_BRANDS = 40
_CERTAIN = ("CN", "SG", "DE")  # homes of the first brands, all paying in their own currency: no sample has only USD
_PLACEMENTS = 18  # a campaign, on average
_MOST = 96  # placements one campaign can have
_CHUNK = 4096  # campaigns whose shortlists are weighed at once


@dataclass(frozen=True)
class Brands:
    """Who the campaigns are for: home country, main niche, hidden quality and log price level (USD) of each brand."""

    home: Ints
    niche: Ints
    quality: Floats
    level: Floats


@dataclass(frozen=True)
class Campaigns:
    """Hidden state of the campaigns; row = campaign.

    Shapes: `niches` (m, niches) weights that sum to 1; `target` (m, countries) weights with largest 1;
    `languages` (m, languages) and `platforms` (m, platforms) flags; `size` is the number of placements.
    `price` is in USD, `brand_quality` a hidden log factor on conversions per click.
    """

    brand: Ints
    goal: Ints
    start: Ints
    niches: Floats
    target: Floats
    languages: Bools
    platforms: Bools
    currency: Ints
    price: Floats
    margin: Floats
    is_new: Bools
    brand_quality: Floats
    size: Ints
    brands: Brands

    def __len__(self) -> int:
        return len(self.brand)

    def is_goal(self, name: str) -> Bools:
        """Which campaigns have this goal."""
        return np.asarray(self.goal == GOALS.index(name))


def make_campaigns(world: World, creators: Creators, placements: int, rng: np.random.Generator) -> Campaigns:
    """Draw campaigns over the months the creators' state covers, with so many placements between them."""
    m = max(min(len(GOALS), placements), placements // _PLACEMENTS)
    brand = rng.integers(_BRANDS, size=m)
    brands = _brands(world, rng)
    last = int(creators.months * MONTH_DAYS) - 1
    campaigns = _of_brands(world, creators, brands, brand, (1, last), rng)
    campaigns = replace(campaigns, start=-campaigns.start)
    eligible = campaigns.platforms @ np.bincount(creators.platform, minlength=len(PLATFORM_NAMES))
    return replace(campaigns, size=_sizes(np.minimum(eligible, _MOST), placements, rng))


def coming_campaigns(
    world: World, creators: Creators, brands: Brands, count: int, rng: np.random.Generator
) -> Campaigns:
    """Campaigns of the same brands that start in the 30 days after the market's last; nobody is booked, all pay USD."""
    campaigns = _of_brands(world, creators, brands, rng.integers(_BRANDS, size=count), (1, 31), rng)
    return replace(campaigns, currency=np.full(count, CURRENCIES.index("USD")))


def _of_brands(
    world: World, creators: Creators, brands: Brands, brand: Ints, days: tuple[int, int], rng: np.random.Generator
) -> Campaigns:
    """One campaign of each brand given, its `start` within the range of days, still without placements."""
    m, home, main = len(brand), brands.home, brands.niche
    goal = rng.choice(len(GOALS), size=m, p=world.goal_shares)
    goal[: len(GOALS)] = rng.permutation(len(GOALS))[: len(goal)]
    local = goal == GOALS.index("local")
    kinship = niche_affinity()[main[brand]] ** 2
    second = pick_index(rng, np.cumsum(kinship / kinship.sum(axis=1, keepdims=True), axis=1))
    niches = np.zeros((m, len(NICHES)))
    niches[np.arange(m), main[brand]] += 0.6
    niches[np.arange(m), second] += 0.4
    target = _targets(world, home[brand], local, rng)
    platforms = _platforms(target, creators, rng)
    currency = np.array([CURRENCIES.index(c.currency) for c in COUNTRIES])[home[brand]]
    own = (np.arange(_BRANDS) < len(_CERTAIN)) | (rng.random(_BRANDS) < 0.3)
    own = own[brand] & np.isin(currency, [CURRENCIES.index(c) for c in ("EUR", "CNY", "SGD")])
    spoken = np.eye(len(LANGUAGES))[[LANGUAGES.index(c.language) for c in COUNTRIES]]
    is_launch = goal == GOALS.index("launch")
    return Campaigns(
        brand=brand,
        goal=goal,
        start=rng.integers(*days, m),
        niches=niches,
        target=target,
        languages=(target > 0).astype(float) @ spoken > 0,
        platforms=platforms,
        currency=np.where(own, currency, CURRENCIES.index("USD")),
        price=np.exp(brands.level[brand] + rng.normal(0.0, 0.3, m)),
        margin=np.clip(rng.normal(0.55, 0.12, m), 0.15, 0.9).round(2),
        is_new=rng.random(m) < np.where(is_launch, 0.9, 0.12),
        brand_quality=brands.quality[brand],
        size=np.zeros(m, dtype=np.int64),
        brands=brands,
    )


def campaigns_table(campaigns: Campaigns, spent: Floats, rates: Rates, rng: np.random.Generator) -> pl.DataFrame:
    """What is shown of them, the contract's `campaigns`; `spent` is each one's cost in its own currency."""
    m = len(campaigns)
    dollars = rates.usd(campaigns.currency, campaigns.start)
    sells = np.isin(campaigns.goal, [GOALS.index(g) for g in ("conversion", "launch", "local")])
    everywhere = (campaigns.target == 1.0).all(axis=1)

    def weighted(row: Floats) -> str | None:
        ranked = [k for k in np.argsort(-row, kind="stable") if row[k] > 0]
        return "|".join(f"{COUNTRY_CODES[k]}:{round(row[k] / row.sum(), 2):g}" for k in ranked)

    def listed(names: tuple[str, ...], flags: Bools) -> list[str]:
        return ["|".join(name for name, flag in zip(names, row, strict=True) if flag) for row in flags]

    return pl.DataFrame(
        {
            "campaign_id": campaign_ids(np.arange(m)),
            "brand_id": "synthetic-" + pl.Series(campaigns.brand).cast(pl.String).str.zfill(3),
            "goal": label(GOALS, campaigns.goal),
            "starts_on": days_to_dates(rates.today, campaigns.start),
            "niches": known_only(pl.Series(listed(NICHES, campaigns.niches > 0)), rng.random(m) < 0.95),
            "target_countries": known_only(pl.Series([weighted(row) for row in campaigns.target]), ~everywhere),
            "languages": known_only(
                pl.Series(listed(LANGUAGES, campaigns.languages)), ~everywhere & (rng.random(m) < 0.7)
            ),
            "platforms": listed(PLATFORM_NAMES, campaigns.platforms),
            "budget": np.maximum(significant(spent * rng.uniform(1.02, 1.3, m), 2), 100.0),
            "currency": label(CURRENCIES, campaigns.currency),
            "product_price": known_only(np.round(campaigns.price / dollars, 2), sells | (rng.random(m) < 0.6)),
            "product_margin": known_only(campaigns.margin, rng.random(m) < 0.9),
            "is_new_product": campaigns.is_new,
        }
    )


def campaign_ids(index: Ints) -> pl.Series:
    """Identifiers of campaigns by their row.

    >>> campaign_ids(np.array([7])).to_list()
    ['m00007']
    """
    return "m" + pl.Series(index).cast(pl.String).str.zfill(5)


def choose(
    world: World, creators: Creators, campaigns: Campaigns, rng: np.random.Generator
) -> tuple[Ints, Ints, Floats]:
    """Whom each campaign booked: campaign row, creator row and propensity of every placement.

    A manager sees a random shortlist of creators on the campaign's platforms and prefers, by a softmax, big, engaging
    and fitting ones with the right audience. Bookings are drawn from it by systematic sampling, so the propensity is
    exactly the chance of a shortlisted creator to be in the campaign. Nobody is booked twice in one campaign.
    """
    parts = []
    for begin in range(0, len(campaigns), _CHUNK):
        rows = np.arange(begin, min(begin + _CHUNK, len(campaigns)))
        candidate, real = shortlists(world.candidates, creators, campaigns.platforms[rows], rng)
        month = month_of(campaigns.start[rows], creators.months)[:, None]
        appeal = world.choice_followers * creators.followers[candidate, month]
        appeal += world.choice_engagement * creators.engagement[candidate, month]
        appeal += world.choice_fit * np.einsum("mcn,mn->mc", creators.fit[candidate], campaigns.niches[rows])
        reach = np.einsum("mcn,mn->mc", creators.audience[candidate], campaigns.target[rows])
        appeal += world.choice_geography * np.minimum(reach, 1.0)
        weight = np.where(real, np.exp(appeal - appeal.max(axis=1, keepdims=True)), 0.0)
        chance = inclusion(weight, campaigns.size[rows])
        # counted in billionths, so that each row's total is its size exactly
        passed = np.floor(np.round(np.cumsum(chance, axis=1), 9) + rng.random(len(rows))[:, None])
        row, column = np.nonzero(np.diff(passed, axis=1, prepend=0.0) > 0)
        parts.append((rows[row], candidate[row, column], chance[row, column]))
    who, creator, propensity = (np.concatenate(part) for part in zip(*parts, strict=True))
    return who, creator, propensity


def inclusion(weight: Floats, size: Ints) -> Floats:
    """Chances in proportion to weight, at most 1, that add up to each row's size.

    >>> inclusion(np.array([[8.0, 1.0, 1.0]]), np.array([2])).tolist()
    [[1.0, 0.5, 0.5]]
    """
    full = np.zeros(weight.shape, dtype=bool)
    while True:
        free = np.where(full, 0.0, weight)
        scale = (size - full.sum(axis=1)) / np.maximum(free.sum(axis=1), 1e-300)
        chance = np.where(full, 1.0, free * scale[:, None])
        over = (chance >= 1.0) & ~full
        if not over.any():
            return np.asarray(chance)
        full |= over


def shortlists(most: int, creators: Creators, platforms: Bools, rng: np.random.Generator) -> tuple[Ints, Bools]:
    """Up to so many different creators a campaign, on its platforms, and which places of the list are filled."""
    order = np.argsort(creators.platform, kind="stable")
    counts = np.bincount(creators.platform, minlength=len(PLATFORM_NAMES))
    pool = platforms * counts
    total = pool.sum(axis=1, keepdims=True)
    # one draw from each of `most` equal stretches of the pool: nobody can come up twice
    edges = np.arange(most + 1) * total // most
    width = np.diff(edges, axis=1)
    place = edges[:, :-1] + np.floor(rng.random(width.shape) * width).astype(np.int64)
    place = np.minimum(place, total - 1)
    ends = np.cumsum(pool, axis=1)
    which = (place[:, :, None] >= ends[:, None, :]).sum(axis=2)
    begin = np.take_along_axis(ends - pool, which, axis=1)
    return order[(np.cumsum(counts) - counts)[which] + place - begin], width > 0


def _brands(world: World, rng: np.random.Generator) -> Brands:
    weights = np.cumsum([c.weight for c in COUNTRIES])
    home = pick_index(rng, np.broadcast_to(weights / weights[-1], (_BRANDS, len(COUNTRIES))))
    home[: len(_CERTAIN)] = [COUNTRY_CODES.index(code) for code in _CERTAIN]
    quality = rng.normal(0.0, world.brand_spread, _BRANDS)
    return Brands(home, rng.integers(len(NICHES), size=_BRANDS), quality, rng.normal(np.log(38.0), 0.4, _BRANDS))


def _targets(world: World, home: Ints, local: Bools, rng: np.random.Generator) -> Floats:
    """Weights by country, the largest 1: home and up to two of its kin; all countries alike for some."""
    m = len(home)
    kin = np.array([[COUNTRY_CODES.index(code) for code in c.kin] for c in COUNTRIES])
    extra = np.where(local, 0, rng.choice([0, 1, 2], size=m, p=world.extra_countries))
    target = np.zeros((m, len(COUNTRIES)))
    target[np.arange(m), home] = 1.0
    for k in range(2):
        rows = np.flatnonzero(extra > k)
        target[rows, kin[home[rows], k]] = rng.choice([0.25, 0.5, 0.75], size=len(rows))
    target[(rng.random(m) < world.everywhere) & ~local] = 1.0
    return target


def _platforms(target: Floats, creators: Creators, rng: np.random.Generator) -> Bools:
    """One to four platforms a campaign, used in its countries and by at least one creator."""
    m = len(target)
    used = np.bincount(creators.platform, minlength=len(PLATFORM_NAMES)) > 0
    weight = (target @ platform_weights()) * used
    # where none of its countries' platforms has a creator, any platform in use will do
    weight = np.where(weight.sum(axis=1, keepdims=True) > 0, weight, used.astype(float))
    with np.errstate(divide="ignore"):
        taste = np.log(weight) + rng.gumbel(size=weight.shape)
    rank = np.argsort(np.argsort(-taste, axis=1), axis=1)
    count = rng.choice([1, 2, 3, 4], size=m, p=[0.25, 0.35, 0.25, 0.15])
    return np.asarray((rank < count[:, None]) & (weight > 0))


def _sizes(room: Ints, placements: int, rng: np.random.Generator) -> Ints:
    """Placements of each campaign: at least one, at most its room, as many in all as asked for."""
    m = len(room)
    share = np.exp(rng.normal(0.0, 0.5, m))
    size = np.minimum(1 + rng.multinomial(placements - m, share / share.sum()), room)
    left = placements - int(size.sum())
    if left > int((room - size).sum()):
        raise DataError(
            f"{placements} placements are too many for so few creators: {int(room.sum())} fit. Ask for more creators."
        )
    return np.asarray(size + rng.multivariate_hypergeometric(room - size, left, method="marginals"), dtype=np.int64)
