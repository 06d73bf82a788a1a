"""Whom past campaigns could have booked, and what a model foretold of each before any fee was agreed."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features import asof
from features.context import candidate_context
from features.declare import Family
from features.market import Market
from features.matrix import fill, matrix
from features.shared_record import value_shares
from serving.candidates import score
from serving.fees import expected_fee
from serving.model import Model
from serving.stage import Floats, Matrix

Ints = NDArray[np.int64]

ROWS_AT_ONCE = 30_000


@dataclass(frozen=True)
class Pairs:
    """Creators that campaigns could book: codes of both and the UTC decision day, shape (n,) each."""

    campaign: Ints
    creator: Ints
    day: Ints

    def __len__(self) -> int:
        return len(self.campaign)

    def chunks(self, size: int) -> Iterator["Pairs"]:
        """The pairs in order, so many at a time."""
        for begin in range(0, len(self), size):
            part = slice(begin, begin + size)
            yield Pairs(self.campaign[part], self.creator[part], self.day[part])


@dataclass(frozen=True)
class Foretold:
    """What was known and predicted of n pairs on their decision day; money in base currency, NaN where unknown.

    Attributes:
        x: features, shape (n, f).
        value, cost, roi: predictions, shape (n,); the cost is at the price known beforehand, else estimated.
    """

    x: Matrix
    value: Floats
    cost: Floats
    roi: Floats


def decision_days(market: Market, rows: Ints, opens: int) -> tuple[Ints, Ints]:
    """The campaigns of some placements and the day on which each could have been decided anew.

    That is the day the campaign starts, or agreed the first of these placements if that was earlier: a later day would
    see what the booking itself left behind, such as its fee. It is never before the window opens, since the model
    knows what had settled by then; a campaign under way at that time is decided anew from there on.

    Args:
        market: the encoded data.
        rows: placements agreed from day `opens` on, shape (n,).
        opens: UTC day the window opens.

    Returns:
        Campaign codes in order and their days, shape (k,) each.
    """
    campaigns, which = np.unique(market.placements.campaign[rows], return_inverse=True)
    first = np.full(len(campaigns), asof.NEVER)
    np.minimum.at(first, which, market.placements.agreed[rows])
    starts = market.campaign_frame["starts_on"].cast(pl.Datetime("us"))
    start = np.where(starts.is_null().to_numpy(), asof.NEVER, asof.days(starts))[campaigns]
    return campaigns, np.maximum(np.minimum(first, start), opens)


def can_book(market: Market, campaign: Ints, creator: Ints) -> NDArray[np.bool_]:
    """Whether each creator is on a platform of the campaign, or the campaign names none; shape (n,)."""
    platforms = market.campaigns.platforms[campaign]
    platform = market.creators.platform[creator]
    named = platforms.any(axis=1) if platforms.shape[1] else np.zeros(len(campaign), dtype=bool)
    if not named.any():
        return np.ones(len(campaign), dtype=bool)
    on_it = (platform >= 0) & (platforms[np.arange(len(campaign)), np.maximum(platform, 0)] > 0)
    return np.asarray(on_it | ~named)


def sample_pools(market: Market, campaigns: Ints, days: Ints, most: int, seed: int) -> tuple[Pairs, Ints]:
    """Creators each campaign could have booked: all of them, or a random choice of `most`.

    Args:
        market: the encoded data.
        campaigns, days: codes and decision days, shape (k,).
        most: creators a campaign.
        seed: of the choice; a campaign's pool does not depend on which other campaigns are asked for.

    Returns:
        The pairs, campaign by campaign, and how many creators each campaign could have booked, shape (k,).
    """
    creators = np.arange(len(market.creators))
    chosen, sizes = [], np.zeros(len(campaigns), dtype=np.int64)
    for row, campaign in enumerate(campaigns.tolist()):
        pool = creators[can_book(market, np.full(len(creators), campaign), creators)]
        sizes[row] = len(pool)
        if len(pool) > most:
            pool = np.sort(np.random.default_rng([seed, campaign]).choice(pool, most, replace=False))
        chosen.append(pool)
    drawn = [len(pool) for pool in chosen]
    creator = np.concatenate([*chosen, np.zeros(0, dtype=np.int64)])
    return Pairs(np.repeat(campaigns, drawn), creator, np.repeat(days, drawn)), sizes


def foretell(market: Market, model: Model, pairs: Pairs) -> Foretold:
    """Features and predictions of pairs, by the code that is served, as of their decision day.

    No deliverable is named and no fee agreed yet: a creator's price is the one known beforehand, else estimated by the
    model, just as in an answer of the service.
    """
    parts = [_foretell(market, model, part) for part in pairs.chunks(ROWS_AT_ONCE)] or [_foretell(market, model, pairs)]
    names = ("x", "value", "cost", "roi")
    return Foretold(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def _foretell(market: Market, model: Model, pairs: Pairs) -> Foretold:
    none = np.full(len(pairs), -1)
    context = candidate_context(market, pairs.creator, pairs.campaign, pairs.day, none)
    x = matrix(context, len(pairs))
    fee, _ = expected_fee(model, context.profile["price"], context.profile["price_source"], x)
    if model.commission_rate is None:
        # what a fee buys is judged at the fee of the answer, estimated ones included
        fill(x, context.at_price(fee), Family.COST)
    share = value_shares(market, context.lists["country"], context.codes["country"], pairs.campaign, pairs.day)
    credibility = context.profile["audience_credibility"]
    scores = score(model, x, fee, market.campaigns, share, credibility, pairs.campaign)
    return Foretold(x, scores.value, scores.cost, scores.roi)
