"""`influencer-roi backtest` as a user runs it, each in a process of its own, and the runs it leaves in MLflow."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import matplotlib.image
import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from training.cli import app, main
from training.sample import write_sample

# written out: a test that reads them from the program would follow every mistake
RULES = [
    "random", "followers", "engagement rate", "engagement per cost", "geo-adjusted views per cost",
    "creator's past mean", "ridge on logs",
]  # fmt: skip
SIZE = {"creators": 150, "placements": 700, "snapshots": 7}


class Place:
    """Folders of this module's commands, nothing of the tester's among them."""

    def __init__(self, root):
        self.root, self.home, self.user, self.cwd = root, root / "home", root / "user", root / "cwd"
        self.user.mkdir()
        self.cwd.mkdir()

    def run(self, *words, home=None):
        kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "TMPDIR") if name in os.environ}
        environment = {**kept, "LANG": "C.UTF-8", "HOME": str(self.user), "INFLUENCER_ROI_HOME": str(home or self.home)}
        return subprocess.run(
            [Path(sys.executable).parent / "influencer-roi", *map(str, words)],
            env=environment, cwd=self.cwd, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("backtest"))


@pytest.fixture(scope="module")
def market(place):
    write_sample(place.root / "market", **SIZE, truth=(12, 120))
    return place.root / "market"


@pytest.fixture(scope="module")
def bare(market, place):
    return shutil.copytree(market, place.root / "bare", ignore=shutil.ignore_patterns("truth"))


@pytest.fixture(scope="module")
def with_truth(place, market):
    return place.run("backtest", market)


@pytest.fixture(scope="module")
def without_truth(place, bare, with_truth):
    return place.run("backtest", bare, "--as-of", "2026-06-20", "--seed", 3)


def rows(said):
    """First cells of the rows of every table."""
    return [line.split("│")[1].strip() for line in said.splitlines() if line.startswith("│")]


# --- what is said


def test_with_a_truth_every_table_is_there(with_truth, place):
    said = with_truth.stdout
    assert with_truth.returncode == 0, with_truth.stderr
    assert "Traceback" not in said + with_truth.stderr
    assert "Warning" not in with_truth.stderr
    at = [said.index(words) for words in (
        "Picks by the truth of", "By slice: model (", "Later placements: value of", "What history cannot tell:",
        "Return by tier, of past placements", "all goals: ", "Following the model:", "The same with plots in MLflow",
    )]  # fmt: skip
    assert at == sorted(at)
    assert "SYNTHETIC world balanced" in " ".join(said.split("┏")[0].split())
    for name in ("model", *RULES):
        assert rows(said).count(name) == 2, name  # by the truth, and on later placements
    for words in ("share of oracle", "NDCG@10", "regret/brief", "predicted / actual", "captured by best tenth"):
        assert words in said
    assert f"influencer-roi ui --home {place.home}" in said


def test_progress_goes_to_stderr_or_stdout_as_plain_lines(with_truth):
    said = with_truth.stdout + with_truth.stderr
    for words in (
        "checking ",
        "placements settled before",
        "held-out briefs whose truth is known",
        "logging to MLflow",
    ):
        assert words in said
    assert "\x1b[" not in said


def test_without_a_truth_later_placements_are_judged_alone(without_truth):
    assert without_truth.returncode == 0, without_truth.stderr
    said = without_truth.stdout
    assert "Later placements: " in said
    assert "What history cannot tell:" in said
    for name in ("model", *RULES):
        assert rows(said).count(name) == 1, name
    for words in ("oracle", "SYNTHETIC", "held-out"):
        assert words not in said + without_truth.stderr


def test_nothing_is_published_and_nothing_written_elsewhere(with_truth, without_truth, place, market):
    assert {path.name for path in place.home.iterdir()} <= {"mlflow", "matplotlib"}
    assert list(place.cwd.iterdir()) == []
    assert [path for path in place.user.rglob("*") if path.is_file()] == []
    tables = {f"{name}.csv" for name in ("creators", "creator_snapshots", "creator_audience", "audience_overlap",
                                         "campaigns", "placements", "fx")}  # fmt: skip
    assert {path.name for path in market.iterdir()} == {*tables, "truth"}
    assert [path for path in place.home.rglob("*") if path.suffix in (".pkl", ".pickle")] == []


# --- what is refused


def refused(ran, *words):
    assert ran.returncode == 1, ran.stdout
    assert ran.stderr.rstrip().splitlines()[-1].startswith("error: ")
    text = " ".join(ran.stderr.split())
    assert [word for word in words if word not in text] == []
    assert "Traceback" not in ran.stdout + ran.stderr


def test_a_truth_of_another_market_is_refused(place, bare, tmp_path):
    folder = shutil.copytree(bare, tmp_path / "market")
    write_sample(tmp_path / "other", **{**SIZE, "creators": 400}, truth=(3, 60))
    shutil.copytree(tmp_path / "other" / "truth", folder / "truth")
    ran = place.run("backtest", folder, home=tmp_path / "home")
    refused(ran, "the truth is of another market", "are not in creators", "Remove the truth folder", "sample --truth")
    assert not (tmp_path / "home" / "mlflow").exists()


def test_a_folder_that_is_not_there_is_refused(tmp_path, monkeypatch, capsys):
    """In this process: each start of the script takes seconds."""
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path / "fonts"))
    words = ["influencer-roi", "backtest", str(tmp_path / "nowhere"), "--home", str(tmp_path / "home")]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as exit_:
        main()
    said = capsys.readouterr()
    refused(SimpleNamespace(returncode=exit_.value.code, stdout=said.out, stderr=said.err), "nowhere is not there")
    assert not (tmp_path / "home").exists()


def test_a_day_that_is_none_is_a_mistake_of_usage(bare, tmp_path):
    words = ["backtest", str(bare), "--as-of", "yesterday", "--home", str(tmp_path / "home")]
    ran = CliRunner().invoke(app, words, terminal_width=300)
    assert (ran.exit_code, "yesterday is not a date" in ran.output) == (2, True)
    assert not (tmp_path / "home").exists()


# --- what is recorded


@pytest.fixture(scope="module")
def client(place, with_truth, without_truth):
    import mlflow  # noqa: PLC0415

    before = mlflow.get_tracking_uri()
    uri = f"sqlite:///{place.home / 'mlflow' / 'mlflow.db'}"
    with pytest.MonkeyPatch.context() as patch:
        # MLflow writes the address into the environment
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        mlflow.set_tracking_uri(uri)
        mlflow.set_registry_uri(uri)
        yield mlflow.MlflowClient()
        mlflow.set_tracking_uri(before)
        mlflow.set_registry_uri(before)


@pytest.fixture(scope="module")
def runs(client):
    (experiment,) = [found for found in client.search_experiments() if found.name == "influencer-roi"]
    return {run.info.run_name.split()[-1]: run for run in client.search_runs([experiment.experiment_id])}


def artifacts(client, run):
    return Path(client.download_artifacts(run.info.run_id, ""))


def test_each_backtest_is_a_run_and_registers_no_model(client, runs):
    assert set(runs) == {"market", "bare"}
    for run in runs.values():
        assert (run.info.status, run.data.tags["kind"], run.data.tags["synthetic"]) == ("FINISHED", "backtest", "true")
        assert "the SYNTHETIC sample market" in run.data.tags["mlflow.note.content"]
    assert client.search_registered_models() == []
    assert (runs["market"].data.params["world"], runs["market"].data.params["seed"]) == ("balanced", "0")
    assert runs["bare"].info.run_name == "backtest 2026-06-20 bare"
    assert (runs["bare"].data.params["as_of"], runs["bare"].data.params["seed"]) == ("2026-06-20", "3")
    assert runs["market"].data.tags["data_digest"] == runs["bare"].data.tags["data_digest"]  # the truth is not data


def test_metrics_are_the_figures_on_the_terminal(runs, with_truth):
    metrics = runs["market"].data.metrics
    first = next(line for line in with_truth.stdout.splitlines() if line.startswith("│ model"))
    share, lift, ndcg = re.findall(r"-?[\d.]+(?= \[| │)", first)[:3]
    assert float(share) == pytest.approx(metrics["truth/oracle_share"], abs=6e-4)
    assert (float(lift), float(ndcg)) == pytest.approx((metrics["truth/lift"], metrics["truth/ndcg"]), abs=6e-3)
    assert metrics["truth/oracle_share"] > metrics["truth/rule/random/oracle_share"]
    assert {"truth/rule/creators_past_mean/regret", "truth/creator/known/lift", "rule/followers/deviance"} <= set(
        metrics
    )
    assert not [name for name in runs["bare"].data.metrics if name.startswith("truth")]


def test_tables_notes_and_truth_are_there(client, runs):
    folder = artifacts(client, runs["market"])
    tables = {path.name for path in (folder / "tables").iterdir()}
    names = {"tiers", "history", "slices", "truth", "truth_slices"}
    assert {f"{name}.{ending}" for name in names for ending in ("csv", "json")} <= tables
    truth = pl.read_csv(folder / "tables" / "truth.csv")
    assert truth["picked_by"][0] == "model"
    assert set(truth["picked_by"]) == {"model", *RULES}
    assert set(json.loads((folder / "tables" / "truth.json").read_text())["columns"]) == set(truth.columns)
    assert truth["oracle_share"][0] == pytest.approx(runs["market"].data.metrics["truth/oracle_share"])
    assert json.loads((folder / "truth.json").read_text())["warning"].startswith("SYNTHETIC")
    assert "What history cannot tell:" in (folder / "notes.txt").read_text()
    bare = artifacts(client, runs["bare"])
    assert not (bare / "truth.json").exists()
    assert not (bare / "tables" / "truth.csv").exists()


def test_plots_show_something(client, runs):
    folder = artifacts(client, runs["market"]) / "plots"
    plots = {path.stem: path.read_bytes() for path in folder.iterdir()}
    assert {"calibration", "captured", "deviance_by_slice", "truth_calibration", "oracle_share_by_slice"} <= set(plots)
    for name, content in plots.items():
        image = matplotlib.image.imread(io.BytesIO(content), format="png")
        assert min(image.shape[:2]) > 200, name
        assert len(np.unique((image[..., :3] * 255).astype(int) @ [65536, 256, 1])) > 10, name
