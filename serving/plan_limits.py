"""A plan's limits as rows of the problem, and what to relax where they cannot be kept."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter

import highspy
import numpy as np
from numpy.typing import NDArray

from features.plan_options import MOST_AMOUNT, Cap, Limit, PlanBrief, PlanOptions
from serving.filters import NothingFits
from serving.plan_offers import Offers
from serving.plan_problem import CENT, EDGE, Caps, Row, cents, costs_in_cents

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

DEMANDED = 0.99  # most of what may be spent that is demanded to be: fees do not add up to the cent
ANYBODY = "anybody"  # what a set must hold to be a plan at all
BUDGET_SECONDS, LIMIT_SECONDS = 1.1, 0.6  # for finding the smallest budget, and the limit to relax


class Infeasible(NothingFits):
    """Nothing keeps all limits; the message names the smallest budget, or the limit to relax."""


@dataclass(frozen=True)
class _Asked:
    """A limit, the field of the request that sets it, and the offers it is of."""

    name: str
    members: Ints
    limit: Limit


def limits(offers: Offers, brief: PlanBrief, cost: Ints) -> tuple[Row, ...]:
    """The limits of a brief's plan that are of many creators together, but for the budget and must_include.

    Raises:
        Infeasible: they contradict each other, whoever there is to choose from.
    """
    if (wrong := contradiction(brief.plan)) is not None:
        raise wrong
    return tuple(row for asked in _asked(offers, brief.plan) for row in _rows(asked, cost, brief.budget))


def contradiction(plan: PlanOptions) -> Infeasible | None:
    """Why a plan's limits cannot be kept whoever there is to choose from; None where counts do not speak against them.

    >>> print(contradiction(PlanOptions(max_creators=5, tier_limits={"nano": {"min": 3}, "micro": {"min": 3}})))
    plan.max_creators: 5 is less than the 6 that plan.tier_limits asks for (nano 3, micro 3): raise it, or lower those
    """
    for kind, given in (("tier_limits", plan.tier_limits), ("platform_limits", plan.platform_limits)):
        # money is not spent on nobody
        least = {name: max(limit.min, int(limit.min_share > 0)) for name, limit in given.items()}
        if plan.max_creators is not None and (total := sum(least.values())) > plan.max_creators:
            each = ", ".join(f"{name} {count}" for name, count in least.items() if count)
            return Infeasible(
                f"plan.max_creators: {plan.max_creators} is less than the {total} that plan.{kind} asks for ({each}): "
                "raise it, or lower those",
                field="plan.max_creators",
            )
    return None


def caps(offers: Offers, brief: PlanBrief, cost: Ints) -> tuple[Caps, ...]:
    """What a brief's plan may buy of one creator, and of one person."""
    found: list[Caps] = []
    for field, owner, cap in _capped(offers, brief.plan):
        if cap.placements is not None:
            found.append(Caps(field, owner, np.ones(len(offers), dtype=np.int64), cap.placements))
        if (spend := cap.spend(brief.budget)) is not None:
            found.append(Caps(field, owner, cost, cents(spend)))
    return tuple(found)


def explain(brief: PlanBrief, offers_of: Callable[[PlanBrief], Offers], *, nobody: bool = False) -> Infeasible:
    """Why there is no plan, and what to do: a budget that would do, else the limit to relax.

    Args:
        brief: what was asked for.
        offers_of: what may be bought for a brief.
        nobody: whether the limits can be kept, but only by buying nobody of any worth.
    """
    # whoever is too dear for this budget, or for a cap, may be bought with another
    uncapped = brief.plan.model_copy(update={"per_creator_cap": None, "per_person_cap": None})
    offers = offers_of(brief.model_copy(update={"budget": MOST_AMOUNT, "plan": uncapped}))
    cost, worth = costs_in_cents(offers.found.scores.cost), offers.worth(brief.rank_by)
    wrong = dict(pair for asked in _asked(offers, brief.plan) for pair in _too_much(asked, offers, brief, cost))
    if wrong:
        return Infeasible("; ".join(f"{name}: {said}" for name, said in wrong.items()), field=next(iter(wrong)))
    wanted = np.flatnonzero(worth if worth.any() else np.ones(len(offers)))
    change = _Change(offers, brief, cost, wanted)
    least, proven = change.least_budget(anybody=nobody)
    names, budget = change.names, f"a budget of {brief.budget:,.2f}"
    if least is not None and least > brief.budget:
        if nobody and round(least * CENT) == cost[wanted].min():
            names = []  # limits have no part in it
        too_little = [*["to buy anybody"] * nobody, *[f"to keep {_listed(names)}"] * bool(names)]
        does = f"the smallest budget is {least:,.2f}" if proven and not offers.outside else f"{least:,.2f} would do"
        relax = f", or relax {'one of those' if len(names) > 1 else _listed(names)}" if names else ""
        return Infeasible(
            f"budget: {brief.budget:,.2f} is too little {' and '.join(too_little)}: {does}. Raise the budget{relax}",
            field="budget",
        )
    relaxed = change.to_relax() if least is None else None
    if relaxed is not None:
        why = "leaves nobody to buy" if nobody else "cannot be kept together"
        beside = "the other limits and " if len(names) > 1 else ""
        return Infeasible(f"{relaxed}: {why} with {beside}{budget}: relax it", field=relaxed)
    if least is None:
        said = f"several limits cannot be kept together with {budget}, and relaxing a single one was not found to do: "
        said += f"relax two or more of {_listed(names)}" + ("" if proven else ", or raise the budget")
    else:
        said = f"no set was found in time that keeps {_listed(names)} with {budget}: relax one of them a little"
    return Infeasible(f"plan: {said}", field="plan")


