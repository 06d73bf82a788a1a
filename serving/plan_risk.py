"""Good sets for a brief that shuns risk, and a bound on all sets.

A set counts by its mean over the draws in which it does worst, which is its least mean over any so many draws. So
planning is a game: chance answers a set with its worst draws, and the planner answers draws with the best set over
them. Each answers the mean of all that the other has played (fictitious play; Robinson 1951); the best set met on the
way is a good one, and what the best set over the mean of the draws is worth bounds every set.
"""

from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from serving.plan_bound import Bound, bound
from serving.plan_greedy import solve_greedy
from serving.plan_problem import Mask, Problem

Floats = NDArray[np.float64]

ROUNDS = 12


def careful_sets(problem: Problem, start: Mask, until: float) -> list[Mask]:
    """The sets that the planner plays, shape (n,) each, from `start` on.

    Args:
        problem: with risk aversion.
        start: a set that keeps all limits.
        until: moment of `perf_counter` at which to stop.
    """
    sets, best = [start], start
    tails = [problem.tail(start)]
    while len(sets) <= ROUNDS and perf_counter() < until:
        answer = solve_greedy(over(problem, tails), (best,), until)
        if answer is None:
            break
        sets.append(answer)
        tails.append(problem.tail(answer))
        best = max(best, answer, key=problem.worth_of)
    return sets


def careful_bound(problem: Problem, tails: Sequence[Floats], upper: Bound) -> Bound:
    """The lower of a bound and of that over the mean of some draws.

    Args:
        problem: with risk aversion.
        tails: mean worths of the offers over sets of draws, shape (n,) each.
        upper: a bound.
    """
    careful = bound(over(problem, tails))
    return careful if careful.value < upper.value else upper


def over(problem: Problem, tails: Sequence[Floats]) -> Problem:
    """The problem without risk, each offer worth, for the part of risk, its mean over some draws.

    >>> risky = Problem(np.array([4.0]), np.zeros(1), np.ones(1, dtype=int), np.zeros(1, dtype=int), 1, risk=0.5)
    >>> over(risky, [np.array([1.0]), np.array([3.0])]).worth.tolist()
    [3.0]
    """
    worth = (1.0 - problem.risk) * problem.worth + problem.risk * np.mean(tails, axis=0)
    return replace(problem, worth=np.maximum(worth, 0.0), risk=0.0, draws=None)
