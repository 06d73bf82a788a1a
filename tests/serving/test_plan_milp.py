from dataclasses import replace

import numpy as np
import pytest

from serving.plan_milp import Impossible, solve_exact
from serving.plan_problem import Losses, Problem, Row
from tests.serving.random_plans import best_of_all, random_problem


@pytest.mark.parametrize("seed", range(1000, 1080))
def test_the_best_of_all_sets(seed):
    problem = random_problem(np.random.default_rng(seed), 9, risk=0.0)
    best, worth = best_of_all(problem)
    if best is None:
        with pytest.raises(Impossible):
            solve_exact(problem, None, 5.0)
        return
    for start in (None, best):
        found = solve_exact(problem, start, 5.0)
        assert found.optimal
        assert problem.broken(found.chosen) is None
        assert problem.worth_of(found.chosen) == pytest.approx(worth, rel=1e-5, abs=1e-5)
        assert found.bound == pytest.approx(worth, rel=1e-5, abs=1e-4)


@pytest.mark.parametrize("seed", range(20))
def test_a_tail_bounds_what_is_feared(seed):
    """With the tail of the best set the program's bound is above what any set is worth."""
    problem = random_problem(np.random.default_rng(seed), 8, risk=0.5)
    best, worth = best_of_all(problem)
    if best is None:
        return
    found = solve_exact(problem, None, 5.0, tails=[problem.tail(best)])
    assert found.bound >= worth - 1e-6 * max(abs(worth), 1.0)
    assert problem.broken(found.chosen) is None


def test_three_losses_multiply():
    """A sum of the losses would leave the fourth offer out."""
    losses = Losses(np.array([3, 3, 3]), np.array([0, 1, 2]), np.full(3, 0.5))
    problem = Problem(
        np.array([100.0, 100, 100, 80]), np.array([0, 0, 0, 9.0]), np.ones(4, int), np.arange(4), 9, losses
    )
    assert solve_exact(problem, None, 5.0).chosen.all()
    dearer = replace(problem, price=np.array([0, 0, 0, 11.0]))
    assert solve_exact(dearer, None, 5.0).chosen.tolist() == [True, True, True, False]


@pytest.mark.parametrize("unit", [1e-4, 1.0, 1e9])
def test_amounts_of_any_currency(unit):
    """Worths of one in ten thousand, and costs of a thousand billion hundredths."""
    rng = np.random.default_rng(3)
    scale = max(int(unit), 1)
    problem = Problem(
        rng.gamma(1, 100, 10) * unit, np.zeros(10), rng.integers(10, 300, 10) * scale + rng.integers(0, 2, 10),
        np.arange(10), 700 * scale, Losses(np.array([1, 2, 5]), np.array([0, 0, 3]), np.array([0.3, 0.5, 0.2])),
    )  # fmt: skip
    _, worth = best_of_all(problem)
    found = solve_exact(problem, None, 5.0)
    assert problem.broken(found.chosen) is None
    assert problem.worth_of(found.chosen) == pytest.approx(worth, rel=1e-6)


def test_a_creator_counts_only_with_an_offer():
    """At least two creators, of whom one has two offers: both offers of that one are not enough."""
    least = Row("plan.tier_limits.micro", np.arange(3), np.ones(3, dtype=int), True, 2, np.inf)
    problem = Problem(np.array([10.0, 10, 1]), np.zeros(3), np.array([5, 5, 5]), np.array([0, 0, 1]), 10, rows=(least,))
    assert solve_exact(problem, None, 5.0).chosen[2]
    with pytest.raises(Impossible):
        solve_exact(replace(problem, budget=9), None, 5.0)


def test_no_time_is_no_answer_but_the_start():
    problem = random_problem(np.random.default_rng(5), 12, risk=0.0)
    problem = replace(problem, rows=(), must=(), price=np.zeros(len(problem)), budget=500)
    best, _ = best_of_all(problem)
    found = solve_exact(problem, best, 0.0)
    assert found is None or problem.worth_of(found.chosen) == pytest.approx(problem.worth_of(best))
