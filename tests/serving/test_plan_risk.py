from dataclasses import replace

import numpy as np
import pytest

from serving.plan_bound import bound
from serving.plan_problem import Problem, Row
from serving.plan_risk import careful_bound, careful_sets, over
from serving.plan_solve import solve
from tests.serving.random_plans import best_of_all, keeping, random_problem


def risky(n=40, seed=0, risk=1.0, slots=None):
    """One offer of a large worth that is mostly nothing, and many small ones."""
    rng = np.random.default_rng(seed)
    worth = np.append(rng.uniform(20, 30, n - 1), 400.0)
    luck = np.append(rng.gamma(4, 1, (n - 1, 200)), np.where(rng.random((1, 200)) < 0.2, 5.0, 0.0), axis=0)
    rows = () if slots is None else (Row("", np.arange(n), np.ones(n, dtype=int), True, -np.inf, slots),)
    draws = worth[:, None] * luck / luck.mean(axis=1)[:, None]
    cost = np.append(np.full(n - 1, 10), 100)
    return Problem(worth, np.zeros(n), cost, np.arange(n), 100, rows=rows, draws=draws, risk=risk)


def test_many_small_ones_are_met_on_the_way_from_one_large():
    problem = risky()
    start = np.arange(40) == 39
    sets = careful_sets(problem, start, np.inf)
    best = max(sets, key=problem.worth_of)
    assert sets[0] is start
    assert keeping(problem, np.array(sets)).all()
    assert problem.worth_of(start) == 0.0
    assert not best[39]
    assert best.sum() == 10


def test_a_set_to_begin_from_is_not_lost_to_the_boldest():
    """Without risk the large one is the best; there is no time to play against it."""
    problem = risky()
    small = np.arange(40) < 10
    found = solve(problem, 0.0, starts=(small,), exact=False)
    assert problem.worth_of(found.chosen) >= problem.worth_of(small) > 0.0


def test_nothing_is_played_after_time():
    start = np.arange(40) == 39
    assert careful_sets(risky(), start, 0.0) == [start]


@pytest.mark.parametrize("seed", range(30))
def test_no_set_is_worth_more_than_the_bound(seed):
    problem = random_problem(np.random.default_rng(seed), 9, risk=0.7)
    chosen, best = best_of_all(problem)
    if chosen is None:
        return
    sets = careful_sets(problem, chosen, np.inf)
    found = careful_bound(problem, [problem.tail(one) for one in sets], bound(problem))
    assert best <= found.value + 1e-9
    assert found.value <= bound(problem).value


def test_a_mean_of_many_draws_bounds_closer_than_the_draws_of_one_set():
    """The worst draws of one set leave all others as they are."""
    problem = risky(slots=5, risk=1.0)
    problem = replace(problem, worth=problem.worth[:39], price=problem.price[:39], cost=problem.cost[:39],
                      creator=np.arange(39), draws=problem.draws[:39], rows=risky(39, slots=5).rows)  # fmt: skip
    start = np.arange(39) < 5
    sets = careful_sets(problem, start, np.inf)
    one, many = (careful_bound(problem, [problem.tail(each) for each in met], bound(problem)).value
                 for met in (sets[:1], sets))  # fmt: skip
    assert max(map(problem.worth_of, sets)) <= many < 0.97 * one


def test_without_risk_draws_change_nothing():
    problem = replace(risky(), risk=0.0)
    np.testing.assert_array_equal(over(problem, [problem.tail(np.ones(40, dtype=bool))]).worth, problem.worth)
