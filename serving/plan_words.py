"""What a plan says in sentences: does it pay, is a mix better, micro or macro, and who posts first."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.candidates import QUANTITIES
from serving.plan_alternatives import Alternative
from serving.plan_answers import Conclusion
from serving.plan_case import Case
from serving.plan_draws import beats
from serving.plan_foremost import SIZES
from serving.plan_problem import CENT
from serving.plan_sets import Outcome

Floats = NDArray[np.float64]

SURE = 0.90  # chance from which one way of spending is called better
OTHER_SPEND = 0.05  # part of the larger spend from which two spends are called different
SIZE_WORDS = {"nano": "nano", "micro": "micro", "macro": "macro (100k and up)"}
# a tier that the past names as the better one -> the size of accounts that holds it
_SIDES = {"micro": "micro", "macro": "macro", "mega": "macro"}
_OTHER = {"micro": "macro", "macro": "micro"}


@dataclass(frozen=True)
class Brings:
    """What a set brings of that which its brief asks for most of (`rank_by`).

    Attributes:
        expected: value or profit in the currency, or impressions, engagements or conversions.
        draws: equally likely amounts of it, the same luck for every set; shape (draws,).
        cost: expected spend, in the currency.
    """

    expected: float
    draws: Floats
    cost: float


def brings(case: Case, made: Outcome) -> Brings:
    """What a set of the case's offers brings of that which the brief asks for most of."""
    cost, rank_by = float(case.problem.cost[made.chosen].sum()) / CENT, case.brief.rank_by
    if rank_by == "profit":
        return Brings(made.value - cost, made.value_draws - made.cost_draws, cost)
    if rank_by not in QUANTITIES:
        return Brings(made.value, made.value_draws, cost)
    at, found = made.positions, case.offers.found
    # a quantity varies as the value does, also where a margin of 0 leaves no value
    value = np.maximum(found.scores.value, 1e-12)
    valued = replace(case.offers, found=replace(found, scores=replace(found.scores, value=value)))
    amount = case.problem.worth[at] * made.kept[at]
    draws = (replace(case, offers=valued).draws(at).value * (amount / value[at])[:, None]).sum(axis=0)
    return Brings(float(amount.sum()), draws, cost)


def conclusions(
    case: Case, made: Outcome, sizes: Mapping[str, Alternative], best: str | None
) -> tuple[Conclusion, ...]:
    """The questions people ask, answered in what the brief asks for most of; nobody wins where the data cannot tell.

    Args:
        case: the offers.
        made: the plan.
        sizes: the best plan of each size of account alone.
        best: the size whose plan is best.
    """
    found = [*_loss(case, made)]
    if best is not None and (single := sizes[best].made) is not None and made.chosen.any():
        found.append(_mix(case, made, single, best))
    micro, macro = sizes["micro"].made, sizes["macro"].made
    if micro is not None and macro is not None:
        found.append(_micro_or_macro(case, brings(case, micro), brings(case, macro)))
    return tuple(found)


def _loss(case: Case, made: Outcome) -> list[Conclusion]:
    cost = float(case.problem.cost[made.chosen].sum()) / CENT
    if made.value >= cost:
        return []
    helps = (
        "What plan.must_include and the least of other limits ask for does not pay: relax them."
        if case.brief.rank_by == "profit"
        else "rank_by: profit buys only what pays for itself, and leaves the rest of the budget unspent."
    )
    text = (
        f"The plan is expected to lose {money(case, cost - made.value)}: it costs {money(case, cost)} and is worth "
        f"{money(case, made.value)} under the goal {case.brief.goal}. {helps}"
    )
    return [Conclusion(question="profit_or_loss", winner=None, probability=None, text=text)]


def _mix(case: Case, made: Outcome, single: Outcome, best: str) -> Conclusion:
    tiers = case.offers.tier[made.positions]
    for size, names in SIZES.items():
        if np.isin(tiers, names).all():
            return Conclusion(
                question="mix_or_single_tier", winner=size, probability=None,
                text=f"Mixing does not help here: the best plan is {SIZE_WORDS[size]} only.",
            )  # fmt: skip
    mix, alone = brings(case, made), brings(case, single)
    chance = beats(mix.draws, alone.draws)
    words = f"{SIZE_WORDS[best]} only"
    figures = _against(case, mix, alone, words)
    odds = f"it brings more with probability {likely(chance)}"
    winner = None
    if _same(mix, alone):
        text = f"The mix and {words} bring the same: {figures}."
    elif mix.expected < alone.expected:
        careful = ", but plan.risk asks for caution" if case.brief.plan.risk else ""
        text = f"On average the mix brings less than {words}{careful}: {figures}; {odds}."
    elif chance >= SURE:
        winner, text = "mix", f"The mix brings more than the best single tier: {figures}; {odds}."
    else:
        text = f"The mix is ahead on average, but the data cannot tell them apart: {figures}; {odds}."
    return Conclusion(question="mix_or_single_tier", winner=winner, probability=chance, text=text)


