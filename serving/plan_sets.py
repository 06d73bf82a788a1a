"""A set of offers as the answer shows it: what it costs, what it should be worth as a set, and how sure that is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.answers import Reason
from serving.fees import moves_with_value, one_roi
from serving.picks import pick_fields
from serving.plan_answers import Plan, PlanPick, Replacement, Solved, SpendBy
from serving.plan_case import Case
from serving.plan_draws import HIGH, LOW, interval_of
from serving.plan_problem import CENT, Mask
from serving.plan_solve import Solution

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Outcome:
    """What a set should come to.

    Attributes:
        chosen: the set, shape (n,).
        kept: part of its value that each offer keeps beside the others, shape (n,).
        value: expected, of the whole set.
        value_draws, cost_draws: equally likely, shape (draws,); of a draw of the value comes that of its commissions.
    """

    chosen: Mask
    kept: Floats
    value: float
    value_draws: Floats
    cost_draws: Floats

    @property
    def positions(self) -> Ints:
        """Of the offers in the set, ascending."""
        return np.flatnonzero(self.chosen)


def outcome(case: Case, chosen: Mask) -> Outcome:
    """What a set of the case's offers should come to."""
    kept = case.problem.kept(chosen)
    positions = np.flatnonzero(chosen)
    draws = case.draws(positions)
    every = np.ones(len(positions), dtype=bool)
    value_draws, cost_draws = draws.totals(every, kept[positions])
    found = case.offers.found
    expected = float((found.scores.value * kept)[chosen].sum())
    if moves_with_value(case.release.model, case.brief.goal) and expected > 0:
        cost_draws = cost_draws + found.fee[chosen].sum() * (value_draws / expected - 1.0)
    return Outcome(chosen, kept, expected, value_draws, cost_draws)


def plan_of(
    case: Case, made: Outcome, solution: Solution | None, *, solved_over: int,
    reasons: Sequence[tuple[Reason, ...]] | None = None, replacements: Sequence[Replacement | None] | None = None,
) -> Plan:  # fmt: skip
    """The set as a plan.

    Args:
        case: the offers.
        made: the set and what it should come to.
        solution: how it was found; None for a rule.
        solved_over: offers that there were to choose from.
        reasons, replacements: of the picks, in the order of `made.positions`.
    """
    offers, positions = case.offers, made.positions
    cost = case.cost
    alone = offers.found.scores.value
    added = alone * made.kept
    order = np.lexsort((positions, -added[positions]))
    fields = pick_fields(case.release, case.brief.goal, offers.found, positions[order])
    low, high = _spends(case, positions)
    picks = tuple(
        PlanPick(
            **shown,
            **_plan_fields(case, made, int(positions[k])),
            spend_low=float(low[k]) if low[k] < high[k] else None,
            spend_high=float(high[k]) if low[k] < high[k] else None,
            rank=rank,
            reasons=() if reasons is None else reasons[k],
            replacement=None if replacements is None else replacements[k],
        )
        for rank, (k, shown) in enumerate(zip(order, fields, strict=True), start=1)
    )
    total = int(case.problem.cost[made.chosen].sum()) / CENT
    rois = _rois(case, made, total)
    value_low, value_high = interval_of(made.value_draws)
    some = bool(len(positions))
    roi_low, roi_high = interval_of(rois)
    return Plan(
        picks=picks,
        total_cost=total,
        total_cost_high=max(float(np.quantile(made.cost_draws, HIGH)), 0.0),
        expected_value=made.value,
        value_low=value_low,
        value_high=value_high,
        lost_to_overlap=max(float((alone - added)[made.chosen].sum()), 0.0),
        roi=_roi(case, made, total) if some else None,
        roi_low=roi_low if some else None,
        roi_high=roi_high if some else None,
        p_profit=float((rois > 0).mean()) if some else None,
        unique_reach=_reach(case, made),
        spend_by=SpendBy(
            tier=_by(offers.tier[positions], cost[positions]),
            platform=_by(offers.platform[positions], cost[positions]),
            country=_by(offers.country[positions], cost[positions]),
        ),
        solved=Solved(
            method="greedy" if solution is None else solution.method,
            gap=None if solution is None else solution.gap,
            candidates=len(np.unique(offers.creator)),
            offers=len(offers),
            solved_over=solved_over,
        ),
    )


def _roi(case: Case, made: Outcome, total: float) -> float:
    return made.value / max(total, case.release.model.basis.cost_floor) - 1.0


def _rois(case: Case, made: Outcome, total: float) -> Floats:
    """Equally likely ROIs of the set, shape (draws,)."""
    model = case.release.model
    if one_roi(model, case.brief.goal):
        return np.full(len(made.value_draws), _roi(case, made, total))
    return np.asarray(made.value_draws / np.maximum(made.cost_draws, model.basis.cost_floor) - 1.0)


def _spends(case: Case, positions: Ints) -> tuple[Floats, Floats]:
    """80 % bounds of what each of some offers may cost, shape (m,) each; equal where nothing leaves it in doubt."""
    cost, found = case.cost[positions], case.offers.found
    if moves_with_value(case.release.model, case.brief.goal):
        value, fee = found.scores.value[positions], found.fee[positions]
        sold = np.quantile(case.draws(positions).value, [LOW, HIGH], axis=1) / np.where(value > 0, value, 1.0)
        low, high = np.maximum(cost + fee * (sold - 1.0), 0.0)
        return low, high
    # the 80 % interval of a log-normal fee
    wide = np.exp(1.2816 * found.fee_spread[positions])
    return cost / wide, cost * wide


def _plan_fields(case: Case, made: Outcome, offer: int) -> dict[str, Any]:
    offers = case.offers
    country = str(offers.country[offer])
    return {
        "deliverable": offers.deliverable[offer],
        "country": None if country == "unknown" else country,
        "spend": float(case.cost[offer]),
        "delivery": float(offers.delivery[offer]),
        "value_added": float(offers.found.scores.value[offer] * made.kept[offer]),
        "unique_share": float(np.clip(made.kept[offer], 0.0, 1.0)),
        "must_include": str(offers.ids[offer]) in case.brief.plan.must_include,
    }


def _reach(case: Case, made: Outcome) -> float | None:
    impressions = case.offers.found.scores.expected.get("impressions")
    if impressions is None:
        return None
    seen = case.release.model.together.reach_per_impression
    return float((impressions * made.kept)[made.chosen].sum()) * (1.0 if seen is None else seen)


def _by(names: NDArray[np.str_], spend: Floats) -> dict[str, float]:
    """Spend by name, the most first."""
    members, which = np.unique(names, return_inverse=True)
    total = np.bincount(which, weights=spend, minlength=len(members))
    return {str(members[k]): round(float(total[k]), 2) for k in np.lexsort((members, -total))}
