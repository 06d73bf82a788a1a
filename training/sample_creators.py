"""The synthetic market's creators: who they are, and the hidden state from which everything is read or drawn."""

from dataclasses import dataclass, fields

import numpy as np
import polars as pl

from training.sample_world import (
    COUNTRIES,
    COUNTRY_CODES,
    LANGUAGES,
    LOG_REFERENCE,
    NICHES,
    PLATFORM_NAMES,
    PLATFORMS,
    Bools,
    Floats,
    Ints,
    World,
    known_only,
    label,
    niche_affinity,
    per_platform,
    pick_index,
    platform_weights,
    slopes,
)


@dataclass(frozen=True)
class Creators:
    """Hidden state of n creators over T months (the last month ends today); row = creator. Logs are natural.

    Shapes: `niches` (n, 3) with -1 for none; `fit` (n, niches); `audience` (n, countries) and `languages`
    (n, languages) are shares that sum to 1; `followers`, `views` (a post), `engagement` (per view) are logs, (n, T).
    """

    ids: pl.Series
    person: Ints
    country: Ints
    platform: Ints
    language: Ints
    niches: Ints
    fit: Floats
    audience: Floats
    languages: Floats
    followers: Floats
    views: Floats
    engagement: Floats
    posts_per_week: Floats
    sponsored_share: Floats
    credibility: Floats
    polish: Floats
    fee: Floats  # log USD of a middling deliverable today
    fee_slope: Floats  # of that log on log followers
    delivery: Floats
    selling: Floats  # hidden skill: log factor on conversions per click

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def months(self) -> int:
        """Number of months T the state covers."""
        return int(self.followers.shape[1])

    def part(self, begin: int, end: int) -> "Creators":
        """The rows from `begin` to before `end`."""
        return Creators(**{field.name: getattr(self, field.name)[begin:end] for field in fields(self)})

    def fee_at(self, who: Ints, month: Ints) -> Floats:
        """Log USD fee of a middling deliverable in a month: it moves with the followers."""
        return np.asarray(self.fee[who] + self.fee_slope[who] * (self.followers[who, month] - self.followers[who, -1]))


def make_creators(world: World, n: int, months: int, rng: np.random.Generator) -> Creators:
    """Draw n creators and the course of their hidden state over so many months."""
    person, nth = _persons(n, rng)
    people = int(person[-1]) + 1
    weights = np.cumsum([c.weight for c in COUNTRIES])
    home = pick_index(rng, np.broadcast_to(weights / weights[-1], (people, len(COUNTRIES))))
    country = home[person]
    with np.errstate(divide="ignore"):  # an unused platform has weight 0: never the largest
        taste = np.log(platform_weights())[home] + rng.gumbel(size=(people, len(PLATFORMS)))
    platform = np.argsort(-taste, axis=1)[person, nth]
    niches = _niches(people, rng)[person]
    size = 0.6 * rng.normal(size=people)[person] + 0.8 * rng.normal(size=n)
    today = np.log(world.followers_median) + world.followers_spread * size
    posts = np.clip(np.exp(rng.normal(np.log(3.5), 0.6, n)), 0.3, 28.0)
    sponsored = rng.beta(1.6, 8.0, n)
    growth = rng.normal(world.monthly_growth, 0.015, n) - world.sponsored_loss * sponsored * posts * 4.35
    ago = np.arange(months - 1, -1, -1)
    followers = np.clip(today[:, None] - growth[:, None] * ago + _walk(0.01, n, months, rng), np.log(300), np.log(9e7))
    own_views = rng.normal(0.0, world.views_spread, n)
    slope, base = slopes(world, "views_slope")[platform], np.log(per_platform("views"))[platform]
    views = (base + own_views)[:, None] + slope[:, None] * (followers - LOG_REFERENCE)
    own_rate = rng.normal(0.0, world.engagement_spread, n)
    own_rate += np.log(per_platform("engagement"))[platform]
    own_rate -= world.posts_curvature * np.log(posts / world.best_posts_per_week) ** 2 + 0.5 * sponsored
    bend = world.engagement_curvature * (followers - np.log(world.engagement_peak)) ** 2
    language, audience, languages = _audience(country, rng)
    # the two part variances add up to selling_spread squared
    skill = np.sqrt(2 / 3) * rng.normal(size=people)[person] + np.sqrt(1 / 3) * rng.normal(size=n)
    fee = np.log(per_platform("fee"))[platform] + np.log([c.fee_level for c in COUNTRIES])[country]
    fee_slope = slopes(world, "fee_slope")[platform]
    fee += fee_slope * (followers[:, -1] - LOG_REFERENCE)
    fee += rng.normal(0.0, world.fee_spread, n) + world.fee_per_views * own_views
    return Creators(
        ids=_ids("c", np.arange(n)),
        person=person,
        country=country,
        platform=platform,
        language=language,
        niches=niches,
        fit=_fit(niches),
        audience=audience,
        languages=languages,
        followers=followers,
        views=views + _walk(world.views_drift, n, months, rng),
        engagement=np.minimum(own_rate[:, None] - bend + _walk(world.engagement_drift, n, months, rng), np.log(0.5)),
        posts_per_week=posts,
        sponsored_share=sponsored,
        credibility=_credibility(world, followers[:, -1], rng),
        polish=rng.beta(2.0, 2.0, n),
        fee=fee,
        fee_slope=fee_slope,
        delivery=rng.beta(24 * world.delivered_share, 24 * (1 - world.delivered_share), n),
        selling=world.selling_spread * skill,
    )


