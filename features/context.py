"""Contexts: what features may look at, offline for past placements and online for the creators of a catalogue."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from features import asof
from features.brief_columns import BriefColumns, Vocabularies
from features.declare import Context
from features.encoding import Lists
from features.market import STYLES, Market, entity_codes
from features.profile import PRICE_SOURCES
from features.record import Totals
from features.value import GOALS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PAID, ESTIMATED = float(PRICE_SOURCES.index("paid")), float(PRICE_SOURCES.index("estimated"))

# what definitions that read the brief may read of a creator; the catalogue keeps just this
PAIR_PROFILE = (
    "follower_count", "median_views", "avg_likes", "avg_comments", "avg_shares", "avg_saves", "price", "price_source",
    "audience_credibility",
)  # fmt: skip
BRIEF_SIDE = ("tier", "peers", "goal", "goal_tier", "goal_platform", "niche_style")
PAIR_CODES = ("platform", "country", "language", "tier", "style")


@dataclass(frozen=True)
class CreatorView:
    """Creators on days, before any brief is known: n rows."""

    profile: Mapping[str, Floats]
    codes: Mapping[str, Ints]
    lists: Mapping[str, Lists]
    records: Mapping[str, Totals]


def creator_view(market: Market, creator: Ints, day: Ints) -> CreatorView:
    """Everything known about each creator strictly before each day.

    Args:
        market: the encoded data.
        creator: creator codes, shape (n,).
        day: UTC decision days, shape (n,).
    """
    profile = market.profile(creator, day)
    lists = market.lists(creator, day)
    codes = market.codes(creator, profile)
    history = market.histories
    own = history["creator"].at(creator, day)
    others = history["person"].values_at(codes["person"], day) - np.where(codes["person"][:, None] >= 0, own.values, 0)
    none = np.full(1, -1)
    joined = entity_codes(codes, none, none, market.words, market.tier_count)
    records = {
        "creator": own,
        "creator_recent": history["creator"].recent(creator, day),
        "person_others": Totals(others, np.arange(len(creator))),
        "market": history["market"].at(np.zeros_like(creator), day),
        "platform": history["platform"].at(joined["platform"], day),
    }
    profile["price"], profile["price_source"] = _price(market, creator, day, profile, own)
    profile["known_price"] = profile["price"]
    profile["home_share"] = _home_share(lists["country"], codes["country"])
    return CreatorView(profile, codes, lists, records)


def placement_context(market: Market, rows: Ints) -> Context:
    """One row a past placement, as of the day it was agreed.

    Args:
        market: the encoded data.
        rows: positions in `market.placements`, shape (n,).
    """
    p = market.placements
    before = candidate_context(market, p.creator[rows], p.campaign[rows], p.agreed[rows], p.deliverable[rows])
    fee = p.fee[rows]
    agreed = (fee >= 0) & (market.commission_rate is None)
    return before.at_price(np.where(agreed, fee, before.profile["price"]))


def candidate_context(market: Market, creator: Ints, campaign: Ints, day: Ints, deliverable: Ints) -> Context:
    """One row a creator who could be booked by a past campaign, as of a day: no fee is agreed yet.

    Args:
        market: the encoded data.
        creator, campaign: codes, shape (n,).
        day: UTC decision days, shape (n,).
        deliverable: codes, -1 for none named; shape (n,).
    """
    view = creator_view(market, creator, day)
    entities = _brief_entities(
        view.codes, market.campaigns.goal[campaign], market.campaigns.brand[campaign],
        market.campaigns.niche[campaign], deliverable, market.words, market.tier_count,
    )  # fmt: skip
    records = {name: market.histories[name].at(entity, day) for name, entity in entities.items()}
    return Context(view.profile, view.codes, view.lists, {**view.records, **records}, market.campaigns, campaign)


@dataclass(frozen=True)
class CreatorState:
    """What is served about n creators as of a day: enough to build the context of any brief.

    Attributes:
        day: decision day; everything in it was known before.
        profile, codes, lists: see Context; only what pair features read.
        static: features of scope `creator`, shape (n, s), float32.
        totals: track-record totals of brief-side entities, shape (m, columns) each.
        deliverable_prices: price by creator and deliverable, NaN where unknown; shape (n, deliverables) or (n, 0).
        deliverable_sources: codes into PRICE_SOURCES of those prices, same shape.
    """

    day: int
    profile: Mapping[str, Floats]
    codes: Mapping[str, Ints]
    lists: Mapping[str, Lists]
    static: NDArray[np.float32]
    totals: Mapping[str, Ints]
    deliverable_prices: Floats
    deliverable_sources: Floats

    def __len__(self) -> int:
        return len(self.static)

    def span(self, low: int, high: int) -> "CreatorState":
        """The creators from `low` to `high`, without copies."""
        return replace(
            self,
            profile={name: column[low:high] for name, column in self.profile.items()},
            codes={name: column[low:high] for name, column in self.codes.items()},
            lists={name: lists.span(low, high) for name, lists in self.lists.items()},
            static=self.static[low:high],
            deliverable_prices=self.deliverable_prices[low:high],
            deliverable_sources=self.deliverable_sources[low:high],
        )

    def part(self, rows: Ints) -> "CreatorState":
        """Some of the creators, in the order asked for."""
        return replace(
            self,
            profile={name: column[rows] for name, column in self.profile.items()},
            codes={name: column[rows] for name, column in self.codes.items()},
            lists={name: lists.rows(rows) for name, lists in self.lists.items()},
            static=self.static[rows],
            deliverable_prices=self.deliverable_prices[rows],
            deliverable_sources=self.deliverable_sources[rows],
        )


def brief_context(
    state: CreatorState, briefs: BriefColumns, deliverable: int, words: Vocabularies, tiers: int
) -> Context:
    """One row a creator of the catalogue, for one brief.

    Args:
        state: the catalogue's creators.
        briefs: a single encoded brief.
        deliverable: its deliverable code, -1 for none named.
        words: the market's vocabularies.
        tiers: number of tiers, the unknown one included.
    """
    entities = _brief_entities(
        state.codes, briefs.goal, briefs.brand, briefs.niche, np.array([deliverable]), words, tiers
    )
    records = {name: Totals(state.totals[name], entity) for name, entity in entities.items()}
    return Context(state.profile, state.codes, state.lists, records, briefs, np.zeros(1, dtype=np.int64))


def brief_totals(market: Market, day: int) -> dict[str, Ints]:
    """Totals of every brief-side entity as of a day, for `CreatorState.totals`."""
    words, tiers = market.words, market.tier_count
    sizes = {
        "market": 1,
        "tier": tiers,
        "peers": max(len(words.platform), 1) * tiers,
        "goal": len(GOALS),
        "goal_tier": len(GOALS) * tiers,
        "goal_platform": len(GOALS) * max(len(words.platform), 1),
        "brand": len(words.brand),
        "niche": len(words.niche),
        "niche_style": max(len(words.niche), 1) * max(len(words.platform), 1) * STYLES,
        "deliverable": len(words.deliverable),
    }
    # at least one row, so that -1 (none) has something to be looked up in
    return {
        name: market.histories[name].values_at(np.arange(max(size, 1)), np.full(max(size, 1), day))
        for name, size in sizes.items()
    }


def deliverable_prices(market: Market, creator: Ints, day: Ints) -> tuple[Floats, Floats]:
    """Price and source by deliverable, NaN where unknown; shape (n, deliverables), or (n, 0) where none is priced."""
    count = len(market.words.deliverable) if market.priced_apart else 0
    prices, sources = np.full((len(creator), count), np.nan), np.full((len(creator), count), np.nan)
    for code in range(count):
        index = asof.last_before(market.prices.keys, creator * count + code, day)
        prices[:, code] = asof.take(market.prices.price, index)
        sources[:, code] = asof.take(market.prices.source, index)
    return prices, sources


def _brief_entities(
    codes: Mapping[str, Ints], goal: Ints, brand: Ints, niche: Ints, deliverable: Ints, words: Vocabularies, tiers: int
) -> dict[str, Ints]:
    joined = entity_codes(codes, goal, niche, words, tiers)
    return {
        "market": np.zeros(len(goal), dtype=np.int64),
        **{name: joined[name] for name in BRIEF_SIDE},
        "brand": brand,
        "niche": niche,
        "deliverable": deliverable,
    }


def _price(
    market: Market, creator: Ints, day: Ints, profile: Mapping[str, Floats], own: Totals
) -> tuple[Floats, Floats]:
    """The price known beforehand: the newest one of the profile, else the mean of own past fees, else a mean.

    Where only deliverables are priced, their geometric mean stands for an unnamed one: an estimate, nobody's quote.
    """
    price, source = profile["price"], profile["price_source"]
    paid = np.where(own["fees"] > 0, np.exp(own["log_fee"] / np.maximum(own["fees"], 1.0)), np.nan)
    source = np.where(np.isnan(price) & ~np.isnan(paid), PAID, source)
    price = np.where(np.isnan(price), paid, price)
    by_deliverable, _ = deliverable_prices(market, creator, day)
    if by_deliverable.shape[1]:
        priced = by_deliverable > 0
        logs = np.where(priced, np.log(np.where(priced, by_deliverable, 1.0)), 0.0)
        mean = np.exp(logs.sum(axis=1) / np.maximum(priced.sum(axis=1), 1))
        free = (by_deliverable == 0).any(axis=1)
        mean = np.where(priced.any(axis=1), mean, np.where(free, 0.0, np.nan))
        source = np.where(np.isnan(price) & ~np.isnan(mean), ESTIMATED, source)
        price = np.where(np.isnan(price), mean, price)
    return price, source


def _home_share(audience: Lists, home: Ints) -> Floats:
    owner = np.repeat(np.arange(len(home)), audience.lengths)
    at_home = np.bincount(owner, weights=audience.weights * (audience.codes == home[owner]), minlength=len(home))
    return np.where((audience.lengths > 0) & (home >= 0), at_home, np.nan)
