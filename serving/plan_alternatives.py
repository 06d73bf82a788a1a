"""Other ways to spend the same budget under the same limits, and what would be planned under other assumptions."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.matrix import NAMES
from serving.candidates import QUANTITIES, ask, score
from serving.plan_answers import CurvePoint, Scenario, Sensitivity
from serving.plan_basket import Basket, Shop
from serving.plan_case import Case, lower_delivery, other_budget, other_fees, other_values
from serving.plan_foremost import SIZES
from serving.plan_greedy import solve_in_order
from serving.plan_milp import Impossible
from serving.plan_offers import with_expected
from serving.plan_problem import CENT, Mask, Problem, mask_of
from serving.plan_sets import Outcome, outcome
from serving.plan_solve import Solution, solve

Floats = NDArray[np.float64]

SECONDS, CAREFUL_SECONDS = (
    1.0,
    0.3,
)  # for each alternative and scenario; with risk aversion, which hardly ever ends sooner
NEAR_ENOUGH = 1e-4  # relative gap of an alternative
SAME = 1e-3  # relative gain for which a scenario changes no pick
BUDGET_SHARES = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
ENGAGEMENT = ("log_engagement_per_follower", "log_engagement_per_view", "log_engagements")
PRICE_PER_ENGAGEMENT = NAMES.index("log_price_per_engagement")


@dataclass(frozen=True)
class Alternative:
    """A set that was found in another way; `made` is None where there is none, and `missing` says why."""

    made: Outcome | None
    solution: Solution | None = None
    solved_over: int = 0
    missing: str = ""


def single_sizes(case: Case) -> dict[str, Alternative]:
    """The best set of each size of account alone, by the names of SIZES."""
    return {size: _only(case, size) for size in SIZES}


def best_size(sizes: dict[str, Alternative], case: Case) -> str | None:
    """The size whose set is worth most; None where there is none."""
    found = {size: one.made for size, one in sizes.items() if one.made is not None}
    return max(found, key=lambda size: case.problem.worth_of(found[size].chosen), default=None)


def by_cost_per_engagement(case: Case) -> Alternative:
    """Buy whoever costs least for an engagement on their profile, as long as budget and limits allow."""
    problem = case.problem
    rate = case.offers.found.x[:, PRICE_PER_ENGAGEMENT].astype(np.float64)
    chosen = solve_in_order(problem, np.lexsort((np.arange(len(rate)), np.nan_to_num(rate, nan=np.inf))))
    if chosen is None:
        return Alternative(None, missing="plan.must_include leaves no room")
    broken = problem.broken(chosen)
    if broken is not None:
        return Alternative(None, missing=f"{broken} asks for more than the rule buys")
    return Alternative(outcome(case, chosen), None, len(rate))


def sensitivity(case: Case, plan: Mask) -> Sensitivity:
    """The plan again with other fees, deliveries and engagement."""
    return Sensitivity(
        fees_plus_20=_scenario(other_fees(case, 1.2), plan),
        fees_minus_20=_scenario(other_fees(case, 0.8), plan),
        delivery_minus_10=_scenario(lower_delivery(case, 0.10), plan),
        engagement_minus_20=_scenario(_less_engagement(case, 0.8), plan),
    )


def budget_curve(case: Case, plan: Mask) -> tuple[CurvePoint, ...]:
    """What BUDGET_SHARES of the budget would buy; more budget never buys less."""
    points: list[CurvePoint] = []
    before: Mask = np.zeros(len(plan), dtype=bool)
    for share in BUDGET_SHARES:
        other = other_budget(case, share)
        try:
            found = (
                max(plan, before, key=other.problem.worth_of)  # this budget's plan is known
                if share == 1.0
                else solve(other.problem, SECONDS, starts=(before, plan), gap=NEAR_ENOUGH).chosen
            )
        except Impossible:
            continue
        made = outcome(other, found)
        low, high = np.quantile(made.value_draws, [0.1, 0.9])
        points.append(
            CurvePoint(
                budget=other.brief.budget, expected_value=made.value, value_low=float(low), value_high=float(high),
                total_cost=int(other.problem.cost[found].sum()) / CENT,
                creators=len(np.unique(case.offers.creator[found])),
            )
        )  # fmt: skip
        before = found
    return tuple(points)


def _only(case: Case, size: str) -> Alternative:
    own = np.flatnonzero(np.isin(case.offers.tier, SIZES[size]))
    strangers = sorted(set(case.brief.plan.must_include) - set(case.offers.ids[own].tolist()))
    if strangers:
        return Alternative(None, missing=f"plan.must_include holds {strangers[0]}, who is not {_words(size)}")
    if not len(own):
        return Alternative(None, missing=f"no candidate is {_words(size)}")
    part = case.problem.part(own)
    # limits of other tiers and platforms may ask for more than nothing of them
    try:
        found = solve(part, _seconds(part), gap=NEAR_ENOUGH, outside=case.offers.outside.get(size, -np.inf))
    except Impossible:
        return Alternative(None, missing=f"the limits cannot be kept with {_words(size)} creators only")
    if not found.chosen.any():
        return Alternative(None, missing=_nobody(part, case.brief.rank_by, _words(size)))
    chosen = mask_of(len(case.problem), own[found.chosen])
    return Alternative(outcome(case, chosen), found, found.solved_over)


def _nobody(problem: Problem, rank_by: str, words: str) -> str:
    """Why the best set is to buy nobody of a size."""
    if not Basket(Shop(problem), np.zeros(len(problem), dtype=bool)).allowed().any():
        return f"no {words} creator can be bought within the budget and limits"
    if rank_by == "profit":
        return f"no {words} creator who can be bought is expected to be worth the cost (rank_by: profit)"
    return (
        f"no {words} creator who can be bought is expected to bring any {rank_by if rank_by in QUANTITIES else 'value'}"
    )


def _seconds(problem: Problem) -> float:
    return CAREFUL_SECONDS if problem.risk else SECONDS


def _words(size: str) -> str:
    return "macro (100k followers and up)" if size == "macro" else size


def _scenario(case: Case, plan: Mask) -> Scenario | None:
    try:
        # the fast way is good enough, but for limits that ask for the least
        asked = any(row.low > 0 for row in case.problem.rows)
        seconds = CAREFUL_SECONDS if asked else _seconds(case.problem)
        found = solve(case.problem, seconds, starts=(plan,), gap=NEAR_ENOUGH, exact=asked).chosen
    except Impossible:
        return None
    if case.problem.broken(plan) is None:
        kept, best = case.problem.worth_of(plan), case.problem.worth_of(found)
        found = plan if best - kept <= SAME * abs(best) else found  # nobody would change picks for so little
    ids = case.offers.ids
    before, after = set(ids[plan].tolist()), set(ids[found].tolist())
    value = float((case.offers.found.scores.value * case.problem.kept(found))[found].sum())
    cost = int(case.problem.cost[found].sum()) / CENT
    return Scenario(
        expected_value=value,
        total_cost=cost,
        roi=value / max(cost, case.release.model.basis.cost_floor) - 1.0 if found.any() else None,
        picks_kept=len(before & after) / len(before) if before else 1.0,
        dropped=tuple(sorted(before - after)),
        joined=tuple(sorted(after - before)),
    )


def _less_engagement(case: Case, factor: float) -> Case:
    """As if profiles showed more engagement than there is: their readings times a factor, read by the same model."""
    found, model = case.offers.found, case.release.model
    x = found.x.copy()
    for name in ENGAGEMENT:
        x[:, NAMES.index(name)] += np.float32(np.log(factor))
    x[:, PRICE_PER_ENGAGEMENT] -= np.float32(np.log(factor))
    briefs = ask(case.release, case.brief, tell_budget=False).briefs
    usual, lower = (score(model, read, found.fee, briefs, found.share, found.credibility) for read in (found.x, x))

    def changed(now: Floats, then: Floats, value: Floats) -> Floats:
        return value * np.where(then > 0, now / np.where(then > 0, then, 1.0), 1.0)

    old = found.scores
    expected = {name: changed(lower.expected[name], usual.expected[name], of) for name, of in old.expected.items()}
    value = changed(lower.value, usual.value, old.value)
    return other_values(case, with_expected(model, case.offers, expected, value))
