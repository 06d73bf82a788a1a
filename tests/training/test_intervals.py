import json

import numpy as np
import pytest

from serving.interval import Interval
from training.intervals import MIN_ROWS, fit_intervals, inside


def draw(rng, kind, n):
    expected = rng.lognormal(4, 1.5, n)
    noise = {
        "log-normal": lambda: rng.lognormal(-0.5, 1, n),
        "gamma": lambda: rng.gamma(0.5, 2, n),
        "half zero": lambda: rng.lognormal(0, 1, n) * (rng.random(n) < 0.5),
        "nearly all zero": lambda: rng.lognormal(2, 1, n) * (rng.random(n) < 0.05),
        # small placements are noisier than large ones
        "by size": lambda: rng.lognormal(0, 1, n) ** np.where(expected < 50, 1.5, 0.3),
    }[kind]()
    return expected * noise, expected


@pytest.mark.parametrize("kind", ["log-normal", "gamma", "half zero", "nearly all zero", "by size"])
def test_four_fifths_of_later_values_lie_inside(kind):
    rng = np.random.default_rng(0)
    goals = np.repeat(["a", "b"], 2000)
    actual, expected = draw(rng, kind, 4000)
    later, later_expected = draw(rng, kind, 4000)
    fitted = fit_intervals(actual, expected, goals)
    assert inside(fitted, later, later_expected, goals).mean() == pytest.approx(0.8, abs=0.025)


def test_coverage_sees_intervals_that_are_too_narrow_or_too_wide():
    rng = np.random.default_rng(0)
    expected, goals = rng.lognormal(4, 1, 2000), np.repeat("a", 2000)
    fitted = fit_intervals(expected * rng.lognormal(0, 0.5, 2000), expected, goals)
    assert inside(fitted, expected * rng.lognormal(0, 1.5, 2000), expected, goals).mean() < 0.5
    assert inside(fitted, expected * rng.lognormal(0, 0.1, 2000), expected, goals).mean() > 0.98


def test_spread_is_measured_by_size():
    rng = np.random.default_rng(0)
    actual, expected = draw(rng, "by size", 4000)
    interval = fit_intervals(actual, expected, np.repeat("a", 4000))["a"]
    draws = interval.draws(np.array([5.0, 1000.0]))
    low, high = np.quantile(draws, [0.1, 0.9], axis=1)
    assert high[0] / low[0] > 3 * high[1] / low[1]


def test_the_interval_of_a_size_is_the_quantile_of_its_ratios():
    rng = np.random.default_rng(0)
    expected = np.repeat([10.0, 1000.0], 300)
    actual = expected * rng.lognormal(0, 1, 600)
    interval = fit_intervals(actual, expected, np.repeat("a", 600))["any"]
    for value, rows in ((10.0, slice(0, 300)), (1000.0, slice(300, 600))):
        ratio = actual[rows] / value
        found = np.quantile(interval.draws(np.array([value]))[0] / value, [0.1, 0.5, 0.9])
        np.testing.assert_allclose(found, np.quantile(ratio, [0.1, 0.5, 0.9]), rtol=0.05)


def test_a_goal_with_few_rows_is_left_to_all_goals():
    rng = np.random.default_rng(0)
    goals = np.array(["few"] * (MIN_ROWS - 1) + ["enough"] * MIN_ROWS)
    expected = rng.lognormal(3, 1, len(goals))
    fitted = fit_intervals(expected * rng.lognormal(0, 1, len(goals)), expected, goals)
    assert fitted.keys() == {"any", "enough"}
    assert (fitted["any"].rows, fitted["enough"].rows) == (2 * MIN_ROWS - 1, MIN_ROWS)
    narrow = {**fitted, "enough": Interval(np.array([]), np.ones((1, 100)), 60)}
    # by its own goal's interval nothing but the prediction itself is inside, by that of all goals much is
    assert inside(narrow, expected * 1.1, expected, np.repeat("enough", len(goals))).mean() == 0
    assert inside(narrow, expected * 1.1, expected, np.repeat("few", len(goals))).mean() > 0.9


def test_the_json_round_trip_is_exact():
    rng = np.random.default_rng(0)
    actual, expected = draw(rng, "half zero", 800)
    interval = fit_intervals(actual, expected, np.repeat("a", 800))["any"]
    again = Interval.from_json(json.loads(json.dumps(interval.to_json())))
    np.testing.assert_array_equal(again.ratios, interval.ratios)
    np.testing.assert_array_equal(again.edges, interval.edges)
    assert len(interval.edges) + 1 == len(interval.ratios) > 1


def test_predictions_that_are_all_equal_still_get_an_interval():
    actual = np.random.default_rng(0).lognormal(0, 1, 700)
    interval = fit_intervals(actual, np.ones(700), np.repeat("a", 700))["any"]
    found = np.quantile(interval.draws(np.ones(1))[0], [0.1, 0.9])
    np.testing.assert_allclose(found, np.quantile(actual, [0.1, 0.9]), rtol=0.05)
