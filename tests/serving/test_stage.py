import json
from dataclasses import replace

import lightgbm as lgb
import numpy as np
import pytest

from serving.stage import MAX_LOG, Scaler, Stage, Trees

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


def ensemble(x, label, rounds):
    params = {"num_leaves": 7, "verbosity": -1, "num_threads": 1, "min_data_in_leaf": 10}
    return lgb.train(params, lgb.Dataset(x, label=label), rounds).model_to_string()


@pytest.fixture(scope="module")
def stage(x):
    """With an ensemble that found an interaction and another that found a step."""
    rng = np.random.default_rng(1)
    known = np.nan_to_num(x)
    product = np.sign(known[:, 0]) * known[:, 1] + rng.normal(0, 0.1, N)
    step = 2.0 * (known[:, 2] > 1) + rng.normal(0, 0.1, N)
    trees = (Trees(ensemble(x, product, 15), 0.7), Trees(ensemble(x, step, 10), 0.4))
    return Stage("engagements", "impressions", -3.0, rng.normal(0, 0.3, 2 * F), trees, 0.5, N)


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
    first, second = (lgb.Booster(model_str=trees.text).predict(x, raw_score=True) for trees in stage.trees)
    by_hand = stage.intercept + design.astype(float) @ stage.coef + 0.7 * first + 0.4 * second
    np.testing.assert_allclose(stage.log_rate(x, design), by_hand, atol=1e-5)
    assert min(np.std(first), np.std(second), np.std(first - second)) > 0.1


@pytest.mark.parametrize("used", [(), (0,), (1,), (0, 1)])
def test_contributions_add_up_to_the_log_rate_up_to_a_constant(x, scaler, stage, used):
    stage = replace(stage, trees=tuple(stage.trees[k] for k in used))
    design = scaler.design(x)
    contributions, log_rate = stage.log_contributions(x, design), stage.log_rate(x, design)
    assert contributions.shape == (N, F)
    offset = log_rate - contributions.sum(axis=1)
    # base in single precision
    np.testing.assert_allclose(offset, offset[0], atol=3e-6)
    assert np.ptp(log_rate) > 1


def test_trees_count_by_their_weight_and_without_any_the_base_is_left(x, scaler, stage):
    design = scaler.design(x)
    bare, first = replace(stage, trees=()), stage.trees[0]
    base = stage.intercept + design.astype(float) @ stage.coef
    np.testing.assert_allclose(bare.log_rate(x, design), base, atol=1e-5)
    none = replace(stage, trees=(replace(first, weight=0.0),))
    np.testing.assert_array_equal(none.log_rate(x, design), bare.log_rate(x, design))
    np.testing.assert_array_equal(none.log_contributions(x, design), bare.log_contributions(x, design))
    one, two = (replace(stage, trees=(replace(first, weight=w),)).log_rate(x, design) for w in (0.5, 1.0))
    np.testing.assert_allclose(two - bare.log_rate(x, design), 2 * (one - bare.log_rate(x, design)), atol=1e-12)
    assert np.std(two - one) > 0.1


@pytest.mark.parametrize(("intercept", "bound"), [(1e6, MAX_LOG), (-1e6, -MAX_LOG)])
def test_log_rate_is_bounded(x, scaler, stage, intercept, bound):
    extreme = replace(stage, intercept=intercept)
    assert set(extreme.log_rate(x, scaler.design(x))) == {bound}


@pytest.mark.parametrize("used", [(), (0,), (0, 1), (1, 0)])
def test_round_trip_through_json_gives_bit_equal_log_rates(x, scaler, stage, used):
    stage = replace(stage, trees=tuple(stage.trees[k] for k in used))
    again = Stage.from_json(json.loads(json.dumps(stage.to_json())), [trees.text for trees in stage.trees])
    design = scaler.design(x)
    np.testing.assert_array_equal(again.log_rate(x, design), stage.log_rate(x, design))
    np.testing.assert_array_equal(again.log_contributions(x, design), stage.log_contributions(x, design))
    assert again.trees == stage.trees
    assert (again.quantity, again.exposure, again.spread, again.rows) == ("engagements", "impressions", 0.5, N)


@pytest.mark.parametrize("texts", [0, 1, 3])
def test_another_number_of_texts_than_of_weights_is_refused(stage, texts):
    given = [stage.trees[0].text] * texts
    with pytest.raises(ValueError, match="zip"):
        Stage.from_json(stage.to_json(), given)
