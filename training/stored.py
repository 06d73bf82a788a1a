"""What the home's model store holds, read without BentoML: versions, what was noted beside them, their cards."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from features.errors import DataError
from serving.artefact import read_json
from serving.release_file import MODEL, STORE, read_release_file


def stored_versions(home: Path) -> list[str]:
    """Model versions in the store, whole, oldest first."""
    folder = home / STORE / "models" / MODEL
    names = [path.name for path in folder.iterdir() if is_whole(path)] if folder.is_dir() else []
    return sorted((name for name in names if name.isdecimal()), key=int)


def newest_number(home: Path) -> int:
    """The highest version that the store holds or the release names, 0 where there is none."""
    try:
        release = read_release_file(home)
    except DataError:
        release = None  # publishing mends it
    tags = () if release is None else (release.model, *(model for model, _ in release.previous))
    numbers = [*stored_versions(home), *(tag.split(":")[1] for tag in tags)]
    return max((int(number) for number in numbers if number.isdecimal()), default=0)


def is_whole(folder: Path) -> bool:
    """Whether an artefact of the store was written to its end: its model.yaml is there."""
    return (folder / "model.yaml").exists()


def label_of(folder: Path, name: str) -> str | None:
    """A label that was kept beside an artefact of the store, None where there is none."""
    try:
        found = yaml.safe_load((folder / "model.yaml").read_text(encoding="utf-8"))["labels"].get(name)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError):
        return None
    return None if found is None else str(found)


def card_of(folder: Path) -> Mapping[str, Any]:
    """The card of a stored model, whatever version of the program made it; empty where it cannot be read."""
    try:
        card = read_json(folder, "model.json")[0]["card"]
    except (OSError, ValueError, KeyError):
        return {}
    return card if isinstance(card, dict) else {}
