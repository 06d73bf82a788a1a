"""Files and folders that are there whole or not at all: written beside, then renamed."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from polars.exceptions import PolarsError

from features.errors import DataError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path to write; what is written there becomes `path` at the end, and nothing is left after an error.

    Raises:
        DataError: writing failed.
    """
    beside = path.with_name(f".{path.name}-{uuid4().hex}")
    try:
        with _writing(path):
            yield beside
            beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to fill; it becomes `path` at the end unless that was made meanwhile by somebody else.

    Raises:
        DataError: writing failed.
    """
    beside = path.with_name(f".{path.name}-{uuid4().hex}")
    try:
        with _writing(path):
            beside.mkdir()
            yield beside
            if not path.exists():
                beside.rename(path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """What goes wrong in here is about the place written to; Polars wraps a full disk in an error of its own."""
    try:
        yield
    except (OSError, PolarsError) as problem:
        reason = getattr(problem, "strerror", None) or str(problem).splitlines()[0]
        raise DataError(f"writing {path} failed ({reason}): free some room there, then run this again") from problem
