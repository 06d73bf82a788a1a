from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.plan_basket import Shop
from serving.plan_greedy import _exchanged, replacements, solve_greedy
from serving.plan_milp import solve_exact
from serving.plan_problem import Losses, Problem, Row, mask_of
from tests.serving.random_plans import best_of_all, keeping, random_problem, worths


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_no_limit_is_broken_and_no_start_made_worse(seed, started):
    rng = np.random.default_rng(seed)
    problem = random_problem(rng, 12)
    starts = tuple(rng.random((3, len(problem))) < 0.5) if started else ()
    before = [start.copy() for start in starts]
    found = solve_greedy(problem, starts)
    if found is None:
        return
    assert keeping(problem, found[None, :]).all()
    np.testing.assert_array_equal(starts, before)
    good = [start for start in starts if problem.broken(start) is None]
    assert all(problem.worth_of(found) >= problem.worth_of(start) - 1e-9 for start in good)


def test_nearly_the_best_on_average():
    shares = []
    for seed in range(120):
        problem = random_problem(np.random.default_rng(seed), 10, risk=0.0)
        _, best = best_of_all(problem)
        if best is not None and best > 0:
            found = solve_greedy(problem)
            shares.append(0.0 if found is None else max(problem.worth_of(found), 0.0) / best)
    assert len(shares) > 60
    assert np.mean(shares) > 0.95
    assert np.median(shares) == pytest.approx(1.0)


def plain(worth, cost, budget, **changes):
    n = len(worth)
    return Problem(np.array(worth, float), np.zeros(n), np.array(cost), np.arange(n), budget, **changes)


def test_slots_are_spent_on_big_ones():
    """By return alone the two smallest are bought."""
    two = Row("plan.max_creators", np.arange(4), np.ones(4, dtype=int), True, -np.inf, 2)
    problem = plain([10, 11, 60, 70], [10, 10, 100, 100], 200, rows=(two,))
    assert np.flatnonzero(solve_greedy(problem)).tolist() == [2, 3]


@pytest.mark.parametrize("seed", [0, 2, 4, 7])
def test_nearly_the_best_where_both_money_and_slots_are_scarce(seed):
    """Which price of a slot is right lies between those that are tried at first."""
    rng = np.random.default_rng(seed)
    cost = np.exp(rng.normal(5, 1.5, 300))
    worth = cost**0.6 * np.exp(rng.normal(0, 1, 300))
    slots = Row("plan.max_creators", np.arange(300), np.ones(300, dtype=int), True, -np.inf, 8)
    problem = plain(worth, np.ceil(cost).astype(int), int(6 * cost.mean()), rows=(slots,))
    best = solve_exact(problem, None, 60.0)
    assert best.optimal
    assert problem.worth_of(solve_greedy(problem)) >= 0.98 * problem.worth_of(best.chosen)


def test_the_money_of_a_pick_left_out_may_buy_one_dearer():
    """By return the third comes next; the last, which the rest of the budget can buy too, is worth more."""
    two = Row("plan.max_creators", np.arange(4), np.ones(4, dtype=int), True, -np.inf, 2)
    problem = plain([30, 29, 28, 55], [10, 10, 10, 90], 100, rows=(two,))
    start = np.array([True, True, False, False])
    assert np.flatnonzero(_exchanged(Shop(problem), start, np.inf)).tolist() == [0, 3]


def test_what_a_big_one_takes_away_counts():
    worth, losses = [50.0, 40.0, 40.0], Losses(np.array([1, 2]), np.array([0, 0]), np.array([0.9, 0.9]))
    problem = plain(worth, [10, 10, 10], 20, losses=losses)
    assert np.flatnonzero(solve_greedy(problem)).tolist() == [1, 2]
    mixed = plain([50, 40, 40], [10, 10, 10], 20, big=np.array([True, False, False]),
                  small=np.array([False, True, True]), small_loss=0.9)  # fmt: skip
    assert np.flatnonzero(solve_greedy(mixed)).tolist() == [1, 2]


def test_nothing_where_nothing_fits():
    must = plain([5.0], [10], 5, must=(np.array([0]),))
    assert solve_greedy(must) is None
    assert solve_greedy(replace(must, budget=10)).tolist() == [True]


def test_nobody_is_bought_at_a_loss():
    problem = replace(plain([5.0, 30.0], [10, 10], 100), price=np.array([10.0, 10.0]))
    assert solve_greedy(problem).tolist() == [False, True]


@pytest.mark.parametrize("seed", range(30))
def test_the_replacement_is_the_best_one_and_its_change_is_true(seed):
    problem = random_problem(np.random.default_rng(seed), 9, risk=0.0)
    problem = replace(problem, rows=problem.rows[:1], price=np.zeros(len(problem)), must=())
    chosen, _ = best_of_all(problem)
    if chosen is None or not chosen.any():
        return
    found = replacements(problem, chosen, np.flatnonzero(chosen))
    for pick in np.flatnonzero(chosen):
        rest = chosen.copy()
        rest[pick] = False
        own = problem.creator == problem.creator[pick]
        if (chosen & own).sum() > 1:
            assert pick not in found
            continue
        others = np.flatnonzero(~np.isin(problem.creator, problem.creator[chosen]))
        sets = np.array([rest | mask_of(len(problem), [other]) for other in others]).reshape(len(others), len(problem))
        worth = np.where(keeping(problem, sets), worths(problem, sets), -np.inf) if len(others) else np.zeros(0)
        gain = worth.max(initial=-np.inf) - problem.worth_of(rest)
        if gain <= 1e-9:
            assert pick not in found
        else:
            other, change = found[pick]
            assert other in others
            assert change == pytest.approx(worth.max() - problem.worth_of(chosen), abs=1e-6)


def test_a_replacement_is_somebody_new():
    """The second creator's other placement is worth more than anybody else's."""
    problem = replace(plain([50, 40, 35, 20], [10, 10, 10, 10], 20), creator=np.array([0, 1, 1, 2]))
    chosen = np.array([True, True, False, False])
    assert replacements(problem, chosen, np.array([0])) == {0: (3, -30.0)}


def test_whoever_declines_need_not_be_bought_and_others_must():
    problem = plain([50, 40, 30], [10, 10, 10], 20, must=(np.array([0]), np.array([1])))
    chosen = np.array([True, True, False])
    assert replacements(problem, chosen, np.array([0, 1])) == {0: (2, -20.0), 1: (2, -10.0)}


def test_limits_hold_of_replacements():
    """Only the last fits beside the other pick."""
    tier = Row("plan.tier_limits.micro", np.array([0, 2]), np.ones(2, dtype=int), True, 1, 1)
    problem = plain([50, 40, 30, 20], [10, 10, 10, 10], 20, rows=(tier,))
    assert replacements(problem, np.array([True, True, False, False]), np.array([0, 1])) == {
        0: (2, -20.0), 1: (3, -20.0)
    }  # fmt: skip