def _asked(offers: Offers, plan: PlanOptions) -> list[_Asked]:
    every = np.arange(len(offers))
    found = [] if plan.max_creators is None else [_Asked("plan.max_creators", every, Limit(max=plan.max_creators))]
    for kind, of_each, given in (
        ("tier_limits", offers.tier, plan.tier_limits),
        ("platform_limits", offers.platform, plan.platform_limits),
    ):
        part = min(1.0, DEMANDED / max(sum(limit.min_share for limit in given.values()), DEMANDED))
        for name, limit in given.items():
            field, members = f"plan.{kind}.{name}", of_each == name
            most = 1.0 if limit.max_share is None else limit.max_share
            demanded = min(limit.min_share * part, DEMANDED * most)
            found.append(_Asked(field, every[members], limit.model_copy(update={"min_share": demanded})))
            if demanded < limit.min_share:
                # what need not be spent there must not be spent elsewhere
                found.append(_Asked(field, every[~members], Limit(max_share=1.0 - limit.min_share)))
    return found


def _rows(asked: _Asked, cost: Ints, budget: float) -> list[Row]:
    name, members, limit = asked.name, asked.members, asked.limit
    rows = []
    if limit.min or limit.max is not None:
        most = np.inf if limit.max is None else limit.max
        rows.append(Row(name, members, np.ones(len(members), dtype=np.int64), True, limit.min or -np.inf, most))
    spend, least = limit.spend(budget), limit.least_spend(budget)
    if spend is not None or least > 0:
        low = float(np.ceil(least * CENT - EDGE)) if least > 0 else -np.inf
        rows.append(Row(name, members, cost[members], False, low, np.inf if spend is None else cents(spend)))
    return rows


def _capped(offers: Offers, plan: PlanOptions) -> list[tuple[str, Ints, Cap]]:
    every = (
        ("plan.per_creator_cap", offers.creator, plan.per_creator_cap),
        ("plan.per_person_cap", offers.person, plan.per_person_cap),
    )
    return [(name, owner, cap) for name, owner, cap in every if cap is not None]


def _too_much(asked: _Asked, offers: Offers, brief: PlanBrief, cost: Ints) -> Iterator[tuple[str, str]]:
    """What is wrong with a limit by arithmetic, after the field to change; more budget would not help."""
    limit, most = asked.limit, brief.plan.max_creators
    there = len(np.unique(offers.creator[asked.members]))
    dearest = np.sort(np.bincount(offers.creator[asked.members], weights=cost[asked.members] / CENT))[::-1]
    least, asks = limit.least_spend(brief.budget), ""
    if limit.max_spend is not None and least > limit.max_spend:
        asks = f"max_spend is {limit.max_spend:,.2f}: change one of them"
    elif offers.outside:
        return  # some were left out as they could hardly matter, and nobody counted them
    elif limit.min > there:
        yield asked.name, f"min is {limit.min}, and there are {there} to choose from: lower it, or widen the filters"
    elif least > (all_of := float(dearest.sum())):
        asks = f"all {there} there are to choose from cost {all_of:,.2f}: lower it, or widen the filters"
    elif least > (reach := float(dearest[: limit.max].sum())):
        asks = f"the {limit.max} dearest cost {reach:,.2f} together: lower it, or raise max"
    elif least > (reach := float(dearest[:most].sum())):
        yield (
            "plan.max_creators",
            f"the {most} dearest of {asked.name} cost {reach:,.2f} together, and its min_share asks for {least:,.2f}: "
            "raise max_creators, or lower min_share",
        )
    if asks:
        yield asked.name, f"min_share asks for {least:,.2f} of a budget of {brief.budget:,.2f}, and {asks}"


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1])] * (len(names) > 1) + list(names[-1:]))


