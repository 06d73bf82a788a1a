"""The release file: which model and which catalogue are served, named by one small file in the home.

`release.json` is written beside and renamed, so a reader sees the old one or the new one, never half of either.
The artefacts lie in the BentoML model store of the home (`bentoml/models/<name>/<version>`).
"""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.errors import DataError

FILE = "release.json"
STORE = "bentoml"
MODEL, CATALOGUE = "influencer-roi-model", "influencer-roi-catalogue"


@dataclass(frozen=True)
class ReleaseFile:
    """What release.json says: two tags (`name:version`), and the tags served before, for a rollback."""

    model: str
    catalogue: str
    previous: tuple[tuple[str, str], ...] = ()


def store_path(home: Path, tag: str) -> Path:
    """Folder of an artefact in the home's BentoML model store."""
    name, version = tag.split(":")
    return home / STORE / "models" / name / version


def read_release_file(home: Path) -> ReleaseFile | None:
    """The release in force, or None where nothing was published.

    Raises:
        DataError: the file is not readable.
    """
    path = home / FILE
    try:
        return _release(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(
            f"{path} cannot be read ({error}): run `influencer-roi promote VERSION`; `influencer-roi models` lists the "
            "versions"
        ) from error


def write_release_file(home: Path, release: ReleaseFile) -> None:
    """Put another release in force, in one step.

    Raises:
        DataError: the disk does not take it; the old one stays in force.
    """
    text = json.dumps({"model": release.model, "catalogue": release.catalogue, "previous": list(release.previous)})
    beside = home / f".{FILE}.{os.getpid()}"
    try:
        with beside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(home / FILE)
    except OSError as error:
        raise DataError(
            f"{home / FILE} could not be written ({error.strerror or error}). What is served stays; where the disk is "
            "full, `influencer-roi prune` frees space. Then run again"
        ) from error
    finally:
        beside.unlink(missing_ok=True)


def release_stamp(home: Path) -> tuple[int, int, int] | None:
    """A cheap value that changes when release.json does; None where there is none."""
    try:
        stat = (home / FILE).stat()
    except FileNotFoundError:
        return None
    return (stat.st_ino, stat.st_mtime_ns, stat.st_size)


def _release(data: Any) -> ReleaseFile:
    """The release that a JSON value says.

    Raises:
        ValueError: it is of another shape.
    """
    if not isinstance(data, dict):
        raise ValueError("it is not a JSON object")
    previous = data.get("previous", [])
    if not isinstance(previous, list) or any(not isinstance(pair, list) or len(pair) != 2 for pair in previous):
        raise ValueError("previous is not a list of pairs")
    return ReleaseFile(
        _tag(data.get("model"), "model"),
        _tag(data.get("catalogue"), "catalogue"),
        tuple((_tag(model, "previous"), _tag(catalogue, "previous")) for model, catalogue in previous),
    )


def _tag(value: Any, field: str) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[\w.-]+:[\w.-]+", value):
        raise ValueError(f"{field} is {json.dumps(value)}, not a tag such as {MODEL}:1")
    return value
