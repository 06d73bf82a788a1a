import json

import lightgbm as lgb
import numpy as np
import pytest

from serving.stage import MAX_LOG, Scaler, Stage

N, F = 400, 5


@pytest.fixture(scope="module")
def x():
    rng = np.random.default_rng(0)
    x = rng.normal(1.0, 2.0, (N, F)).astype(np.float32)
    x[rng.random((N, F)) < 0.2] = np.nan
    return x


@pytest.fixture(scope="module")
def scaler(x):
    known = x.astype(float)
    return Scaler(
        np.nanmean(known, axis=0), np.nanstd(known, axis=0), np.nanmin(known, axis=0), np.nanmax(known, axis=0)
    )


@pytest.fixture(scope="module")
def stage(x):
    rng = np.random.default_rng(1)
    label = np.sign(np.nan_to_num(x[:, 0])) * np.nan_to_num(x[:, 1]) + rng.normal(0, 0.1, N)
    params = {"num_leaves": 7, "verbosity": -1, "num_threads": 1, "min_data_in_leaf": 10}
    trees = lgb.train(params, lgb.Dataset(x, label=label), 15).model_to_string()
    return Stage("engagements", "impressions", -3.0, rng.normal(0, 0.3, 2 * F), trees, 0.7, 0.5, N)


def test_design_has_a_missing_indicator_beside_every_feature_and_is_finite(x, scaler):
    design = scaler.design(x)
    assert design.shape == (N, 2 * F)
    assert np.isfinite(design).all()
    np.testing.assert_array_equal(design[:, F:] == 1, np.isnan(x))
    assert (design[:, :F][np.isnan(x)] == 0).all()
    known = ~np.isnan(x)
    np.testing.assert_allclose(design[:, :F][known], ((x - scaler.mean) / scaler.scale)[known], atol=1e-5)


@pytest.mark.parametrize(("value", "z"), [(1e9, 5.0), (-1e9, -4.0), (np.inf, 5.0), (1.0, 0.0)])
def test_a_value_never_seen_cannot_run_away(value, z):
    one = Scaler(np.ones(1), np.ones(1), np.array([-3.0]), np.array([6.0]))
    assert one.design(np.array([[value]], dtype=np.float32)).tolist() == [[z, 0.0]]


def test_log_rate_is_the_base_plus_the_weighted_trees(x, scaler, stage):
    design = scaler.design(x)
    trees = lgb.Booster(model_str=stage.trees).predict(x, raw_score=True)
    by_hand = stage.intercept + design.astype(float) @ stage.coef + 0.7 * trees
    np.testing.assert_allclose(stage.log_rate(x, design), by_hand, atol=1e-5)
    assert np.std(trees) > 0.1


@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_contributions_add_up_to_the_log_rate_up_to_a_constant(x, scaler, stage, weight):
    stage = Stage(**{**vars_of(stage), "weight": weight})
    design = scaler.design(x)
    contributions, log_rate = stage.log_contributions(x, design), stage.log_rate(x, design)
    assert contributions.shape == (N, F)
    offset = log_rate - contributions.sum(axis=1)
    # base in single precision
    np.testing.assert_allclose(offset, offset[0], atol=3e-6)
    assert np.ptp(log_rate) > 1


def test_trees_without_weight_are_not_used(x, scaler, stage):
    without = Stage(**{**vars_of(stage), "weight": 0.0})
    assert without.booster is None
    bare = Stage(**{**vars_of(stage), "trees": None, "weight": 0.0})
    design = scaler.design(x)
    np.testing.assert_array_equal(without.log_rate(x, design), bare.log_rate(x, design))


@pytest.mark.parametrize(("intercept", "bound"), [(1e6, MAX_LOG), (-1e6, -MAX_LOG)])
def test_log_rate_is_bounded(x, scaler, stage, intercept, bound):
    extreme = Stage(**{**vars_of(stage), "intercept": intercept})
    assert set(extreme.log_rate(x, scaler.design(x))) == {bound}


def test_round_trip_through_json_gives_bit_equal_log_rates(x, scaler, stage):
    again = Stage.from_json(json.loads(json.dumps(stage.to_json())), stage.trees)
    design = scaler.design(x)
    np.testing.assert_array_equal(again.log_rate(x, design), stage.log_rate(x, design))
    assert (again.quantity, again.exposure, again.spread, again.rows) == ("engagements", "impressions", 0.5, N)


def vars_of(stage):
    return {**stage.to_json(), "coef": stage.coef, "trees": stage.trees}
