"""The release: which model and which catalogue are served, named by one small file in the home.

`release.json` is written beside and renamed, so a reader sees the old one or the new one, never half of either.
The artefacts lie in the BentoML model store of the home (`bentoml/models/<name>/<version>`).
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.brief import Brief, parse_brief
from features.errors import DataError
from serving.catalogue import Catalogue, load_catalogue
from serving.model import Model, load_model

FILE = "release.json"
STORE = "bentoml"
MODEL, CATALOGUE = "influencer-roi-model", "influencer-roi-catalogue"


class NoRelease(DataError):
    """There is nothing to serve yet."""


@dataclass(frozen=True)
class ReleaseFile:
    """What release.json says: two tags (`name:version`), and the tags served before, for a rollback."""

    model: str
    catalogue: str
    previous: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Release:
    """One model and one catalogue that belong together."""

    model: Model
    catalogue: Catalogue

    @property
    def model_version(self) -> str:
        """The registered version."""
        return self.model.version

    @property
    def data_as_of(self) -> str:
        """The catalogue's day."""
        return self.catalogue.data_as_of

    @property
    def card(self) -> Mapping[str, Any]:
        """The model card."""
        return {**self.model.card, "data_as_of": self.data_as_of}

    @property
    def sample_briefs(self) -> list[Brief]:
        """Briefs for warming up, of goals the model can answer."""
        briefs = []
        for payload in self.catalogue.sample_briefs:
            try:
                self.model.require(payload["goal"])
            except DataError:
                continue
            briefs.append(parse_brief({**payload, "rank_by": "value"}))
        return briefs


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
        data = json.loads(path.read_text(encoding="utf-8"))
        return ReleaseFile(data["model"], data["catalogue"], tuple((m, c) for m, c in data.get("previous", ())))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} cannot be read ({error}): run `influencer-roi promote VERSION`") from error


def write_release_file(home: Path, release: ReleaseFile) -> None:
    """Put another release in force, in one step."""
    text = json.dumps({"model": release.model, "catalogue": release.catalogue, "previous": list(release.previous)})
    beside = home / f".{FILE}.{os.getpid()}"
    with beside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(home / FILE)


def release_stamp(home: Path) -> tuple[int, int, int] | None:
    """A cheap value that changes when release.json does; None where there is none."""
    try:
        stat = (home / FILE).stat()
    except FileNotFoundError:
        return None
    return (stat.st_ino, stat.st_mtime_ns, stat.st_size)


def load_release(home: Path) -> Release:
    """Load what release.json names.

    Raises:
        NoRelease: nothing was published yet.
        DataError: an artefact is broken or belongs to another feature list.
    """
    names = read_release_file(home)
    if names is None:
        raise NoRelease(
            f"no model is published in {home} yet: run `influencer-roi train DIR --home {home}`, or start the service "
            "with INFLUENCER_ROI_HOME set to a home that holds a release"
        )
    for tag in (names.model, names.catalogue):
        if not store_path(home, tag).is_dir():
            raise DataError(
                f"{tag} is named by {FILE} but not in {home / STORE}: train again, or promote another version"
            )
    release = Release(load_model(store_path(home, names.model)), load_catalogue(store_path(home, names.catalogue)))
    if release.model.basis.currency != release.catalogue.currency:
        raise DataError("model and catalogue are in different currencies: run `influencer-roi catalogue DIR`")
    return release
