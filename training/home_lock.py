"""Processes of one home taking turns: advisory locks on files, which end with the process that holds them."""

import fcntl
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from serving.release_file import STORE


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file, made if it is not there; wait while another process, or thread, holds it.

    The kernel frees it however its holder ends, so the file itself says nothing and is never removed. It cannot be
    taken again by who holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            # closing would not free it while a process forked meanwhile has the file open too
            fcntl.flock(lock, fcntl.LOCK_UN)


def home_lock(home: Path) -> AbstractContextManager[None]:
    """The lock on what release.json names and on the store behind it: held for moments, never while training."""
    return locked(home / STORE / ".lock")
