"""What is read of the synthetic creators over time: snapshots, audience shares and audience overlap."""

from collections.abc import Iterator
from datetime import date

import numpy as np
import polars as pl

from training.sample_creators import Creators, is_one_of
from training.sample_fx import Rates
from training.sample_world import (
    COUNTRIES,
    COUNTRY_CODES,
    CURRENCIES,
    FEMALE_SHARE,
    LANGUAGES,
    LOG_REFERENCE,
    MONTH_DAYS,
    NICHES,
    Bools,
    Floats,
    Ints,
    World,
    known_only,
    label,
    niche_affinity,
    significant,
)

# creators whose readings and audiences are made at once: a million together would take more than 4 GB
_BLOCK = 100_000
# beta of the shared audience, of the smaller: of one person's accounts, and of one country and niche (guesses)
OWN_OVERLAP, KIN_OVERLAP = (6.0, 6.0), (1.6, 8.0)
READ = 0.94  # chance of a reading in a month in which the creator is followed at all: the rest are gaps (a guess)
_AGES = ("13-17", "18-24", "25-34", "35-44", "45+")


def days_to_dates(today: date, day: Ints) -> pl.Series:
    """Dates from day numbers, where today is 0 and the past is negative.

    >>> days_to_dates(date(2026, 6, 30), np.array([0, -30])).to_list()
    [datetime.date(2026, 6, 30), datetime.date(2026, 5, 31)]
    """
    return pl.Series(np.datetime64(today, "D") + day.astype("timedelta64[D]"))


def month_of(day: Ints, months: int) -> Ints:
    """The index of the month a day number lies in, of the last so many months; earlier days count as the first.

    >>> month_of(np.array([0, -29, -31]), 12).tolist()
    [11, 11, 10]
    """
    return np.asarray(np.clip(months - 1 - np.floor(-day / MONTH_DAYS), 0, months - 1), dtype=np.int64)


def snapshots_table(
    world: World, creators: Creators, snapshots: int, rates: Rates, rng: np.random.Generator
) -> pl.DataFrame:
    """Monthly readings, the contract's `creator_snapshots`: noisy, with gaps, and known a day or so later."""
    parts = [_snapshots(world, part, snapshots, rates, own) for part, own in _blocks(creators, rng)]
    return pl.concat(parts, rechunk=False)


def _blocks(creators: Creators, rng: np.random.Generator) -> Iterator[tuple[Creators, np.random.Generator]]:
    """The creators in blocks, each with a random stream of its own; the first has `rng` itself."""
    starts = range(0, len(creators), _BLOCK)
    for start, own in zip(starts, [rng, *rng.spawn(len(starts) - 1)], strict=True):
        yield creators.part(start, start + _BLOCK), own


