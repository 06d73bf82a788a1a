"""Tasks on this machine and on a real Dask cluster of two workers."""

import os
import socket
import time
from pathlib import Path

import pytest
from distributed import LocalCluster

from features.errors import DataError
from training.engine import DaskEngine, LocalEngine, engine


def double(bucket: int, by: int) -> int:
    return bucket * by


def refuse(bucket: int) -> int:
    if bucket == 2:
        raise DataError("bucket 2 is cut short", field="placements")
    return bucket


def die_once(bucket: int, marks: Path) -> int:
    """The first try of bucket 1 takes its worker with it."""
    mark = marks / f"{bucket}"
    if bucket == 1 and not mark.exists():
        mark.touch()
        os._exit(9)
    time.sleep(0.05)
    return bucket * 10


def test_results_come_in_the_order_of_the_buckets(tmp_path: Path) -> None:
    with engine("local", tmp_path) as local:
        assert list(local.map(double, range(9), 3)) == [3 * k for k in range(9)]


def test_the_first_error_is_raised() -> None:
    with pytest.raises(DataError, match="cut short"):
        list(LocalEngine().map(refuse, range(5)))


def test_dask_gives_the_same_and_survives_a_lost_worker(tmp_path: Path) -> None:
    with engine("dask", tmp_path) as dask:
        assert isinstance(dask, DaskEngine)
        assert list(dask.map(double, range(9), 3)) == [3 * k for k in range(9)]
        with pytest.raises(DataError, match="cut short") as raised:
            list(dask.map(refuse, range(5)))
        assert raised.value.field == "placements"
        assert list(dask.map(die_once, range(6), tmp_path)) == [10 * k for k in range(6)]
        assert (tmp_path / "1").exists()


def test_a_scheduler_that_does_not_answer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.engine.WAIT_SECONDS", 1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens there
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(DataError, match=f"{address} does not answer"), engine("dask", tmp_path, address):
            pass


@pytest.mark.parametrize("address", ["nowhere", "tcp://", "http://127.0.0.1:1"])
def test_an_address_that_is_none_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setattr("training.engine.WAIT_SECONDS", 1)
    with pytest.raises(DataError, match="does not answer"), engine("dask", tmp_path, address):
        pass


def test_a_scheduler_needs_the_dask_engine(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--engine dask"), engine("local", tmp_path, "tcp://127.0.0.1:1"):
        pass


def test_a_cluster_without_workers_or_with_other_code_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.engine.WAIT_SECONDS", 5)
    with LocalCluster(n_workers=0, dashboard_address=None, local_directory=str(tmp_path), silence_logs=40) as cluster:
        address = cluster.scheduler_address
        monkeypatch.setattr("training.engine.WAIT_SECONDS", 2)
        with pytest.raises(DataError, match="no worker"), engine("dask", tmp_path, address):
            pass
        cluster.scale(1)
        cluster.wait_for_workers(1)
        with engine("dask", tmp_path, address) as dask:
            assert list(dask.map(double, range(3), 2)) == [0, 2, 4]
        # here the schema is another one than what the worker computes
        monkeypatch.setattr("training.engine.SCHEMA", "another")
        with pytest.raises(DataError, match="another feature schema"), engine("dask", tmp_path, address):
            pass
