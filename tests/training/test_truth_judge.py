"""On a market whose truth is known: the model above the rules, the truth above the model, and no truth in training."""

import shutil
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from threadpoolctl import threadpool_limits

from features.matrix import NAMES
from features.settings import Settings
from training.backtest import MODEL, backtest, outcome, rule_data
from training.baselines import RIDGE, RULES, rule_orders
from training.dataset import build_dataset
from training.judgeable import judgeable
from training.pipeline import fit_served
from training.sample import write_sample
from training.sample_truth import FOLDER, read_truth
from training.source import load
from training.split import labelled, time_split
from training.stage_fit import FitOptions
from training.truth_figures import Advice, judge_picks
from training.truth_judge import judge_by_truth, priced

OPTIONS = FitOptions(trees=20, threads=1)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("judged") / "market"
    write_sample(folder, creators=600, placements=1500, snapshots=6, fmt="parquet", truth=(30, 200))
    return folder


def learnt(folder):
    """Dataset, labelled rows, backtest and the model that would be served."""
    loaded = load(folder, Settings(), None)
    data = build_dataset(loaded.market)
    rows = labelled(loaded.market.placements, loaded.as_of)
    history = backtest(data, time_split(loaded.market.placements, loaded.as_of), OPTIONS)
    return data, rows, history, fit_served(data, rows, history, OPTIONS)


@pytest.fixture(scope="module")
def world(folder):
    return learnt(folder)


@pytest.fixture(scope="module")
def truth(folder):
    return read_truth(folder / FOLDER)


@pytest.fixture(scope="module")
def result(world, truth):
    data, rows, _, model = world
    return judge_by_truth(data, rows, model, truth)


# --- who is better


def test_the_model_and_every_rule_are_judged_the_model_first(result):
    assert list(result.figures) == list(result.advice) == [MODEL, *RULES, RIDGE]
    assert {one.briefs for one in result.figures.values()} == {result.figures[MODEL].briefs}
    assert 25 <= result.figures[MODEL].briefs <= 30
    assert result.facts["world"] == "balanced"


def test_the_model_picks_far_better_than_chance_and_no_worse_than_followers(result):
    share = {name: one.oracle_share for name, one in result.figures.items()}
    assert share[MODEL] > share["random"] + 0.4
    assert share[MODEL] > share["followers"] + 0.4
    assert result.figures[MODEL].oracle_low > result.figures["random"].oracle_high
    assert result.figures[MODEL].ndcg > result.figures["random"].ndcg + 0.3
    # buying in order of the true ROI is not the best of all shoppings, so a regret can be a little below 0
    assert result.figures[MODEL].regret < 0.5 * result.figures["random"].regret
    assert result.figures["random"].lift == pytest.approx(1.0, abs=0.15)
    assert result.figures[MODEL].lift > 2
    assert share[MODEL] < 1


def test_rules_that_know_more_pick_better(result):
    share = {name: one.oracle_share for name, one in result.figures.items()}
    assert share[RIDGE] > share["random"] + 0.3
    assert share["geo-adjusted views per cost"] > share["engagement per cost"] > share["random"]
    assert result.best_rule == max((name for name in share if name != MODEL), key=share.__getitem__) != "random"


def test_only_the_model_has_intervals_and_all_expect_a_value(result):
    for name, one in result.figures.items():
        assert np.isfinite(one.coverage) == np.isfinite(one.coverage_picks) == (name == MODEL)
        assert np.isfinite(one.decile_error)
    assert 0.5 < result.figures[MODEL].coverage < 0.95


def test_who_knows_the_truth_scores_one(result):
    pool = result.pool
    roi, value = pool.truth["roi"].to_numpy(), pool.truth["value"].to_numpy()
    oracle = judge_picks(pool, Advice(roi, value, roi))
    assert (oracle.oracle_share, oracle.ndcg, oracle.promise) == pytest.approx((1, 1, 1))
    assert (oracle.regret, oracle.decile_error) == pytest.approx((0, 0), abs=1e-9)
    for one in result.figures.values():
        assert one.oracle_share < oracle.oracle_share
        assert one.lift < oracle.lift


def test_the_models_figures_are_those_of_its_expected_roi(result):
    pool = result.pool
    again = judge_picks(pool, Advice(pool.roi, pool.value, pool.roi, pool.inside))
    assert again == result.figures[MODEL]


def test_slices_of_goals_hold_every_brief_once(result):
    assert set(result.slices) == {"goal", "tier", "platform", "creator"}
    goals = result.slices["goal"]
    assert sum(by_name[MODEL].briefs for by_name in goals.values()) == result.figures[MODEL].briefs
    for members in result.slices.values():
        for by_name in members.values():
            assert set(by_name) == set(result.figures)
            assert len({one.briefs for one in by_name.values()}) == 1
            assert by_name[MODEL].briefs > 0


# --- what a rule says


