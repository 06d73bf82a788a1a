"""Registering and aliases on a real MLflow store: of the home itself, of one that was lost, and of another."""

import shutil

import numpy as np
import pytest

from features.matrix import NAMES
from serving.model import save_model
from serving.release_file import MODEL, STORE, read_release_file, store_path
from tests.training.test_prune import bento_of_its_own
from tests.training.test_publish import a_catalogue, a_model
from training import mlflow_store, registry
from training.publish import promote, roll_back, store_catalogue, store_model
from training.registry import ModelRecord, set_aliases, versions
from training.tracking import RunRecord, log_run
from training.version_list import list_versions

__all__ = ["bento_of_its_own"]

TAGS = {"kind": "train", "verdict": "promote", "synthetic": "true", "judged": "value"}


@pytest.fixture(autouse=True)
def own_store(monkeypatch):
    # so that what MLflow writes there is undone; empty means none
    monkeypatch.setenv(mlflow_store.TRACKING, "")
    import mlflow  # noqa: PLC0415

    before = mlflow.get_tracking_uri()
    yield
    mlflow.set_tracking_uri(before)
    mlflow.set_registry_uri(before)


@pytest.fixture(scope="module")
def artefact(tmp_path_factory):
    folder = tmp_path_factory.mktemp("artefact")
    save_model(a_model(), folder)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory, artefact):
    """A home that registered, stored and published versions 1 to 3, one after the other."""
    home = tmp_path_factory.mktemp("made") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENTOML_HOME", str(home / STORE))
        patch.setenv("BENTOML_DO_NOT_TRACK", "True")
        patch.setenv(mlflow_store.TRACKING, "")
        for number in "123":
            version, run_id, _ = registered(home, artefact)
            assert version == number
            stored(home, version, run_id)
            promote(home, version)
    return home


@pytest.fixture
def home(made, tmp_path):
    return shutil.copytree(made, tmp_path / "home", symlinks=True)


def registered(home, artefact, tags=TAGS):
    """What a training registers: the version, its run, and what was said."""
    said = []
    model = ModelRecord(a_model(), artefact, np.zeros((3, len(NAMES)), dtype=np.float32), "PROMOTE: words")
    record = RunRecord("train", "words", {}, {}, tags, {}, {}, {}, {}, {}, model)
    return *log_run(home, record, said.append), said


def stored(home, version, run_id):
    catalogue = store_catalogue(home, a_catalogue())
    store_model(home, a_model(version, catalogue), {"version": version, "run_id": run_id, "catalogue": catalogue})


def aliases(home):
    """Versions by alias."""
    return {alias: one.version for one in versions(home) for alias in one.aliases}


def lose(home):
    (home / "mlflow" / "mlflow.db").unlink()


def test_numbers_go_on_without_a_word_where_nothing_was_lost(home, artefact):
    version, _, said = registered(home, artefact)
    assert (version, said) == ("4", [])
    assert [one.version for one in versions(home)] == ["4", "3", "2", "1"]


def test_a_lost_record_is_said_and_no_number_of_the_home_is_given_again(home, artefact):
    lose(home)
    version, run_id, said = registered(home, artefact)
    assert version == "4"
    assert len(said) == 1
    assert said[0].startswith("warning: MLflow does not know version 3 of this home")
    assert [one.version for one in versions(home)] == ["4"]
    stored(home, version, run_id)
    set_aliases(home)
    assert aliases(home) == {"challenger": "4"}  # what is served the registry does not know
    promote(home, "4")
    set_aliases(home)
    assert aliases(home) == {"champion": "4"}
    assert registered(home, artefact)[::2] == ("5", [])


def test_numbers_that_only_the_release_names_are_not_given_again(home, artefact):
    lose(home)
    shutil.rmtree(home / STORE / "models")
    assert registered(home, artefact)[0] == "4"


def test_a_training_killed_right_after_registering_leaves_nothing_untold(home, artefact, monkeypatch):
    import mlflow  # noqa: PLC0415

    inner = mlflow.MlflowClient.create_model_version

    def killed(*args, **more):
        inner(*args, **more)
        raise KeyboardInterrupt

    monkeypatch.setattr(mlflow.MlflowClient, "create_model_version", killed)
    with pytest.raises(KeyboardInterrupt):
        registered(home, artefact)
    row = list_versions(home, read_release_file(home))[0]
    assert (row.version, row.state, row.verdict, row.data) == ("4", "not stored", "promote", "synthetic")
    with mlflow_store.connected(home) as connected:
        assert connected.MlflowClient().get_model_version(registry.REGISTERED, "4").description == "PROMOTE: words"
    set_aliases(home)
    assert aliases(home) == {"champion": "3", "challenger": "2"}


def test_champion_is_what_is_served_and_challenger_the_newest_other_one_that_is_stored(home, artefact):
    set_aliases(home)
    assert aliases(home) == {"champion": "3", "challenger": "2"}
    promote(home, "1")
    set_aliases(home)
    assert aliases(home) == {"champion": "1", "challenger": "3"}
    roll_back(home)
    set_aliases(home)
    assert aliases(home) == {"champion": "3", "challenger": "2"}
    version, run_id, _ = registered(home, artefact)
    set_aliases(home)
    assert aliases(home) == {"champion": "3", "challenger": "2"}  # version 4 is not stored yet
    stored(home, version, run_id)
    set_aliases(home)
    assert aliases(home) == {"champion": "3", "challenger": "4"}


def test_without_another_stored_version_there_is_no_challenger(home):
    set_aliases(home)
    for number in "12":
        shutil.rmtree(store_path(home, f"{MODEL}:{number}"))
    set_aliases(home)
    assert aliases(home) == {"champion": "3"}


def test_no_alias_names_a_number_that_is_another_run_of_the_home(home):
    """As a registry counts that this home was not trained with."""
    label = store_path(home, f"{MODEL}:3") / "model.yaml"
    label.write_text(label.read_text().replace(versions(home)[0].run_id, "of another"))
    set_aliases(home)
    assert aliases(home) == {"challenger": "2"}
    rows = [(row.version, row.state) for row in list_versions(home, read_release_file(home))]
    assert rows == [("3", "not stored"), ("3", "live, not in the registry"), ("2", ""), ("1", "")]


def test_aliases_need_neither_a_record_nor_a_registered_version(home, tmp_path):
    lose(home)
    set_aliases(home)
    assert not (home / "mlflow" / "mlflow.db").exists()
    log_run(home, RunRecord("backtest", "words", {}, {}, {"kind": "backtest"}, {}, {}, {}, {}, {}))
    set_aliases(home)
    assert versions(home) == []
