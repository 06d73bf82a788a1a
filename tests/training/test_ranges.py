"""Intervals of later placements against a loop that draws the same campaigns and looks at whole rows."""

from types import SimpleNamespace

import numpy as np
import pytest

from training.backtest import MODEL
from training.metrics import captured, judge
from training.ranges import CAPTURED_AT, DRAWS, history_ranges


def backtest_of(actual, **predicted):
    """What of a backtest the intervals are made from; `rule` stands for any rule."""
    return SimpleNamespace(
        actual=np.asarray(actual, dtype=float), predicted={MODEL: predicted.pop("model"), **predicted}
    )


def random_result(seed, n=90, campaigns=12, spread=0.6):
    """Outcomes alike within a campaign, a good model and a worse rule; campaigns have any numbers in any order."""
    rng = np.random.default_rng(seed)
    campaign = rng.permutation(1000)[:campaigns][rng.integers(0, campaigns, n)]
    level = dict(zip(np.unique(campaign), rng.lognormal(0, spread, campaigns), strict=False))
    expected = rng.lognormal(3, 1, n)
    actual = expected * [level[c] for c in campaign] * rng.lognormal(0, 0.5, n) * (rng.random(n) < 0.85)
    return backtest_of(actual, model=expected, rule=expected * rng.lognormal(0, 1, n)), campaign


def deviance(y, m, mean):
    """Tweedie deviance of power 1.5 for y and m over the mean outcome, from its definition."""
    y, m = y / mean, m / mean
    return 2 * (y**0.5 / (0.5 * -0.5) - y * m**-0.5 / -0.5 + m**0.5 / 0.5)


def top_share(rows, share):
    """Actual outcome on the best-predicted share of the rows, the last row in part; rows are (predicted, actual)."""
    rows = sorted(rows, key=lambda row: -row[0])
    left, found = share * len(rows), 0.0
    for _, actual in rows:
        found += min(left, 1.0) * actual
        left -= min(left, 1.0)
    return found / sum(actual for _, actual in rows)


def naive(result, campaign, seed):
    """Figures of the rows as they are and of each draw of campaigns, by prediction: rows 0 is as they are."""
    codes = sorted(set(campaign.tolist()))
    members = {code: [row for row in range(len(campaign)) if campaign[row] == code] for code in codes}
    mean = sum(result.actual) / len(result.actual)
    draws = np.random.default_rng(seed).integers(0, len(codes), (DRAWS, len(codes)))
    everything = [list(range(len(campaign))), *([row for k in drawn for row in members[codes[k]]] for drawn in draws)]
    out = {}
    for name, predicted in result.predicted.items():
        gains = [
            deviance(result.actual[row], predicted[row], mean)
            - deviance(result.actual[row], result.predicted[MODEL][row], mean)
            for row in range(len(campaign))
        ]
        figures = {"gain": [sum(gains[row] for row in rows) / len(rows) for rows in everything]}
        figures["calibration"] = [
            sum(predicted[row] for row in rows) / sum(result.actual[row] for row in rows) for rows in everything
        ]
        for share in (0.05, 0.1, 0.2, 0.3):
            figures[share] = [top_share([(predicted[r], result.actual[r]) for r in rows], share) for rows in everything]
        out[name] = figures
    return out


@pytest.mark.parametrize("seed", [0, 7])
def test_figures_and_intervals_are_those_of_a_loop_over_drawn_campaigns(seed):
    result, campaign = random_result(seed, n=60, campaigns=9)
    found, expected = history_ranges(result, campaign, seed), naive(result, campaign, seed)
    assert CAPTURED_AT == (0.05, 0.1, 0.2, 0.3)
    assert set(found) == {MODEL, "rule"}
    for name, ranges in found.items():
        for figure, one in {"gain": ranges.gain, "calibration": ranges.calibration, **ranges.captured}.items():
            point, *drawn = expected[name][figure]
            low, high = np.quantile(drawn, [0.05, 0.95])
            assert (one.figure, one.low, one.high) == pytest.approx((point, low, high), abs=1e-9), (name, figure)


def test_figures_are_those_of_the_backtest():
    result, campaign = random_result(3, n=100)
    found = history_ranges(result, campaign)
    model, rule = (judge(result.actual, result.predicted[name]) for name in (MODEL, "rule"))
    assert found["rule"].gain.figure == pytest.approx(rule.deviance - model.deviance)
    assert found[MODEL].gain == found[MODEL].gain.__class__(0.0, 0.0, 0.0)
    assert found["rule"].calibration.figure == pytest.approx(rule.calibration)
    # with a hundred rows no row counts in part
    for share, one in found["rule"].captured.items():
        assert one.figure == pytest.approx(captured(result.actual, result.predicted["rule"], share))
        assert one.low <= one.figure <= one.high


def test_captured_by_hand():
    # eight rows: a tenth is 0.8 of the best predicted row, a fifth 1.6 rows
    actual, predicted = np.array([1.0, 0, 5, 0, 2, 0, 0, 0]), np.array([9.0, 8, 7, 6, 5, 4, 3, 2])
    found = history_ranges(backtest_of(actual, model=predicted), np.zeros(8, dtype=int))[MODEL].captured
    assert {share: one.figure for share, one in found.items()} == pytest.approx(
        {0.05: 0.4 / 8, 0.1: 0.8 / 8, 0.2: 1 / 8, 0.3: (1 + 0.4 * 5) / 8}
    )


