import numpy as np
import pytest
from scipy.optimize import brentq
from threadpoolctl import threadpool_limits

from features.matrix import FEATURES, NAMES
from training.metrics import tweedie
from training.stage_fit import (
    DIRECT_TREES,
    FEW_ROWS,
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


def step(x):
    return -2.0 + 1.5 * (x[:, 0] > 0.5) * (x[:, 1] < 0.3)


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


def weight(stage):
    """How much of its trees a stage adds, all ensembles together."""
    return sum(trees.weight for trees in stage.trees)


def without_base(stage):
    """The weight of the ensemble without a base: it is the one of more trees."""
    more = f"[num_iterations: {DIRECT_TREES * OPTIONS.trees:.0f}]"
    return sum(trees.weight for trees in stage.trees if more in trees.text)


@pytest.mark.parametrize("kind", ["counts", "amounts"])
def test_trees_are_kept_where_features_interact(kind):
    stage, _ = fitted(interaction, kind=kind)
    assert weight(stage) > 0.3
    assert all(trees.weight > 0 for trees in stage.trees)


@pytest.mark.parametrize("kind", ["counts", "amounts"])
@pytest.mark.parametrize("truth", [interaction, step])
def test_trees_without_a_base_are_used_where_a_line_says_nothing(truth, kind):
    shares = []
    for seed in range(3):
        stage, _ = fitted(truth, kind=kind, seed=seed)
        assert without_base(stage) > 0.25
        assert weight(stage) > 0.8
        shares.append(without_base(stage) / weight(stage))
    assert np.median(shares) > 0.6


@pytest.mark.parametrize("kind", ["counts", "amounts"])
def test_trees_without_a_base_are_left_out_where_a_line_says_it_all(kind):
    assert [without_base(fitted(linear, kind=kind, seed=seed)[0]) for seed in range(3)] == [0.0] * 3


@pytest.mark.parametrize("kind", ["counts", "amounts"])
def test_trees_are_left_out_where_there_is_only_noise(kind):
    weights, direct = [], []
    for seed in range(5):
        stage, scaler = fitted(noise, kind=kind, seed=seed, n=1000)
        assert (weight(stage) == 0) == (stage.trees == ())
        weights.append(weight(stage))
        direct.append(without_base(stage))
        x, _, exposure, mean = simulate(noise, kind=kind, seed=9)
        found = predicted(stage, scaler, x, exposure)
        assert np.std(np.log(found / mean)) < 0.2
    # later rows are noisy judges: now and then they keep half of the trees
    assert weights.count(0.0) >= 3
    assert max(weights) < 0.6
    assert direct.count(0.0) >= 3
    assert max(direct) < 0.4


def test_trees_need_enough_rows():
    stage, _ = fitted(interaction, n=MIN_ROWS_FOR_TREES - 1)
    assert (stage.trees, stage.rows) == ((), MIN_ROWS_FOR_TREES - 1)
    assert fitted(interaction, kind="amounts", n=3 * MIN_ROWS_FOR_TREES)[0].trees != ()


@pytest.fixture
def blended(monkeypatch):
    """A stage of the blend and slope asked for, whatever later rows want."""

    def fit(data, residual, direct, slope=1.0):
        for name, value in {"BLENDS": (residual,), "DIRECT": (direct,), "SLOPES": (slope, slope)}.items():
            monkeypatch.setattr(f"training.stage_fit.{name}", value)
        return fit_stage("events", "views", data, OPTIONS)

    return fit


@pytest.mark.parametrize("kind", ["counts", "amounts"])
@pytest.mark.parametrize(("residual", "direct", "slope"), [(0.5, 0.3, 1.0), (1.0, 0.7, 1.25), (0.0, 0.5, 0.8)])
def test_the_log_rate_of_a_blend_is_the_weighted_sum_of_its_parts(blended, kind, residual, direct, slope):
    x, y, exposure, _ = simulate(lambda x: linear(x) + 0.5 * interaction(x), kind=kind)
    design = fit_scaler(x).design(x)
    data = StageData(x, design, y, exposure)
    base, on_base, alone = (blended(data, *of) for of in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0)))
    assert [len(stage.trees) for stage in (base, on_base, alone)] == [0, 1, 1]
    assert not alone.coef.any()
    stage = blended(data, residual, direct, slope)
    weights = [slope * (1 - direct) * residual, slope * direct]
    assert [trees.weight for trees in stage.trees] == pytest.approx([w for w in weights if w > 0])
    # the parts themselves by hand, from coefficients and texts
    line = design.astype(float) @ base.coef
    corrected = on_base.trees[0].booster.predict(x, raw_score=True)
    own = alone.trees[0].booster.predict(x, raw_score=True)
    assert min(np.std(part) for part in (line, corrected, own)) > 0.1
    by_hand = slope * ((1 - direct) * (line + residual * corrected) + direct * own)
    log_rate = stage.log_rate(x, design)
    # but for a constant, which brings it to the level of the data
    np.testing.assert_allclose(log_rate - log_rate.mean(), by_hand - by_hand.mean(), atol=2e-5)
    assert level_shift(y, np.exp(log_rate) * exposure) == pytest.approx(0, abs=1e-5)