def _snapshots(
    world: World, creators: Creators, snapshots: int, rates: Rates, rng: np.random.Generator
) -> pl.DataFrame:
    n = len(creators)
    began = np.where(rng.random(n) < 0.75, 0, rng.integers(0, 1 + 2 * snapshots // 3, n))
    seen = (np.arange(snapshots) >= began[:, None]) & (rng.random((n, snapshots)) < READ)
    seen[:, -1] |= ~seen.any(axis=1)
    who, nth = np.nonzero(seen)
    rows = len(who)
    day = -3 - np.round((snapshots - 1 - nth) * MONTH_DAYS).astype(np.int64) - rng.integers(0, 5, rows)
    month = month_of(day, creators.months)
    noise = world.reading_noise
    followers = np.exp(creators.followers[who, month])
    views = np.exp(creators.views[who, month] + rng.normal(0.0, noise, rows))
    rate = np.minimum(np.exp(creators.engagement[who, month] + rng.normal(0.0, noise, rows)), 0.8)
    share = np.array([0.85, 0.05, 0.04, 0.06]) * np.exp(rng.normal(0.0, 0.4, (n, 4)))
    share /= share.sum(axis=1, keepdims=True)
    actions = np.round((views * rate)[:, None] * share[who]).astype(np.int64)
    posts = creators.posts_per_week[who] * np.exp(rng.normal(0.0, 0.15, rows))
    content = np.exp(rng.normal(6.0, 0.8, n))[who] + creators.posts_per_week[who] * (day + snapshots * 31) / 7
    quiet = np.minimum(np.ceil(rng.exponential(7.0 / posts)), 60).astype(np.int64)
    lag = rng.choice([0, 1, 2, 3], size=rows, p=[0.2, 0.6, 0.15, 0.05])

    def shown(chance: float) -> Bools:
        return np.asarray((rng.random(n) < chance)[who])

    platform = creators.platform
    open_views = ~is_one_of(platform, ("instagram",))[who]
    price, currency, quoted = _quotes(world, creators, (who, day), rates, rng)
    return pl.DataFrame(
        {
            "creator_id": creators.ids.gather(who),
            "snapshot_at": days_to_dates(rates.today, day),
            "known_at": known_only(days_to_dates(rates.today, day + lag), rng.random(rows) < 0.95),
            "follower_count": np.round(followers).astype(np.int64),
            "following_count": np.round(np.exp(rng.normal(6.0, 0.9, n))).astype(np.int64)[who],
            "content_count": np.round(np.maximum(content, 5)).astype(np.int64),
            "median_views": known_only(
                np.round(views).astype(np.int64),
                shown(0.95) & (shown(0.85) | open_views),
            ),
            "avg_likes": known_only(actions[:, 0], shown(0.92)),
            "avg_comments": actions[:, 1],
            "avg_shares": known_only(actions[:, 2], ~is_one_of(platform, ("youtube", "wechat"))[who]),
            "avg_saves": known_only(actions[:, 3], ~is_one_of(platform, ("youtube", "weibo", "wechat"))[who]),
            "posts_per_week": np.round(posts, 1),
            "sponsored_share": known_only(
                np.round(np.clip(creators.sponsored_share[who] + rng.normal(0, 0.02, rows), 0, 1), 3), shown(0.9)
            ),
            "engagement_rate_sponsored": known_only(
                np.round(rate * np.exp(rng.normal(-0.15, 0.2, rows)), 4).clip(0, 1), shown(0.6)
            ),
            "last_post_at": days_to_dates(rates.today, day - quiet),
            "audience_credibility": known_only(
                np.round(np.clip(creators.credibility[who] + rng.normal(0, 0.02, rows), 0, 1), 3), shown(0.7)
            ),
            "content_polish": known_only(
                np.round(np.clip(creators.polish[who] + rng.normal(0, 0.05, rows), 0, 1), 2), shown(0.85)
            ),
            "price": known_only(price, quoted),
            "price_currency": known_only(currency, quoted),
            "price_source": known_only(pl.repeat("quoted", rows, eager=True), quoted),
        }
    )


def _quotes(
    world: World, creators: Creators, when: tuple[Ints, Ints], rates: Rates, rng: np.random.Generator
) -> tuple[Floats, pl.Series, Bools]:
    """What a creator asks for at each reading: price, its currency, and whether there is a quote at all."""
    who, day = when
    quotes = (rng.random(len(creators)) < world.quoted_share)[who] & (rng.random(len(who)) < 0.85)
    size = creators.followers[:, -1][who] - LOG_REFERENCE
    asked = creators.fee_at(who, month_of(day, creators.months)) + world.quote_markup + world.quote_slope * size
    asked += rng.normal(0.0, world.quote_noise, len(who))
    home = np.array([CURRENCIES.index(c.currency) for c in COUNTRIES])[creators.country]
    # some quote in dollars whatever their market
    currency = np.where(rng.random(len(creators)) < 0.12, CURRENCIES.index("USD"), home)[who]
    return significant(np.exp(asked) / rates.usd(currency, day)), label(CURRENCIES, currency), quotes


def reading_dates(snapshots: pl.DataFrame) -> pl.DataFrame:
    """The first and the last reading of each creator: creator_id, first, last."""
    # a creator's readings stand together, in order; a group_by of a million creators would take 2 GB more
    ids, days = snapshots["creator_id"], snapshots["snapshot_at"]
    return pl.DataFrame(
        {
            "creator_id": ids.filter(ids.ne_missing(ids.shift(1))),
            "first": days.filter(ids.ne_missing(ids.shift(1))),
            "last": days.filter(ids.ne_missing(ids.shift(-1))),
        }
    )


def audience_table(creators: Creators, dates: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Audience shares of about 80 % of the creators, the contract's `creator_audience`; some of it undated.

    `dates` is of `reading_dates`. A set is dated at the creator's first snapshot; about 30 % of them have a second,
    later one.
    """
    return pl.concat([_audiences(part, dates, own) for part, own in _blocks(creators, rng)], rechunk=False)


def _audiences(creators: Creators, dates: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    n = len(creators)
    dates = pl.DataFrame({"creator_id": creators.ids}).join(dates, on="creator_id", how="left", maintain_order="left")
    has, dated, again = rng.random(n) < 0.8, rng.random(n) < 0.85, rng.random(n) < 0.3
    later = (dates["last"] > dates["first"]).fill_null(value=False).to_numpy()
    sets = [(np.flatnonzero(has), known_only(dates["first"], dated))]
    sets.append((np.flatnonzero(has & dated & again & later), dates["last"]))
    hidden = _audience_shares(creators, rng)
    frames = []
    for who, day in sets:
        for dimension, (codes, shares) in hidden.items():
            points = _basis_points(shares[who] * np.exp(rng.normal(0.0, 0.05, (len(who), len(codes)))))
            row, code = np.nonzero(points)
            frames.append(
                pl.DataFrame(
                    {
                        "creator_id": creators.ids.gather(who[row]),
                        "snapshot_at": day.gather(who[row]),
                        "dimension": pl.repeat(dimension, len(row), eager=True),
                        "code": label(codes, code),
                        "weight": points[row, code] / 10_000,
                    }
                )
            )
    return pl.concat(frames).sort("creator_id", "snapshot_at", "dimension", maintain_order=True)


def _audience_shares(creators: Creators, rng: np.random.Generator) -> dict[str, tuple[tuple[str, ...], Floats]]:
    """Codes and shares (n, codes) of each dimension."""
    n, main = len(creators), creators.niches[:, 0]
    women = np.clip(np.array(list(FEMALE_SHARE.values()))[main] + rng.normal(0.0, 0.08, n), 0.03, 0.97)
    interest = niche_affinity()[main] * np.exp(rng.normal(0.0, 0.4, (n, len(NICHES))))
    interest[interest < np.sort(interest, axis=1)[:, [-6]]] = 0.0  # platforms report the top few
    return {
        "country": (COUNTRY_CODES, creators.audience),
        "language": (LANGUAGES, creators.languages),
        "age": (_AGES, rng.dirichlet([1.5, 5.0, 6.0, 3.0, 1.5], n)),
        "gender": (("female", "male"), np.column_stack([women, 1.0 - women])),
        "interest": (NICHES, interest),
    }


def _basis_points(shares: Floats) -> Ints:
    """Shares as whole basis points that add up to 10,000 in every row; the largest takes the rounding."""
    points = np.round(10_000 * shares / shares.sum(axis=1, keepdims=True)).astype(np.int64)
    largest = points.argmax(axis=1)
    points[np.arange(len(points)), largest] += 10_000 - points.sum(axis=1)
    return np.asarray(points)


def overlap_table(creators: Creators, rng: np.random.Generator) -> pl.DataFrame:
    """Shared audiences of creators in one country and niche, or of one person: about two pairs a creator."""
    order = np.lexsort((rng.random(len(creators)), creators.niches[:, 0], creators.country))
    country, niche = creators.country[order], creators.niches[order, 0]
    found: list[tuple[Ints, Ints]] = []
    for step in (1, 2, 3):
        same = (country[step:] == country[:-step]) & (niche[step:] == niche[:-step])
        near = same & (rng.random(len(same)) < 0.7)
        found.append((order[:-step][near], order[step:][near]))
        mine = np.flatnonzero(creators.person[step:] == creators.person[:-step])
        found.append((mine, mine + step))
    a, b = np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])
    low, high = np.minimum(a, b), np.maximum(a, b)
    _, first = np.unique(low * len(creators) + high, return_index=True)
    low, high = low[first], high[first]
    same_person = creators.person[low] == creators.person[high]
    overlap = np.where(same_person, rng.beta(*OWN_OVERLAP, len(low)), rng.beta(*KIN_OVERLAP, len(low)))
    return pl.DataFrame(
        {"creator_a": creators.ids.gather(low), "creator_b": creators.ids.gather(high), "overlap": overlap.round(3)}
    )
