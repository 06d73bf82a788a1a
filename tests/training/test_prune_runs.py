"""`prune` on a home with runs in a real MLflow store: whose files go, and that every figure stays."""

import shutil
import sqlite3
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from features.errors import DataError
from features.matrix import NAMES
from serving.model import save_model
from serving.release_file import FILE, read_release_file
from tests.training.test_prune import DAY, bento_of_its_own, fill, store, tree
from tests.training.test_publish import a_model
from training import cli, mlflow_store, prune_runs, registry, tracking
from training.prune import Pruned, prune, size
from training.publish import promote, publish
from training.registry import ModelRecord
from training.stored import stored_versions
from training.tracking import ChildRecord, RunRecord
from training.version_list import list_versions

__all__ = ["bento_of_its_own"]


@dataclass
class Recorded:
    """A home with runs, before and after pruning it with --keep 1."""

    home: Path
    copy: Path
    run_ids: dict[str, str]
    versions: dict[str, str]
    metrics: dict[str, dict[str, float]]
    artifacts: int
    would: Pruned
    did: Pruned
    left: int
    client: Any


def a_record(name, kind, model=None, children=()):
    return RunRecord(
        name, "words", {"seed": 1}, {"deviance": 1.5}, {"kind": kind}, {"check.txt": "text " * 100}, {}, {}, {}, {},
        model, children,
    )  # fmt: skip


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Version 1 was never stored, 2 has an alias, 3 is old, 4 was served before, 5 is served, 6 is the newest."""
    import mlflow  # noqa: PLC0415

    root = tmp_path_factory.mktemp("recorded")
    home, artefact = root / "home", root / "artefact"
    artefact.mkdir()
    save_model(a_model(), artefact)
    model = ModelRecord(a_model(), artefact, np.zeros((3, len(NAMES)), dtype=np.float32), "words")
    run_ids, pairs = {}, {}
    before = mlflow.get_tracking_uri()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENTOML_HOME", str(root / "bento"))
        patch.setenv("BENTOML_DO_NOT_TRACK", "True")
        # so that what MLflow writes there is undone; empty means none
        patch.setenv(mlflow_store.TRACKING, "")
        for number in range(1, 7):
            children = (ChildRecord("trial 1", {}, {"d": 1.0}, {"kind": "trial"}),) if number == 1 else ()
            version, run_id = tracking.log_run(home, a_record(f"train {number}", "train", model, children))
            assert version == str(number)
            run_ids[version] = run_id
            if number > 1:
                pairs[number] = store(home, number, run_id=run_id)
        for number in (2, 3, 4, 5):
            publish(home, *pairs[number])
        registry.set_aliases(home)
        for name in ("b1", "b2", "b3"):
            run_ids[name] = tracking.log_run(home, a_record(name, "backtest"))[1]
        with mlflow_store.connected(home) as connected:
            client = connected.MlflowClient()
            client.set_registered_model_alias(registry.REGISTERED, registry.CHALLENGER, "2")
            experiment = client.get_experiment_by_name(mlflow_store.EXPERIMENT).experiment_id
            long_ago = int((time.time() - 2 * DAY) * 1000)
            for name, start in (("killed 1", long_ago - 1), ("killed 2", long_ago), ("at work", None)):
                run_ids[name] = client.create_run(experiment, start, {"kind": "other"}, name).info.run_id
                client.log_text(run_ids[name], "text", "check.txt")
            metrics = {name: client.get_run(run_id).data.metrics for name, run_id in run_ids.items()}
        with sqlite3.connect(home / "mlflow" / "mlflow.db") as database:
            database.execute("UPDATE model_versions SET creation_time = ? WHERE version IN (1, 2)", (long_ago,))
        copy = shutil.copytree(home, root / "copy")
        would = prune(home, 1, dry_run=True)
        artifacts = size(home / "mlflow" / "artifacts")
        did = prune(home, 1)
        left = size(home / "mlflow" / "artifacts")
        with mlflow_store.connected(home) as connected:
            client = connected.MlflowClient()
        yield Recorded(home, copy, run_ids, {}, metrics, artifacts, would, did, left, client)
        mlflow.set_tracking_uri(before)
        mlflow.set_registry_uri(before)


EMPTIED = ["1", "3", "b1", "b2", "killed 1"]


def test_versions_with_an_alias_stay_whatever_their_age(recorded):
    assert stored_versions(recorded.home) == ["2", "4", "5", "6"]
    assert read_release_file(recorded.home).model == "influencer-roi-model:5"


def test_only_files_of_runs_that_nobody_needs_go(recorded):
    held = {name: bool(recorded.client.list_artifacts(run_id)) for name, run_id in recorded.run_ids.items()}
    assert held == {name: name not in EMPTIED for name in recorded.run_ids}
    folders = {
        version: Path(recorded.client.get_logged_model(model).artifact_location.removeprefix("file://")).exists()
        for version, model in models_of(recorded).items()
    }
    assert folders == {version: version not in EMPTIED for version in "123456"}


def models_of(recorded):
    return {
        str(v.version): v.source.removeprefix("models:/")
        for v in recorded.client.search_model_versions(f"name = '{registry.REGISTERED}'")
    }


def test_figures_of_every_run_stay_and_what_was_emptied_says_so(recorded):
    for name, run_id in recorded.run_ids.items():
        run = recorded.client.get_run(run_id)
        assert run.data.metrics == recorded.metrics[name]
        assert run.info.lifecycle_stage == "active"
        assert (run.data.tags.get("pruned") == "true") is (name in EMPTIED)
    assert recorded.metrics["3"] == {"deviance": 1.5}
    for version, model in models_of(recorded).items():
        tags = recorded.client.get_model_version(registry.REGISTERED, version).tags
        assert (tags.get("pruned") == "true") is (version in EMPTIED)
        assert (recorded.client.get_logged_model(model).tags.get("pruned") == "true") is (version in EMPTIED)


def test_the_bytes_of_runs_are_those_that_the_disk_gets_back(recorded):
    said = sum(removal.bytes for removal in recorded.did.removals if "MLflow run" in removal.what)
    assert said == recorded.artifacts - recorded.left > 10_000
    assert recorded.did == replace(recorded.would, dry_run=False)
    names = [removal.what.split("run ")[1].split(" (")[0] for removal in recorded.did.removals if "MLf" in removal.what]
    assert sorted(names) == ["b1", "b2", "killed 1", "train 1", "train 3"]


def test_promoting_what_was_pruned_says_that_it_was(recorded):
    before = (recorded.home / FILE).read_bytes()
    with pytest.raises(DataError, match="version 3 was pruned, its model is deleted; stored versions: 2, 4, 5, 6"):
        promote(recorded.home, "3")
    with pytest.raises(DataError, match="version 7 is not in"):
        promote(recorded.home, "7")
    assert (recorded.home / FILE).read_bytes() == before


def test_models_shows_what_was_pruned(recorded):
    said = CliRunner().invoke(cli.app, ["models", "--home", str(recorded.home)], env={"COLUMNS": "200"})
    rows = {
        line.split("│")[1].strip(): line.split("│")[3].strip() for line in said.stdout.splitlines() if line[:1] == "│"
    }
    assert rows == {"6": "", "5": "live", "4": "", "3": "pruned", "2": "", "1": "pruned"}


def test_pruning_a_copy_of_a_home_leaves_the_files_of_the_original(recorded):
    said = prune(recorded.copy, 1)
    assert stored_versions(recorded.copy) == ["2", "4", "5", "6"]
    assert not any("MLflow run" in removal.what for removal in said.removals)
    assert said.notes == (
        f"The files of 5 MLflow runs lie outside {recorded.copy}, which was copied or moved: left alone.",
    )
    states = {row.version: row.state for row in list_versions(recorded.copy, read_release_file(recorded.copy))}
    assert states == {"6": "", "5": "live", "4": "", "3": "not stored", "2": "", "1": "not stored"}
    assert size(recorded.home / "mlflow" / "artifacts") == recorded.left
    assert size(recorded.copy / "mlflow" / "artifacts") == recorded.artifacts


def test_of_a_store_that_others_may_use_only_runs_of_own_versions_go(recorded, monkeypatch):
    address = f"sqlite:///{recorded.copy / 'mlflow' / 'mlflow.db'}"
    monkeypatch.setenv(mlflow_store.TRACKING, address)
    three = recorded.run_ids["3"]
    assert [run.run_id for run in prune_runs.to_empty(recorded.copy, 1, {"3": three}, set()).runs] == [three]
    # version 3 of a store that this home used before is another one
    assert prune_runs.to_empty(recorded.copy, 1, {"3": "of another"}, set()).runs == ()


def test_emptying_what_a_killed_prune_had_emptied_is_no_error(recorded):
    run = recorded.client.get_run(recorded.run_ids["b1"])
    again = prune_runs.Run(run.info.run_id, "b1", (run.info.artifact_uri,), (), (), 0)
    recorded.client.set_tag(again.run_id, "pruned", "no")
    prune_runs.empty(recorded.home, prune_runs.Runs((again,)))
    assert recorded.client.get_run(again.run_id).data.tags["pruned"] == "true"


def test_nothing_goes_while_mlflow_does_not_answer(tmp_path, monkeypatch):
    fill(tmp_path, 4)
    before = tree(tmp_path)
    monkeypatch.setenv(mlflow_store.TRACKING, "http://127.0.0.1:9")
    with pytest.raises(DataError, match="MLflow at http://127.0.0.1:9 failed.*Check that it is reachable"):
        prune(tmp_path, 1)
    assert tree(tmp_path) == before
