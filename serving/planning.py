"""A budget plan for one brief: the same code for the service, the command line and the benchmarks."""

from dataclasses import replace
from functools import partial

import numpy as np

from features.plan_options import PlanBrief
from serving.filters import NothingFits
from serving.picks import head_fields, reasons_of
from serving.plan_alternatives import (
    Alternative,
    best_size,
    budget_curve,
    by_cost_per_engagement,
    sensitivity,
    single_sizes,
)
from serving.plan_answers import Alternatives, Plan, PlanAnswer, Replacement, SingleTier
from serving.plan_case import Case, build_case
from serving.plan_greedy import replacements
from serving.plan_limits import explain
from serving.plan_milp import Impossible
from serving.plan_notes import notes
from serving.plan_offers import plan_offers
from serving.plan_sets import Outcome, outcome, plan_of
from serving.plan_solve import solve
from serving.plan_words import conclusions, posting_order, posting_rule
from serving.release import Release
from serving.shortlist import sample_of
from serving.steps import step

SECONDS = 2.0  # for the plan itself
MOST_REPLACED = 50  # picks for which a replacement is looked up


def plan(release: Release, brief: PlanBrief, *, request_id: str, curve: bool = False) -> PlanAnswer:
    """The best set of creators to buy with a brief's budget, beside other ways to spend it.

    Args:
        release: model and catalogue.
        brief: what is asked for.
        request_id: echoed.
        curve: whether to say what other budgets would buy.

    Raises:
        DataError: the brief asks for something this data cannot answer (`field` names it).
        NothingFits: the filters leave nobody, or nothing keeps all limits (`Infeasible`).
    """
    with step("score"):
        try:
            offers = plan_offers(release, brief)
        except NothingFits as refused:
            if refused.field != "budget":
                raise
            # more than which filter removed whom: the budget that buys somebody
            raise explain(brief, partial(plan_offers, release), nobody=True) from None
        case = build_case(release, brief, offers)
    with step("alternatives"):
        sizes = single_sizes(case)
        best = best_size(sizes, case)
        cheap = by_cost_per_engagement(case)
    with step("solve"):
        starts = [one.made.chosen for one in (*sizes.values(), cheap) if one.made is not None]
        try:
            solution = solve(case.problem, SECONDS, starts=starts, outside=offers.outside.get("all", -np.inf))
        except Impossible:
            raise explain(brief, partial(plan_offers, release)) from None
        # profit may be highest where nothing is bought
        if brief.rank_by != "profit" and not solution.chosen.any() and offers.worth(brief.rank_by).any():
            raise explain(brief, partial(plan_offers, release), nobody=True)
    made = outcome(case, solution.chosen)
    with step("explain"):
        positions = made.positions
        reasons = reasons_of(release.model, brief, offers.found, positions, sample_of(len(offers)))
        shown = plan_of(
            case, made, solution, solved_over=solution.solved_over, reasons=reasons,
            replacements=_replacements(case, made),
        )  # fmt: skip
    with step("sensitivity"):
        changed = sensitivity(case, made.chosen)
        points = budget_curve(case, made.chosen) if curve else ()
    said = conclusions(case, made, sizes, best)
    return PlanAnswer(
        **head_fields(release, brief, offers.found, request_id),
        budget=brief.budget,
        plan=shown,
        alternatives=_alternatives(case, sizes, best, cheap),
        posting_order=posting_order(case, made),
        posting_rule=posting_rule(case),
        p_mix_beats_single_tier=next((one.probability for one in said if one.question == "mix_or_single_tier"), None),
        conclusions=said,
        sensitivity=changed,
        notes=notes(case, made),
        budget_curve=points,
    )


def _alternatives(case: Case, sizes: dict[str, Alternative], best: str | None, cheap: Alternative) -> Alternatives:
    named = {"micro_only": sizes["micro"], "macro_only": sizes["macro"], "greedy_cost_per_engagement": cheap}
    plans = {name: _shown(case, one) for name, one in named.items()}
    missing = {name: one.missing for name, one in named.items() if one.made is None}
    single = None
    if best is None:
        missing["best_single_tier"] = "; ".join(one.missing for one in sizes.values())
    elif (of_best := _shown(case, sizes[best])) is not None:
        single = SingleTier(**dict(of_best), tier=best)
    return Alternatives(**plans, best_single_tier=single, missing=missing)


def _shown(case: Case, one: Alternative) -> Plan | None:
    return None if one.made is None else plan_of(case, one.made, one.solution, solved_over=one.solved_over)


def _replacements(case: Case, made: Outcome) -> list[Replacement | None]:
    """Whom to ask instead of each of the dearest picks, in the order of `made.positions`."""
    positions = made.positions
    dearest = positions[np.argsort(-case.problem.cost[positions], kind="stable")[:MOST_REPLACED]]
    problem, offers = case.problem, case.offers
    found = replacements(replace(problem, risk=0.0), made.chosen, dearest)
    return [
        None
        if int(pick) not in found
        else Replacement(
            creator_id=str(offers.ids[found[int(pick)][0]]),
            deliverable=offers.deliverable[found[int(pick)][0]],
            spend=float(case.cost[found[int(pick)][0]]),
            value_change=found[int(pick)][1],
        )
        for pick in positions
    ]
