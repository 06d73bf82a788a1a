import json

import numpy as np
import pytest
from scipy.stats import norm

from serving.interval import LEVELS, Interval, roi_draws, roi_interval

TWO_SIZES = Interval(np.array([100.0]), np.array([np.linspace(0, 1, 100), np.linspace(1, 3, 100)]), 300)


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [(10.0, 0.0, 10.0), (100.0, 0.0, 100.0), (100.1, 100.1, 300.3), (1e6, 1e6, 3e6)],
)
def test_draws_take_the_ratios_of_the_size_of_the_value(value, least, most):
    draws = TWO_SIZES.draws(np.array([value]))
    assert draws.shape == (1, len(LEVELS))
    assert (draws.min(), draws.max()) == pytest.approx((least, most))


def test_draws_are_row_by_row():
    values = np.array([1.0, 1000.0, 50.0])
    np.testing.assert_array_equal(
        TWO_SIZES.draws(values), np.vstack([TWO_SIZES.draws(values[i : i + 1]) for i in range(3)])
    )


def test_json_round_trip_is_exact():
    again = Interval.from_json(json.loads(json.dumps(TWO_SIZES.to_json())))
    np.testing.assert_array_equal(again.draws(np.array([3.0, 300.0])), TWO_SIZES.draws(np.array([3.0, 300.0])))
    assert again.rows == 300


def roi_of(*arguments):
    return roi_interval(roi_draws(*arguments))


def test_roi_bounds_and_chance_are_those_of_the_draws():
    draws = np.array([[0.0] * 50 + [300.0] * 50, np.linspace(100, 200, 100)])
    low, high, profit = roi_of(draws, np.array([100.0, 50.0]), np.zeros(2), 1.0)
    assert low.tolist() == pytest.approx([-1.0, np.quantile(draws[1] / 50 - 1, 0.1)])
    assert high.tolist() == pytest.approx([2.0, np.quantile(draws[1] / 50 - 1, 0.9)])
    assert profit.tolist() == [0.5, 1.0]


def test_an_uncertain_fee_widens_the_interval_as_simulation_says():
    rng = np.random.default_rng(0)
    draws = 200.0 * np.exp(0.6 * norm.ppf(LEVELS))[None, :]
    low, high, profit = roi_of(draws, np.array([100.0]), np.array([0.5]), 1.0)
    simulated = 200.0 * rng.lognormal(0, 0.6, 200_000) / (100.0 * rng.lognormal(0, 0.5, 200_000)) - 1
    assert low.item() == pytest.approx(np.quantile(simulated, 0.1), abs=0.05)
    assert high.item() == pytest.approx(np.quantile(simulated, 0.9), rel=0.05)
    assert profit.item() == pytest.approx((simulated > 0).mean(), abs=0.02)
    fixed_low, fixed_high, _ = roi_of(draws, np.array([100.0]), np.zeros(1), 1.0)
    assert low < fixed_low
    assert fixed_high < high


def test_cost_is_floored():
    low, high, profit = roi_of(np.full((1, 100), 5.0), np.zeros(1), np.zeros(1), 2.0)
    assert (low.item(), high.item(), profit.item()) == (1.5, 1.5, 1.0)


def test_without_a_cost_nothing_is_said():
    low, high, profit = roi_of(np.full((2, 100), 5.0), np.array([np.nan, 1.0]), np.zeros(2), 1.0)
    assert np.isnan([low[0], high[0], profit[0]]).all()
    assert (low[1], high[1], profit[1]) == (4.0, 4.0, 1.0)
