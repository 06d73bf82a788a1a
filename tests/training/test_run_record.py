"""What a run leaves for its reviewers, put together of a real backtest."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from threadpoolctl import threadpool_limits

from features.settings import Settings
from features.value import GOALS
from serving.catalogue import build_catalogue
from serving.release import Release
from training.backtest import backtest
from training.card import model_card
from training.dataset import build_dataset
from training.drift import Drift, State
from training.duel import meet
from training.exposure import exposure_of, recent_briefs
from training.gate import judge_promotion
from training.pipeline import fit_served
from training.plots import SYNTHETIC_NOTE
from training.run_record import RECORDED, SAMPLE_ROWS, Training, data_frame, run_record, with_trials
from training.sample import write_sample
from training.source import load
from training.split import iso, labelled, time_split
from training.stage_fit import FitOptions
from training.surroundings import Surroundings
from training.tier_table import tier_table
from training.tune import Trial, Tuned

OPTIONS = FitOptions(trees=10, threads=1)
LIVE = "Version 3 is served; `influencer-roi rollback` goes back to version 2."
AROUND = Surroundings("3.11.0", "Linux x86_64", {"lightgbm": "4.7.0"}, "0123456789abcdef", False)
OF_RESULT = {"calibration", "captured", "deviance_by_slice", "gain_by_slice", "interval_coverage"}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "market"
    write_sample(folder, creators=400, placements=2500, snapshots=5, seed=1)
    return folder


@pytest.fixture(scope="module")
def loaded(folder):
    return load(folder, Settings(), None)


@pytest.fixture(scope="module")
def first(folder, loaded):
    """A first model: nothing is in force."""
    data, rows = build_dataset(loaded.market), labelled(loaded.market.placements, loaded.as_of)
    result = backtest(data, time_split(loaded.market.placements, loaded.as_of), OPTIONS)
    model, verdict = fit_served(data, rows, result, OPTIONS), judge_promotion(loaded.report.ok, result)
    tiers = tier_table(data, rows)
    card = model_card(model, loaded.market, loaded.report, folder, loaded.as_of, rows, result, verdict, tiers)
    recorded = {name: loaded.tables.by_name()[name].select(columns) for name, columns in RECORDED.items()}
    model = replace(model, card=card)
    return Training(model, data, recorded, loaded.report, rows, result, verdict, OPTIONS, around=AROUND)


@pytest.fixture(scope="module")
def later(first, loaded):
    """The same model beside a version in force that learnt less."""
    data, result = first.data, first.result
    less = backtest(data, replace(result.split, train=result.split.train[::6]), OPTIONS)
    met = meet(data, result, less.model, np.arange(len(result.judged)), "3", "as served")
    drift = [Drift("log_price", State.DRIFT, 0.4, 0.0, 0.0, 0.0, (), 100, 20),
             Drift("niche", State.TOO_FEW, np.nan, np.nan, 0.0, 0.0, (), 0, 0)]  # fmt: skip
    release = Release(first.model, build_catalogue(loaded.market, loaded.as_of, Settings()))
    return replace(
        first, duel=met, champion={**first.model.card, "version": "3"}, drift=drift, live=LIVE,
        exposure=exposure_of(release, recent_briefs(loaded.market, 3)),
        verdict=judge_promotion(True, result, duel=met),
    )  # fmt: skip


@pytest.fixture(scope="module")
def first_record(first, tmp_path_factory):
    return run_record(first, tmp_path_factory.mktemp("artefact"))


@pytest.fixture(scope="module")
def record(later, tmp_path_factory):
    return run_record(later, tmp_path_factory.mktemp("artefact"))


def test_a_first_run_has_everything_but_what_it_cannot_be_compared_with(first_record):
    assert first_record.figures.keys() == OF_RESULT | {"factor_importance", "shap_summary"}
    assert first_record.tables.keys() == {"data", "backtest", "slices", "worst_misses"}
    assert first_record.description.startswith("**PROMOTE (SYNTHETIC data): First model")
    assert not [name for name in first_record.metrics if name.startswith(("champion/", "drift/", "exposure/"))]
    assert first_record.tags["compared_with"] == ""


def test_beside_a_version_in_force_all_is_there(record):
    assert record.figures.keys() == OF_RESULT | {"factor_importance", "shap_summary", "champion_by_slice", "drift"}
    assert record.tables.keys() == {"data", "backtest", "slices", "worst_misses", "champion", "drift", "exposure"}
    assert "version 3 in force" in record.description.splitlines()[0]
    assert LIVE in record.description
    assert "1 of 2 columns: log_price" in record.description
    assert record.tags["compared_with"] == "3"


def test_metrics_are_those_of_the_parts(record, later):
    metrics, duel = record.metrics, later.duel
    assert metrics["champion/gain"] == duel.gain
    assert (metrics["champion/gain_low"], metrics["champion/gain_high"]) == duel.interval
    assert metrics["champion/deviance"] == duel.champion_deviance
    assert (metrics["drift/columns"], metrics["drift/columns_moved"], metrics["drift/largest_psi"]) == (2, 1, 0.4)
    assert metrics.items() >= later.exposure.metrics().items()
    assert all(np.isfinite(value) for value in metrics.values())
    # what one request to MLflow takes
    assert len(metrics) < 1000


def test_tags_and_params_can_be_filtered_by(record, later):
    assert record.tags["verdict"] == ("promote" if later.verdict.promote else "do not promote")
    assert record.tags.items() >= later.verdict.tags().items()
    assert record.tags["gain_over_best_rule"] == f"{record.metrics['gain_over_best_rule']:.4f}"
    assert record.tags["code"] == "git commit 0123456789ab"
    agreed = later.data.market.placements.agreed[later.rows]
    assert (record.params["data_from"], record.params["data_to"]) == (iso(int(agreed.min())), iso(int(agreed.max())))
    assert record.params["git_commit"] == "0123456789abcdef"
    assert record.dicts["environment.json"]["packages"] == {"lightgbm": "4.7.0"}


def test_what_mlflow_keeps_of_a_text_is_all_of_it(record):
    # a tag of MLflow, which a description is, ends at 5,000 characters in older stores
    assert len(record.description) < 5000
    assert max(len(str(value)) for value in record.params.values()) < 500
    assert max(len(value) for value in record.tags.values()) < 500


def test_the_card_is_there_for_people_and_for_programs(record, later):
    card = json.loads(json.dumps(record.dicts["model_card.json"]))
    assert card["exposure"]["picks"] == later.exposure.picks
    text = record.texts["model_card.md"]
    assert text.startswith("**SYNTHETIC data")
    assert f"{later.exposure.picks} picks" in text
    assert f"{card['metrics']['gain_over_best_rule']['gain']:+.3f} in deviance" in text
    assert text.rstrip().endswith(LIVE)
    assert "exposure" not in later.model.card


def test_the_data_are_named_with_rows_and_dates(record, later):
    frame = record.tables["data"]
    placements = frame.row(by_predicate=pl.col("table") == "placements", named=True)
    days = later.recorded["placements"]["agreed_on"].dt.date()
    assert (placements["rows"], placements["first_day"]) == (2500, str(days.min()))
    assert placements["last_day"] == str(days.max())
    assert set(frame["digest_of_folder"]) == {later.model.card["data"]["digest"]}
    assert record.datasets["placements"][0].height == 2500


def test_data_without_a_date_have_none():
    undated = pl.DataFrame({"campaign_id": ["a"], "starts_on": pl.Series([None], dtype=pl.Datetime)})
    assert data_frame({"campaigns": undated}, "d").row(0) == ("campaigns", 1, None, None, "d")


def test_synthetic_plots_say_so_and_real_ones_do_not(record, later, tmp_path):
    assert {figure.get_suptitle() for figure in record.figures.values()} == {SYNTHETIC_NOTE}
    real = replace(later, model=replace(later.model, card={**later.model.card, "synthetic": False}))
    again = run_record(real, tmp_path)
    assert {figure.get_suptitle() for figure in again.figures.values()} == {""}
    assert again.texts["model_card.md"].startswith("**Real data")


def test_plots_hold_what_was_learnt_from(record, later):
    rows = len(record.model.sample)
    assert SAMPLE_ROWS // 2 < rows <= SAMPLE_ROWS
    assert f"({rows} placements)" in record.figures["shap_summary"].axes[0].get_title()
    judged = len(later.result.judged)
    assert f"{judged} placements" in record.figures["calibration"].axes[0].get_title()
    shown = [label.get_text() for label in record.figures["gain_by_slice"].axes[0].get_yticklabels()]
    assert {name.split()[1] for name in shown if name.startswith("goal:")} <= set(GOALS)
    assert any(name.startswith("country:") for name in shown)


def test_where_nothing_was_judged_the_run_still_stands(first, tmp_path):
    card = {**first.model.card, "metrics": {"judged": None, "why": "too few"}}
    verdict = judge_promotion(True, None)
    bare = replace(first, model=replace(first.model, card=card), result=None, verdict=verdict)
    record = run_record(bare, tmp_path)
    assert record.metrics == {}
    assert (record.tags["judged"], record.tags["gain_over_best_rule"]) == ("nothing", "")
    assert record.figures.keys() == {"factor_importance", "shap_summary"}
    assert "nothing could be judged" in record.description


def test_trials_are_nested(first_record):
    tuned = Tuned((Trial(OPTIONS, 1.5), Trial(replace(OPTIONS, trees=40), 1.25)), target="value")
    record = with_trials(first_record, tuned)
    assert [child.metrics["inner_deviance"] for child in record.children] == [1.5, 1.25]
    assert [child.tags["chosen"] for child in record.children] == ["false", "true"]
    assert record.metrics["inner_deviance_defaults"] == 1.5
    assert record.description.startswith(first_record.description)
