import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving import plan_solve
from serving.plan_milp import Impossible
from serving.plan_problem import Losses, Problem, mask_of
from serving.plan_solve import solve
from tests.serving.random_plans import all_sets, best_of_all, keeping, random_problem

PROVEN = 1e-4


def is_the_best(problem, **how):
    """Solve, and compare with every set there is."""
    best, worth = best_of_all(problem)
    if best is None:
        with pytest.raises(Impossible):
            solve(problem, 30.0, **how)
        return None
    found = solve(problem, 30.0, **how)
    assert keeping(problem, found.chosen[None, :]).all()
    assert found.method == "optimal"
    assert 0.0 <= found.gap <= PROVEN
    assert problem.worth_of(found.chosen) == pytest.approx(worth, rel=PROVEN, abs=1e-6)
    return found


@pytest.mark.parametrize("seed", range(150))
def test_the_best_of_all_sets(seed):
    is_the_best(random_problem(np.random.default_rng(seed), 10))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_best_of_all_sets_of_twelve(seed):
    is_the_best(random_problem(np.random.default_rng(seed), 12))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_strong_losses_and_starts_that_mislead(seed):
    """Sets that are worth more without some of their members, and starts with all of them."""
    rng = np.random.default_rng(seed)
    problem = random_problem(rng, 8, losses=30)
    share = np.maximum(problem.losses.share, rng.choice([0.0, 0.9]))
    problem = replace(problem, losses=replace(problem.losses, share=share), budget=3 * problem.budget)
    starts = [start for start in rng.random((4, len(problem))) < 0.8 if keeping(problem, start[None, :]).all()]
    is_the_best(problem, starts=starts)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_order_of_offers_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    problem = random_problem(rng, 12)
    order = rng.permutation(len(problem))
    place = np.argsort(order)
    losses = problem.losses
    turned = replace(
        problem,
        worth=problem.worth[order], price=problem.price[order], cost=problem.cost[order],
        creator=problem.creator[order], losses=Losses(place[losses.of], place[losses.beside], losses.share),
        rows=tuple(_turned(row, place) for row in problem.rows),
        caps=tuple(replace(c, owner=c.owner[order], weight=c.weight[order]) for c in problem.caps),
        must=tuple(np.sort(place[own]) for own in problem.must),
        big=problem.big[order], small=problem.small[order],
        draws=None if problem.draws is None else problem.draws[order],
    )  # fmt: skip
    try:
        found = solve(problem, 30.0)
    except Impossible:
        with pytest.raises(Impossible):
            solve(turned, 30.0)
        return
    worth = problem.worth_of(found.chosen)
    assert turned.worth_of(solve(turned, 30.0).chosen) == pytest.approx(worth, rel=2 * PROVEN, abs=1e-6)


def _turned(row, place):
    order = np.argsort(place[row.members])
    return replace(row, members=place[row.members][order], weight=row.weight[order])


# --- what is said of how it was found


def many(n=300, seed=0, **changes):
    rng = np.random.default_rng(seed)
    losses = Losses(np.arange(1, n), np.arange(n - 1), rng.uniform(0, 0.4, n - 1))
    problem = Problem(rng.gamma(1, 100, n), np.zeros(n), rng.integers(100, 1000, n), np.arange(n), 8_000, losses)
    return replace(problem, **changes)


def test_the_fast_set_says_how_far_off_it_may_be(monkeypatch):
    problem = many()
    exact = solve(problem, 30.0)
    assert exact.method == "optimal"
    monkeypatch.setattr(plan_solve, "MOST_EXACT", 5)
    fast = solve(problem, 30.0)
    best, worth = problem.worth_of(exact.chosen), problem.worth_of(fast.chosen)
    assert problem.broken(fast.chosen) is None
    assert fast.method == "greedy"
    assert 0.95 * best <= worth <= best * (1 + PROVEN)
    assert best <= worth * (1 + fast.gap) * (1 + 1e-9)
    assert fast.gap < 0.2


def test_many_losses_are_too_many(monkeypatch):
    monkeypatch.setattr(plan_solve, "MOST_LOSSES", 3)
    assert solve(many(), 30.0).method == "greedy"


