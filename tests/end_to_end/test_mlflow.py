"""What a training leaves in MLflow for its reviewers, read with MLflow's own client and UI."""

import io
import json
import sys
import time

import matplotlib.image
import numpy as np
import pandas as pd
import polars as pl
import pytest

from features.brief import parse_brief
from features.matrix import NAMES
from serving import candidates, ranking
from serving.release import load_release

RULES = ["ridge_on_logs", "geo-adjusted_views_per_cost", "engagement_per_cost", "random", "followers"]


@pytest.fixture(scope="module")
def mlflow(place):
    import mlflow  # noqa: PLC0415

    before = mlflow.get_tracking_uri()
    uri = f"sqlite:///{place.home / 'mlflow' / 'mlflow.db'}"
    with pytest.MonkeyPatch.context() as patch:
        # MLflow writes the address into the environment; loading a model puts its code first on the path
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setattr(sys, "path", list(sys.path))
        mlflow.set_tracking_uri(uri)
        mlflow.set_registry_uri(uri)
        yield mlflow
        mlflow.set_tracking_uri(before)
        mlflow.set_registry_uri(before)


@pytest.fixture(scope="module")
def client(mlflow):
    return mlflow.MlflowClient()


@pytest.fixture(scope="module")
def run(client):
    return client.get_run(client.get_model_version("influencer-roi", "1").run_id)


