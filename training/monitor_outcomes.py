"""What settled since a model was trained beside what it promised, campaign by campaign."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.asof import NEVER
from features.market import Market, Placements
from features.value import GOALS
from serving.interval import share_inside
from serving.model import Model
from serving.stage import Floats
from training.drift import MIN_CAMPAIGNS, State
from training.intervals import ranks
from training.judgeable import judgeable
from training.sequential import wealth_above, wealth_below

Ints = NDArray[np.int64]

LEAST, MOST = 0.9, 1.25  # actual / promised value on the whole; to fall short matters sooner
COVERAGE = (0.72, 0.88)  # of intervals that are to hold 80 %
WAIT = 120  # days after a campaign's last booking at which it counts as it is, whatever has not settled


@dataclass(frozen=True)
class Settled:
    """k campaigns whose outcomes are known, in the order of that, shape (k,) each.

    Attributes:
        day: UTC day on which a campaign's last outcome was final.
        actual, promised: value of its placements, base currency.
        rank_if_less, rank_if_more: mean rank of its values in what was promised, 0 to 1, with the promise taken LEAST
            and MOST times: about .5 where that is right, whatever the spread.
        inside: share of its values in their 80 % intervals.
        rows: number of placements.
    """

    day: Ints
    actual: Floats
    promised: Floats
    rank_if_less: Floats
    rank_if_more: Floats
    inside: Floats
    rows: int


@dataclass(frozen=True)
class Verdict:
    """A claim tested campaign by campaign.

    Attributes:
        figure: what was measured, NaN where nothing was.
        wealth: largest so far of the bettor against the claim.
        alarm_at: wealth at which the claim falls.
    """

    state: State
    figure: float
    wealth: float
    alarm_at: float
    rows: int
    campaigns: int


def closing_days(placements: Placements, as_of: int, learnt_before: int) -> Ints:
    """The day on which each placement's campaign counts, shape (p,); NEVER where it does not before `as_of`.

    A campaign counts as a whole, once all its placements have settled (or WAIT days after the last was agreed), and
    only where the model learnt from none of them, that is where none had settled before `learnt_before`.
    """
    p = placements
    agreed = p.agreed < as_of
    campaigns = int(p.campaign.max()) + 1 if len(p) else 0
    last, booked = np.zeros(campaigns, dtype=np.int64), np.zeros(campaigns, dtype=np.int64)
    np.maximum.at(last, p.campaign[agreed], p.settled[agreed])
    np.maximum.at(booked, p.campaign[agreed], p.agreed[agreed])
    closes = np.minimum(last, booked + WAIT)
    learnt = agreed & (p.agreed < learnt_before) & (p.settled < learnt_before)
    closes[p.campaign[learnt]] = NEVER
    day = closes[p.campaign]
    return np.where(agreed & (p.settled <= day) & (day < as_of), day, NEVER)


def settled(
    market: Market, model: Model, rows: Ints, day: Ints, actual: Floats, promised: Floats
) -> Settled:  # fmt: skip
    """Placements by campaign.

    Args:
        market: that they are of.
        model: whose intervals they are judged by.
        rows: placements, shape (n,).
        day: on which their campaigns count, shape (n,).
        actual, promised: their value, shape (n,). Left out is what was promised nothing (0 or NaN), and of the rest
            what may not be judged (`training.judgeable`), by what counted up to the same day.
    """
    able = promised > 0
    rows, day, actual, promised = rows[able], day[able], actual[able], promised[able]
    known = judgeable(market, rows, actual, day)
    rows, day, actual, promised = rows[known], day[known], actual[known], promised[known]
    campaign = market.placements.campaign[rows]
    goals = np.array(GOALS)[market.campaigns.goal[campaign]]

    def rank(factor: float) -> tuple[Floats, Floats]:
        # the interval's size bin is that of what was promised
        return ranks(model.intervals, actual / factor, promised, goals)

    frame = pl.DataFrame(
        {
            "campaign": campaign, "day": day, "actual": actual, "promised": promised,
            "rank_if_less": np.mean(rank(LEAST), axis=0), "rank_if_more": np.mean(rank(MOST), axis=0),
            "inside": share_inside(*rank(1.0)),
        }
    )  # fmt: skip
    by_campaign = (
        frame.group_by("campaign")
        .agg(
            pl.col("day").first(), pl.col("actual", "promised").sum(),
            pl.col("rank_if_less", "rank_if_more", "inside").mean(),
        )
        .sort("day", "campaign")
    )  # fmt: skip
    return Settled(
        **{name: by_campaign[name].to_numpy() for name in by_campaign.columns if name != "campaign"}, rows=len(rows)
    )


def promise_kept(found: Settled, alpha: float) -> Verdict:
    """Whether value is LEAST to MOST times what was promised, on the whole; the figure is actual / promised."""
    if len(found.day) == 0:
        return _verdict(found, np.nan, alpha, np.ones(1))
    ratio = float(found.actual.sum() / found.promised.sum())
    return _verdict(found, ratio, alpha, wealth_below(found.rank_if_less, 0.5), wealth_above(found.rank_if_more, 0.5))


def coverage(found: Settled, alpha: float) -> Verdict:
    """Whether 80 % intervals hold between COVERAGE of the values; the figure is the mean share over campaigns."""
    if len(found.day) == 0:
        return _verdict(found, np.nan, alpha, np.ones(1))
    low, high = COVERAGE
    return _verdict(
        found, float(found.inside.mean()), alpha, wealth_below(found.inside, low), wealth_above(found.inside, high)
    )


def _verdict(found: Settled, figure: float, alpha: float, *bets: Floats) -> Verdict:
    """Two bettors share alpha, so each has to come twice as far."""
    alarm_at = len(bets) / alpha
    wealth = max(float(bet.max()) for bet in bets)
    campaigns = len(found.day)
    state = State.TOO_FEW if campaigns < MIN_CAMPAIGNS else State.DRIFT if wealth >= alarm_at else State.OK
    return Verdict(state, figure, wealth, alarm_at, found.rows, campaigns)
