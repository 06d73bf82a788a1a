"""What a model is taught and judged on: every placement of a market as features and labels."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.context import placement_context
from features.declare import Context
from features.market import Market
from features.matrix import matrix
from features.tiers import tier_codes
from serving.stage import Floats, Matrix
from training.funnel_fit import Labels, labels

Ints = NDArray[np.int64]

# of the creator's own record, what the rule "the creator's past mean" is made of
PAST = ("value", "valued", "revenue", "sales", "conversions", "viewed", "clicks", "engagements", "views")


@dataclass(frozen=True)
class Seen:
    """What was known of p placements when they were agreed, beside the features, shape (p,) each.

    Attributes:
        credibility: of the audience, NaN where unknown.
        tier, platform, country, language, person: codes.
        tier_since: the same as `tier`; where the followers were unknown, by the newest ones. Only to look back with.
        price, price_source: known beforehand, NaN where nothing was.
        past: totals of the creator's own record, by name of PAST.
    """

    credibility: Floats
    tier: Ints
    platform: Ints
    country: Ints
    language: Ints
    person: Ints
    tier_since: Ints
    price: Floats
    price_source: Floats
    past: Mapping[str, Floats]

    @classmethod
    def of(cls, market: Market, context: Context) -> "Seen":
        """From the context of all placements of a market, each as of the day it was agreed."""
        return cls(
            credibility=context.profile["audience_credibility"],
            tier=context.codes["tier"],
            platform=context.codes["platform"],
            country=context.codes["country"],
            language=context.codes["language"],
            person=context.codes["person"],
            tier_since=_tier_since(market, context.codes["tier"]),
            price=context.profile["known_price"],
            price_source=context.profile["price_source"],
            past={name: context.records["creator"][name] for name in PAST},
        )


@dataclass(frozen=True)
class Dataset:
    """Every placement of a market as features, labels and what else was known."""

    market: Market
    x: Matrix
    seen: Seen
    labels: Labels


def build_dataset(market: Market) -> Dataset:
    """Features and labels of every placement, each as of the day it was agreed."""
    rows = len(market.placements)
    context = placement_context(market, np.arange(rows))
    return dataset(market, matrix(context, rows), Seen.of(market, context))


def dataset(market: Market, x: Matrix, seen: Seen) -> Dataset:
    """The data set of a market whose features are computed."""
    return Dataset(market, x, seen, labels(market, seen.price, seen.price_source))


def _tier_since(market: Market, tier: Ints) -> Ints:
    """Tiers, where unknown by the newest followers: one tier is wide, so a later count is better than none."""
    unknown = np.flatnonzero(tier == market.tier_count - 1)
    creator = market.placements.creator[unknown]
    newest = market.profile(creator, np.full(len(creator), market.as_of))["follower_count"]
    found = tier.copy()
    found[unknown] = tier_codes(newest, market.settings)
    return found
