"""Tasks on this machine and on a real Dask cluster of two workers."""

import importlib
import os
import socket
import tempfile
import time
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
from distributed import Client, LocalCluster
from distributed.comm.core import CommClosedError

from features.errors import DataError
from training.engine import DaskEngine, LocalEngine, code_digest, engine


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


def test_what_answers_but_is_no_scheduler_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as web:

        def answer() -> None:
            with web.accept()[0] as asked:
                asked.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
                asked.recv(1 << 16)

        Thread(target=answer, daemon=True).start()
        address = f"tcp://127.0.0.1:{web.getsockname()[1]}"
        with pytest.raises(DataError, match=f"{address} does not answer"), engine("dask", tmp_path, address):
            pass


@pytest.mark.parametrize("address", ["nowhere", "tcp://", "http://127.0.0.1:1", "tls://127.0.0.1:1"])
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
        # a worker that joins later is asked by every task
        with Client(address) as client, pytest.raises(DataError, match="joined later runs other code"):
            list(DaskEngine(client, "another").map(double, range(3), 2))
        # here the code is another one than the worker's
        monkeypatch.setattr("training.engine.PACKAGES", ("features",))
        code_digest.cache_clear()
        try:
            with pytest.raises(DataError, match=r"tcp://.* runs other code"), engine("dask", tmp_path, address):
                pass
        finally:
            code_digest.cache_clear()
        # and here it is of a module that the worker has not
        (tmp_path / "only_here.py").write_text("def digest(): return 'x'\n", encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr("training.engine.code_digest", importlib.import_module("only_here").digest)
        with pytest.raises(DataError, match="cannot run influencer-roi .*only_here"), engine("dask", tmp_path, address):
            pass


@pytest.mark.parametrize("lost", ["scheduler", "workers"])
def test_a_cluster_lost_in_mid_run_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str) -> None:
    with LocalCluster(n_workers=1, dashboard_address=None, local_directory=str(tmp_path), silence_logs=50) as cluster:
        monkeypatch.setattr("training.engine.WAIT_SECONDS", 3)
        with engine("dask", tmp_path, cluster.scheduler_address) as dask:
            assert list(dask.map(double, range(3), 2)) == [0, 2, 4]
            cluster.close() if lost == "scheduler" else cluster.scale(0)
            with pytest.raises(DataError, match="the Dask cluster was lost"):
                list(dask.map(double, range(3), 2))


class Shaky:
    """A client of which one thing fails once: the scatter, or fetching the first result of bucket 1."""

    def __init__(self, scatter: Exception | None = None, result: Exception | None = None) -> None:
        self.errors = {"scatter": scatter, "result": result}

    def scatter(self, data: list[Any], **_: Any) -> list[Any]:
        self.fail("scatter")
        return data

    def submit(self, function: Any, *arguments: Any, **_: Any) -> Any:
        def result() -> Any:
            if arguments[2] == 1:
                self.fail("result")
            return function(*arguments)

        return SimpleNamespace(result=result, status="finished")

    def fail(self, step: str) -> None:
        error, self.errors[step] = self.errors[step], None
        if error is not None:
            raise error


@pytest.mark.parametrize(
    "client",
    [
        Shaky(result=CommClosedError("in <TCP (closed)>")),
        # a worker that goes while it is sent something: what the scheduler says depends on how far it is
        Shaky(scatter=KeyError("tcp://127.0.0.1:45599")),
        Shaky(scatter=ValueError("Can not use replicate to delete data")),
    ],
)
def test_what_is_lost_with_one_worker_is_computed_again(client: Shaky) -> None:
    assert list(DaskEngine(client).map(double, range(4), 3)) == [0, 3, 6, 9]
    assert client.errors == {"scatter": None, "result": None}


def run_out(bucket: int) -> int:
    raise OSError(28, "No space left on device", f"features-{bucket}")


def test_the_error_of_a_task_is_not_a_lost_cluster_and_all_is_written_in_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setenv("TMPDIR", str(elsewhere))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with engine("dask", tmp_path / "home") as dask, pytest.raises(OSError, match="No space left"):
        list(dask.map(run_out, range(3)))
    assert list(elsewhere.iterdir()) == []