@pytest.fixture(scope="module")
def artifacts(mlflow, run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("artifacts")
    mlflow.artifacts.download_artifacts(run_id=run.info.run_id, dst_path=str(folder))
    return folder


def test_a_run_says_what_it_is(run):
    assert run.info.run_name in ("train 2026-07-01 market: promote", "train 2026-07-01 market: do not promote")
    assert run.info.status == "FINISHED"
    description = run.data.tags["mlflow.note.content"]
    assert description.startswith(
        "**PROMOTE (SYNTHETIC data): First model: there is no version in force to compare with. Better than"
    )
    assert "the SYNTHETIC sample market" in description
    assert "PROMOTE" in description
    assert run.data.tags["verdict"] == "promote"
    assert (run.data.tags["synthetic"], run.data.tags["judged"]) == ("true", "value")


def test_every_run_is_in_the_one_experiment(client, place):
    (experiment,) = [found for found in client.search_experiments() if found.name == "influencer-roi"]
    assert experiment.artifact_location.startswith((place.home / "mlflow" / "artifacts").as_uri())
    assert len(client.search_runs([experiment.experiment_id])) == 2


def test_params_name_data_seed_and_schema(run, place):
    card = load_release(place.home).card
    params = run.data.params
    assert (params["as_of"], params["seed"], params["currency"]) == ("2026-07-01", "0", "USD")
    assert (int(params["features"]), params["feature_schema"]) == (len(NAMES), card["feature_schema"])
    assert int(params["rows_train"]) == card["data"]["placements_settled"]
    assert int(params["rows_backtest_train"]) + int(params["rows_backtest_judged"]) < int(params["rows_train"])


def test_metrics_stand_beside_every_rule_and_by_slice(run, place):
    metrics, card = run.data.metrics, load_release(place.home).card["metrics"]
    assert metrics["deviance"] == pytest.approx(card["model"]["deviance"])
    for rule in RULES:
        assert metrics[f"rule/{rule}/deviance"] > metrics["deviance"]
        assert f"rule/{rule}/captured" in metrics
    best = min(value for name, value in metrics.items() if name.startswith("rule/") and name.endswith("/deviance"))
    assert metrics["gain_over_best_rule"] == pytest.approx(best - metrics["deviance"])
    assert metrics["deviance_best_rule"] == pytest.approx(best)
    low, high = metrics["gain_over_best_rule_low"], metrics["gain_over_best_rule_high"]
    assert low < metrics["gain_over_best_rule"] < high
    assert 0.5 < metrics["coverage_80"] < 1
    for slice_ in ("goal/conversion", "tier/micro", "platform/tiktok", "country/US"):
        assert {f"{slice_}/{figure}" for figure in ("deviance", "deviance_best_rule", "gain", "gain_low")} <= set(
            metrics
        )
    assert 0 < metrics["exposure/creators_picked"] <= 1


def test_tables_texts_and_card_are_there(artifacts, run):
    backtest = pl.read_csv(artifacts / "tables" / "backtest.csv")
    assert backtest["prediction"][0] == "model"
    assert backtest["deviance"][0] == pytest.approx(run.data.metrics["deviance"])
    assert set(json.loads((artifacts / "tables" / "backtest.json").read_text())["columns"]) == set(backtest.columns)
    assert pl.read_csv(artifacts / "tables" / "slices.csv").height > 20
    misses = pl.read_csv(artifacts / "tables" / "worst_misses.csv")
    assert misses["error"].abs().is_sorted(descending=True)
    assert "Usable" in (artifacts / "check.txt").read_text()
    assert (artifacts / "verdict.txt").read_text().startswith("PROMOTE")
    assert json.loads((artifacts / "model_card.json").read_text())["features"] == list(NAMES)
    assert (artifacts / "model_card.md").read_text().startswith("**SYNTHETIC data")
    assert "lightgbm" in json.loads((artifacts / "environment.json").read_text())["packages"]
    assert pl.read_csv(artifacts / "tables" / "exposure.csv")["kind"].unique().sort().to_list() == [
        "country", "language", "tier"
    ]  # fmt: skip


def test_plots_show_something(artifacts):
    plots = {path.stem: path.read_bytes() for path in (artifacts / "plots").iterdir()}
    assert set(plots) == {
        "calibration", "captured", "deviance_by_slice", "gain_by_slice", "interval_coverage", "factor_importance",
        "shap_summary",
    }  # fmt: skip
    for name, content in plots.items():
        image = matplotlib.image.imread(io.BytesIO(content), format="png")
        assert min(image.shape[:2]) > 200, name
        assert len(np.unique(image.reshape(-1, image.shape[2]), axis=0)) > 10, name


def test_the_run_is_tied_to_its_data(run):
    inputs = {given.dataset.name: given for given in run.inputs.dataset_inputs}
    assert set(inputs) == {"placements", "campaigns", "creators"}
    assert json.loads(inputs["placements"].dataset.profile)["num_rows"] == 2500
    assert "impressions" in inputs["placements"].dataset.schema
    assert {tag.value for tag in inputs["placements"].tags} == {"placements"}


def test_versions_are_registered_with_signature_verdict_and_alias(mlflow, client):
    first, second = (client.get_model_version("influencer-roi", version) for version in ("1", "2"))
    assert first.description.startswith("PROMOTE")
    assert first.tags["verdict"] == "promote"
    assert first.run_id != second.run_id
    aliases = client.get_registered_model("influencer-roi").aliases
    assert {alias: str(version) for alias, version in aliases.items()} == {"champion": "1", "challenger": "2"}
    signature = mlflow.models.get_model_info("models:/influencer-roi/1").signature
    assert signature.inputs.input_names() == list(NAMES)
    assert {"impressions", "engagements"} <= set(signature.outputs.input_names())


def test_the_registered_model_predicts_what_is_served(mlflow, place, monkeypatch):
    release, seen = load_release(place.home), []
    inner = candidates.score

    def score(model, x, *more):
        seen.append(x)
        return inner(model, x, *more)

    monkeypatch.setattr(candidates, "score", score)
    asked = {"goal": "awareness", "budget": 1e6, "top": 1000, "rank_by": "impressions", "explain": False}
    answer = ranking.rank(release, parse_brief(asked), request_id="test")
    loaded = mlflow.pyfunc.load_model("models:/influencer-roi/1")
    predicted = loaded.predict(pd.DataFrame(seen[0], columns=list(NAMES)))["impressions"]
    served = [pick.expected.impressions for pick in answer.picks]
    assert len(served) > 500
    assert served == pytest.approx(sorted(predicted, reverse=True), rel=1e-6)


def test_the_ui_opens_on_the_home(start):
    server = start("influencer-roi", "ui")
    print(f"UI answers after {server.wait_for('/health', seconds=120):.1f} s")
    status, page = server.ask("GET", "/")
    assert (status, "MLflow" in page) == (200, True)
    deadline = time.monotonic() + 60
    while (asked := server.ask("POST", "/api/2.0/mlflow/experiments/search", {"max_results": 10}))[0] != 200:
        assert time.monotonic() < deadline, asked
        time.sleep(1)
    assert "influencer-roi" in {experiment["name"] for experiment in asked[1]["experiments"]}
