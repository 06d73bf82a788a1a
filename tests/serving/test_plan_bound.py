from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.plan_bound import bound, worth_keeping
from serving.plan_problem import Problem, Row
from tests.serving.random_plans import all_sets, keeping, random_problem, worths


@settings(max_examples=120, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_no_set_is_worth_more_and_no_better_set_loses_an_offer(seed):
    problem = random_problem(np.random.default_rng(seed), 9)
    sets = all_sets(len(problem))
    sets = sets[keeping(problem, sets)]
    worth = worths(problem, sets)
    upper = bound(problem)
    assert (worth <= upper.value + 1e-6 * max(abs(upper.value), 1.0)).all()
    # whatever set is known, whoever is in a better one is kept
    for known in np.unique(worth):
        better = sets[worth > known + 1e-6 * max(abs(known), 1.0)].any(axis=0)
        assert set(np.flatnonzero(better)) <= set(worth_keeping(problem, float(known), upper).tolist())


def knapsack(slots=None, n=6):
    worth, cost = np.arange(1.0, n + 1), np.full(n, 10)
    rows = (
        () if slots is None else (Row("plan.max_creators", np.arange(n), np.ones(n, dtype=int), True, -np.inf, slots),)
    )
    return Problem(worth, np.zeros(n), cost, np.arange(n), 10_000, rows=rows)


def test_slots_are_priced():
    # were only the budget priced, everybody could be bought: 21
    assert [bound(knapsack(slots)).value for slots in (None, 1, 2, 6, 0)] == pytest.approx([21, 6, 11, 21, 0], abs=1e-9)


def test_slots_are_not_priced_where_an_offer_may_go_without_one():
    several = replace(knapsack(1), creator=np.zeros(6, dtype=np.int64))
    assert bound(several).value == pytest.approx(21)


def test_further_limits_are_priced():
    """Of 1 to 6, the first five count as a tier."""

    def tier(low=-np.inf, high=np.inf, **changes):
        row = Row("tier", np.arange(5), np.ones(5, dtype=int), True, low, high)
        return bound(replace(knapsack(), rows=(row,), **changes)).value

    assert [tier(high=most) for most in (0, 1, 2, 5)] == pytest.approx([6, 11, 15, 21])
    # 25 buys two and a half: two of the tier at least leave half for the best
    assert tier(low=2, budget=25) == pytest.approx(5 + 4 + 3)
    assert tier(budget=25) == pytest.approx(6 + 5 + 2)
    twice = replace(knapsack(), creator=np.array([0, 0, 0, 0, 0, 1]))
    one = Row("tier", np.arange(5), np.ones(5, dtype=int), True, -np.inf, 1)
    assert bound(replace(twice, rows=(one,))).value == pytest.approx(21)


def test_the_budget_is_priced():
    assert bound(replace(knapsack(), budget=25)).value == pytest.approx(6 + 5 + 2)


def test_most_are_dropped_where_a_good_set_is_known():
    rng = np.random.default_rng(0)
    n = 2000
    problem = Problem(rng.gamma(1, 100, n), np.zeros(n), rng.integers(100, 1000, n), np.arange(n), 20_000)
    upper = bound(problem)
    kept = worth_keeping(problem, 0.999 * upper.value, upper)
    assert len(kept) < 200
    assert len(worth_keeping(problem, -np.inf, upper)) == n


def test_whoever_must_be_bought_is_kept():
    must = replace(knapsack(1), must=(np.array([0]), np.array([2])))
    assert worth_keeping(must, 6.0, bound(must)).tolist() == [0, 2, 5]


@pytest.mark.parametrize("high", [np.inf, 3])
def test_a_limit_on_everybody_may_have_no_end(high):
    row = Row("plan.tier_limits.micro", np.arange(6), np.ones(6, dtype=int), True, 2, high)
    assert bound(replace(knapsack(), rows=(row,))).value == pytest.approx(21 if high == np.inf else 15)
