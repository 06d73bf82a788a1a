"""Files and folders that are there whole or not at all: written beside, then renamed."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path to write; what is written there becomes `path` at the end, and nothing is left after an error."""
    beside = path.with_name(f".{path.name}-{uuid4().hex}")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to fill; it becomes `path` at the end unless that was made meanwhile by somebody else."""
    beside = path.with_name(f".{path.name}-{uuid4().hex}")
    beside.mkdir()
    try:
        yield beside
        if not path.exists():
            beside.rename(path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
