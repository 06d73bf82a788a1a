"""Measuring on past campaigns what placements of one campaign share."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from serving.interval import LEVELS, Interval
from serving.stage import Floats
from serving.together import USUAL_SHARED, Together
from training.intervals import ranks

Ints = NDArray[np.int64]

MIN_SHARED = 10  # campaigns with two judged placements or more, with fewer of which shared luck is not measured
SHARED_SPREAD = 0.2  # standard deviation of `shared` over markets: what is believed before any is measured
MOST_SHARED = 0.6
MIN_CAMPAIGNS = 30  # on either side of a comparison
BEYOND_CHANCE = 2.462  # one-sided p = .01 of a t statistic with MIN_CAMPAIGNS - 1 degrees of freedom
USUAL_LOSS = 0.2  # standard deviation of the log of `small_beside_big` where there is a loss
MOST_LOSS = 0.5


@dataclass(frozen=True)
class Booked:
    """What became of n placements, shape (n,) each, NaN where unknown.

    Attributes:
        campaign: any number that tells campaigns apart.
        goal: of the campaign.
        actual, promised: value, and what a model that had not seen it promised; NaN where it was not judged.
        big: 1 from BIG followers on when it was agreed, 0 below.
        posted: UTC day.
        reach, impressions: of delivered placements.
    """

    campaign: Ints
    goal: NDArray[np.str_]
    actual: Floats
    promised: Floats
    big: Floats
    posted: Floats
    reach: Floats
    impressions: Floats

    def part(self, rows: NDArray[np.bool_]) -> "Booked":
        """Some of the placements."""
        return Booked(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


def fit_together(booked: Booked, intervals: Mapping[str, Interval]) -> Together:
    """What placements of one campaign share; the defaults of `Together` where too little says so.

    Args:
        booked: settled placements, judged or not.
        intervals: by goal, of actual / promised value.
    """
    _, campaign = np.unique(booked.campaign, return_inverse=True)
    booked = replace(booked, campaign=campaign)
    judged = np.isfinite(booked.actual) & (booked.promised > 0)
    found = _with_shared(Together(), booked.part(judged), intervals)
    return _with_reach(_with_first(_with_beside(found, booked, judged), booked, judged), booked)


def _with_shared(found: Together, judged: Booked, intervals: Mapping[str, Interval]) -> Together:
    """Correlation of luck between two placements of a campaign, shrunk towards the usual one.

    Sum of the products of pairs over what it would be, were luck the same for all of a campaign. Where many values are
    zero a score says less than its luck: the mean of the scores it may have, with the share of their variance that it
    tells. To first order the correlation of such means is that of the luck, by the product of those shares.
    """
    score, told = _luck(*ranks(intervals, judged.actual, judged.promised, judged.goal))
    pairs, most = _pairs(score, judged.campaign), _pairs(told, judged.campaign)
    count = np.bincount(judged.campaign)
    several = count > 1
    if several.sum() < MIN_SHARED:
        return found
    pairs, most, count = pairs[several], most[several], count[several]
    # a pair of a large campaign says less: the campaign's common luck is drawn but once
    weight = 1.0 / (USUAL_SHARED * count + 1.0 - USUAL_SHARED) ** 2
    whole = float(weight @ most)
    alike = float(weight @ pairs) / whole
    # over campaigns (the infinitesimal jackknife), and not surer than without any luck in common
    variance = max(float((weight**2) @ (pairs - alike * most) ** 2), float((weight**2) @ most)) / whole**2
    believed = (alike * SHARED_SPREAD**2 + USUAL_SHARED * variance) / (SHARED_SPREAD**2 + variance)
    return replace(
        found,
        shared=float(np.clip(believed, 0.0, MOST_SHARED)),
        shared_campaigns=int(several.sum()),
        shared_placements=int(count.sum()),
        shared_t=alike / float(np.sqrt(variance)),
    )


def _luck(below: Floats, upto: Floats) -> tuple[Floats, Floats]:
    """Mean normal score of each outcome, and the share of the scores' variance that it tells, shape (n,) each.

    Args:
        below, upto: share of its draws below and not above it, of which it is one more of equal chance.
    """
    n = len(LEVELS)
    low, high = below * n / (n + 1), (upto * n + 1) / (n + 1)
    a, b = norm.ppf(low), norm.ppf(high)
    score = (norm.pdf(a) - norm.pdf(b)) / (high - low)
    edge = [np.where(np.isfinite(z), z, 0.0) * norm.pdf(z) for z in (a, b)]
    return score, score**2 - (edge[0] - edge[1]) / (high - low)


def _pairs(of: Floats, campaign: Ints) -> Floats:
    """Sum of the products of all pairs of placements of each campaign, shape (campaigns,)."""
    return np.asarray((np.bincount(campaign, of) ** 2 - np.bincount(campaign, of**2)) / 2.0)


def _with_beside(found: Together, booked: Booked, judged: NDArray[np.bool_]) -> Together:
    """Small creators in campaigns that also book a big one against small ones in campaigns that do not."""
    big, unknown = (_any(booked.campaign, of) for of in (booked.big == 1.0, np.isnan(booked.big)))
    # of a campaign with nobody big but somebody of unknown size nothing is said
    rows = judged & (booked.big == 0.0) & (big | ~unknown)[booked.campaign]
    small = booked.part(rows)
    gap = _compare(small, big[small.campaign])
    found = replace(found, beside_campaigns=gap.campaigns, apart_campaigns=gap.others, beside_t=gap.t)
    if gap.t is None or gap.t > -BEYOND_CHANCE:
        return found
    believed = gap.log_ratio * USUAL_LOSS**2 / (USUAL_LOSS**2 + gap.error**2)
    return replace(found, small_beside_big=max(float(np.exp(believed)), MOST_LOSS))


def _with_first(found: Together, booked: Booked, judged: NDArray[np.bool_]) -> Together:
    """Campaigns of both sizes in which a small creator posted first against those in which a big one did."""
    first = np.full((2, int(booked.campaign.max(initial=-1)) + 1), np.inf)
    for size in (0, 1):
        rows = (booked.big == size) & np.isfinite(booked.posted)
        np.minimum.at(first[size], booked.campaign[rows], booked.posted[rows])
    ordered = np.isfinite(first).all(axis=0) & (first[0] != first[1])
    both = booked.part(judged & ordered[booked.campaign])
    gap = _compare(both, (first[0] < first[1])[both.campaign])
    return replace(
        found,
        small_first=gap.t is not None and gap.t >= BEYOND_CHANCE,
        small_first_campaigns=gap.campaigns,
        big_first_campaigns=gap.others,
        first_t=gap.t,
    )


def _with_reach(found: Together, booked: Booked) -> Together:
    """People reached per impression where both are known; more people than impressions cannot be."""
    rows = (booked.impressions > 0) & (booked.reach >= 0)
    if not rows.any():
        return found
    reached = float(booked.reach[rows].sum() / booked.impressions[rows].sum())
    return replace(found, reach_per_impression=min(reached, 1.0), reach_placements=int(rows.sum()))


@dataclass(frozen=True)
class _Gap:
    """How the placements of some campaigns did against others': log of the ratio of mean actual / promised value."""

    campaigns: int
    others: int
    log_ratio: float = 0.0
    error: float = 0.0

    @property
    def t(self) -> float | None:
        """The log ratio by its standard error, None where there are too few campaigns."""
        return self.log_ratio / self.error if self.error > 0 else None


