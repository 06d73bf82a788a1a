import re
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from threadpoolctl import threadpool_limits
from typer.testing import CliRunner

from features.build_market import build_market
from features.money import in_base_currency
from features.reading import typed
from features.settings import Settings
from features.tables import build
from serving.model import load_model
from serving.release_file import STORE, store_path
from training import mlflow_store
from training.backtest import MODEL, backtest, outcome
from training.cli import app
from training.dataset import build_dataset
from training.sample import make_market, write_sample
from training.split import Split, time_split
from training.stage_fit import FitOptions
from training.tune import MIN_JUDGED, inner_split, search, tune

# what is started from: learning so little that a few trials are enough to beat it
OPTIONS = FitOptions(trees=40, leaves=4, learning_rate=0.02, min_rows_in_leaf=200, threads=1)
AS_OF = 20_650
TRIALS = 3


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def frames():
    raw = make_market(creators=400, placements=3500, snapshots=9, seed=1)
    return {name: typed(name, table)[0] for name, table in raw.items()}


def dataset(frames):
    return build_dataset(build_market(in_base_currency(build(frames, Settings()), Settings()), Settings(), AS_OF))


@pytest.fixture(scope="module")
def data(frames):
    return dataset(frames)


@pytest.fixture(scope="module")
def split(data):
    return time_split(data.market.placements, AS_OF)


@pytest.fixture(scope="module")
def inner(data, split):
    return inner_split(data.market.placements, split)


@pytest.fixture(scope="module")
def found(data, split):
    return tune(data, split, OPTIONS, TRIALS, 0)


def poisoned(frames, data, hit):
    """The same placements with absurd outcomes in the rows `hit`."""
    ids = data.market.placements.ids.filter(pl.Series(hit))
    columns = [
        pl.when(pl.col("placement_id").is_in(ids.implode())).then((pl.col(name).fill_null(3) * 37 + 11).cast(kind))
        .otherwise(pl.col(name)).alias(name)
        for name, kind in frames["placements"].schema.items()
        if name in ("impressions", "likes", "comments", "shares", "saves", "clicks", "conversions", "revenue")
    ]  # fmt: skip
    return dataset({**frames, "placements": frames["placements"].with_columns(columns)})


# --- where it looks


def test_inner_rows_are_training_rows_and_those_that_teach_settled_before_the_window_opens(data, split, inner):
    p = data.market.placements
    assert inner.opens < split.opens
    assert set(inner.train) | set(inner.test) < set(split.train)
    assert not set(inner.train) & set(inner.test)
    assert (p.settled[inner.train] < inner.opens).all()
    assert (p.agreed[inner.test] >= inner.opens).all()
    assert (p.settled[inner.test] < split.opens).all()
    gap = np.setdiff1d(split.train, [*inner.train, *inner.test])
    assert len(gap) > 50
    assert (p.agreed[gap] < inner.opens).all()
    assert (p.settled[gap] >= inner.opens).all()


def test_rows_that_the_backtest_left_out_of_training_stay_out(data, split):
    half = Split(split.opens, split.train[::2], split.test)
    inner = inner_split(data.market.placements, half)
    assert set(inner.train) | set(inner.test) <= set(half.train)
    assert min(len(inner.train), len(inner.test)) > 0


def test_the_outcomes_of_the_backtest_window_change_nothing(frames, data, split, found):
    hit = data.market.placements.settled >= split.opens
    changed = poisoned(frames, data, hit)
    assert set(split.test) <= set(np.flatnonzero(hit))
    assert (outcome(changed, "impressions")[split.test] != outcome(data, "impressions")[split.test]).mean() > 0.8
    assert tune(changed, split, OPTIONS, TRIALS, 0) == found


def test_outcomes_inside_the_inner_window_would_be_seen(frames, data, split, inner, found):
    changed = poisoned(frames, data, np.isin(np.arange(len(data.x)), inner.test))
    _, tuned = tune(changed, split, OPTIONS, 1, 0)
    assert tuned.trials[0].deviance != found[1].trials[0].deviance


def test_every_trial_is_judged_as_a_backtest_on_the_inner_window_would(data, inner, found):
    tuned = found[1]
    assert (tuned.target, tuned.opens) == ("value", inner.opens)
    for trial in tuned.trials:
        judged = backtest(data, inner, trial.options)
        assert judged.target == "value"
        assert trial.deviance == judged.metrics[MODEL].deviance
        assert tuned.judged == len(judged.judged)


# --- what it chooses


