"""Plots of intervals: the lines and bars are the figures."""

import numpy as np
import pytest

from serving.interval import share_inside
from tests.training.made_backtest import made_backtest, two_goals
from training.gains import slice_gains
from training.plots_intervals import COLOURS, LEVELS, gain_by_slice, interval_coverage, share_within


def lines(figure):
    return {line.get_label(): line for line in figure.axes[0].get_lines()}


def test_at_80_percent_it_is_the_coverage_of_the_gate():
    rng = np.random.default_rng(0)
    below = rng.integers(0, 101, 500) / 100
    upto = np.minimum(below + rng.choice([0.0, 0.0, 0.1, 0.4], 500), 1.0)
    np.testing.assert_allclose(share_within(below, upto, 0.8), share_inside(below, upto), atol=1e-6)


@pytest.mark.parametrize("level", LEVELS)
def test_uniform_ranks_are_inside_as_often_as_they_should_be(level):
    ranks = (np.arange(10_000) + 0.5) / 10_000
    assert share_within(ranks, ranks, level).mean() == pytest.approx(level, abs=1e-4)


def test_zeros_are_shared_out():
    # of a value that 60 % of the draws equal, 0.2 to 0.6 of 0 to 0.6 lies in the central 60 %
    assert share_within(np.zeros(1), np.full(1, 0.6), 0.6).item() == pytest.approx(0.4 / 0.6)


def test_coverage_is_drawn_for_all_and_by_goal():
    result = two_goals()
    drawn = lines(interval_coverage(result))
    assert set(drawn) == {"right", "launch (120)", "local (120)", "all (240)"}
    expected = [share_within(*result.ranks, level).mean() for level in LEVELS]
    np.testing.assert_allclose(drawn["all (240)"].get_ydata(), expected)
    np.testing.assert_allclose(drawn["all (240)"].get_xdata(), LEVELS)


def test_rows_that_set_the_intervals_and_goals_of_a_few_rows_are_not_drawn():
    goal = np.array(["launch"] * 110 + ["local"] * 10)
    ranks = np.r_[np.full(50, np.nan), np.linspace(0, 1, 70)]
    ones = np.ones(120)
    result = made_backtest(ones, ones, ones, {"goal": goal}, np.arange(120), (ranks, ranks))
    figure = interval_coverage(result)
    assert set(lines(figure)) == {"right", "launch (60)", "all (70)"}
    assert "70 placements" in figure.axes[0].get_title()


def test_a_gain_is_drawn_with_its_interval_in_the_colour_of_what_it_says():
    result = two_goals()
    gains = slice_gains(result)
    axes = gain_by_slice(gains, result).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "goal: launch (120)", "goal: local (120)", "country: SG (240)"
    ]  # fmt: skip
    assert result.best_rule in axes.get_title()
    bars = [line for line in axes.get_lines() if len(line.get_xdata()) == 2 and line.get_ydata()[0] == 1]
    local = gains[1]
    assert [list(bar.get_xdata()) for bar in bars if bar.get_color() == COLOURS["worse"]] == [[local.low, local.high]]
