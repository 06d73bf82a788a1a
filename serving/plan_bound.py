"""How much any set of offers can be worth at most, and which offers no better set than a known one can hold.

Limits are priced, and losses and what each creator or person may have left out: the sum of what each offer is worth
above its prices bounds every set from above (Lagrangian relaxation; Geoffrion 1974). Prices of the budget and of slots
alone are searched for; those of further limits are the dual values of the linear program, and whatever they are, the
bound holds. An offer whose own price
exceeds its worth by more than the bound lies above a set already found is in no better set, so it may be dropped.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import csr_array, diags_array

from serving.plan_problem import Problem, Row

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

STEPS = 60  # of the search for the price of the budget
SLACK = 1e-9  # relative, for rounding


@dataclass(frozen=True)
class Bound:
    """Attributes:
    value: no set is worth more.
    reduced: worth of each offer above the prices of budget and slot, shape (n,).
    """

    value: float
    reduced: Floats


def bound(problem: Problem) -> Bound:
    """The least upper bound that prices of the limits give.

    >>> problem = Problem(np.array([6.0, 5.0]), np.zeros(2), np.array([10, 10]), np.arange(2), budget=10)
    >>> round(float(bound(problem).value), 6)
    6.0
    """
    simple = _of_budget_and_slots(problem)
    rows = [row for row in problem.rows if not _counts_all(problem, row)]
    if not rows or not len(problem):
        return simple
    every = _of_all_limits(problem)
    return simple if every is None or simple.value <= every.value else every


def _of_budget_and_slots(problem: Problem) -> Bound:
    # a row that only asks for the least has no end
    slots = int(min([len(problem), *(row.high for row in problem.rows if _counts_all(problem, row))]))
    last = min(len(problem) - slots, len(problem) - 1)
    worth = problem.worth - problem.price
    cost = problem.cost.astype(np.float64)

    def at(price: float) -> tuple[float, Floats]:
        net = worth - price * cost
        # worth of the last slot; without any slot, of the first
        slot = max(float(np.partition(net, last)[last]), 0.0) if slots < len(net) else 0.0
        value = price * problem.budget + slots * slot + float(np.maximum(net - slot, 0.0).sum())
        return value, net - slot

    # convex in the price: golden section between 0 and the best return there is
    low, high = 0.0, float((worth / np.maximum(cost, 1.0)).max(initial=0.0))
    golden = (np.sqrt(5.0) - 1.0) / 2.0
    left, right = high - golden * (high - low), low + golden * (high - low)
    at_left, at_right = at(left)[0], at(right)[0]
    for _ in range(STEPS):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - golden * (high - low)
            at_left = at(left)[0]
        else:
            low, left, at_left = left, right, at_right
            right = low + golden * (high - low)
            at_right = at(right)[0]
    value, reduced = min((at(price) for price in (0.0, left, right)), key=lambda found: found[0])
    return Bound(value, reduced)


def _of_all_limits(problem: Problem) -> Bound | None:
    """By prices of all rows; None where the linear program has none."""
    weights, most = _at_most(problem)
    worth = problem.worth - problem.price
    scale = max(float(np.abs(worth).max()), 1e-12)
    per_row = np.maximum(abs(weights).max(axis=1).toarray().ravel(), 1e-12)
    solved = linprog(
        -worth / scale, A_ub=diags_array(1.0 / per_row) @ weights, b_ub=most / per_row, bounds=(0.0, 1.0),
        method="highs",
    )  # fmt: skip
    if solved.status != 0:
        return None
    prices = np.maximum(-solved.ineqlin.marginals, 0.0) * scale / per_row
    reduced = worth - weights.T @ prices
    return Bound(float(prices @ most + np.maximum(reduced, 0.0).sum()), np.asarray(reduced))


def _at_most(problem: Problem) -> tuple[csr_array, Floats]:
    """The budget and all rows as weights @ chosen <= most: shapes (r, n) and (r,)."""
    n = len(problem)
    offers = np.bincount(problem.creator, minlength=1)[problem.creator]
    columns, values, most = [np.arange(n)], [problem.cost.astype(np.float64)], [float(problem.budget)]
    for row in problem.rows:
        weight = row.weight.astype(np.float64)
        for sign, limit in ((1.0, row.high), (-1.0, -row.low)):
            if np.isfinite(limit):
                # of a creator who counts once, all offers together weigh one at most, and one weighs one at least
                once = row.counts_creators and sign > 0
                columns.append(row.members)
                values.append(sign * weight / (offers[row.members] if once else 1.0))
                most.append(float(limit))
    starts = np.cumsum([0, *map(len, columns)])
    return csr_array((np.concatenate(values), np.concatenate(columns), starts), shape=(len(most), n)), np.array(most)


def worth_keeping(problem: Problem, known: float, found: Bound) -> Ints:
    """Positions of the offers that a set worth more than `known` may hold, and of those that must be bought."""
    needed = found.value + np.minimum(found.reduced, 0.0) >= known - SLACK * max(abs(known), abs(found.value))
    for offers in problem.must:
        needed[offers] = True
    return np.flatnonzero(needed)


def _counts_all(problem: Problem, row: Row) -> bool:
    """Whether a row counts every offer, each of another creator."""
    return row.counts_creators and len(row.members) == len(problem) == len(np.unique(problem.creator))
