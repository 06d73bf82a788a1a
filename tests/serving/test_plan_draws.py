from dataclasses import replace

import numpy as np
import pytest

from serving.interval import LEVELS, Interval
from serving.plan_draws import beats, draw_offers, interval_of
from serving.together import Together

EVEN = Interval(np.array([]), np.linspace(0.0, 2.0, len(LEVELS))[None, :], 99)
TOGETHER = Together(shared=0.0)


def drawn(names, value=100.0, spread=0.0, shared=0.0, interval=EVEN, cost=50.0):
    full = (np.full(len(names), each) for each in (value, cost, spread))
    return draw_offers(names, *full, interval, replace(TOGETHER, shared=shared))


def names(n):
    return [f"c{k}/reel" for k in range(n)]


def test_luck_goes_with_the_name():
    many, few = drawn(names(30), shared=0.3, spread=0.2), drawn(names(30)[::-1][:4], shared=0.3, spread=0.2)
    np.testing.assert_array_equal(many.value[::-1][:4], few.value)
    np.testing.assert_array_equal(many.cost[::-1][:4], few.cost)
    assert not np.array_equal(many.value[0], many.value[1])
    two = drawn(["c1/reel", "c1/post"])
    assert abs(np.corrcoef(two.value)[0, 1]) < 0.2


@pytest.mark.parametrize("shared", [0.0, 0.1, 0.5])
def test_placements_share_that_part_of_their_luck(shared):
    found = drawn(names(250), shared=shared)
    correlation = np.corrcoef(found.value)[np.triu_indices(250, 1)].mean()
    # of uniform luck: 6 / pi x asin(rho / 2), a little below rho
    assert correlation == pytest.approx(6 / np.pi * np.arcsin(shared / 2), abs=0.03)


@pytest.mark.parametrize("shared", [0.0, 0.3])
def test_the_mean_is_the_expected_value(shared):
    skewed = Interval(np.array([]), np.exp(np.linspace(-3, 3, len(LEVELS)))[None, :], 99)
    found = drawn(names(500), shared=shared, interval=skewed, spread=0.5)
    assert found.value.mean() == pytest.approx(100.0, rel=0.03 if not shared else 0.15)
    assert found.cost.mean() == pytest.approx(50.0, rel=0.02)
    assert np.log(found.cost).std() == pytest.approx(0.5, rel=0.02)
    assert (drawn(names(3)).cost == 50.0).all()


def test_each_value_is_drawn_within_the_interval_of_its_size():
    both = Interval(np.array([10.0]), np.stack([np.ones(len(LEVELS)), np.linspace(0, 2, len(LEVELS))]), 99)
    found = draw_offers(names(2), np.array([9.0, 11.0]), np.ones(2), np.zeros(2), both, TOGETHER)
    np.testing.assert_allclose(found.value[0], 9.0)
    assert found.value[1].std() > 3.0


def test_totals_are_of_the_set_alone():
    found = drawn(names(3), spread=0.1)
    chosen, kept = np.array([True, False, True]), np.array([1.0, 0.1, 0.5])
    value, cost = found.totals(chosen, kept)
    np.testing.assert_allclose(value, found.value[0] + 0.5 * found.value[2])
    np.testing.assert_allclose(cost, found.cost[0] + found.cost[2])


def test_the_interval_of_a_sum_is_that_of_a_simulation():
    """Ten independent uniform placements, and ten that share half their luck: drawn anew a hundred thousand times."""
    rng = np.random.default_rng(0)
    for shared in (0.0, 0.5):
        own, common = rng.standard_normal((100_000, 10)), rng.standard_normal((100_000, 1))
        luck = np.sqrt(shared) * common + np.sqrt(1 - shared) * own
        ranks = luck.argsort(axis=0).argsort(axis=0) / 100_000
        simulated = (200.0 * ranks).sum(axis=1)
        low, high = interval_of(drawn(names(10), shared=shared).totals(np.ones(10, dtype=bool), np.ones(10))[0])
        wide = np.quantile(simulated, 0.9) - np.quantile(simulated, 0.1)
        assert high - low == pytest.approx(wide, rel=0.2)
        assert (high + low) / 2 == pytest.approx(1000.0, rel=0.1)


def test_nobody_is_worth_and_costs_nothing():
    found = drawn([])
    value, cost = found.totals(np.zeros(0, dtype=bool), np.zeros(0))
    assert (value == 0).all()
    assert (cost == 0).all()


def test_who_beats_whom():
    rng = np.random.default_rng(1)
    one, other = rng.integers(0, 5, 400).astype(float), rng.integers(0, 5, 400).astype(float)
    assert beats(one, other) + beats(other, one) == pytest.approx(1.0)
    assert beats(one, one) == 0.5
    assert beats(one + 10, other) == 1.0
    assert beats(one, other + 10) == 0.0
