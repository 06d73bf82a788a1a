"""Where the tasks of buckets run: on this machine, or on a Dask cluster."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from features.errors import DataError
from features.matrix import schema_hash

EngineName = Literal["local", "dask"]
T = TypeVar("T")

SCHEMA = schema_hash()  # of the features this process computes
AT_ONCE = 2  # buckets in memory at a time on this machine
WAIT_SECONDS = 15  # for a scheduler to answer, and for its first worker
RETRIES = 3  # of a task whose worker was lost


class Engine(Protocol):
    """Runs one task a bucket."""

    def map(self, task: Callable[..., T], buckets: Sequence[int], *common: Any) -> Iterator[T]:
        """Results of `task(bucket, *common)` in the order of `buckets`; the first error is raised.

        Nothing need be kept of a result once it is taken. Tasks run as results are asked for: take all of them.
        """


class LocalEngine:
    """Threads of this process: NumPy and Polars work outside the interpreter's lock for the most part."""

    def map(self, task: Callable[..., T], buckets: Sequence[int], *common: Any) -> Iterator[T]:
        """See Engine."""
        with ThreadPoolExecutor(AT_ONCE) as threads:
            running = deque(threads.submit(task, bucket, *common) for bucket in buckets)
            try:
                while running:
                    yield running.popleft().result()
            finally:
                threads.shutdown(cancel_futures=True)


class DaskEngine:
    """Workers of a Dask cluster; a task whose worker is lost is run again elsewhere."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def map(self, task: Callable[..., T], buckets: Sequence[int], *common: Any) -> Iterator[T]:
        """See Engine. What is common is sent to every worker once.

        Raises:
            DataError: tasks lose their workers again and again.
        """
        found: dict[int, T] = {}
        for _ in range(1 + RETRIES):
            # as a list of one: a list or a mapping by itself would be sent in pieces
            sent = [self._client.scatter([one], broadcast=True, hash=False)[0] for one in common]
            running = {
                bucket: self._client.submit(task, bucket, *sent, pure=False, retries=RETRIES)
                for bucket in buckets
                if bucket not in found
            }
            found |= self._finished(running)
            # what was sent is lost with the last worker that had it, and the tasks waiting for it are cancelled
            if len(found) == len(buckets):
                yield from (found[bucket] for bucket in buckets)
                return
        missing = sorted(set(buckets) - set(found))
        raise DataError(
            f"Dask workers were lost {1 + RETRIES} times while computing buckets {missing[:5]}: see their logs. They "
            "may lack memory: write more, smaller buckets (influencer-roi bucket --buckets N)"
        )

    def _finished(self, running: Mapping[int, Any]) -> dict[int, Any]:
        from distributed import CancelledError, KilledWorker

        found = {}
        for bucket, future in running.items():
            with suppress(CancelledError, KilledWorker):
                found[bucket] = future.result()
        return found


@contextmanager
def engine(name: EngineName, home: Path, scheduler: str | None = None) -> Iterator[Engine]:
    """The engine to run tasks on, for as long as they run.

    Args:
        name: `local`, or `dask`.
        home: where a local cluster keeps what it writes.
        scheduler: address of a running Dask scheduler; None starts two workers on this machine.

    Raises:
        DataError: Dask is not installed, the scheduler does not answer, or a worker runs other code.
    """
    if name == "local":
        if scheduler is not None:
            raise DataError("--scheduler names a Dask scheduler: add --engine dask, or leave it out")
        yield LocalEngine()
        return
    # Dask copies its configuration into the user's own folder unless told otherwise
    os.environ.setdefault("DASK_CONFIG", str((home / "dask").resolve()))
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise DataError("Dask is not installed: pip install 'influencer-roi[scale]'") from error
    if scheduler is None:
        scratch = home / "dask"
        scratch.mkdir(parents=True, exist_ok=True)
        with (
            LocalCluster(
                n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=str(scratch.resolve()),
                memory_limit=0, silence_logs=40,
            ) as cluster,
            Client(cluster) as client,
        ):  # fmt: skip
            yield DaskEngine(client)
        return
    try:
        client = Client(scheduler, timeout=WAIT_SECONDS)
    except (OSError, ValueError, TimeoutError) as error:
        raise DataError(
            f"the Dask scheduler at {scheduler} does not answer ({type(error).__name__}): start one (`dask scheduler`) "
            "and workers (`dask worker ADDRESS`), or leave --scheduler out to use this machine"
        ) from error
    with client:
        _require_workers(client, scheduler)
        yield DaskEngine(client)


def _require_workers(client: Any, scheduler: str) -> None:
    """Refuse a cluster that would compute other features, or none."""
    try:
        client.wait_for_workers(1, timeout=WAIT_SECONDS)
    except TimeoutError as error:
        raise DataError(
            f"the Dask scheduler at {scheduler} has no worker: start some (`dask worker {scheduler}`)"
        ) from error
    try:
        schemas = client.run(schema_hash)
    except ModuleNotFoundError as error:
        raise DataError(f"a Dask worker lacks a package ({error}): install influencer-roi on every worker") from error
    other = sorted(worker for worker, schema in schemas.items() if schema != SCHEMA)
    if other:
        raise DataError(
            f"{len(other)} Dask workers compute another feature schema ({', '.join(other[:5])}): install the same "
            "version of influencer-roi on every worker"
        )
