"""Plots of a backtest: what is drawn is what was judged."""

import numpy as np
import pytest

from tests.training.made_backtest import RULE, two_goals
from training.backtest import MODEL
from training.plots import SYNTHETIC_NOTE, calibration, captured, deviance_by_slice, marked, quantity, result_figures


@pytest.fixture(scope="module")
def result():
    return two_goals()


def test_calibration_is_of_deciles(result):
    axes = calibration(result).axes[0]
    rule = next(line for line in axes.get_lines() if line.get_label() == f"best rule: {result.best_rule}")
    order = np.array_split(np.argsort(result.predicted[RULE], kind="stable"), 10)
    np.testing.assert_allclose(rule.get_xdata(), [result.predicted[RULE][rows].mean() for rows in order])
    np.testing.assert_allclose(rule.get_ydata(), [result.actual[rows].mean() for rows in order])
    assert "240 placements" in axes.get_title()
    assert axes.get_xlabel() == "mean predicted value (USD) of the decile"
    assert len(axes.containers) == 1


def test_captured_ends_at_all_of_it_and_is_steepest_for_who_is_right(result):
    axes = captured(result).axes[0]
    drawn = {line.get_label(): line.get_ydata() for line in axes.get_lines()}
    assert drawn.keys() == {MODEL, RULE, "by chance"}
    best = np.argsort(-result.predicted[MODEL], kind="stable")
    np.testing.assert_allclose(drawn[MODEL][1:], np.cumsum(result.actual[best]) / result.actual.sum())


def test_deviance_is_drawn_for_the_model_and_the_best_rule(result):
    axes = deviance_by_slice(result).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()][:2] == ["goal: launch (120)", "goal: local (120)"]
    widths = [bar.get_width() for bar in axes.patches]
    by_name = result.slices["goal"]["launch"]
    assert (widths[0], widths[3]) == (by_name[MODEL].deviance, by_name[RULE].deviance)


def test_money_has_a_unit(result):
    assert quantity(result) == "value (USD)"


def test_synthetic_plots_say_so(result):
    for figure in marked(result_figures(result)).values():
        assert figure.get_suptitle() == SYNTHETIC_NOTE
        assert "SYNTHETIC" in SYNTHETIC_NOTE
    assert [figure.get_suptitle() for figure in result_figures(result).values()] == [""] * 3
