"""For whom the model is better: gains by slice, each held to its own interval."""

import math

import numpy as np
import pytest

from tests.training.made_backtest import RULE, made_backtest, two_goals
from training.backtest import MODEL
from training.gains import MIN_CAMPAIGNS, Gain, slice_gains
from training.metrics import tweedie


@pytest.fixture(scope="module")
def result():
    return two_goals()


@pytest.fixture(scope="module")
def gains(result):
    return {(one.kind, one.member): one for one in slice_gains(result)}


def test_a_slice_is_judged_by_itself(result, gains):
    assert gains.keys() == {("goal", "launch"), ("goal", "local"), ("country", "SG")}
    for (kind, member), one in gains.items():
        rows = result.members[kind] == member
        y = result.actual[rows]
        expected = tweedie(y, result.predicted[RULE][rows]).mean() - tweedie(y, result.predicted[MODEL][rows]).mean()
        assert one.gain == pytest.approx(expected)
        assert one.low < one.gain < one.high
        assert (one.rows, one.campaigns) == (rows.sum(), 24)
        assert one.coverage == pytest.approx(result.inside[rows].mean())


def test_better_for_one_and_worse_for_another(gains):
    assert gains["goal", "launch"].state == "better"
    assert gains["goal", "local"].state == "worse"


@pytest.mark.parametrize(
    ("campaigns", "low", "high", "state"),
    [
        (MIN_CAMPAIGNS, 0.1, 0.2, "better"),
        (MIN_CAMPAIGNS, -0.2, -0.1, "worse"),
        (MIN_CAMPAIGNS, -0.1, 0.1, "level"),
        (MIN_CAMPAIGNS - 1, 0.1, 0.2, "few"),
        (MIN_CAMPAIGNS - 1, -0.2, -0.1, "few"),
    ],
)
def test_few_campaigns_tell_nothing(campaigns, low, high, state):
    assert Gain("goal", "launch", 100, campaigns, (low + high) / 2, low, high, 0.8).state == state


def test_coverage_is_unknown_where_none_was_measured():
    half = np.r_[np.full(60, np.nan), np.full(60, 0.5)]
    goal = np.repeat(["launch", "local"], 60)
    result = made_backtest(np.ones(120), np.ones(120), np.ones(120), {"goal": goal}, np.arange(120), (half, half))
    launch, local = slice_gains(result)
    assert math.isnan(launch.coverage)
    assert local.coverage == 1.0
