import numpy as np
import pytest
from scipy.optimize import brentq
from threadpoolctl import threadpool_limits

from training.metrics import tweedie
from training.stage_fit import (
    MANY_ROWS,
    MIN_ROWS_FOR_TREES,
    FitOptions,
    StageData,
    fit_scaler,
    fit_stage,
    in_time_order,
    level_shift,
    saturating_weights,
)

F = 6
OPTIONS = FitOptions(trees=40, threads=1)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    with threadpool_limits(1):
        yield


def linear(x):
    return -2.0 + 0.6 * x[:, 0] - 0.4 * x[:, 1]


def interaction(x):
    return -2.0 + 0.9 * np.sign(x[:, 0] * x[:, 1])


def noise(x):
    return np.full(len(x), -2.0)


def simulate(truth, n=2500, kind="counts", seed=0, exposure=None):
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, (n, F)).astype(np.float32)
    x[:, 5] = 7.0
    exposure = rng.lognormal(4, 1, n) if exposure is None else np.full(n, exposure)
    mean = exposure * np.exp(truth(x.astype(float)))
    # relative noise of a placement, beside that of counting
    y = rng.poisson(mean * rng.gamma(2, 0.5, n)) if kind == "counts" else mean * rng.lognormal(-0.125, 0.5, n)
    return x, y.astype(float), exposure, mean


def fitted(truth, options=OPTIONS, **kwargs):
    x, y, exposure, _ = simulate(truth, **kwargs)
    scaler = fit_scaler(x)
    return fit_stage("events", "views", StageData(x, scaler.design(x), y, exposure), options), scaler


def predicted(stage, scaler, x, exposure):
    return np.exp(stage.log_rate(x, scaler.design(x))) * exposure


@pytest.mark.parametrize("kind", ["counts", "amounts"])
@pytest.mark.parametrize(("truth", "left"), [(linear, 0.1), (interaction, 0.5)])
def test_a_stage_recovers_the_true_rates(truth, left, kind):
    stage, scaler = fitted(truth, kind=kind)
    x, y, exposure, mean = simulate(truth, kind=kind, seed=1)
    found = predicted(stage, scaler, x, exposure)
    constant = exposure * y.sum() / exposure.sum()
    assert tweedie(mean, found).mean() < left * tweedie(mean, constant).mean()
    assert tweedie(y, found).mean() < tweedie(y, constant).mean()
    assert found.sum() / mean.sum() == pytest.approx(1, abs=0.1)


def test_rare_events_are_learnt_too():
    stage, scaler = fitted(linear, exposure=2.0)
    x, y, exposure, mean = simulate(linear, seed=1, exposure=2.0)
    assert (y > 0).mean() < 0.5
    found = predicted(stage, scaler, x, exposure)
    assert np.corrcoef(np.log(found), np.log(mean))[0, 1] > 0.95
    assert found.sum() / mean.sum() == pytest.approx(1, abs=0.12)


@pytest.mark.parametrize("kind", ["counts", "amounts"])
def test_trees_are_kept_where_features_interact(kind):
    stage, _ = fitted(interaction, kind=kind)
    assert stage.weight > 0.3
    assert stage.trees is not None


@pytest.mark.parametrize("kind", ["counts", "amounts"])
def test_trees_are_left_out_where_there_is_only_noise(kind):
    weights = []
    for seed in range(5):
        stage, scaler = fitted(noise, kind=kind, seed=seed, n=1000)
        assert (stage.weight == 0) == (stage.trees is None)
        weights.append(stage.weight)
        x, _, exposure, mean = simulate(noise, kind=kind, seed=9)
        found = predicted(stage, scaler, x, exposure)
        assert np.std(np.log(found / mean)) < 0.2
    # later rows are noisy judges: now and then they keep half of the trees
    assert weights.count(0.0) >= 3
    assert max(weights) < 0.6


def test_trees_need_enough_rows():
    stage, _ = fitted(interaction, n=MIN_ROWS_FOR_TREES - 1)
    assert (stage.weight, stage.trees, stage.rows) == (0.0, None, MIN_ROWS_FOR_TREES - 1)


def test_spread_is_that_of_the_log_residual():
    stage, _ = fitted(linear, kind="amounts")
    assert stage.spread == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("kind", ["counts", "amounts"])
def test_a_feature_that_never_varied_has_no_influence(kind):
    stage, scaler = fitted(interaction, kind=kind)
    x, _, exposure, _ = simulate(interaction, seed=1)
    usual = predicted(stage, scaler, x, exposure)
    for other in (0.0, 1e6, np.nan):
        x[:, 5] = other
        np.testing.assert_array_equal(predicted(stage, scaler, x, exposure), usual)