def test_the_defaults_are_the_first_trial_and_the_least_deviance_is_chosen(found):
    options, tuned = found
    assert len(tuned.trials) == TRIALS
    assert tuned.trials[0].options == OPTIONS
    assert len({trial.options for trial in tuned.trials}) == TRIALS
    assert options == tuned.best.options
    assert tuned.best.deviance == min(trial.deviance for trial in tuned.trials) < tuned.trials[0].deviance
    assert f"deviance {tuned.best.deviance:.4f}, of the defaults {tuned.trials[0].deviance:.4f}" in tuned.text()
    assert f"{options.trees} trees of {options.leaves} leaves" in tuned.text()


def test_a_trial_changes_the_trees_within_the_bounds_and_nothing_else(found):
    for trial in found[1].trials:
        assert 40 <= trial.options.trees <= 300
        assert 4 <= trial.options.leaves <= 16
        assert 0.02 <= trial.options.learning_rate <= 0.15
        assert 20 <= trial.options.min_rows_in_leaf <= 200
        assert (trial.options.seed, trial.options.threads) == (OPTIONS.seed, OPTIONS.threads)


def test_the_same_seed_finds_the_same(data, split, found):
    assert tune(data, split, OPTIONS, TRIALS, 0) == found
    _, other = tune(data, split, OPTIONS, 2, 1)
    assert other.trials[0] == found[1].trials[0]
    assert other.trials[1].options != found[1].trials[1].options


@pytest.mark.parametrize("elsewhere", [1.0, 1.5])
def test_the_defaults_are_kept_where_nothing_beats_them(found, elsewhere):
    trials = search(lambda tried: 1.0 if tried == OPTIONS else elsewhere, OPTIONS, 6, 0, lambda _: None)
    tuned = replace(found[1], trials=trials)
    assert len(tuned.trials) == 6
    assert tuned.best is tuned.trials[0]
    assert tuned.best.options == OPTIONS
    assert "none of 6 trials beat the defaults, deviance 1.0000" in tuned.text()


def test_the_search_learns_from_its_trials():
    trials = search(lambda tried: abs(tried.trees - 250) / 100, OPTIONS, 40, 0, lambda _: None)
    late = [trial.options.trees for trial in trials[25:]]
    assert np.median(np.abs(np.array(late) - 250)) < 40
    assert min(trial.deviance for trial in trials) < 0.1


