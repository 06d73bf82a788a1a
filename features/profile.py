"""What was known about each creator's account on a day: readings, audience, price.

Where a single reading is noisy, the level of a signal is estimated from everything known by then
(`features.local_level`), of logs where it is an amount. Counts that the platform itself keeps are taken as read. A
reading that arrives late and is older than one already known says nothing about the present and is left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features import asof
from features.codes import primary_languages
from features.encoding import Lists, Vocabulary
from features.local_level import Changes, level_changes, local_level

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

GROWTH_DAYS = 90

LEVELS = ("follower_count", "following_count", "content_count", "posts_per_week", "last_post_day")
NOISY_LOGS = ("median_views", "avg_likes", "avg_comments", "avg_shares", "avg_saves", "price")
NOISY = ("sponsored_share", "engagement_rate_sponsored", "audience_credibility", "content_polish")
PRICE_SOURCES = ("quoted", "paid", "estimated")


@dataclass(frozen=True)
class Readings:
    """Creator readings sorted by (creator, day known)."""

    keys: Ints
    columns: Mapping[str, Floats]


@dataclass(frozen=True)
class AudienceSets:
    """Audience breakdowns of one dimension, sorted by (creator, day); entry codes are of that dimension."""

    keys: Ints
    lists: Lists


def order_readings(snapshots: pl.DataFrame, creator: Ints) -> pl.DataFrame:
    """`creator_snapshots` (canonical frame) in the order they were known, with codes and days; late old ones left out.

    Args:
        snapshots: canonical frame.
        creator: code of each row, -1 left out.
    """
    frame = snapshots.with_columns(
        pl.Series("creator", creator),
        pl.Series("known_day", asof.days(snapshots["known_at"])),
        pl.col("snapshot_at").fill_null(pl.datetime(1, 1, 1)).alias("read_at"),
        pl.col("last_post_at").dt.epoch("d").cast(pl.Float64).alias("last_post_day"),
        pl.col("price_source").replace_strict(
            list(PRICE_SOURCES), [0.0, 1.0, 2.0], default=0.0, return_dtype=pl.Float64
        ),
    ).filter(pl.col("creator") >= 0)
    numeric = [*LEVELS, *NOISY_LOGS, *NOISY]
    keys = ("creator", "known_day", "read_at")
    if not _strictly_ordered(frame, keys):
        # every column takes part in the order, so that equal keys cannot come out in two orders
        frame = frame.sort([*keys, *numeric, "price_source"], nulls_last=False)
    return frame.filter(pl.col("read_at") >= pl.col("read_at").cum_max().over("creator"))


def _strictly_ordered(frame: pl.DataFrame, keys: Sequence[str]) -> bool:
    """Whether every row comes after the one before it, which spares sorting what buckets hold."""
    later = pl.lit(value=False)
    for name in reversed(keys):
        later = (pl.col(name) > pl.col(name).shift()) | ((pl.col(name) == pl.col(name).shift()) & later)
    return bool(frame.select(later.slice(1).all()).item())


def reading_changes(ordered: pl.DataFrame) -> dict[str, Changes]:
    """How every noisy signal changed from reading to reading; those of disjoint creators add up."""
    creator, known, read = _when(ordered)
    return {name: level_changes(creator, known, read, _noisy(ordered, name)) for name in (*NOISY_LOGS, *NOISY)}


def build_readings(ordered: pl.DataFrame, changes: Mapping[str, Changes]) -> Readings:
    """Smooth `order_readings`.

    Args:
        ordered: readings of some creators.
        changes: `reading_changes` of every creator of the market.
    """
    creators, known, read = _when(ordered)
    dated = ordered["snapshot_at"].is_not_null().to_numpy()

    def level(name: str) -> Floats:
        # a price is what was asked, until the market shows that quotes scatter
        usual = {"usual_noise": 0.0} if name == "price" else {}
        return local_level(creators, known, read, _noisy(ordered, name), changes[name], **usual).mean

    columns = {
        "snapshot_day": np.where(dated, read, np.nan),
        "price_source": _last(ordered, pl.when(pl.col("price").is_not_null()).then(pl.col("price_source"))),
        **{name: _last(ordered, pl.col(name)) for name in LEVELS},
        # rounded, so that a price of 100 comes back as 100 and is not over a budget of 100
        **{name: np.expm1(level(name)).round(4) for name in NOISY_LOGS},
        **{name: level(name) for name in NOISY},
    }
    return Readings(asof.keys(creators, known), columns)


def _when(ordered: pl.DataFrame) -> tuple[Ints, Ints, Ints]:
    """Creator, day known and day taken of each reading."""
    return ordered["creator"].to_numpy(), ordered["known_day"].to_numpy(), asof.days(ordered["read_at"])


def _noisy(ordered: pl.DataFrame, name: str) -> Floats:
    """A signal as it is smoothed."""
    reading = _floats(ordered[name])
    return np.log1p(reading) if name in NOISY_LOGS else reading


def _floats(column: pl.Series) -> Floats:
    return column.cast(pl.Float64).fill_null(np.nan).to_numpy()


def _last(frame: pl.DataFrame, reading: pl.Expr) -> Floats:
    """The last known value of each creator."""
    return _floats(frame.select(reading.forward_fill().over("creator").alias("last"))["last"])


def profile_at(readings: Readings, creator: Ints, day: Ints) -> dict[str, Floats]:
    """Readings of each creator known before each day, shape (n,) a column; NaN where nothing was known.

    Adds `follower_growth`, the log change of followers over GROWTH_DAYS, and `snapshot_age` and
    `last_post_age` in days.
    """
    index = asof.last_before(readings.keys, creator, day)
    before = asof.last_before(readings.keys, creator, day - GROWTH_DAYS)
    profile = {name: asof.take(column, index) for name, column in readings.columns.items()}
    earlier = asof.take(readings.columns["follower_count"], before)
    with np.errstate(divide="ignore", invalid="ignore"):
        growth = np.log(profile["follower_count"]) - np.log(earlier)
    profile["follower_growth"] = np.where(np.isfinite(growth), growth, np.nan)
    profile["snapshot_age"] = day - profile.pop("snapshot_day")
    profile["last_post_age"] = np.maximum(day - profile.pop("last_post_day"), 0.0)
    return profile


def build_audience(audience: pl.DataFrame, creator: Ints, dimension: str, words: Vocabulary) -> AudienceSets:
    """The breakdowns of one dimension of `creator_audience`; weights of a set above 1 in sum are scaled to 1.

    A row given twice counts once (the larger weight); variants of one language (`zh-Hans`, `zh-Hant`) add up.

    Args:
        audience: canonical frame.
        creator: creator code of each row, -1 left out.
        dimension: such as `country`.
        words: vocabulary of its codes; of primary tags for `language`.
    """
    rows = pl.DataFrame(
        {
            "creator": creator,
            "day": asof.days(audience["snapshot_at"]),
            "text": audience["code"].str.to_lowercase() if dimension == "language" else audience["code"],
            "weight": audience["weight"],
            "wanted": (audience["dimension"] == dimension) & audience["weight"].is_not_null(),
        }
    ).filter(pl.col("wanted") & (pl.col("creator") >= 0))
    # sorted before they are added, so that the sum is the same to the bit whatever the order of the table
    rows = rows.group_by("creator", "day", "text").agg(pl.col("weight").max()).sort("creator", "day", "text")
    text = rows["text"]
    if dimension == "language":
        text = primary_languages(text)
    rows = rows.with_columns(pl.Series("code", words.codes(text))).filter(pl.col("code") >= 0)
    rows = rows.group_by("creator", "day", "code", maintain_order=True).agg(pl.col("weight").sum())
    rows = rows.sort("creator", "day", "code")
    sets = rows.select("creator", "day").unique().sort("creator", "day").with_row_index("set")
    rows = rows.join(sets, on=["creator", "day"], maintain_order="left")
    # added in order, one by one: Polars adds up the only set of a bucket in another order than one of many
    of = rows["set"].to_numpy()
    total = np.bincount(of, weights=rows["weight"].to_numpy(), minlength=len(sets))
    rows = rows.with_columns(pl.Series("weight", rows["weight"].to_numpy() / np.maximum(total, 1.0)[of]))
    lists = Lists.of(
        rows["set"].cast(pl.Int64).to_numpy(), rows["code"].to_numpy(), rows["weight"].to_numpy(), len(sets)
    )
    return AudienceSets(asof.keys(sets["creator"].to_numpy(), sets["day"].to_numpy()), lists)


def audience_at(sets: AudienceSets, creator: Ints, day: Ints) -> Lists:
    """The newest breakdown of each creator known before each day; an empty row where there is none."""
    return sets.lists.rows(asof.last_before(sets.keys, creator, day))