def test_who_foretells_nothing_captures_its_share_and_who_foretells_all_the_most():
    rng = np.random.default_rng(2)
    actual = rng.lognormal(0, 1, 4000)
    result = backtest_of(actual, model=actual, rule=rng.lognormal(0, 1, 4000))
    found = history_ranges(result, np.arange(4000) // 4)
    for share in CAPTURED_AT:
        assert found["rule"].captured[share].figure == pytest.approx(share, abs=0.03)
        best = np.sort(actual)[::-1][: round(share * 4000)].sum() / actual.sum()
        assert found[MODEL].captured[share].figure == pytest.approx(best)
    assert found["rule"].gain.low > 0


def test_every_campaign_twice_leaves_the_figures_and_narrows_the_intervals():
    result, campaign = random_result(4, n=200, campaigns=40)
    twice = backtest_of(np.tile(result.actual, 2), **{k: np.tile(v, 2) for k, v in result.predicted.items()})
    one, two = history_ranges(result, campaign), history_ranges(twice, np.concatenate([campaign, campaign + 5000]))
    for name in one:
        pairs = [(one[name].calibration, two[name].calibration)]
        pairs += [(one[name].captured[share], two[name].captured[share]) for share in CAPTURED_AT]
        for before, after in pairs:
            assert after.figure == pytest.approx(before.figure)
            assert (after.high - after.low) / (before.high - before.low) == pytest.approx(0.5**0.5, abs=0.2)
    assert two["rule"].gain.figure == pytest.approx(one["rule"].gain.figure)


def test_rows_twice_within_their_campaign_teach_nothing_new():
    result, campaign = random_result(5)
    twice = backtest_of(np.tile(result.actual, 2), **{k: np.tile(v, 2) for k, v in result.predicted.items()})
    one, two = history_ranges(result, campaign), history_ranges(twice, np.tile(campaign, 2))
    for name in one:
        for before, after in ((one[name].gain, two[name].gain), (one[name].calibration, two[name].calibration)):
            assert (after.figure, after.low, after.high) == pytest.approx((before.figure, before.low, before.high))


def test_one_campaign_alone_has_no_spread():
    result, _ = random_result(6)
    for ranges in history_ranges(result, np.zeros(90, dtype=int)).values():
        for one in (ranges.gain, ranges.calibration, *ranges.captured.values()):
            assert (one.low, one.high) == pytest.approx((one.figure, one.figure))


def test_the_interval_of_the_calibration_covers_the_truth_in_nine_of_ten_worlds():
    hits, repeats = 0, 60
    for seed in range(repeats):
        rng = np.random.default_rng(1000 + seed)
        campaign = np.repeat(np.arange(80), rng.integers(3, 9, 80))
        n = len(campaign)
        expected = rng.lognormal(3, 0.5, n)
        # right on average: every factor has mean 1
        actual = expected * rng.lognormal(-0.125, 0.5, 80)[campaign] * rng.lognormal(-0.125, 0.5, n)
        one = history_ranges(backtest_of(actual, model=expected), campaign)[MODEL].calibration
        hits += one.low <= 1.0 <= one.high
    assert 0.8 <= hits / repeats <= 0.98


def test_intervals_that_took_rows_for_independent_would_be_too_narrow():
    result, campaign = random_result(8, n=600, campaigns=30, spread=1.0)
    by_campaign = history_ranges(result, campaign)[MODEL].calibration
    by_row = history_ranges(result, np.arange(600))[MODEL].calibration
    assert by_campaign.figure == pytest.approx(by_row.figure)
    assert by_campaign.high - by_campaign.low > 1.5 * (by_row.high - by_row.low)


def test_the_seed_moves_intervals_and_no_figure():
    result, campaign = random_result(9)
    one, again, other = (history_ranges(result, campaign, seed) for seed in (0, 0, 1))
    assert one == again
    assert one["rule"].calibration.figure == other["rule"].calibration.figure
    assert one["rule"].calibration.low != other["rule"].calibration.low


def test_draws_without_any_outcome_are_left_out():
    # one campaign of ten has the only sale: a draw without it has no ratio
    actual = np.zeros(50)
    actual[:2] = [10.0, 20.0]
    found = history_ranges(backtest_of(actual, model=np.full(50, 0.6)), np.arange(50) // 5)[MODEL]
    assert found.calibration.figure == pytest.approx(1.0)
    # drawn once it is foretold rightly, drawn more often too little is
    assert 0.2 <= found.calibration.low < 1
    assert found.calibration.high == pytest.approx(1.0)
    assert np.isfinite([[one.low, one.high] for one in found.captured.values()]).all()


def test_a_window_in_which_nothing_came_of_anything_has_no_ratio():
    found = history_ranges(backtest_of(np.zeros(60), model=np.ones(60)), np.arange(60) // 6)[MODEL]
    assert np.isnan([found.calibration.figure, found.calibration.low, found.calibration.high]).all()
    assert all(np.isnan(one.figure) for one in found.captured.values())


def test_nothing_given_is_changed():
    result, campaign = random_result(10)
    for part in (result.actual, *result.predicted.values(), campaign):
        part.flags.writeable = False  # writing would raise
    before = result.actual.sum()
    history_ranges(result, campaign)
    assert result.actual.sum() == before
