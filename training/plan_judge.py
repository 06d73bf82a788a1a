"""Budget plans judged by the truth of a synthetic market: what sets are truly worth, what the best would have been.

The true value of a set is that of `training.sample_truth.joint_value`; here it is a problem (`serving.plan_problem`),
so the true optimum is solved by the code that plans, over true values, costs and shared audiences.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.errors import DataError
from serving.plan_answers import Plan, PlanAnswer
from serving.plan_problem import Losses, Mask, Problem, Row, cents, costs_in_cents, mask_of
from serving.plan_solve import Solution, solve
from serving.stage import Floats
from training.sample_truth import Truth

Ints = NDArray[np.int64]

SECONDS = 20.0  # for a true optimum


class _Draws(Protocol):
    def __call__(self, brief_id: str, creator_ids: Sequence[str]) -> tuple[Floats, Floats]:
        """Further draws of value and cost, shape (n, d) each, of some candidates of a brief."""


@dataclass(frozen=True)
class TrueBrief:
    """What is true of one held-out brief with c candidates, sorted by creator_id.

    Attributes:
        brief_id: of the brief.
        ids: creator_id of each candidate.
        problem: true expected values, costs and losses, within the brief's budget.
        cost: true expected, USD, shape (c,).
        drawn_value, drawn_cost: how each may turn out, USD, shape (c, d).
    """

    brief_id: str
    ids: tuple[str, ...]
    problem: Problem
    cost: Floats
    drawn_value: Floats
    drawn_cost: Floats

    def chosen(self, creator_ids: Collection[str]) -> Mask:
        """A set of candidates as a mask.

        Raises:
            DataError: a creator is given twice or is no candidate of the brief.
        """
        place = {name: k for k, name in enumerate(self.ids)}
        strangers = sorted(name for name in creator_ids if name not in place)
        if strangers or len(set(creator_ids)) < len(creator_ids):
            raise DataError(
                f"brief {self.brief_id}: not every pick is one candidate of it: {strangers or 'one is given twice'}"
            )
        return mask_of(len(self.ids), [place[name] for name in creator_ids])


@dataclass(frozen=True)
class SetTruth:
    """What a set truly is: expected value and cost, and how both may turn out, shape (d,); USD."""

    value: float
    cost: float
    drawn_value: Floats
    drawn_cost: Floats


@dataclass(frozen=True)
class JudgedPlan:
    """One answer beside the truth.

    Attributes:
        brief_id, budget: of the brief.
        said: the plan as answered.
        p_mix: P(mix beats the best single tier); None where there is no single tier, or the mix is one.
        plan: the truth of the plan.
        single: of the best single tier as the model sees it, None where there is none.
        sizes: true value of the model's plan of each single tier, by name.
        greedy: of the cost-per-engagement rule, None where it finds nothing.
        best: true value of the true optimum.
        gap: by how much a better set could exceed that, relatively.
    """

    brief_id: str
    budget: float
    said: Plan
    p_mix: float | None
    plan: SetTruth
    single: SetTruth | None
    sizes: Mapping[str, float]
    greedy: SetTruth | None
    best: float
    gap: float


def true_briefs(truth: Truth) -> dict[str, TrueBrief]:
    """What is true of every held-out brief, by brief_id; the draw is the one the truth holds."""
    budget = {str(brief["brief_id"]): float(str(brief["budget"])) for brief in truth.briefs}
    return {
        str(name): _true_brief(str(name), rows.sort("creator_id"), truth.overlap, budget[str(name)])
        for (name,), rows in truth.outcomes.group_by("brief_id", maintain_order=True)
    }


def _true_brief(name: str, rows: pl.DataFrame, overlap: pl.DataFrame, budget: float) -> TrueBrief:
    ids = rows["creator_id"].to_list()
    value, cost, delivery = (rows[column].to_numpy() for column in ("value", "cost", "delivery"))
    charged = costs_in_cents(cost)
    problem = Problem(
        worth=value, price=np.zeros(len(ids)), cost=charged, creator=np.arange(len(ids)), budget=cents(budget),
        losses=_losses(ids, value / delivery, delivery, rows["followers"].to_numpy(), overlap),
    )  # fmt: skip
    drawn_value, drawn_cost = (rows[column].to_numpy()[:, None] for column in ("drawn_value", "drawn_cost"))
    return TrueBrief(name, tuple(ids), problem, cost, drawn_value, drawn_cost)


def _losses(ids: Sequence[str], delivered: Floats, delivery: Floats, audience: Floats, overlap: pl.DataFrame) -> Losses:
    """As `joint_value` defines them: whoever is worth less if delivered loses what the other has reached."""
    place = {name: k for k, name in enumerate(ids)}
    code_a, code_b = (overlap[side].replace_strict(place, default=-1, return_dtype=pl.Int64).to_numpy()
                      for side in ("creator_a", "creator_b"))  # fmt: skip
    share = overlap["overlap"].to_numpy()
    inside = np.flatnonzero((code_a >= 0) & (code_b >= 0) & (share > 0))
    a, b, share = code_a[inside], code_b[inside], share[inside]
    # among equals the first by name comes first; ids are sorted
    later = (delivered[a] < delivered[b]) | ((delivered[a] == delivered[b]) & (a > b))
    of, beside = np.where(later, a, b), np.where(later, b, a)
    lost = delivery[beside] * share * np.minimum(audience[a], audience[b]) / audience[of]
    return Losses(of, beside, lost)


def true_set(brief: TrueBrief, creator_ids: Collection[str], draws: _Draws | None = None) -> SetTruth:
    """The truth of a set; in a draw its members lose of shared audiences what they lose on average.

    Args:
        brief: the truth of its brief.
        creator_ids: the set, nobody twice.
        draws: how the members may turn out; default: the draws that the brief holds.

    Raises:
        DataError: a creator is given twice or is no candidate of the brief.
    """
    chosen = brief.chosen(creator_ids)
    at = np.flatnonzero(chosen)
    value, cost = brief.drawn_value[at], brief.drawn_cost[at]
    if draws is not None:
        value, cost = draws(brief.brief_id, [brief.ids[k] for k in at])
    kept = brief.problem.kept(chosen)[at]
    return SetTruth(
        brief.problem.worth_of(chosen), float(brief.cost[at].sum()), (value * kept[:, None]).sum(axis=0),
        cost.sum(axis=0),
    )  # fmt: skip


def true_best(brief: TrueBrief, max_creators: int | None = None, seconds: float = SECONDS) -> Solution:
    """The set of the highest true value within the budget, and by how much a better one could exceed it."""
    n = len(brief.ids)
    limit = Row("plan.max_creators", np.arange(n), np.ones(n, dtype=np.int64), True, -np.inf, max_creators or n)
    return solve(replace(brief.problem, rows=() if max_creators is None else (limit,)), seconds)


def judge_plan(
    brief: TrueBrief, answer: PlanAnswer, sizes: Mapping[str, Collection[str]], max_creators: int | None = None,
    draws: _Draws | None = None,
) -> JudgedPlan:  # fmt: skip
    """One answer beside the truth.

    Args:
        brief: the truth of its brief.
        answer: what `serving.planning.plan` said.
        sizes: creators of the model's plan of each single tier, by name.
        max_creators: as the plan was limited; nothing else was.
        draws: see `true_set`.

    Raises:
        DataError: a pick is no candidate of the brief.
    """
    single, greedy = answer.alternatives.best_single_tier, answer.alternatives.greedy_cost_per_engagement
    best = true_best(brief, max_creators)
    picks = _ids(answer.plan)
    alike = single is not None and set(_ids(single)) == set(picks)
    return JudgedPlan(
        brief_id=brief.brief_id,
        budget=brief.problem.budget / 100.0,
        said=answer.plan,
        p_mix=None if alike else answer.p_mix_beats_single_tier,
        plan=true_set(brief, picks, draws),
        single=None if single is None else true_set(brief, _ids(single), draws),
        sizes={name: brief.problem.worth_of(brief.chosen(ids)) for name, ids in sizes.items()},
        greedy=None if greedy is None else true_set(brief, _ids(greedy), draws),
        best=brief.problem.worth_of(best.chosen),
        gap=np.inf if best.gap is None else best.gap,
    )


def _ids(plan: Plan) -> list[str]:
    return [pick.creator_id for pick in plan.picks]