def _compare(judged: Booked, apart: NDArray[np.bool_]) -> _Gap:
    """The placements in `apart` against the others, judged over campaigns, whose placements share a fate."""
    sides = [judged.part(apart), judged.part(~apart)]
    campaigns = [len(np.unique(side.campaign)) for side in sides]
    if min(campaigns) < MIN_CAMPAIGNS or not all(side.actual.any() for side in sides):
        return _Gap(*campaigns)
    (one, its_variance), (other, others_variance) = (_log_mean(side) for side in sides)
    return _Gap(campaigns[0], campaigns[1], one - other, float(np.sqrt(its_variance + others_variance)))


def _log_mean(judged: Booked) -> tuple[float, float]:
    """Log of the mean ratio of actual to promised value, and its variance over campaigns.

    Ratios are weighed so that the variance of a value goes as its mean to the power 1.5, as in `training.promise_fit`.
    """
    weight = np.sqrt(judged.promised)
    ratio = judged.actual / judged.promised
    mean = float(weight @ ratio / weight.sum())
    parts = np.bincount(judged.campaign, weight * (ratio - mean)) / (weight.sum() * mean)
    n = len(np.unique(judged.campaign))
    return float(np.log(mean)), float(parts @ parts) * n / (n - 1)


def _any(campaign: Ints, of: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether it holds of any placement of each campaign, shape (campaigns,)."""
    return np.asarray(np.bincount(campaign, of) > 0)
