"""Where the tasks of buckets run: on this machine, or on a Dask cluster."""

import hashlib
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from features.errors import DataError

EngineName = Literal["local", "dask"]
T = TypeVar("T")

_OTHER = "runs other code, NumPy or Polars: install the same version of influencer-roi on every worker, and restart it"
PACKAGES = ("features", "serving", "training")  # what a task may run
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
    """Workers of a Dask cluster; a task whose worker is lost is run again elsewhere.

    Args:
        client: of the cluster.
        code: `code_digest` that every worker must have, also one that joins later; None: they are of this machine.
    """

    def __init__(self, client: Any, code: str | None = None) -> None:
        self._client = client
        self._code = code

    def map(self, task: Callable[..., T], buckets: Sequence[int], *common: Any) -> Iterator[T]:
        """See Engine. What is common is sent to every worker once.

        Raises:
            DataError: tasks lose their workers again and again, the scheduler is lost, or no worker is left.
        """
        found: dict[int, T] = {}
        for _ in range(1 + RETRIES):
            found |= self._finished(self._started(task, [bucket for bucket in buckets if bucket not in found], common))
            # what was sent is lost with the last worker that had it, and the tasks waiting for it are cancelled
            if len(found) == len(buckets):
                yield from (found[bucket] for bucket in buckets)
                return
        missing = sorted(set(buckets) - set(found))
        raise DataError(
            f"Dask workers were lost {1 + RETRIES} times while computing buckets {missing[:5]}: see their logs. They "
            "may lack memory: write more, smaller buckets (influencer-roi bucket --buckets N)"
        )

    def _started(self, task: Callable[..., T], buckets: Sequence[int], common: Sequence[Any]) -> dict[int, Any]:
        from distributed.client import ClosedClientError

        try:
            # as a list of one: a list or a mapping by itself would be sent in pieces
            sent = [self._client.scatter([one], broadcast=True, hash=False)[0] for one in common]
            return {
                bucket: self._client.submit(_run, self._code, task, bucket, *sent, pure=False, retries=RETRIES)
                for bucket in buckets
            }
        except (KeyError, ValueError):
            return {}  # what the scheduler says if a worker goes while it is sent something: others may be left
        except (OSError, ClosedClientError) as error:
            raise DataError(
                f"the Dask cluster was lost: its scheduler does not answer, or no worker is left ({error}). "
                "See their logs, start them again, then run this again"
            ) from error

    def _finished(self, running: Mapping[int, Any]) -> dict[int, Any]:
        from distributed import CancelledError, KilledWorker
        from distributed.client import ClosedClientError

        found = {}
        for bucket, future in running.items():
            try:
                found[bucket] = future.result()
            except (CancelledError, KilledWorker):
                continue
            except (OSError, ClosedClientError):
                if future.status == "error":  # raised by the task
                    raise
                break  # the connection is lost
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
        import dask
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise DataError("Dask is not installed: pip install 'influencer-roi[scale]'") from error
    # what it logs of lost workers and schedulers is retried, or raised as one error
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    if scheduler is None:
        scratch = home / "dask"
        scratch.mkdir(parents=True, exist_ok=True)
        with (
            dask.config.set({"temporary-directory": str(scratch.resolve())}),
            LocalCluster(
                n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", memory_limit=0, silence_logs=50,
            ) as cluster,
            Client(cluster) as client,
        ):  # fmt: skip
            yield DaskEngine(client)
        return
    try:
        client = Client(scheduler, timeout=WAIT_SECONDS)
    except Exception as error:  # what answers there may be anything, such as a web server
        raise DataError(
            f"the Dask scheduler at {scheduler} does not answer ({type(error).__name__}): start one (`dask scheduler`) "
            "and workers (`dask worker ADDRESS`), or leave --scheduler out to use this machine"
        ) from error
    with client:
        _require_workers(client, scheduler)
        yield DaskEngine(client, code_digest())


@lru_cache(maxsize=1)
def code_digest() -> str:
    """Digest of what decides the bits of a feature in this process: the program's code, NumPy and Polars.

    >>> len(code_digest())
    16
    """
    digest = hashlib.sha256(f"{version('numpy')} {version('polars')}".encode())
    root = Path(__file__).parent.parent
    for file in sorted(file for package in PACKAGES for file in (root / package).rglob("*.py")):
        digest.update(f"{file.relative_to(root).as_posix()}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def _run(code: str | None, task: Callable[..., T], bucket: int, *common: Any) -> T:
    """A task, on a worker that has the code it was sent from."""
    if code not in (None, code_digest()):
        raise DataError(f"a Dask worker that joined later {_OTHER}")
    return task(bucket, *common)


def _require_workers(client: Any, scheduler: str) -> None:
    """Refuse a cluster that would compute other features, or none."""
    try:
        client.wait_for_workers(1, timeout=WAIT_SECONDS)
    except TimeoutError as error:
        raise DataError(
            f"the Dask scheduler at {scheduler} has no worker: start some (`dask worker {scheduler}`)"
        ) from error
    try:
        codes = client.run(code_digest)
    except Exception as error:  # whatever the worker's own code came to
        raise DataError(
            f"a Dask worker cannot run influencer-roi ({str(error).splitlines()[0]}): install the same version on "
            "every worker, and restart it"
        ) from error
    other = sorted(worker for worker, code in codes.items() if code != code_digest())
    if other:
        raise DataError(f"Dask workers {', '.join(other[:5])} ({len(other)} in all): each {_OTHER}")
