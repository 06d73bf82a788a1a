"""The targets on real data, one tree seed; and the figures they rest on, against other implementations."""

import sys

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from benchmarks import real_ads, real_data, real_vn
from benchmarks.real_compare import MODEL, auc, captured, compare, spearman, target_row

SLACK = 0.01
ONE_SEED = {"seeds": (0,), "draws": 20}


def contract(name):
    folder = real_data.shared_data() / name / "contract"
    if not folder.is_dir():
        pytest.skip(f"shared data not there: {name}/contract ({real_data.VARIABLE} names the folder)")
    return folder


@pytest.fixture(scope="module", params=["a", "b"])
def clock(request):
    return real_vn.judge_clock(contract(real_data.VN), request.param, **ONE_SEED)


@pytest.fixture(scope="module")
def rankings():
    return real_vn.judge_rankings(contract(real_data.VN), **ONE_SEED)


@pytest.fixture(scope="module")
def ads():
    return real_ads.judge(contract(real_data.ADS), **ONE_SEED)


@pytest.mark.parametrize(("figure", "position"), [("views", 0), ("sale or none", 1)])
def test_vietnam_targets_are_met_on_both_clocks(clock, figure, position):
    comparison = clock.by(figure)
    assert comparison.model >= real_vn.TARGETS[clock.clock][position] - SLACK
    rules = {name: line.gain for name, line in comparison.lines.items() if name.startswith(("followers", "past mean"))}
    assert len(rules) >= 3
    assert [name for name, gain in rules.items() if gain <= 0] == []


def test_vietnam_window_is_the_one_of_the_reference(clock):
    assert {c.rows for c in clock.comparisons} == {1121}
    assert clock.sold == 159
    assert clock.five == pytest.approx(0.46, abs=0.005)
    # no sale had settled by the second half of April: on that clock there is no past revenue to go by
    assert ("past mean revenue" in clock.by("sale or none").lines) == (clock.clock == "a")


def test_the_top_tenth_holds_more_sales_than_by_followers(clock):
    assert clock.by("sales captured").best("followers").gain > 0


def test_rankings_for_real_campaigns_beat_the_rules(rankings):
    assert rankings.comparison.rows == 18
    gains = {name: line.gain for name, line in rankings.comparison.lines.items() if name != MODEL}
    assert set(gains) >= {"followers", "past mean of log views", "past mean views"}
    assert [name for name, gain in gains.items() if gain <= 0] == []


def test_ranking_by_sales_is_refused_before_any_sale_settled(rankings):
    refused = dict(rankings.refusals)
    assert "net_revenue" in refused["goal conversion, rank_by value"]


def test_ads_return_by_row_beats_publisher_mean_and_cell_history(ads):
    assert ads.by_row.rows == 4434
    rules = {name: line.gain for name, line in ads.by_row.lines.items() if name.startswith(("publisher", "cell"))}
    assert len(rules) == 4
    assert [name for name, gain in rules.items() if gain <= 0] == []


def test_rows_below_the_default_cost_floor_are_most_rows_and_hardly_any_money(ads):
    below = ads.cost < real_ads.DEFAULT_FLOOR
    assert below.mean() > 0.6
    assert ads.cost[below].sum() < 0.02 * ads.cost.sum()


def test_absent_data_are_said_to_be_absent(tmp_path, monkeypatch, capsys):
    target = tmp_path / "tables.md"
    monkeypatch.setattr(sys, "argv", ["real_data", "--data", str(tmp_path), "--markdown", str(target)])
    real_data.main()
    said = " ".join(capsys.readouterr().out.split())
    assert "No real data in" in said
    assert real_data.VN in said
    assert real_data.ADS in said
    assert not target.exists()


def test_figures_agree_with_other_implementations():
    rng = np.random.default_rng(3)
    actual, score = np.maximum(rng.normal(size=200).round(1), 0), rng.normal(size=200).round(1)
    assert spearman(actual, score) == pytest.approx(spearmanr(actual, score).statistic)
    assert auc(actual, score) == pytest.approx(roc_auc_score(actual > 0, score))


CAPTURED = [
    ([9, 1, 0, 0, 0, 0, 0, 0, 0, 0], [2, 1, 1, 1, 1, 1, 1, 1, 1, 1], 0.9),
    ([1, 9, 0, 0, 0, 0, 0, 0, 0, 0], [2, 1, 1, 1, 1, 1, 1, 1, 1, 1], 0.1),
    ([9, 1, 0, 0, 0, 0, 0, 0, 0, 0], [1] * 10, 0.1),  # a rule that says nothing gets its fair tenth
    ([0] * 10, [1] * 10, np.nan),
]


@pytest.mark.parametrize(("actual", "score", "share"), CAPTURED)
def test_captured_shares_ties_evenly(actual, score, share):
    assert captured(np.array(actual, float), np.array(score, float)) == pytest.approx(share, nan_ok=True)


def test_verdicts_follow_the_figures():
    rng = np.random.default_rng(0)
    actual = rng.normal(size=300)
    scores = {
        MODEL: [actual + rng.normal(size=300), actual + rng.normal(size=300)],
        "followers": [rng.normal(size=300)],
        "past mean views": [actual],
        "past mean revenue": [np.full(300, np.nan)],
    }
    comparison = compare("rho", spearman, actual, scores, draws=50)
    assert "past mean revenue" not in comparison.lines
    assert comparison.model == pytest.approx(np.mean(comparison.by_seed))
    line = comparison.lines["followers"]
    assert line.gain == pytest.approx(comparison.model - line.value)
    assert line.gain_interval[0] < line.gain < line.gain_interval[1]
    met, missed = (target_row("x", comparison, target, "past mean") for target in (0.5, 0.99))
    assert met[5:7] == ("met", f"yes ({line.gain:+.3f})")
    assert missed[5] == "NOT MET"
    assert missed[7].startswith("NO (-")


def test_a_mean_kept_up_daily_sees_only_what_settled_before_the_day():
    history = real_ads._History(np.array([0, 0, 1]), np.array([5, 3, 4]), np.array([2.0, 4.0, 7.0]))
    found = history.mean(np.array([0, 0, 0, 1, 2]), np.array([3, 4, 6, 4, 9]))
    assert found == pytest.approx([np.nan, 4.0, 3.0, np.nan, np.nan], nan_ok=True)