class _Change:
    """What would have to change for a set to keep all limits: a program of its own, since worths do not matter.

    Columns: offers, creators with several of them, and the budget in hundredths, of which shares are taken.
    """

    def __init__(self, offers: Offers, brief: PlanBrief, cost: Ints, wanted: Ints) -> None:
        self._offers, self._cost, self._budget = offers, cost, cents(brief.budget)
        several = np.flatnonzero(np.bincount(offers.creator) > 1)
        self._money = len(offers) + len(several)
        self._column = np.zeros(int(offers.creator.max(initial=-1)) + 1, dtype=np.int64)
        self._column[offers.creator] = np.arange(len(offers))
        self._column[several] = len(offers) + np.arange(len(several))
        self._rows: list[tuple[str, Ints, Floats, float, float]] = []
        self._add("", np.arange(len(offers)), cost, high=0.0, share=1.0)
        self._add(ANYBODY, wanted, np.ones(len(wanted)), low=1.0)
        for one in several:
            own, bought = np.flatnonzero(offers.creator == one), self._column[one]
            for offer in own:
                self._add("", np.array([offer, bought]), np.array([1.0, -1.0]), high=0.0)
            self._add("", np.append(own, bought), np.append(np.ones(len(own)), -1.0), low=0.0)
        self._limit(brief.plan)

    def _limit(self, plan: PlanOptions) -> None:
        cost = self._cost
        for asked in _asked(self._offers, plan):
            name, members, limit = asked.name, asked.members, asked.limit
            creators = self._column[np.unique(self._offers.creator[members])]
            if limit.min:
                self._add(name, creators, np.ones(len(creators)), low=limit.min)
            if limit.max is not None:
                self._add(name, creators, np.ones(len(creators)), high=limit.max)
            if limit.min_share:
                self._add(name, members, cost[members], low=0.0, share=limit.min_share)
            self._spend(name, members, limit.max_share, limit.max_spend)
        for name, owner, cap in _capped(self._offers, plan):
            order = np.argsort(owner, kind="stable")
            for own in np.split(order, np.flatnonzero(np.diff(owner[order])) + 1):
                if cap.placements is not None:
                    self._add(name, own, np.ones(len(own)), high=cap.placements)
                self._spend(name, own, cap.share, cap.amount)
        for wished in plan.must_include:
            own = np.flatnonzero(self._offers.ids == wished)
            self._add("plan.must_include", own, np.ones(len(own)), low=1.0)

    def _spend(self, name: str, members: Ints, share: float | None, amount: float | None) -> None:
        if share is not None:
            self._add(name, members, self._cost[members], high=0.0, share=share)
        if amount is not None:
            self._add(name, members, self._cost[members], high=cents(amount))

    def _add(
        self, name: str, columns: Ints, weights: Floats | Ints, *, low: float = -np.inf, high: float = np.inf,
        share: float = 0.0,
    ) -> None:  # fmt: skip
        """The weights, less a share of the budget, sum to `low` at least and to `high` at most."""
        if name and weights.sum() <= high + share * self._budget and low == -np.inf:
            return  # true of every set
        columns, weights = np.append(columns, self._money), np.append(weights, -share).astype(np.float64)
        self._rows.append((name, columns, weights, low - EDGE, high + EDGE))

    @property
    def names(self) -> list[str]:
        """Fields of the limits that not every set keeps."""
        return [*dict.fromkeys(row[0] for row in self._rows if row[0] not in ("", ANYBODY))]

    def least_budget(self, *, anybody: bool) -> tuple[float | None, bool]:
        """The smallest budget, not below that of the brief, with which a set keeps all limits; whether that is proven.

        With `anybody` a set that holds somebody wanted.
        """
        found, proven = self._solved("" if anybody else ANYBODY, np.inf, BUDGET_SECONDS)
        return None if found is None else round(found[self._money]) / CENT, proven

    def to_relax(self) -> str | None:
        """The first limit without which a set keeps the others and holds somebody wanted; None if none was in time."""
        until = perf_counter() + LIMIT_SECONDS
        for name in self.names:
            left = until - perf_counter()
            # one that is hard to tell leaves time for the others
            if left > 0 and self._solved(name, self._budget, left / 2)[0] is not None:
                return name
        return None

    def _solved(self, without: str, most: float, seconds: float) -> tuple[Floats | None, bool]:
        """The columns where the budget is least, None where none were found in time; and whether that is proven."""
        rows = [row for row in self._rows if not without or row[0] != without]
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = self._money + 1, len(rows)
        lp.col_cost_ = np.append(np.zeros(self._money), 1.0)
        lp.col_lower_ = np.append(np.zeros(self._money), self._budget)
        lp.col_upper_ = np.append(np.ones(self._money), most)
        lp.integrality_ = [highspy.HighsVarType.kInteger] * lp.num_col_
        lp.row_lower_, lp.row_upper_ = np.array([row[3] for row in rows]), np.array([row[4] for row in rows])
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.start_ = np.concatenate([[0], np.cumsum([len(row[1]) for row in rows])])
        lp.a_matrix_.index_ = np.concatenate([row[1] for row in rows]).astype(np.int32)
        lp.a_matrix_.value_ = np.concatenate([row[2] for row in rows])
        solver = highspy.Highs()  # type: ignore[no-untyped-call]
        solver.silent()
        for option, value in (
            ("threads", 1), ("random_seed", 0), ("time_limit", seconds), ("mip_rel_gap", 0.0),
            ("mip_feasibility_tolerance", 1e-9), ("primal_feasibility_tolerance", 1e-9),
        ):  # fmt: skip
            solver.setOptionValue(option, value)
        solver.passModel(lp)
        solver.run()
        status = solver.getModelStatus()
        some = solver.getInfo().primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
        proven = status in (highspy.HighsModelStatus.kOptimal, highspy.HighsModelStatus.kInfeasible)
        return np.array(solver.getSolution().col_value) if some else None, proven
