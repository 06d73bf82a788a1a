"""What following the model would have returned in past campaigns, read off the log: an estimate, not an experiment.

The policy: in each campaign of the backtest's window, book at random among the best tenth of the creators it could
have booked, by the ROI that the model of that time foretold at the price known beforehand. Each booking of the team
whose outcome is known is replaced by one of the policy's, in the same campaign.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.market import Market
from serving.model import Model
from serving.stage import Floats
from training.backtest import Backtest, outcome
from training.dataset import Dataset
from training.judgeable import judgeable
from training.off_policy_answer import OffPolicy, Policy, support_of, too_little
from training.past_candidates import Foretold, Pairs, can_book, decision_days, foretell, sample_pools
from training.policy_estimates import Choices, Log, estimates, totals, weights
from training.propensity import estimated_propensity, usable

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

# the same pair's prediction differs in its last digits with its place in an array (float32, vector units)
HAIR = 1e-5


@dataclass(frozen=True)
class Alternatives:
    """What the policy could do in k campaigns, and the n pairs of their pools.

    Attributes:
        campaigns, days, sizes: codes, decision days and how many creators each could have booked, shape (k,).
        threshold: least predicted ROI that the policy books, shape (k,).
        campaign: of each pair, 0 to k - 1; shape (n,).
        pairs: the pools.
        foretold: of the pairs.
        chosen: whether the policy may book the pair, shape (n,).
        unforeseen: campaigns left out, since the model cannot tell the ROI of their goal.
    """

    campaigns: Ints
    days: Ints
    sizes: Ints
    threshold: Floats
    campaign: Ints
    pairs: Pairs
    foretold: Foretold
    chosen: Bools
    unforeseen: int


def off_policy(
    data: Dataset, result: Backtest, seed: int = 0, *, propensity: Floats | None = None,
    from_slates: Bools | None = None, policy: Policy | None = None,
) -> OffPolicy:  # fmt: skip
    """Estimate what following the backtest's model would have returned in the window.

    Args:
        data: the dataset the backtest is of.
        result: its model is the policy's, fitted on what had settled before the window.
        seed: of the pools, the campaigns and the bootstrap.
        propensity: chance with which each placement was chosen, NaN where not given, shape (placements,); None or the
            same for all: estimated.
        from_slates: which of them the slate log gave, shape (placements,); None: none.
        policy: what to follow.
    """
    policy = policy or Policy()
    opens, rows, market = result.split.opens, result.split.test, data.market
    reason = _no_question(result)
    if reason is not None:
        return OffPolicy(policy, opens, refused=reason)
    could = alternatives(market, result.model, rows, opens, policy, seed)
    if len(could.campaigns) == 0:
        return OffPolicy(policy, opens, refused="the model cannot tell the ROI of any campaign of the window")
    given = propensity is not None and usable(propensity[rows])
    asked = rows[np.isin(market.placements.campaign[rows], could.campaigns)]
    inside = can_book(market, market.placements.campaign[asked], market.placements.creator[asked])
    if given and propensity is not None:
        inside &= np.nan_to_num(propensity[asked]) > 0
    logged = asked[inside]
    log = _log(data, result.model, could, logged, propensity if given else None, seed)
    choices = mean_choices(could, market.basis.cost_floor)
    weight = weights(log, choices)
    support = support_of(log, weight, len(asked) - len(logged), could.unforeseen)
    reason = too_little(support)
    found = {} if reason is not None else estimates(totals(log, choices, weight), seed)
    by_slates = 0 if from_slates is None else int(from_slates[logged].sum())
    return OffPolicy(policy, opens, found, reason, given, support, by_slates)


def alternatives(market: Market, model: Model, rows: Ints, opens: int, policy: Policy, seed: int) -> Alternatives:
    """Whom the campaigns of some placements could have booked, and which of these the policy may book.

    Args:
        market: the encoded data.
        model: the policy's.
        rows: placements agreed from day `opens` on.
        opens: UTC day the window opens.
        policy: what to follow.
        seed: of the choice of campaigns and pools.
    """
    campaigns, days = decision_days(market, rows, opens)
    if len(campaigns) > policy.campaigns:
        kept = np.sort(np.random.default_rng(seed).choice(len(campaigns), policy.campaigns, replace=False))
        campaigns, days = campaigns[kept], days[kept]
    pairs, sizes = sample_pools(market, campaigns, days, policy.accounts, seed)
    foretold = foretell(market, model, pairs)
    campaign = np.searchsorted(campaigns, pairs.campaign)
    chosen, threshold = best_of_each(foretold.roi, campaign, len(campaigns), policy.top)
    # a campaign whose goal the model cannot tell has no best tenth
    able = np.isfinite(threshold)
    keep, position = able[campaign], np.cumsum(able) - 1
    return Alternatives(
        campaigns=campaigns[able],
        days=days[able],
        sizes=sizes[able],
        threshold=threshold[able],
        campaign=position[campaign[keep]],
        pairs=Pairs(pairs.campaign[keep], pairs.creator[keep], pairs.day[keep]),
        foretold=Foretold(foretold.x[keep], foretold.value[keep], foretold.cost[keep], foretold.roi[keep]),
        chosen=chosen[keep],
        unforeseen=int((~able).sum()),
    )


def best_of_each(roi: Floats, campaign: Ints, k: int, top: float) -> tuple[Bools, Floats]:
    """Which rows are among the best `top` of their campaign, equals of the last one included.

    Args:
        roi: predictions, NaN where there is none: never among the best; shape (n,).
        campaign: 0 to k - 1.
        k: how many campaigns.
        top: share of the campaign's rows, rounded up.

    Returns:
        A flag a row, and the ROI from which on one is among the best (a hair below the last), NaN for a campaign
        without any prediction; shape (k,).

    >>> best_of_each(np.array([1.0, 3.0, 2.0, np.nan]), np.array([0, 0, 0, 1]), 2, 0.1)[1].round(3).tolist()
    [3.0, nan]
    """
    order = np.lexsort((-np.nan_to_num(roi, nan=-np.inf), campaign))
    starts = np.searchsorted(campaign[order], np.arange(k + 1))
    threshold = np.full(k, np.nan)
    for number in range(k):
        size = starts[number + 1] - starts[number]
        if size:
            ranked = roi[order[starts[number] : starts[number + 1]]]
            best = ranked[: max(int(np.ceil(top * size)), 1)]
            if np.isfinite(best).any():
                last = best[np.isfinite(best)].min()
                threshold[number] = last - HAIR * (1.0 + abs(last))
    return np.asarray(roi >= threshold[campaign]), threshold


def mean_choices(could: Alternatives, floor: float) -> Choices:
    """The policy's choices in each campaign: their share of the pool and mean predictions, costs floored."""
    k, of = len(could.campaigns), could.campaign[could.chosen]
    count = np.bincount(of, minlength=k)
    cost = np.maximum(could.foretold.cost[could.chosen], floor)
    return Choices(
        share=count / np.bincount(could.campaign, minlength=k),
        value=np.bincount(of, weights=could.foretold.value[could.chosen], minlength=k) / count,
        cost=np.bincount(of, weights=cost, minlength=k) / count,
    )


