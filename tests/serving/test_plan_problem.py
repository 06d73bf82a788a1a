from dataclasses import replace

import numpy as np
import pytest

from serving.plan_problem import Losses, Problem, Row, mask_of
from tests.serving.random_plans import all_sets, keeping, random_problem, worths


@pytest.mark.parametrize("seed", range(40))
def test_sets_are_valued_and_judged_as_one_by_one(seed):
    problem = random_problem(np.random.default_rng(seed), 8)
    sets = all_sets(len(problem))
    np.testing.assert_array_equal([problem.broken(chosen) is None for chosen in sets], keeping(problem, sets))
    np.testing.assert_allclose([problem.worth_of(chosen) for chosen in sets], worths(problem, sets), atol=1e-9)


def two(**changes):
    given = {"worth": np.array([10.0, 20.0]), "price": np.zeros(2), "cost": np.array([5, 6]), "creator": np.arange(2)}
    return Problem(**{**given, "budget": 11, **changes})


BOTH, FIRST, NONE = np.array([True, True]), np.array([True, False]), np.array([False, False])


def test_bounds_may_be_reached():
    one = np.ones(2, dtype=np.int64)
    exactly = Row("tier", np.arange(2), one, True, 1, 1)
    assert two().broken(BOTH) is None
    assert two(budget=10).broken(BOTH) == "budget"
    assert [two(rows=(exactly,)).broken(chosen) for chosen in (NONE, FIRST, BOTH)] == ["tier", None, "tier"]
    spend = Row("spend", np.arange(2), np.array([5, 6]), False, 5, 5)
    assert [two(rows=(spend,)).broken(chosen) for chosen in (NONE, FIRST, BOTH)] == ["spend", None, "spend"]
    assert two(must=(np.array([1]),)).broken(FIRST) == "must_include"


def test_two_offers_of_one_creator_count_once_where_creators_are_counted():
    once, each = (Row("limit", np.arange(2), np.ones(2, dtype=np.int64), way, -np.inf, 1) for way in (True, False))
    same = np.zeros(2, dtype=np.int64)
    assert two(creator=same, rows=(once,)).broken(BOTH) is None
    assert two(creator=same, rows=(each,)).broken(BOTH) == "limit"
    assert two(rows=(once,)).broken(BOTH) == "limit"


def test_losses_multiply_and_need_both():
    losses = Losses(np.array([0, 0]), np.array([1, 2]), np.array([0.5, 0.2]))
    np.testing.assert_allclose(losses.kept(np.array([True, True, True])), [0.4, 1, 1])
    np.testing.assert_allclose(losses.kept(np.array([True, False, True])), [0.8, 1, 1])
    # an offer that is not bought would keep as much
    np.testing.assert_allclose(losses.kept(np.array([False, True, False])), [0.5, 1, 1])
    assert len(losses) == 2


def test_any_number_of_big_ones_takes_the_same_from_each_small_one():
    problem = Problem(
        np.full(4, 10.0), np.zeros(4), np.ones(4, dtype=np.int64), np.arange(4), 9,
        big=np.array([True, True, False, False]), small=np.array([False, False, True, True]), small_loss=0.3,
    )  # fmt: skip
    sets = {(2, 3): 20.0, (0, 2): 17.0, (0, 1, 2): 27.0, (0, 1): 20.0, (0, 2, 3): 24.0}
    for members, worth in sets.items():
        assert problem.worth_of(mask_of(4, list(members))) == pytest.approx(worth)


def test_risk_by_hand():
    draws = np.array([[0.0, 5, 10, 15, 20], [40.0, 30, 20, 10, 0]])
    problem = two(price=np.array([1.0, 1.0]), draws=draws, risk=1.0)
    # one of five draws is the lower tail: the last for the second and for both, the first for the first
    assert problem.worth_of(FIRST) == 0.0 - 1.0
    assert problem.worth_of(BOTH) == 20.0 - 2.0
    np.testing.assert_array_equal(problem.tail(BOTH), [20.0, 0.0])
    half = replace(problem, risk=0.5)
    assert half.worth_of(BOTH) == pytest.approx(0.5 * 30.0 + 0.5 * 20.0 - 2.0)
    with pytest.raises(ValueError, match="needs draws"):
        replace(problem, draws=None).worth_of(BOTH)


@pytest.mark.parametrize("seed", range(25))
def test_a_part_is_the_same_problem_without_the_others(seed):
    rng = np.random.default_rng(seed)
    problem = random_problem(rng, 8)
    positions = np.flatnonzero(rng.random(len(problem)) < 0.6)
    if not len(positions):
        positions = np.array([0])
    part = problem.part(positions)
    small = all_sets(len(positions))
    whole = np.zeros((len(small), len(problem)), dtype=bool)
    whole[:, positions] = small
    np.testing.assert_allclose([part.worth_of(s) for s in small], worths(problem, whole), atol=1e-9)
    np.testing.assert_array_equal([part.broken(s) is None for s in small], keeping(problem, whole))