WIDTH = len(FEATURES)
SIGNED = [i for i, feature in enumerate(FEATURES) if feature.sign]


def along(blended, column, shape, width=WIDTH):
    """Log rates of trees alone at 60 rows (down) as one column grows (across), where `shape` of it is the truth."""
    rng = np.random.default_rng(column)
    x = rng.normal(0, 1, (1500, width)).astype(np.float32)
    exposure = rng.lognormal(4, 0.5, len(x))
    log_rate = shape(x[:, column]) + 0.3 * x[:, 0] * x[:, 1]
    y = exposure * np.exp(log_rate + rng.normal(0, 0.3, len(x)))
    scaler = fit_scaler(x)
    stage = blended(StageData(x, scaler.design(x), y, exposure), 0.0, 1.0)
    assert not stage.coef.any()
    assert len(stage.trees) == 1
    grid = np.linspace(-3, 3, 61, dtype=np.float32)
    asked = np.repeat(x[:60], len(grid), axis=0)
    asked[:, column] = np.tile(grid, 60)
    return stage.log_rate(asked, scaler.design(asked)).reshape(60, len(grid))


def wave(column):
    return np.sin(2.5 * column)


def test_some_features_have_a_declared_sign_either_way():
    assert {FEATURES[i].sign for i in SIGNED} == {1, -1}


@pytest.mark.parametrize("column", SIGNED, ids=lambda i: NAMES[i])
def test_trees_go_the_declared_way_along_a_feature_with_a_sign(blended, column):
    sign = FEATURES[column].sign
    rising = sign * np.diff(along(blended, column, wave), axis=1)
    assert rising.min() >= -1e-12
    assert rising.sum(axis=1).min() > 0.1
    # where the truth goes the other way throughout, it is not followed at all
    assert np.ptp(along(blended, column, lambda c: -0.8 * sign * c), axis=1).max() < 1e-12


@pytest.mark.parametrize(
    ("column", "width"), [(SIGNED[0] + 1, WIDTH), (SIGNED[0], WIDTH - 1)], ids=["unsigned", "narrow"]
)
def test_trees_follow_the_data_along_a_feature_without_a_sign(blended, column, width):
    assert column not in SIGNED or width < WIDTH
    steps = np.diff(along(blended, column, wave, width), axis=1)
    assert steps.min() < -0.05
    assert steps.max() > 0.05
    fall = along(blended, column, lambda c: -0.8 * c, width)
    assert (fall[:, 0] - fall[:, -1]).min() > 1


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


@pytest.mark.parametrize(
    ("rows", "trees", "leaves", "rate"),
    [
        (FEW_ROWS - 1, 40, 7, 0.06),
        (FEW_ROWS, 40, 12, 0.1),
        (MANY_ROWS - 1, 40, 12, 0.1),
        (MANY_ROWS, 80, 24, 0.1),
    ],
)
def test_the_size_of_an_ensemble_goes_with_the_rows(rows, trees, leaves, rate):
    sized = FitOptions(seed=3, threads=1, min_rows_in_leaf=11).for_rows(rows)
    assert (sized.trees, sized.leaves, sized.learning_rate) == (trees, leaves, pytest.approx(rate))
    alone = sized.without_base()
    assert alone.trees == 1.5 * trees
    assert (alone.leaves, alone.learning_rate) == (sized.leaves, sized.learning_rate)
    for one in (sized, alone):
        assert (one.seed, one.threads, one.min_rows_in_leaf) == (3, 1, 11)


@pytest.mark.parametrize("leaves", [2, 3])
def test_an_ensemble_for_few_rows_still_splits(leaves):
    assert FitOptions(leaves=leaves).for_rows(FEW_ROWS - 1).leaves == 2


def test_a_stage_with_many_rows_gets_a_larger_ensemble(monkeypatch):
    options = FitOptions(trees=10, leaves=4, learning_rate=0.25)
    assert (FEW_ROWS, MANY_ROWS) == (5_000, 50_000)
    assert options.for_rows(FEW_ROWS) == options.for_rows(MANY_ROWS - 1) == options
    monkeypatch.setattr("training.stage_fit.FEW_ROWS", 1_500)
    monkeypatch.setattr("training.stage_fit.MANY_ROWS", 2_000)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2_500, 3)).astype(np.float32)
    y = np.exp(np.sin(3 * x[:, 0]) + 0.1 * rng.normal(size=2_500))
    data = StageData(x, fit_scaler(x).design(x), y, np.ones(2_500))
    # either ensemble: on the residual, and without a base
    for blends, direct, more in (((1.0,), (0.0,), 1.0), ((0.0,), (1.0,), 1.5)):
        monkeypatch.setattr("training.stage_fit.BLENDS", blends)
        monkeypatch.setattr("training.stage_fit.DIRECT", direct)
        for rows, trees, leaves, rate in ((2_500, 20, 8, 0.25), (1_900, 10, 4, 0.25), (1_400, 10, 3, 0.15)):
            (found,) = fit_stage("impressions", "one", data.part(slice(0, rows)), options).trees
            assert found.booster.num_trees() == more * trees
            assert f"[num_leaves: {leaves}]" in found.text
            assert f"[learning_rate: {rate:g}]" in found.text