def test_the_base_gives_a_feature_that_never_varied_no_influence_even_when_missing():
    x, y, exposure, _ = simulate(linear, n=300, exposure=2.0)
    x[:, 5] = np.nan
    scaler = fit_scaler(x)
    stage = fit_stage("events", "views", StageData(x, scaler.design(x), y, exposure), OPTIONS)
    usual = predicted(stage, scaler, x, exposure)
    x[:, 5] = 3.0
    np.testing.assert_array_equal(predicted(stage, scaler, x, exposure), usual)


def test_the_same_seed_gives_the_same_stage_and_data_are_left_alone():
    x, y, exposure, _ = simulate(interaction)
    scaler = fit_scaler(x)
    data = StageData(x, scaler.design(x), y, exposure)
    kept = [array.copy() for array in (x, data.design, y, exposure)]
    first, second = (fit_stage("events", "views", data, OPTIONS) for _ in range(2))
    assert first.trees == second.trees
    assert first.to_json() == second.to_json()
    other = fit_stage("events", "views", data, FitOptions(trees=40, threads=1, seed=5))
    assert other.trees != first.trees
    for array, before in zip((x, data.design, y, exposure), kept, strict=True):
        np.testing.assert_array_equal(array, before)


def test_a_yes_or_no_is_not_fitted_in_logs():
    x, *_ = simulate(noise, n=600)
    rng = np.random.default_rng(0)
    chance = 0.97 - 0.4 * (x[:, 0] < -1.5)
    y = (rng.random(600) < chance).astype(float)
    assert y.mean() >= 0.9
    scaler = fit_scaler(x)
    stage = fit_stage("delivery", "one", StageData(x, scaler.design(x), y, np.ones(600)), OPTIONS)
    found = predicted(stage, scaler, x, np.ones(600))
    # in logs of the positive ones everybody would deliver for sure
    assert found[x[:, 0] < -1.5].mean() < 0.9 < found[x[:, 0] > 0].mean()
    assert found.mean() == pytest.approx(y.mean(), abs=0.02)


def test_weights_saturate_and_have_mean_one():
    exposure = np.array([1.0, 10.0, 1e4, 1e6])
    weights = saturating_weights(exposure * 0.1, exposure)
    assert weights.mean() == pytest.approx(1)
    gained = weights[1:] / weights[:-1]
    assert (gained > 1).all()
    assert gained[0] > 5
    assert gained[2] < 1.02
    np.testing.assert_allclose(weights / weights[0], exposure / (1 + 0.1 * exposure) / (1 / 1.1))


def test_level_shift_solves_its_equation():
    rng = np.random.default_rng(0)
    expected = rng.lognormal(3, 2, 300)
    actual = expected * rng.lognormal(0.4, 1, 300) * (rng.random(300) < 0.6)
    root = brentq(lambda a: ((actual - a * expected) / np.sqrt(expected)).sum(), 1e-3, 1e3)
    assert level_shift(actual, expected) == pytest.approx(np.log(root))
    assert level_shift(expected * 3, expected) == pytest.approx(np.log(3))


def test_scaler_uses_known_values_only():
    x = np.array([[1.0, 5.0, np.nan], [3.0, 5.0, np.nan], [np.nan, 5.0, np.nan]], dtype=np.float32)
    scaler = fit_scaler(x)
    assert scaler.mean.tolist() == pytest.approx([2.0, 5.0, 0.0], abs=0.01)
    assert scaler.scale.tolist() == pytest.approx([1.0, 1.0, 1.0], abs=0.01)


def test_rows_of_a_day_keep_their_order():
    assert in_time_order(np.array([5, 3, 5, 3])).tolist() == [1, 3, 0, 2]


def test_a_stage_with_many_rows_gets_a_larger_ensemble(monkeypatch):
    options = FitOptions(trees=10, leaves=4, learning_rate=0.25)
    assert options.for_rows(MANY_ROWS - 1) == options
    grown = options.for_rows(MANY_ROWS)
    assert (grown.trees, grown.leaves, grown.learning_rate) == (20, 9, 0.3)
    monkeypatch.setattr("training.stage_fit.MANY_ROWS", 2_000)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2_500, 3)).astype(np.float32)
    y = np.exp(np.sin(3 * x[:, 0]) + 0.1 * rng.normal(size=2_500))
    data = StageData(x, fit_scaler(x).design(x), y, np.ones(2_500))
    stage = fit_stage("impressions", "one", data, options)
    assert stage.booster.num_trees() == 20
    assert fit_stage("impressions", "one", data.part(slice(0, 1_900)), options).booster.num_trees() == 10
