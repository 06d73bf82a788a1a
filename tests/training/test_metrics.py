import numpy as np
import pytest
from scipy.stats import kendalltau
from sklearn.metrics import mean_tweedie_deviance

from training.metrics import POWER, bootstrap, captured, judge, rank_correlation, top_roi, tweedie


@pytest.fixture
def outcomes():
    rng = np.random.default_rng(0)
    predicted = rng.lognormal(3, 1, 500)
    actual = predicted * rng.lognormal(0, 0.7, 500) * (rng.random(500) < 0.7)
    return actual, predicted


def test_deviance_is_the_tweedie_deviance_of_outcome_over_mean(outcomes):
    actual, predicted = outcomes
    mean = actual.mean()
    expected = mean_tweedie_deviance(actual / mean, predicted / mean, power=POWER)
    assert judge(actual, predicted).deviance == pytest.approx(expected)
    assert (actual == 0).sum() > 100


def test_deviance_does_not_depend_on_the_currency(outcomes):
    actual, predicted = outcomes
    np.testing.assert_allclose(tweedie(actual * 25_000, predicted * 25_000), tweedie(actual, predicted))


def test_a_negative_outcome_counts_as_none():
    np.testing.assert_allclose(
        tweedie(np.array([-5.0, 10.0]), np.array([1.0, 9.0])), tweedie(np.array([0.0, 10.0]), np.array([1.0, 9.0]))
    )


def test_better_predictions_have_less_deviance(outcomes):
    actual, predicted = outcomes
    rng = np.random.default_rng(1)
    losses = [judge(actual, predicted * rng.lognormal(0, noise, 500)).deviance for noise in (0.0, 0.5, 1.0, 2.0)]
    assert losses == sorted(losses)


def test_figures_on_a_hand_case():
    actual = np.array([0.0, 10.0, 20.0, 70.0])
    metrics = judge(actual, np.array([5.0, 10.0, 15.0, 20.0]), np.array([10.0, 10.0, np.nan, 20.0]))
    assert metrics.rows == 4
    assert metrics.calibration == 0.5
    assert metrics.spearman == pytest.approx(1.0)
    assert metrics.captured == 0.7
    # value per cost: 0.5, 1.0, unknown, 1.0; the first of equals is the best tenth
    assert metrics.top_roi == 0.0


@pytest.mark.parametrize(
    ("score", "share"),
    [
        (np.arange(20.0), 19 / 190 + 18 / 190),
        (-np.arange(20.0), 1 / 190),
        (np.zeros(20), 1 / 190),
    ],
    ids=["right", "reverse", "ties"],
)
def test_captured_is_the_share_of_the_best_tenth(score, share):
    assert captured(np.arange(20.0), score) == pytest.approx(share)


def test_captured_takes_at_least_one_row_and_needs_an_outcome():
    assert captured(np.array([1.0, 3.0]), np.array([0.0, 1.0])) == 0.75
    assert np.isnan(captured(np.zeros(5), np.arange(5.0)))


def test_top_roi_is_that_of_the_best_predicted_value_per_cost():
    value = np.array([100.0, 300.0, 50.0, 1e9, 1e9] + [1.0] * 15)
    predicted = np.array([200.0, 150.0, 90.0, 1e9, 1e9] + [1.0] * 15)
    # unknown and zero costs are left out: 18 rows, so the best two
    cost = np.array([50.0, 50.0, 60.0, np.nan, 0.0] + [10.0] * 15)
    assert top_roi(value, predicted, cost) == pytest.approx(400 / 100 - 1)
    assert np.isnan(top_roi(value, predicted, np.full(20, np.nan)))


@pytest.mark.parametrize("a", [np.ones(5), np.array([1.0, 2.0])], ids=["constant", "two"])
def test_no_rank_correlation_without_ranks(a):
    assert np.isnan(rank_correlation(a, np.arange(float(len(a)))))


def test_rank_correlation_follows_the_order_only(outcomes):
    actual, predicted = outcomes
    assert rank_correlation(np.log(predicted), actual) == pytest.approx(rank_correlation(predicted, actual))
    assert np.sign(rank_correlation(predicted, actual)) == np.sign(kendalltau(predicted, actual).statistic)


def test_figures_that_are_not_finite_are_not_logged():
    logged = judge(np.zeros(3), np.ones(3)).as_dict()
    assert logged.keys() == {"rows", "deviance"}
    assert all(np.isfinite(value) for value in logged.values())
    assert judge(np.array([]), np.array([])).as_dict() == {"rows": 0.0}


def test_bootstrap_resamples_whole_groups():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(30), 20)
    by_row = rng.normal(0, 1, 30)[groups]
    low, high = bootstrap(by_row, groups)
    alone_low, alone_high = bootstrap(by_row, np.arange(600))
    assert low < by_row.mean() < high
    # rows of a group are alike, so there are 30 things and not 600: sqrt(20) times as wide
    assert (high - low) / (alone_high - alone_low) == pytest.approx(np.sqrt(20), rel=0.25)


def test_bootstrap_interval_is_that_of_a_mean():
    by_row = np.random.default_rng(3).normal(5, 2, 1000)
    low, high = bootstrap(by_row, np.arange(1000))
    half = 1.645 * by_row.std() / np.sqrt(1000)
    assert (low, high) == pytest.approx((by_row.mean() - half, by_row.mean() + half), abs=0.03)


def test_bootstrap_is_the_same_for_a_seed_and_knows_no_spread_in_one_group():
    by_row, groups = np.arange(10.0), np.arange(10) // 2
    assert bootstrap(by_row, groups) == bootstrap(by_row, groups)
    assert bootstrap(by_row, groups, seed=1) != bootstrap(by_row, groups)
    assert bootstrap(by_row, np.zeros(10, dtype=int)) == (4.5, 4.5)
    assert bootstrap(by_row, groups + 100) == bootstrap(by_row, groups)
