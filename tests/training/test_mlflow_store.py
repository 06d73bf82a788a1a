"""A store of runs that cannot be opened: said at once, with what to do about a file of one's own."""

import sqlite3

import pytest

from features.errors import DataError
from training import mlflow_store
from training.registry import versions


@pytest.fixture(autouse=True)
def own_store(monkeypatch):
    # so that what MLflow writes there is undone; empty means none
    monkeypatch.setenv(mlflow_store.TRACKING, "")
    import mlflow  # noqa: PLC0415

    before = mlflow.get_tracking_uri()
    yield
    mlflow.set_tracking_uri(before)
    mlflow.set_registry_uri(before)


@pytest.fixture
def impatient(monkeypatch):
    """MLflow waits between its attempts to open a database, two minutes in all: here waiting fails."""

    def waits(seconds):
        raise AssertionError(f"waits for {seconds} s")

    monkeypatch.setattr("mlflow.store.db.utils.time.sleep", waits)


def noise(path):
    path.write_bytes(bytes(range(256)) * 20)


def cut_short(path):
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE t (x)")
        database.executemany("INSERT INTO t VALUES (?)", [("x" * 500,)] * 200)
    path.write_bytes(path.read_bytes()[:9_000])


@pytest.mark.parametrize(
    ("spoil", "reason", "remedy"),
    [
        (noise, "file is not a database", "The file is damaged: restore it from a backup, or move it away (what is"),
        (cut_short, "malformed", "The file is damaged: restore it from a backup, or move it away (what is lost then"),
        (lambda path: path.mkdir(), "unable to open", "Check that it is a file that can be read and written; where it"),
    ],
    ids=["noise", "cut short", "a folder"],
)
def test_a_database_that_cannot_be_opened_is_said_at_once_with_what_to_do(tmp_path, impatient, spoil, reason, remedy):
    path = tmp_path / "mlflow" / "mlflow.db"
    path.parent.mkdir()
    spoil(path)
    with pytest.raises(DataError) as refused:
        versions(tmp_path)
    said = str(refused.value)
    assert said.startswith(f"MLflow at sqlite:///{path} failed: ")
    assert reason in said
    assert remedy in said
    assert "is the history of runs, not what is served), then run again" in said
    assert "reachable" not in said


def test_a_database_is_made_where_there_is_none_and_no_folder_either(tmp_path, monkeypatch):
    path = tmp_path / "elsewhere" / "runs.db"
    monkeypatch.setenv(mlflow_store.TRACKING, f"sqlite:///{path}")
    assert versions(tmp_path) == []
    assert path.exists()
