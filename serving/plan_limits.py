"""A plan's limits as rows of the problem, and what to relax where they cannot be kept."""

from collections.abc import Callable
from dataclasses import replace
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from features.plan_options import Limit, PlanBrief
from serving.filters import NothingFits
from serving.plan_milp import Impossible, solve_exact
from serving.plan_offers import Offers
from serving.plan_problem import CENT, EDGE, Caps, Losses, Problem, Row, cents

Ints = NDArray[np.int64]

SECONDS = 4.0  # for finding out what to relax
NEAR_ENOUGH = 1e-3  # relative gap of the smallest budget, which is one that does in any case
ROUNDS = 20  # of looking for the smallest budget


class Infeasible(NothingFits):
    """Nothing keeps all limits; the message names the smallest budget, or the limit to relax."""


def limits(offers: Offers, brief: PlanBrief, cost: Ints) -> tuple[Row, ...]:
    """The limits of a brief's plan that are of many creators together, but for the budget and must_include."""
    plan = brief.plan
    every = np.arange(len(offers))
    rows: list[Row] = []
    if plan.max_creators is not None:
        rows.append(_count("plan.max_creators", every, most=plan.max_creators))
    for kind, of_each, asked in (
        ("tier_limits", offers.tier, plan.tier_limits),
        ("platform_limits", offers.platform, plan.platform_limits),
    ):
        for name, limit in asked.items():
            rows += _limited(f"plan.{kind}.{name}", np.flatnonzero(of_each == name), cost, limit, brief.budget)
    return tuple(rows)


def caps(offers: Offers, brief: PlanBrief, cost: Ints) -> tuple[Caps, ...]:
    """What a brief's plan may buy of one creator, and of one person."""
    found: list[Caps] = []
    for field, owner, cap in (
        ("plan.per_creator_cap", offers.creator, brief.plan.per_creator_cap),
        ("plan.per_person_cap", offers.person, brief.plan.per_person_cap),
    ):
        if cap is None:
            continue
        if cap.placements is not None:
            found.append(Caps(field, owner, np.ones(len(offers), dtype=np.int64), cap.placements))
        if (spend := cap.spend(brief.budget)) is not None:
            found.append(Caps(field, owner, cost, cents(spend)))
    return tuple(found)


def explain(brief: PlanBrief, at: Callable[[float], Problem]) -> Infeasible:
    """Why no set keeps all limits, and what to do.

    Args:
        brief: what was asked for.
        at: the problem with another budget, and the limits that are shares of it.
    """
    budget, until = brief.budget, perf_counter() + SECONDS
    for _ in range(ROUNDS):
        cheapest = _cheapest(at(budget))
        try:
            found = solve_exact(cheapest, None, max(until - perf_counter(), 0.1), NEAR_ENOUGH)
        except Impossible:
            return _to_relax(cheapest)
        if found is None:
            break
        least = max(int(cheapest.cost[found.chosen].sum()) / CENT, brief.budget)
        if least <= budget and budget > brief.budget:
            return Infeasible(
                f"budget: {brief.budget:,.2f} is too little for plan.must_include and the least that limits ask for: "
                f"the smallest budget is {budget:,.2f}. Raise the budget, or relax those",
                field="budget",
            )
        if least <= budget:
            break  # there is a set, but none was found in time
        # more budget raises what limits ask for as a share of it, so ask again
        budget = least
    return Infeasible("plan: nothing was found that keeps all limits; relax one of them", field="plan")


def _cheapest(problem: Problem) -> Problem:
    """To find the cheapest set that keeps the limits, whatever it costs."""
    return replace(
        problem, worth=np.zeros(len(problem)), price=problem.cost.astype(np.float64), losses=Losses(),
        budget=int(problem.cost.sum()), small_loss=0.0, risk=0.0, draws=None,
    )  # fmt: skip


def _to_relax(problem: Problem) -> Infeasible:
    every = [*(row.name for row in problem.rows), *(one.name for one in problem.caps)]
    names = [*dict.fromkeys(every), *(["plan.must_include"] if problem.must else [])]
    for name in names:
        without = replace(
            problem,
            rows=tuple(row for row in problem.rows if row.name != name),
            caps=tuple(one for one in problem.caps if one.name != name),
            must=() if name == "plan.must_include" else problem.must,
        )
        try:
            solve_exact(without, None, SECONDS, NEAR_ENOUGH)
        except Impossible:
            continue
        return Infeasible(
            f"{name}: cannot be kept together with the other limits and this budget: relax it", field=name
        )
    return Infeasible(
        f"plan: several limits cannot be kept together: {', '.join(names)}. Relax two or more of them", field="plan"
    )


def _count(name: str, members: Ints, *, least: int = 0, most: float = np.inf) -> Row:
    return Row(name, members, np.ones(len(members), dtype=np.int64), True, least or -np.inf, most)


def _limited(name: str, members: Ints, cost: Ints, limit: Limit, budget: float) -> list[Row]:
    rows = []
    if limit.min or limit.max is not None:
        rows.append(_count(name, members, least=limit.min, most=np.inf if limit.max is None else limit.max))
    most, least = limit.spend(budget), limit.least_spend(budget)
    if most is not None or least > 0:
        low = float(np.ceil(least * CENT - EDGE)) if least > 0 else -np.inf
        rows.append(Row(name, members, cost[members], False, low, np.inf if most is None else cents(most)))
    return rows
