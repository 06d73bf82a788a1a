"""The slate log: every answer to a request, a line of JSON each, in `HOME/slates`.

A line is in the page cache before the answer is sent, by one `write`, so it outlives the process however that ends;
a thread makes it durable within about a second (`fsync`), off the path of requests. Each process writes files of its
own. Trouble with the disk never reaches an answer: it is counted, logged once, and tried again with the next slate.
"""

import logging
import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic_core import to_json

from features.brief import Brief
from serving.answers import Pick, RankAnswer

FOLDER = "slates"
MAX_BYTES = 64 * 2**20
SYNC_SECONDS = 1.0

# Below BentoML's logger, whose handlers and format apply in the server.
log = logging.getLogger("bentoml.influencer_roi")


@dataclass
class _File:
    """A file being written, by this log alone; `size` is of whole lines."""

    path: Path
    descriptor: int
    size: int = 0


class SlateLog:
    """The slates of one process. Threads may append at the same time.

    Args:
        folder: where the files are; made when the first slate is written, and again whenever it is gone.
        max_bytes: no file grows beyond this, but for a single line that is longer.
        sync_seconds: how often what was written is made durable.
    """

    def __init__(self, folder: Path, *, max_bytes: int = MAX_BYTES, sync_seconds: float = SYNC_SECONDS) -> None:
        self._folder, self._max_bytes, self._sync_seconds = folder, max_bytes, sync_seconds
        self._started = datetime.now(UTC)
        self._opened = 0
        self._file: _File | None = None
        self._done: list[_File] = []  # no longer written to, not yet synced and closed
        self._backlog = self._written = self._failed = 0
        self._lock = threading.Lock()  # held for moments, never while syncing
        self._sync_lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._in_trouble = False
        self._failed_before = 0

    @property
    def backlog(self) -> int:
        """Slates written that a power cut could still take."""
        return self._backlog

    @property
    def written(self) -> int:
        """Slates written since the start."""
        return self._written

    @property
    def failed(self) -> int:
        """Slates that could not be written, or whose sync failed, since the start."""
        return self._failed

    def append(self, brief: Brief, answer: RankAnswer) -> None:
        """Write an answer beside what was asked; it outlives the process from when this returns. Never raises."""
        try:
            line = slate_line(brief, answer, datetime.now(UTC))
            with self._lock:
                self._write(line)
                self._written += 1
                self._backlog += 1
                self._keep_syncing()
        except Exception as error:
            self._count_failed(1, error)

    def sync(self) -> None:
        """Make durable what was written; one caller at a time, while others append. Never raises."""
        with self._sync_lock:
            with self._lock:
                if not self._backlog and not self._done:
                    return
                done, self._done = self._done, []
                files = done if self._file is None else [*done, self._file]
                count = self._backlog
            try:
                for file in files:
                    os.fsync(file.descriptor)
                for folder in (self._folder, self._folder.parent):
                    _sync_folder(folder)
            except OSError as error:
                # the kernel reports lost pages once, so a second try would succeed and prove nothing
                self._count_failed(count, error)
            finally:
                for file in done:
                    with suppress(OSError):  # of a disk that is gone; the sync has said so
                        os.close(file.descriptor)
                with self._lock:
                    self._backlog -= count
            self._tell_recovery()

    def close(self) -> None:
        """Sync everything and end the thread. A later append opens a new file."""
        with self._lock:
            self._stop.set()
            thread, self._thread = self._thread, None
            self._retire()
        if thread is not None:
            thread.join()
        self.sync()

    def _write(self, line: bytes) -> None:
        """One whole line, or an error and nothing."""
        file = self._file
        try:
            if file is not None and (
                file.size + len(line) > self._max_bytes or os.fstat(file.descriptor).st_nlink == 0
            ):
                self._retire()
            file = self._file = self._file or self._open()
            count = os.write(file.descriptor, line)
            if count < len(line):
                os.ftruncate(file.descriptor, file.size)
                raise OSError(f"only {count} of {len(line)} bytes could be written")
            file.size += count
        except OSError:
            # whatever is wrong with this file, the next slate goes into another: a torn line stays the last of its file
            self._retire()
            raise

    def _open(self) -> _File:
        self._folder.mkdir(parents=True, exist_ok=True)
        while True:
            name = f"slates-{self._started:%Y%m%dT%H%M%SZ}-{os.getpid()}-{self._opened}.jsonl"
            self._opened += 1
            path = self._folder / name
            with suppress(FileExistsError):  # process ids come again, in containers above all
                return _File(path, os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o666))

    def _retire(self) -> None:
        """Write no more to the current file; one that never held a line is taken away."""
        file, self._file = self._file, None
        if file is None:
            return
        if file.size:
            self._done.append(file)
            return
        os.close(file.descriptor)
        with suppress(OSError):
            file.path.unlink()

    def _keep_syncing(self) -> None:
        if self._thread is None:
            self._stop = threading.Event()
            thread = threading.Thread(target=self._sync_until, args=(self._stop,), name="slates", daemon=True)
            thread.start()
            self._thread = thread

    def _sync_until(self, stop: threading.Event) -> None:
        while not stop.wait(self._sync_seconds):
            self.sync()

    def _count_failed(self, slates: int, error: Exception) -> None:
        with self._lock:
            self._failed += slates
            news, self._in_trouble = not self._in_trouble, True
        if news:
            trace = None if isinstance(error, OSError) else error
            log.error("no slates are kept in %s (%s); requests are answered", self._folder, error, exc_info=trace)

    def _tell_recovery(self) -> None:
        """A trouble is over when a sync went well and nothing failed since the one before."""
        with self._lock:
            failed, before, self._failed_before = self._failed, self._failed_before, self._failed
            over = self._in_trouble and failed == before
            if over:
                self._in_trouble = False
        if over:
            log.warning("slates are kept in %s again; %d were not, since the start", self._folder, failed)


def slate_line(brief: Brief, answer: RankAnswer, time: datetime) -> bytes:
    """A slate as a line of JSON: when, what was asked (the fields that were given), and what was answered."""
    return to_json(
        {
            "time": time,
            "request_id": answer.request_id,
            "brief": brief.model_dump(mode="json", exclude_unset=True),
            "model_version": answer.model_version,
            "data_as_of": answer.data_as_of,
            "feature_schema": answer.feature_schema,
            "currency": answer.currency,
            "considered": answer.considered,
            "filtered_out": answer.filtered_out,
            "picks": [_picked(pick) for pick in answer.picks],
        }
    ) + b"\n"  # fmt: skip


def _picked(pick: Pick) -> dict[str, object]:
    return {
        "rank": pick.rank,
        "creator_id": pick.creator_id,
        "fee": pick.fee,
        "fee_source": pick.fee_source,
        "value": pick.expected.value,
        "roi": pick.roi,
        "roi_low": pick.roi_low,
        "roi_high": pick.roi_high,
        "p_profit": pick.p_profit,
        "expected": pick.expected,
        "explore": pick.explore,
        "propensity": pick.propensity,
    }


def _sync_folder(folder: Path) -> None:
    """Make the names of new files durable too."""
    with suppress(FileNotFoundError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
