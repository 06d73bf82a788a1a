from dataclasses import replace

import numpy as np
import pytest

from serving.plan_basket import Basket, Neighbours, Shop
from serving.plan_problem import mask_of
from tests.serving.random_plans import random_problem


def bought(problem, order, begin=0):
    """A basket that holds the first `begin` offers of an order from the start, the others bought one by one."""
    basket = Basket(Shop(problem), mask_of(len(problem), order[:begin]))
    for offer in order[begin:]:
        basket.add(int(offer))
    return basket


@pytest.mark.parametrize("seed", range(60))
def test_what_an_offer_adds_is_the_difference_of_sets(seed):
    rng = np.random.default_rng(seed)
    problem = random_problem(rng, risk=0.0)
    order = rng.permutation(len(problem))[: rng.integers(0, len(problem) + 1)]
    basket = bought(problem, order, int(rng.integers(0, len(order) + 1)))
    assert basket.worth == pytest.approx(problem.worth_of(basket.chosen))
    gains = basket.gains()
    for offer in np.flatnonzero(~basket.chosen):
        more = basket.chosen | mask_of(len(problem), [offer])
        assert gains[offer] == pytest.approx(problem.worth_of(more) - problem.worth_of(basket.chosen), abs=1e-9)


@pytest.mark.parametrize("seed", range(60))
def test_who_is_allowed_breaks_no_limit_but_what_is_still_lacking(seed):
    rng = np.random.default_rng(seed)
    problem = random_problem(rng, risk=0.0)
    free = replace(problem, must=(), rows=tuple(
        replace(row, low=-np.inf) for row in problem.rows
    ))  # fmt: skip
    order = rng.permutation(len(problem))[: rng.integers(0, 4)]
    basket = bought(free, order, int(rng.integers(0, len(order) + 1)))
    assert basket.over() is (free.broken(basket.chosen) is not None)
    if basket.over():
        return
    allowed = basket.allowed()
    for offer in np.flatnonzero(~basket.chosen):
        more = basket.chosen | mask_of(len(problem), [offer])
        assert allowed[offer] == (free.broken(more) is None)


def test_a_banned_offer_is_not_allowed():
    problem = random_problem(np.random.default_rng(3), risk=0.0)
    basket = bought(problem, np.zeros(0, dtype=int))
    wanted = np.flatnonzero(basket.allowed())
    basket.ban(int(wanted[0]))
    assert not basket.allowed()[wanted[0]]
    assert basket.allowed()[wanted[1:]].all()


def test_neighbours_of_each_offer():
    pairs = Neighbours.of(np.array([2, 0, 2]), np.array([1, 3, 0]), np.array([0.1, 0.2, 0.3]), 4)
    assert [pairs.at(k)[0].tolist() for k in range(4)] == [[3], [], [1, 0], []]
    assert pairs.at(2)[1].tolist() == [0.1, 0.3]