def creators_table(creators: Creators, rng: np.random.Generator) -> pl.DataFrame:
    """What is shown of them: the contract's `creators`, one row an account, no hidden column."""
    n = len(creators)
    first = label(NICHES, creators.niches[:, 0])
    number = pl.Series(rng.permutation(10 * n)[:n]).cast(pl.String)
    accounts = np.bincount(creators.person)[creators.person]
    niches = pl.DataFrame([label(NICHES, creators.niches[:, k]).alias(str(k)) for k in range(3)])
    chance = 1.0 / (1.0 + np.exp(-(creators.followers[:, -1] - 13.0)))
    return pl.DataFrame(
        {
            "creator_id": creators.ids,
            "platform": label(PLATFORM_NAMES, creators.platform),
            "username": first + "_" + label(COUNTRY_CODES, creators.country).str.to_lowercase() + "_" + number,
            "person_id": known_only(_ids("p", creators.person), (accounts > 1) | (rng.random(n) < 0.9)),
            "country": known_only(label(COUNTRY_CODES, creators.country), rng.random(n) < 0.98),
            "language": label(LANGUAGES, creators.language),
            "niches": niches.select(pl.concat_str(pl.all(), separator="|", ignore_nulls=True)).to_series(),
            "is_verified": rng.random(n) < chance,
        }
    )


def _ids(letter: str, number: Ints) -> pl.Series:
    return letter + pl.Series(number).cast(pl.String).str.zfill(6)


def _persons(n: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Each account's person, and which of the person's accounts it is (0, 1, 2)."""
    owned = rng.choice([1, 2, 3], size=n, p=[0.9, 0.075, 0.025])
    person = np.repeat(np.arange(n), owned)[:n]
    first = np.searchsorted(person, person)
    return person, np.arange(n) - first


def _niches(people: int, rng: np.random.Generator) -> Ints:
    """One to three niches each, the main one first; the further ones are more often kin of the first."""
    affinity = niche_affinity()
    main = rng.integers(len(NICHES), size=people)
    taste = np.log(affinity)[main] + rng.gumbel(size=(people, len(NICHES)))
    np.put_along_axis(taste, main[:, None], np.inf, axis=1)
    ranked = np.argsort(-taste, axis=1)[:, :3]
    count = rng.choice([1, 2, 3], size=people, p=[0.4, 0.4, 0.2])
    return np.asarray(np.where(np.arange(3) < count[:, None], ranked, -1), dtype=np.int64)


def _fit(niches: Ints) -> Floats:
    """How well each creator suits each niche, (n, niches): a creator's second and third niche count for less."""
    affinity = niche_affinity()
    parts = [np.where((niches[:, k] >= 0)[:, None], focus * affinity[niches[:, k]], 0.0) for k, focus in _FOCUS]
    return np.asarray(np.maximum.reduce(parts))


def _credibility(world: World, followers: Floats, rng: np.random.Generator) -> Floats:
    odds = world.credible_share / (1 - world.credible_share)
    odds_of_size = odds * np.exp(world.credible_slope * (followers - LOG_REFERENCE))
    # without a slope the share as it is: through the odds it would change in its last bits
    share = odds_of_size / (1 + odds_of_size) if world.credible_slope else np.full(len(followers), world.credible_share)
    return np.clip(rng.beta(world.credible_spread * share, world.credible_spread * (1 - share)), 0.15, 0.99)


_FOCUS = ((0, 1.0), (1, 0.8), (2, 0.6))


def _audience(country: Ints, rng: np.random.Generator) -> tuple[Ints, Floats, Floats]:
    """Each creator's language, and the audience's shares by country and by language."""
    n, rows = len(country), np.arange(len(country))
    spoken = np.array([LANGUAGES.index(c.language) for c in COUNTRIES])
    english = rng.random(n) < 0.12
    language = np.where(english, LANGUAGES.index("en"), spoken[country])
    home = 0.5 + 0.4 * rng.beta(2.0, 1.5, n)
    kin = np.array([[COUNTRY_CODES.index(code) for code in c.kin] for c in COUNTRIES])
    rest = rng.dirichlet([1.5, 1.0, 0.7], size=n) * (1.0 - home)[:, None]
    audience = np.zeros((n, len(COUNTRIES)))
    audience[rows, country] = home
    audience[rows[:, None], kin[country]] = rest
    languages = 0.5 * audience @ np.eye(len(LANGUAGES))[spoken]
    languages[rows, language] += 0.5
    return language, audience, languages


def _walk(spread: float, n: int, months: int, rng: np.random.Generator) -> Floats:
    """A random walk that ends at 0 today: today's level is the creator's, the past wandered to it."""
    steps = rng.normal(0.0, spread, (n, months))
    walk = np.cumsum(steps, axis=1)
    return np.asarray(walk - walk[:, -1:])


def is_one_of(index: Ints, names: tuple[str, ...]) -> Bools:
    """Which platform indices stand for one of these names.

    >>> is_one_of(np.array([0, 1]), ("tiktok",)).tolist()
    [False, True]
    """
    return np.isin(index, [PLATFORM_NAMES.index(name) for name in names])