def test_defaults_outside_the_bounds_are_tried_as_they_are():
    odd = FitOptions(trees=5, leaves=40, learning_rate=0.4, min_rows_in_leaf=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trials = search(lambda tried: tried.learning_rate, odd, 3, 0, lambda _: None)
    assert trials[0].options == odd
    assert all(trial.options.trees >= 5 for trial in trials)


# --- too little


def test_nothing_is_tried_where_there_is_too_little_to_judge_by(data, split, inner):
    p = data.market.placements
    few_judges = np.sort(np.concatenate([inner.train, inner.test[: MIN_JUDGED // 2]]))
    few_taught = np.sort(np.concatenate([inner.train[-300:], inner.test]))
    cases = {
        "holds no settled placements": split.train[:0],
        "to split again": np.flatnonzero(p.agreed == p.agreed[split.train].min())[:1],
        f"and {MIN_JUDGED // 2} in it know theirs": few_judges,
        "300 placements with a known outcome had settled before the inner window opened": few_taught,
    }
    for words, rows in cases.items():
        said = []
        options, tuned = tune(data, replace(split, train=rows), OPTIONS, TRIALS, 0, said.append)
        assert options == OPTIONS, words
        assert (tuned.trials, said) == ((), []), words
        assert words in tuned.why
        assert tuned.text().startswith("Not tuned, the defaults are kept:")


def test_without_known_sales_it_judges_by_what_is_nearest_to_value(frames, split):
    sales = [name for name in ("clicks", "conversions", "revenue", "refunds") if name in frames["placements"].columns]
    changed = dataset({
        **frames,
        "placements": frames["placements"].drop(sales),
        "campaigns": frames["campaigns"].with_columns(pl.lit("conversion").alias("goal")),
    })  # fmt: skip
    _, tuned = tune(changed, split, OPTIONS, 1, 0)
    assert tuned.target == "impressions"
    assert "impressions of" in tuned.text()


# --- quiet, and only when asked for


def test_a_line_a_trial_and_not_a_word_or_file_of_optuna(data, split, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    said = []
    _, tuned = tune(data, split, OPTIONS, 2, 0, said.append)
    assert [line.split(":")[0] for line in said] == ["trial 1 of 2", "trial 2 of 2"]
    assert f"deviance {tuned.trials[1].deviance:.4f} (best {tuned.best.deviance:.4f})" in said[1]
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_optuna_is_imported_only_when_tuning():
    code = "import sys, training.pipeline, training.tune; sys.exit('optuna' in sys.modules)"
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


# --- the whole line


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What `train --trials 2` says, and its home."""
    root = tmp_path_factory.mktemp("tuned")
    market, home = root / "market", root / "home"
    write_sample(market, creators=300, placements=3500, snapshots=9, seed=1, fmt="parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(mlflow_store.TRACKING, raising=False)
        # set beforehand, so that what training sets is undone after the tests
        places = {"MPLCONFIGDIR": root / "fonts", "BENTOML_HOME": home / STORE}
        for name, value in {**places, "BENTOML_DO_NOT_TRACK": "True", "MLFLOW_DISABLE_TELEMETRY": "true"}.items():
            patch.setenv(name, str(value))
        patch.chdir(root)
        ran = CliRunner().invoke(app, ["train", str(market), "--trials", "2", "--seed", "1", "--home", str(home)])
    assert ran.exit_code == 0, ran.output
    return ran.output, home


@pytest.fixture(scope="module")
def runs(trained):
    with mlflow_store.connected(trained[1]) as mlflow:
        client = mlflow.MlflowClient()
        experiment = client.get_experiment_by_name(mlflow_store.EXPERIMENT)
        return client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"])


def test_train_prints_every_trial_and_what_was_chosen_beside_the_defaults(trained, runs):
    said = trained[0]
    deviance = runs[0].data.metrics
    assert [f"trial {number} of 2: deviance" in said for number in (1, 2, 3)] == [True, True, False]
    assert f"{deviance['inner_deviance_defaults']:.4f}" in said[said.index("Tuned:") :]
    assert f"{deviance['inner_deviance']:.4f}" in said[said.index("Tuned:") :]
    assert "Downloading" not in said  # MLflow's own progress bars
    assert said.index("Backtest:") < said.index("Tuned:") < said.index("Version 1:")


def test_trials_are_runs_nested_in_the_training_run(runs):
    parent, *children = runs
    assert parent.data.tags["kind"] == "train"
    assert [child.info.run_name for child in children] == ["trial 1", "trial 2"]
    tuned = ["trees", "leaves", "learning_rate", "min_rows_in_leaf"]
    for child in children:
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert child.data.tags["kind"] == "trial"
        assert child.data.tags["mlflow.source.name"] == "influencer-roi"
        assert child.info.status == "FINISHED"
        assert set(child.data.params) == set(tuned)
        assert child.data.metrics["inner_deviance"] > 0
    assert children[0].data.params == {name: str(getattr(FitOptions(), name)) for name in tuned}
    assert parent.data.params["trials"] == "2"
    chosen = [child for child in children if child.data.tags["chosen"] == "true"]
    assert len(chosen) == 1
    assert {name: parent.data.params[name] for name in tuned} == chosen[0].data.params
    by_child = [child.data.metrics["inner_deviance"] for child in children]
    assert parent.data.metrics["inner_deviance_defaults"] == by_child[0]
    assert parent.data.metrics["inner_deviance"] == chosen[0].data.metrics["inner_deviance"] == min(by_child)


def test_the_stored_model_has_the_chosen_trees(trained, runs):
    model = load_model(store_path(trained[1], "influencer-roi-model:1"))
    params = runs[0].data.params
    whole = {name: int(params[name]) for name in ("trees", "leaves", "min_rows_in_leaf")}
    chosen = FitOptions(**whole, learning_rate=float(params["learning_rate"]))
    assert any(stage.trees for stage in model.stages.values())
    for stage in model.stages.values():
        sized = chosen.for_rows(stage.rows)
        for trees in stage.trees:
            said = dict(re.findall(r"^\[(\w+): (.*)\]$", trees.text, re.MULTILINE))
            assert int(said["num_leaves"]) == sized.leaves
            assert float(said["learning_rate"]) == pytest.approx(sized.learning_rate, rel=1e-4)
            assert int(said["min_data_in_leaf"]) == sized.min_rows_in_leaf
        sizes = [int(re.search(r"\[num_iterations: (\d+)\]", trees.text)[1]) for trees in stage.trees]
        # on the residual first, then without a base, each at most once
        both = [sized.trees, sized.without_base().trees]
        assert sizes in ([], both[:1], both[1:], both)


@pytest.mark.parametrize("count", ["-1", "many"])
def test_a_wrong_number_of_trials_is_a_usage_error(count):
    ran = CliRunner().invoke(app, ["train", "anywhere", "--trials", count])
    assert ran.exit_code == 2
    assert "--trials" in ran.output