def _micro_or_macro(case: Case, micro: Brings, macro: Brings) -> Conclusion:
    """Who wins is said by past placements (the tier table), all else equal; the plans of one brief are too few to."""
    (of, verdict), both = _past_verdict(case), {"micro": micro, "macro": macro}
    # the past is compared by value for cost
    side = None if case.brief.rank_by in QUANTITIES else _SIDES.get(str(verdict.get("winner")))
    ahead = "micro" if micro.expected >= macro.expected else "macro"
    behind, named = _OTHER[ahead], side or ahead
    chance = beats(both[named].draws, both[_OTHER[named]].draws)
    figures = _against(case, both[ahead], both[behind], f"{SIZE_WORDS[behind]} only")
    odds = f"{named} brings more with probability {likely(chance)}"
    here = f"{SIZE_WORDS[ahead]} only is ahead: {figures}; {odds}."
    same = _same(micro, macro)
    if same:
        here = f"{SIZE_WORDS[ahead]} only and {SIZE_WORDS[behind]} only bring the same: {figures}."
    past = str(verdict.get("text", "")).removeprefix(f"{of}: ")
    if side is None:
        text = f"For this brief {here} {_unsettled(case, of, verdict)}{f': {past}' if past else ''}."
    else:
        # all else is not equal here: who can be bought for this brief may outweigh what a tier returns on average
        so = ", too," if side == ahead else " it is the other way round, as who can be bought counts too:"
        text = (
            f"Past placements ({of}) favour {verdict['winner']}, all else equal: {past}. "
            f"For this brief{'' if same else so} {here}"
        )
    winner = None if side is None else f"{side}_only"
    return Conclusion(question="micro_or_macro", winner=winner, probability=chance, text=text)


def _unsettled(case: Case, of: str, verdict: Mapping[str, Any]) -> str:
    """Why the past names nobody, so that it does not seem to contradict what is said of this brief."""
    about, past = "That is about the creators of this brief;", f"past placements ({of})"
    if case.brief.rank_by in QUANTITIES:
        return f"{about} {past} are compared by value for cost, not by {case.brief.rank_by}"
    if verdict.get("winner"):
        return f"{about} {past} favour neither of the two, all else equal"
    return f"{about} {past} do not tell which size is better in general"


def _past_verdict(case: Case) -> tuple[str, Mapping[str, Any]]:
    """Of which goal past placements speak, and what they say of tiers: the brief's goal, else all goals together."""
    verdicts: Mapping[str, Mapping[str, Any]] = case.release.model.card.get("tiers", {})
    goal, every = case.brief.goal, "all goals"
    of = goal if verdicts.get(goal, {}).get("winner") or every not in verdicts else every
    return of, verdicts.get(of, {})


def _same(one: Brings, other: Brings) -> bool:
    return bool(np.isclose(one.expected, other.expected, rtol=1e-9, atol=1e-9))


def _against(case: Case, first: Brings, second: Brings, words: str) -> str:
    """Two figures, and what each spends where that differs."""
    mine, theirs = f"{_figure(case, first.expected)} expected", _figure(case, second.expected)
    if abs(first.cost - second.cost) > OTHER_SPEND * max(first.cost, second.cost):
        mine, theirs = f"{mine} for {money(case, first.cost)} spent", f"{theirs} for {money(case, second.cost)} spent"
    return f"{mine}, against {theirs} with {words}"


def _figure(case: Case, amount: float) -> str:
    rank_by = case.brief.rank_by
    if rank_by == "profit":
        return f"{money(case, abs(amount))} {'profit' if amount >= 0 else 'loss'}"
    return f"{count(amount)} {rank_by}" if rank_by in QUANTITIES else money(case, amount)


def money(case: Case, amount: float) -> str:
    """An amount in the currency of the answer."""
    return f"{amount:,.{2 if 0 < amount < 100 else 0}f} {case.release.model.basis.currency}"


def count(amount: float) -> str:
    """A number of impressions or the like.

    >>> count(3.21), count(73_078.7), count(1_234_567.0), count(2.5e9)
    ('3.2', '73,079', '1.2M', '2,500.0M')
    """
    if amount >= 1e6:
        return f"{amount / 1e6:,.1f}M"
    return f"{amount:,.0f}" if amount >= 100 else f"{amount:,.1f}"


def likely(chance: float) -> str:
    """A chance in whole percent; nothing that is drawn is certain.

    >>> likely(0.654), likely(0.999), likely(0.0)
    ('65%', 'over 99%', 'under 1%')
    """
    return "over 99%" if chance > 0.99 else "under 1%" if chance < 0.01 else f"{chance:.0%}"


def posting_order(case: Case, made: Outcome) -> tuple[str, ...]:
    """Creators of the plan, first to post first."""
    positions = made.positions
    audience = case.offers.audience[positions]
    order = np.lexsort((case.offers.ids[positions], audience if case.release.model.together.small_first else -audience))
    return tuple(dict.fromkeys(case.offers.ids[positions[order]].tolist()))


def posting_rule(case: Case) -> str:
    """Why in this order."""
    together = case.release.model.together
    if together.small_first:
        return (
            f"small creators first: in {together.small_first_campaigns} past campaigns where they were, results were "
            f"better than in {together.big_first_campaigns} that began with a big one, beyond chance"
        )
    if together.first_t is None:
        return "big creators first (Gu et al. 2024); too few past campaigns show which order is better"
    return "big creators first (Gu et al. 2024); past campaigns do not show that another order is better"