def test_rules_order_by_their_own_score_and_ridge_by_roi(result):
    pool = result.pool
    orders, known = rule_orders(pool.rule_data()), np.isfinite(pool.value)
    assert known.mean() > 0.8
    for name in RULES:
        np.testing.assert_array_equal(result.advice[name].order[known], orders[name][known])
        assert not (result.advice[name].order[~known] > -np.inf).any()
    np.testing.assert_array_equal(result.advice[RIDGE].order[known], result.advice[RIDGE].roi[known])
    followers = pool.x[known, NAMES.index("log_followers")]
    np.testing.assert_allclose(result.advice["followers"].order[known], followers)
    assert len(np.unique(result.advice["random"].order[known])) == known.sum()


def test_expected_values_of_rules_are_positive_and_on_the_level_of_the_data(result):
    true = result.pool.truth["value"].to_numpy()
    for name in (*RULES, RIDGE):
        one = result.advice[name]
        known = np.isfinite(one.value)
        assert (one.value[known] > 0).all()
        assert 0.2 < one.value[known].sum() / true[known].sum() < 5
        np.testing.assert_allclose(
            one.roi[known], one.value[known] / np.maximum(result.pool.cost[known], 1.0) - 1, rtol=1e-12
        )


def test_priced_by_hand(result):
    pool = replace(result.pool, value=np.array([5.0, np.nan, 1.0]), cost=np.array([100.0, 10.0, 0.2]))
    value = np.array([300.0, 50.0, 2.0])
    by_roi = priced(pool, value, 0.5)
    np.testing.assert_allclose(by_roi.roi, [2.0, np.nan, 3.0])
    np.testing.assert_allclose(by_roi.order, [2.0, -np.inf, 3.0])
    np.testing.assert_allclose(by_roi.value, [300.0, np.nan, 2.0])
    by_name = priced(pool, value, 0.5, np.array([7.0, 9.0, np.nan]))
    np.testing.assert_allclose(by_name.order, [7.0, -np.inf, np.nan])
    np.testing.assert_allclose(by_name.roi, by_roi.roi)
    assert by_roi.inside is None
    assert value.tolist() == [300.0, 50.0, 2.0]


# --- the truth stays out


def test_nothing_of_the_truth_is_learnt(folder, world, tmp_path):
    bare = shutil.copytree(folder, tmp_path / "market")
    shutil.rmtree(bare / FOLDER)
    data, rows, history, model = world
    without = learnt(bare)
    np.testing.assert_array_equal(without[0].x, data.x)
    np.testing.assert_array_equal(without[1], rows)
    assert without[2].metrics == history.metrics
    assert without[3].stages.keys() == model.stages.keys()
    for name, stage in model.stages.items():
        assert without[3].stages[name].to_json() == stage.to_json()
        assert without[3].stages[name].trees == stage.trees
    assert (without[3].levels, without[3].extra_cost) == (model.levels, model.extra_cost)


def test_what_is_advised_does_not_depend_on_what_is_true(world, truth, result):
    data, rows, _, model = world
    numbers = [
        name for name, kind in truth.outcomes.schema.items() if kind.is_float() and not name.startswith("followers")
    ]
    mixed = truth.outcomes.with_columns(pl.col(name).shuffle(seed=k) for k, name in enumerate(numbers))
    other = judge_by_truth(data, rows, model, replace(truth, outcomes=mixed))
    for name, one in result.advice.items():
        for part in ("order", "value", "roi"):
            np.testing.assert_array_equal(getattr(other.advice[name], part), getattr(one, part))
    # and what it is worth does: nobody picks well in a world where any creator may be any other
    assert abs(other.figures[MODEL].oracle_share - other.figures["random"].oracle_share) < 0.2
    assert other.figures[MODEL].oracle_share < result.figures[MODEL].oracle_share - 0.4


def test_judging_twice_says_the_same_and_changes_nothing(world, truth, result):
    data, rows, _, model = world
    x, outcomes = data.x.copy(), truth.outcomes.clone()
    again = judge_by_truth(data, rows, model, truth)
    # as text: a figure that is not there is no number, and equal to nothing
    assert str(again.figures) == str(result.figures)
    assert str(again.slices) == str(result.slices)
    np.testing.assert_array_equal(data.x, x)
    assert truth.outcomes.equals(outcomes)


def test_rules_learn_from_the_rows_given_alone(world, truth, result):
    data, rows, _, model = world
    fewer = judge_by_truth(data, rows[: len(rows) // 2], model, truth)
    assert fewer.figures[MODEL] == result.figures[MODEL]
    assert (
        fewer.figures["followers"].oracle_share == result.figures["followers"].oracle_share
    )  # its order is not learnt
    assert fewer.figures["followers"].decile_error != result.figures["followers"].decile_error
    assert fewer.figures[RIDGE].oracle_share != result.figures[RIDGE].oracle_share


def test_of_what_was_not_delivered_rules_learn_no_more_than_of_the_rest(world, truth, result, monkeypatch):
    data, rows, _, model = world
    asked = []
    monkeypatch.setattr("training.truth_judge.rule_data", lambda *args: asked.append(args[1]) or rule_data(*args))
    judge_by_truth(data, rows, model, truth)
    value = outcome(data, "value")[rows]
    np.testing.assert_array_equal(asked[0], rows[judgeable(data.market, rows, value)])
    assert len(asked[0]) < np.isfinite(value).sum()
