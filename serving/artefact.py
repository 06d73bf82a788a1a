"""Files of an artefact that cannot be changed or cut short unnoticed."""

import hashlib
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_BLOCK = 1 << 22


def write_json(folder: Path, name: str, data: Mapping[str, Any]) -> None:
    """Write `name` and, beside it, its SHA-256 in the form `sha256sum --check` reads."""
    text = json.dumps(data, allow_nan=False, ensure_ascii=False)
    (folder / name).write_text(text, encoding="utf-8")
    (folder / f"{name}.sha256").write_text(f"{digest(text)}  {name}\n", encoding="utf-8")


def read_json(folder: Path, name: str) -> tuple[dict[str, Any], str]:
    """What `write_json` wrote, and its SHA-256.

    Raises:
        ValueError: it is not the file that was written.
        OSError: it cannot be read.
    """
    text = (folder / name).read_text(encoding="utf-8")
    found = digest(text)
    said = digest_of(folder, name)
    if said is None:
        raise ValueError(f"{name}.sha256 is missing: it was saved by an earlier version")
    if said != found:
        raise ValueError(f"{name} is not the file that was saved")
    data: dict[str, Any] = json.loads(text)
    return data, found


def digest_of(folder: Path, name: str) -> str | None:
    """SHA-256 that was written beside `name`; None where there is none."""
    try:
        return (folder / f"{name}.sha256").read_text(encoding="utf-8").split()[0]
    except (OSError, ValueError, IndexError):
        return None


def digest(text: str) -> str:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def checksum(path: Path) -> int:
    """CRC-32 of a file: quick enough to be asked of gigabytes each time they are loaded."""
    total = 0
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            total = zlib.crc32(block, total)
    return total


def check_files(folder: Path, checksums: Mapping[str, int]) -> None:
    """Compare files with their checksums.

    Raises:
        ValueError: naming the first that is not the file that was saved.
        OSError: one cannot be read.
    """
    for name, expected in checksums.items():
        if checksum(folder / name) != expected:
            raise ValueError(f"{name} is not the file that was saved")