def test_without_time_there_is_a_good_set_and_it_says_so():
    problem = many()
    found = solve(problem, 0.0)
    best = problem.worth_of(solve(problem, 30.0).chosen)
    assert found.method == "time_limit"
    assert problem.broken(found.chosen) is None
    assert problem.worth_of(found.chosen) >= 0.95 * best
    assert best <= problem.worth_of(found.chosen) * (1 + found.gap) * (1 + 1e-9)


def test_not_exact_is_never_above_exact():
    problem = many(seed=1)
    assert solve(problem, 30.0, exact=False).method == "greedy"
    assert problem.worth_of(solve(problem, 30.0, exact=False).chosen) <= problem.worth_of(solve(problem, 30.0).chosen)


def test_whoever_was_left_out_is_part_of_the_gap():
    problem = many(seed=2)
    best = problem.worth_of(solve(problem, 30.0).chosen)
    more = solve(problem, 30.0, outside=1.1 * best)
    assert more.method == "greedy"
    assert more.gap == pytest.approx(0.1, abs=1e-3)
    assert solve(problem, 30.0, outside=0.9 * best).method == "optimal"
    unknown = solve(problem, 30.0, outside=np.inf)
    assert (unknown.method, unknown.gap) == ("greedy", None)


def test_a_good_start_is_kept_where_there_is_no_time():
    problem = many(seed=3)
    best = solve(problem, 30.0).chosen
    assert problem.worth_of(solve(problem, 0.0, starts=[best]).chosen) >= problem.worth_of(best)


def test_offers_that_no_good_set_needs_are_dropped():
    found = solve(many(n=2000, seed=4), 30.0)
    assert found.method == "optimal"
    assert found.solved_over < 1000


@pytest.mark.parametrize("seed", range(6))
def test_more_budget_is_worth_no_less(seed):
    problem = many(80, seed)
    worths = [
        problem.worth_of(solve(replace(problem, budget=budget), 30.0).chosen)
        for budget in (0, 50, 150, 500, 2000, 8000, 100_000)
    ]
    assert all(after >= before * (1 - 1e-6) for before, after in itertools.pairwise(worths))
    assert worths[0] == 0.0
    assert worths[-1] > 5 * worths[3]


def test_a_careful_plan_is_safer_and_expects_less():
    """One offer of a larger worth that is all or nothing, against two that are sure."""
    worth, lucky = np.array([120.0, 50, 50]), np.arange(50) % 4 == 0
    draws = np.stack([np.where(lucky, 480.0, 0.0), np.full(50, 50.0), np.full(50, 50.0)])
    problem = Problem(worth, np.zeros(3), np.array([10, 5, 5]), np.arange(3), 10, draws=draws)
    chosen = {
        risk: np.flatnonzero(solve(replace(problem, risk=risk), 30.0).chosen).tolist() for risk in (0, 0.1, 0.5, 1)
    }
    assert chosen == {0: [0], 0.1: [0], 0.5: [1, 2], 1: [1, 2]}


@pytest.mark.parametrize("seed", range(3))
def test_a_careful_plan_of_many_is_proven(seed):
    """The tail of each set found is bounded until it is what it was taken for."""
    problem = many(40, seed, budget=4000)
    luck = np.random.default_rng(seed).gamma(1, 1, (40, 100))
    problem = replace(problem, draws=problem.worth[:, None] * luck / luck.mean(axis=1)[:, None], risk=0.5)
    found = solve(problem, 30.0)
    assert found.method == "optimal"
    assert found.gap <= PROVEN


def test_a_feasible_set_is_found_among_many_though_limits_are_hard(monkeypatch):
    """The fast way finds nothing, and there are more offers than the program takes."""
    monkeypatch.setattr(plan_solve, "MOST_EXACT", 40)
    monkeypatch.setattr(plan_solve, "solve_greedy", lambda *_: None)
    problem = many(must=(np.array([7]), np.array([299])))
    found = solve(problem, 30.0)
    assert found.chosen[[7, 299]].all()
    assert problem.broken(found.chosen) is None


def test_all_sets_are_looked_at():
    """The yardstick itself: as many sets as there are, and the best of three by hand."""
    assert len({tuple(one) for one in all_sets(3)}) == 8
    problem = Problem(np.array([3.0, 2, 2]), np.zeros(3), np.array([3, 2, 2]), np.arange(3), 4)
    best, worth = best_of_all(problem)
    assert (best.tolist(), worth) == (mask_of(3, [1, 2]).tolist(), 4.0)
