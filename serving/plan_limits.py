"""A plan's limits as rows of the problem, and what to relax where they cannot be kept."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from features.plan_options import Cap, Limit, PlanBrief
from serving.filters import NothingFits
from serving.plan_milp import Impossible, solve_exact
from serving.plan_offers import Offers
from serving.plan_problem import CENT, Losses, Problem, Row

Ints = NDArray[np.int64]

SECONDS = 5.0  # for finding out what to relax
_EDGE = 1e-6  # so that what was rounded to a hundredth stays there


class Infeasible(NothingFits):
    """Nothing keeps all limits; the message names the smallest budget, or the limit to relax."""


def cents(amount: float) -> int:
    """An amount that may be spent, in whole hundredths, rounded down."""
    return int(np.floor(amount * CENT + _EDGE))


def costs_in_cents(cost: NDArray[np.float64]) -> Ints:
    """What offers cost, in whole hundredths, rounded up.

    >>> costs_in_cents(np.array([500.0, 0.001])).tolist()
    [50000, 1]
    """
    return np.ceil(np.maximum(cost, 0.0) * CENT - _EDGE).astype(np.int64)


def limits(offers: Offers, brief: PlanBrief, cost: Ints) -> tuple[Row, ...]:
    """Every limit of a brief's plan, but for the budget and must_include."""
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
    for field, owner, cap in (
        ("plan.per_creator_cap", offers.creator, plan.per_creator_cap),
        ("plan.per_person_cap", offers.person, plan.per_person_cap),
    ):
        if cap is not None:
            rows += _capped(field, owner, cost, cap, brief.budget)
    return tuple(rows)


def explain(problem: Problem, brief: PlanBrief) -> Infeasible:
    """Why no set keeps all limits, and what to do."""
    # the cheapest set that keeps the other limits
    cheapest = replace(
        problem, worth=np.zeros(len(problem)), price=problem.cost.astype(np.float64), losses=Losses(),
        budget=int(problem.cost.sum()), small_loss=0.0, risk=0.0, draws=None,
    )  # fmt: skip
    try:
        found = solve_exact(cheapest, None, SECONDS)
    except Impossible:
        return _to_relax(cheapest)
    if found is None:
        return Infeasible("plan: nothing was found that keeps all limits; relax one of them", field="plan")
    least = int(problem.cost[found.chosen].sum()) / CENT
    return Infeasible(
        f"budget: {brief.budget:,.2f} is too little for plan.must_include and the least that limits ask for: the "
        f"smallest budget is {least:,.2f}. Raise the budget, or relax those",
        field="budget",
    )


def _to_relax(problem: Problem) -> Infeasible:
    names = [*dict.fromkeys(row.name for row in problem.rows), *(["plan.must_include"] if problem.must else [])]
    for name in names:
        without = replace(
            problem,
            rows=tuple(row for row in problem.rows if row.name != name),
            must=() if name == "plan.must_include" else problem.must,
        )
        try:
            solve_exact(without, None, SECONDS)
        except Impossible:
            continue
        return Infeasible(
            f"{name}: cannot be kept together with the other limits, whatever the budget: relax it", field=name
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
        low = float(np.ceil(least * CENT - _EDGE)) if least > 0 else -np.inf
        rows.append(Row(name, members, cost[members], False, low, np.inf if most is None else cents(most)))
    return rows


def _capped(name: str, owner: Ints, cost: Ints, cap: Cap, budget: float) -> list[Row]:
    """A cap for each creator or person that it could bind."""
    rows = []
    spend = cap.spend(budget)
    count = np.bincount(owner)
    total = np.bincount(owner, weights=cost)
    over = np.zeros(len(count), dtype=bool)
    if cap.placements is not None:
        over |= count > cap.placements
    if spend is not None:
        over |= total > cents(spend)
    order = np.argsort(owner, kind="stable")
    starts = np.searchsorted(owner[order], np.arange(len(count) + 1))
    for one in np.flatnonzero(over):
        members = np.sort(order[starts[one] : starts[one + 1]])
        if cap.placements is not None and len(members) > cap.placements:
            rows.append(Row(name, members, np.ones(len(members), dtype=np.int64), False, -np.inf, cap.placements))
        if spend is not None:
            rows.append(Row(name, members, cost[members], False, -np.inf, cents(spend)))
    return rows
