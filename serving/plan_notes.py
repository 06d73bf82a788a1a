"""What to know of a plan before signing: what is an estimate, whom filters would not have let in, what says little."""

import numpy as np

from features.geography import target_share
from serving.candidates import ask
from serving.fees import ESTIMATED
from serving.filters import fee_filters, profile_filters
from serving.picks import value_basis
from serving.plan_case import Case
from serving.plan_problem import CENT
from serving.plan_sets import Outcome
from serving.plan_words import money

MANY = 50  # picks from which a plan is more work than most teams can do
NAMED = 3  # creators whom a note names


def notes(case: Case, made: Outcome) -> tuple[str, ...]:
    """What is an estimate, and what to know before signing."""
    if not made.chosen.any():
        return ("nobody is worth buying for this brief within the limits", *_about_worth(case))
    said = [
        *_about_worth(case),
        *_about_must_include(case, made),
        *_about_roi(case, made),
        _about_overlap(case, made),
        _about_delivery(case, made),
        *_about_fees(case, made),
    ]
    placements = len(made.positions)
    if placements > MANY:
        said.append(
            f"{placements} placements are many to manage, and nobody's time is in the cost: "
            "plan.max_creators limits how many creators there are"
        )
    if case.release.model.together.reach_per_impression is None:
        said.append("unique_reach counts impressions: no past placement tells how many people they reach")
    return tuple(said)


def _about_worth(case: Case) -> list[str]:
    if (case.offers.found.scores.value > 0).any():
        return []
    basis = value_basis(case.release.model, case.brief.goal)
    margin = "product_margin is 0" if case.brief.product_margin == 0 else "see value_basis"
    return [f"as value is configured, every creator is worth nothing: value = {basis['formula']} ({margin})"]


def _about_must_include(case: Case, made: Outcome) -> list[str]:
    """Whom the filters would have left out."""
    left_out = {name: reasons for name, reasons in _filtered(case, made).items() if reasons}
    if not left_out:
        return []
    named = [f"{name} ({', '.join(reasons)})" for name, reasons in list(left_out.items())[:NAMED]]
    more = f" and {len(left_out) - NAMED} more" if len(left_out) > NAMED else ""
    return [f"plan.must_include buys whom filters would have left out: {', '.join(named)}{more}"]


def _filtered(case: Case, made: Outcome) -> dict[str, list[str]]:
    """By creator of must_include, the filters that do not let them pass."""
    release, brief, offers = case.release, case.brief, case.offers
    if not brief.plan.must_include:
        return {}
    bought = made.positions[np.isin(offers.ids[made.positions], brief.plan.must_include)]
    rows, which = np.unique(offers.found.rows[bought], return_inverse=True)
    seen, asked = release.catalogue.part(rows), ask(release, brief, tell_budget=False)
    profile = profile_filters(
        seen, brief, lambda: np.broadcast_to(target_share(asked.context(seen.state)), len(seen.state))
    )
    fee = fee_filters(brief, offers.found.fee[bought], offers.found.source[bought] != ESTIMATED)
    passing = {reason: allowed()[which] for reason, allowed in profile.items()}
    passing |= {reason: allowed() for reason, allowed in fee.items()}
    found: dict[str, list[str]] = {}
    for k, name in enumerate(offers.ids[bought].tolist()):
        reasons = found.setdefault(name, [])
        reasons += [reason for reason, passes in passing.items() if not passes[k] and reason not in reasons]
    return found


def _about_roi(case: Case, made: Outcome) -> list[str]:
    floor, cost = case.release.model.basis.cost_floor, float(case.problem.cost[made.chosen].sum()) / CENT
    if cost >= floor * len(made.positions):
        return []
    return [
        f"the plan costs nearly nothing ({money(case, cost)}), so ROI says little: a cost below {money(case, floor)} "
        "is taken for that much; look at expected_value"
    ]


def _about_overlap(case: Case, made: Outcome) -> str:
    pairs = case.pairs
    inside = made.chosen[pairs.a] & made.chosen[pairs.b]
    measured, estimated = int((inside & pairs.measured).sum()), int((inside & ~pairs.measured).sum())
    if not measured and not estimated:
        return "no two picks are known or expected to share an audience"
    return (
        f"audience overlap: {measured} pairs of picks are measured, {estimated} are estimates from shared person, "
        "country, niche and platform"
    )


def _about_delivery(case: Case, made: Outcome) -> str:
    given = case.brief.plan.delivery_rate or case.release.model.settings.plan.delivery_rate
    if given is not None:
        return f"delivery: {given:.0%} of agreed posts are taken to appear, as asked for"
    if "delivery" not in case.release.model.stages:
        return "delivery: past data do not say what was not delivered, so every post is taken to appear"
    mean = float(case.offers.delivery[made.positions].mean())
    return f"delivery: {mean:.0%} of these posts are expected to appear, learnt from past placements"


def _about_fees(case: Case, made: Outcome) -> list[str]:
    found, positions = case.offers.found, made.positions
    unsure = int((found.fee_spread[positions] > 0).sum())
    if not unsure:
        return []
    estimated = int((found.source[positions] == ESTIMATED).sum())
    return [
        f"{unsure} of {len(positions)} fees may turn out otherwise ({estimated} have no price at all): settle them "
        "before signing; the expected total keeps the budget, the real one may not (total_cost_high)"
    ]
