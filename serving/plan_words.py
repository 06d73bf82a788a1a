"""What a plan says in sentences: is a mix better, micro or macro, who posts first, and what is only an estimate."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from serving.fees import ESTIMATED
from serving.plan_alternatives import Alternative
from serving.plan_answers import Conclusion
from serving.plan_case import Case
from serving.plan_draws import beats
from serving.plan_sets import Outcome

SURE = 0.90  # chance from which one way of spending is called better
MANY = 50  # picks from which a plan is more work than most teams can do
SIZE_WORDS = {"nano": "nano", "micro": "micro", "macro": "macro (100k and up)"}
# a tier that the past names as the better one -> the alternative that buys it
_SIDES = {"micro": "micro_only", "macro": "macro_only", "mega": "macro_only"}


def conclusions(
    case: Case, made: Outcome, sizes: Mapping[str, Alternative], best: str | None
) -> tuple[Conclusion, ...]:
    """The questions people ask, answered; nobody wins where the data cannot tell."""
    found = []
    if best is not None and sizes[best].made is not None:
        found.append(_mix(case, made, sizes[best].made, best))
    micro, macro = sizes["micro"].made, sizes["macro"].made
    if micro is not None and macro is not None:
        found.append(_micro_or_macro(case, micro, macro))
    return tuple(found)


def _mix(case: Case, made: Outcome, single: Outcome | None, best: str) -> Conclusion:
    assert single is not None
    words = SIZE_WORDS[best]
    if np.array_equal(made.chosen, single.chosen):
        return Conclusion(
            question="mix_or_single_tier", winner=best, probability=None,
            text=f"Mixing does not help here: the best plan is {words} only.",
        )  # fmt: skip
    chance = beats(made.value_draws, single.value_draws)
    values = f"{_amount(case, made.value)} expected against {_amount(case, single.value)} with {words} only"
    if chance >= SURE:
        text = f"The mix is better than the best single tier: {values}; it returns more with probability {chance:.0%}."
        return Conclusion(question="mix_or_single_tier", winner="mix", probability=chance, text=text)
    text = f"The mix is ahead on average, but the data cannot tell them apart: {values}; it returns more with "
    return Conclusion(
        question="mix_or_single_tier", winner=None, probability=chance, text=f"{text}probability {chance:.0%}."
    )


def _micro_or_macro(case: Case, micro: Outcome, macro: Outcome) -> Conclusion:
    """Who wins is said by past placements (the tier table), all else equal; the plans of one brief are too few to."""
    chance = beats(micro.value_draws, macro.value_draws)
    ahead, p = ("micro", chance) if chance >= 0.5 else ("macro", 1.0 - chance)
    here = (
        f"For this brief micro only is expected to be worth {_amount(case, micro.value)}, macro only (100k and up) "
        f"{_amount(case, macro.value)}; {ahead} returns more with probability {p:.0%}."
    )
    verdict = _past_verdict(case)
    side = _SIDES.get(str(verdict.get("winner")))
    past = f" {verdict['text']}" if verdict.get("text") else ""
    if side is None:
        text = f"{here} The data cannot tell them apart.{past}"
    elif side == ("micro_only" if micro.value >= macro.value else "macro_only"):
        text = f"{verdict['text']} {here}"
    else:
        # all else is not equal here: who can be bought for this brief may outweigh what a tier returns on average
        text = f"{verdict['text']} Among the candidates of this brief it is not ahead, though. {here}"
    return Conclusion(question="micro_or_macro", winner=side, probability=p, text=text)


def _past_verdict(case: Case) -> Mapping[str, Any]:
    """What past placements say of tiers under the goal, else over all goals; empty where nobody asked them."""
    verdicts: Mapping[str, Mapping[str, Any]] = case.release.model.card.get("tiers", {})
    own = verdicts.get(case.brief.goal, {})
    return own if own.get("winner") else verdicts.get("all goals", own)


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


def notes(case: Case, made: Outcome) -> tuple[str, ...]:
    """What is an estimate, and what to know before signing."""
    model, offers, positions = case.release.model, case.offers, made.positions
    said = [*_about_overlap(case, made), _about_delivery(case, made)]
    estimated = int((offers.found.source[positions] == ESTIMATED).sum())
    unsure = int((offers.found.fee_spread[positions] > 0).sum())
    if unsure:
        said.append(
            f"{unsure} of {len(positions)} fees may turn out otherwise ({estimated} have no price at all): settle them "
            "before signing; the expected total keeps the budget, the real one may not (total_cost_high)"
        )
    if len(positions) > MANY:
        said.append(
            f"{len(positions)} placements are many to manage, and nobody's time is in the cost: "
            "plan.max_creators limits how many creators there are"
        )
    if not len(positions):
        said.append("nobody is worth buying for this brief within the limits")
    value, cost = made.value, float(case.problem.cost[made.chosen].sum()) / 100.0
    if value < cost and case.brief.rank_by != "profit":
        said.append("the plan is expected to return less than it costs: rank_by profit buys only what pays for itself")
    if model.together.reach_per_impression is None:
        said.append("unique_reach counts impressions: no past placement tells how many people they reach")
    return tuple(said)


def _about_overlap(case: Case, made: Outcome) -> list[str]:
    pairs = case.pairs
    inside = made.chosen[pairs.a] & made.chosen[pairs.b]
    measured, estimated = int((inside & pairs.measured).sum()), int((inside & ~pairs.measured).sum())
    if not measured and not estimated:
        return ["no two picks are known or expected to share an audience"]
    return [
        f"audience overlap: {measured} pairs of picks are measured, {estimated} are estimates from shared person, "
        "country, niche and platform"
    ]


def _about_delivery(case: Case, made: Outcome) -> str:
    given = case.brief.plan.delivery_rate or case.release.model.settings.plan.delivery_rate
    mean = float(case.offers.delivery[made.positions].mean()) if len(made.positions) else 0.0
    if given is not None:
        return f"delivery: {given:.0%} of agreed posts are taken to appear, as asked for"
    if "delivery" not in case.release.model.stages:
        return "delivery: past data do not say what was not delivered, so every post is taken to appear"
    return f"delivery: {mean:.0%} of these posts are expected to appear, learnt from past placements"


def _amount(case: Case, value: float) -> str:
    return f"{value:,.0f} {case.release.model.basis.currency}"