def _log(data: Dataset, model: Model, could: Alternatives, logged: Ints, propensity: Floats | None, seed: int) -> Log:
    """Outcomes of logged placements, as far as they may be judged, beside what was foretold on their campaign's day."""
    p, floor = data.market.placements, data.market.basis.cost_floor
    campaign = np.searchsorted(could.campaigns, p.campaign[logged])
    value = outcome(data, "value")[logged]
    # no deliverable and no agreed fee, as for everybody else who could have been booked
    foretold = foretell(data.market, model, Pairs(p.campaign[logged], p.creator[logged], could.days[campaign]))
    if propensity is not None:
        chance = propensity[logged]
    elif len(logged):
        chance = estimated_propensity(could.foretold, could.campaign, foretold, campaign, could.sizes, seed)
    else:
        chance = np.zeros(0)
    return Log(
        campaign=campaign,
        chance=chance,
        matched=foretold.roi >= could.threshold[campaign],
        value=np.where(judgeable(data.market, logged, value), value, np.nan),
        cost=np.maximum(p.cost[logged], floor),
        predicted_value=foretold.value,
        predicted_cost=np.maximum(foretold.cost, floor),
    )


def _no_question(result: Backtest) -> str | None:
    """Why the policy cannot be put to this backtest at all."""
    model = result.model
    if result.target != "value":
        return result.missing or "the value of no later placement is known"
    if model.commission_rate is not None:
        return "creators are paid a fixed share of the revenue, so ROI is the same whoever is booked"
    if model.fee is None and model.typical_fee is None:
        return "no fee is known, so there is no ROI to follow"
    return None
