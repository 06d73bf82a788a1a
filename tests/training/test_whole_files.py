"""Files that are there whole or not at all, and what is said where they cannot be written."""

import errno
from pathlib import Path
from typing import Any

import pytest
from polars.exceptions import ComputeError

from features.errors import DataError
from training.whole_files import whole_file, whole_folder

FULL = "No space left on device"


def fill(kind: Any, path: Path, problem: Exception) -> None:
    with kind(path) as beside:
        (beside if kind is whole_file else beside / "array").write_bytes(b"half")
        raise problem


@pytest.mark.parametrize("kind", [whole_file, whole_folder])
@pytest.mark.parametrize("problem", [OSError(errno.ENOSPC, FULL), ComputeError(f"parquet: {FULL} (os error 28)")])
def test_a_full_disk_is_named_and_nothing_is_left(tmp_path: Path, kind: Any, problem: Exception) -> None:
    with pytest.raises(DataError, match=rf"writing .*part failed \(.*{FULL}"):
        fill(kind, tmp_path / "part", problem)
    assert list(tmp_path.iterdir()) == []


def test_what_is_written_is_there_at_the_end_only(tmp_path: Path) -> None:
    with whole_file(tmp_path / "features") as beside:
        beside.write_bytes(b"all")
        assert not (tmp_path / "features").exists()
    with whole_folder(tmp_path / "part") as beside:
        (beside / "a").write_bytes(b"all")
        assert not (tmp_path / "part").exists()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "features", "part"]
    assert (tmp_path / "features").read_bytes() == b"all"


def test_a_folder_made_meanwhile_stays(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "part") as beside:
        (beside / "mine").touch()
        (tmp_path / "part").mkdir()
    assert [path.name for path in tmp_path.rglob("*")] == ["part"]
