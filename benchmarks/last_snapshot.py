"""What people would build first: a table of what was last read of each creator, joined to the campaign's own columns.

Made of: every number of the newest row of creator_snapshots known before the day of decision, as it stands there (a
signal that is empty in that row is missing, though an earlier row may hold it), the engagement rate worked out from
it, and how followers grew since the row known 90 days before; whether the account is verified; platform, country,
language and tier as categories; the campaign's goal, deliverable, budget, product price, margin and novelty; the share
of the audience in the target countries as last reported and whether a niche of the brief is one of the creator's. The
caller adds the cost. No track record, no filtered level, no shrunk total, no encoding by outcomes, nothing filled in.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features import asof
from features.brief import parse_brief
from features.brief_columns import BriefColumns, encode_briefs
from features.encoding import Vocabulary
from features.market import Market
from features.profile import GROWTH_DAYS
from features.tables import Tables
from features.tiers import tier_codes

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

READ = (
    "follower_count", "following_count", "content_count", "median_views", "avg_likes", "avg_comments", "avg_shares",
    "avg_saves", "posts_per_week", "sponsored_share", "engagement_rate_sponsored", "audience_credibility",
    "content_polish", "price",
)  # fmt: skip
ACTIONS = ("avg_likes", "avg_comments", "avg_shares", "avg_saves")
BRIEF = ("budget", "product_price", "product_margin", "is_new_product")
CODES = ("platform", "country", "language", "tier", "goal", "deliverable")


@dataclass(frozen=True)
class Pairs:
    """n creators, each for a brief on a day: creator codes, days and `which` of the briefs, shape (n,) each.

    `deliverable` is -1 where none is named.
    """

    creator: Ints
    day: Ints
    briefs: BriefColumns
    which: Ints
    deliverable: Ints


@dataclass(frozen=True)
class LastSnapshot:
    """The features of any pairs of one market."""

    market: Market
    tables: Tables

    def of(self, pairs: Pairs) -> tuple[Floats, list[int]]:
        """Features, shape (n, f), NaN where unknown, and the positions of those that are categories."""
        columns = self._profile(pairs.creator, pairs.day) | self._match(pairs) | self._codes(pairs)
        columns |= {name: pairs.briefs.numbers[name][pairs.which] for name in BRIEF}
        return np.column_stack(list(columns.values())), [list(columns).index(name) for name in CODES]

    def of_placements(self, rows: Ints) -> tuple[Floats, list[int]]:
        """Features of past placements, as of the day each was agreed."""
        p = self.market.placements
        return self.of(
            Pairs(p.creator[rows], p.agreed[rows], self.market.campaigns, p.campaign[rows], p.deliverable[rows])
        )

    def of_pool(self, pool: Any, briefs: list[dict[str, object]]) -> tuple[Floats, list[int]]:
        """Features of the candidates of held-out briefs when deciding on the market's as-of day."""
        creator = self._creator_codes(pool.truth["creator_id"])
        encoded = encode_briefs([parse_brief(brief).model_dump() for brief in briefs], self.market.words)
        which = np.repeat(np.arange(len(briefs)), np.diff(pool.starts))
        return self.of(
            Pairs(creator, np.full(len(creator), self.market.as_of), encoded, which, np.full(len(creator), -1))
        )

    def newest(self, creator: Ints, day: Ints) -> Ints:
        """Row of `rows` last known of each creator before each day, -1 where none was."""
        return asof.last_before(self._keys, creator, day)

    @cached_property
    def rows(self) -> pl.DataFrame:
        """creator_snapshots by creator and the day each row was known."""
        read = self.tables.creator_snapshots.with_columns(
            pl.Series("creator", self._creator_codes(self.tables.creator_snapshots["creator_id"])),
            pl.Series("known_day", asof.days(self.tables.creator_snapshots["known_at"])),
            pl.col("last_post_at").dt.epoch("d").alias("last_post_day"),
        )
        return read.filter(pl.col("creator") >= 0).sort("creator", "known_day", "snapshot_at", nulls_last=False)

    @cached_property
    def _keys(self) -> Ints:
        return asof.keys(self.rows["creator"].to_numpy(), self.rows["known_day"].to_numpy())

    def _creator_codes(self, ids: pl.Series) -> Ints:
        return Vocabulary(tuple(self.market.creators.frame["creator_id"])).codes(ids)

    def _take(self, name: str, index: Ints) -> Floats:
        return asof.take(self.rows[name].cast(pl.Float64).fill_null(np.nan).to_numpy(), index)

    def _profile(self, creator: Ints, day: Ints) -> dict[str, Floats]:
        index = self.newest(creator, day)
        read = {name: self._take(name, index) for name in READ}
        before = self._take("follower_count", self.newest(creator, day - GROWTH_DAYS))
        # a hidden action counts as none, as in a sum of columns
        parts = np.array([read[name] for name in ACTIONS])
        actions = np.where(np.isnan(parts).all(axis=0), np.nan, np.nansum(parts, axis=0))
        with np.errstate(divide="ignore", invalid="ignore"):
            rate, growth = actions / read["follower_count"], read["follower_count"] / before - 1.0
        return read | {
            "engagement_rate": np.where(np.isfinite(rate), rate, np.nan),
            "growth": np.where(np.isfinite(growth), growth, np.nan),
            "last_post_age": day - self._take("last_post_day", index),
            "is_verified": self.market.creators.verified[creator],
        }

    def _match(self, pairs: Pairs) -> dict[str, Floats]:
        numbers, lists = pairs.briefs.numbers, self.market.lists(pairs.creator, pairs.day)
        share = lists["country"].dot(pairs.briefs.targets, pairs.which)
        shared = lists["niches"].dot(pairs.briefs.niches, pairs.which)
        named = (numbers["niche_count"][pairs.which] > 0) & np.isfinite(shared)
        return {
            "target_share": np.where(numbers["target_count"][pairs.which] > 0, share, 1.0),
            "niche_matches": np.where(named, shared > 0, np.nan),
        }

    def _codes(self, pairs: Pairs) -> dict[str, Floats]:
        of = self.market.creators
        followers = self._take("follower_count", self.newest(pairs.creator, pairs.day))
        codes = {
            "platform": of.platform[pairs.creator],
            "country": of.country[pairs.creator],
            "language": of.language[pairs.creator],
            "tier": tier_codes(followers, self.market.settings),
            "goal": pairs.briefs.goal[pairs.which],
            "deliverable": pairs.deliverable,
        }
        return {name: np.where(code >= 0, code, np.nan).astype(np.float64) for name, code in codes.items()}
