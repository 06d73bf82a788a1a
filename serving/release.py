"""The release: which model and which catalogue are served, named by one small file in the home.

`release.json` is written beside and renamed, so a reader sees the old one or the new one, never half of either.
The artefacts lie in the BentoML model store of the home (`bentoml/models/<name>/<version>`).
"""

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from features.brief import Brief, parse_brief
from features.errors import DataError
from serving.artefact import digest_of
from serving.catalogue import Catalogue, load_catalogue
from serving.layout import CannotLayOutError, lay_out
from serving.model import Model, load_model
from serving.prepared import Prepared, open_prepared, prepare

FILE = "release.json"
STORE = "bentoml"
MODEL, CATALOGUE = "influencer-roi-model", "influencer-roi-catalogue"


log = logging.getLogger("bentoml.influencer_roi")


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
    """One model and one catalogue that belong together.

    Attributes:
        home: where what fast scoring needs is kept, or None: in memory.
    """

    model: Model
    catalogue: Catalogue
    home: Path | None = None

    @cached_property
    def prepared(self) -> Prepared | None:
        """What fast scoring needs; None where the model's trees are of a kind that it does not know."""
        try:
            layout = lay_out(self.model)
        except CannotLayOutError as error:
            log.warning("model %s is scored the slow way: %s", self.model.version, error)
            return None
        if self.home is None or not (self.model.digest and self.catalogue.digest):
            return prepare(layout, self.model, self.catalogue)
        pair = _pair_digest(self.model.digest, self.catalogue.digest)
        return open_prepared(self.home, pair, layout, self.model, self.catalogue)

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
    return load_pair(home, names.model, names.catalogue)


def load_pair(home: Path, model_tag: str, catalogue_tag: str) -> Release:
    """Load a model and a catalogue of the home.

    Raises:
        DataError: an artefact is missing or broken, or belongs to another feature list.
    """
    for tag in (model_tag, catalogue_tag):
        if not store_path(home, tag).is_dir():
            raise DataError(
                f"{tag} is named by {FILE} but not in {home / STORE}: train again, or promote another version"
            )
    model, catalogue = load_model(store_path(home, model_tag)), load_catalogue(store_path(home, catalogue_tag))
    if model.basis.currency != catalogue.currency:
        raise DataError("model and catalogue are in different currencies: run `influencer-roi catalogue DIR`")
    return Release(model, catalogue, home)


def prepared_name(home: Path, model_tag: str, catalogue_tag: str) -> str:
    """What a pair's folder of `serving.prepared` is called."""
    model = digest_of(store_path(home, model_tag), "model.json")
    return _pair_digest(model or "", digest_of(store_path(home, catalogue_tag), "catalogue.json") or "")


def _pair_digest(model: str, catalogue: str) -> str:
    return f"{model[:16]}-{catalogue[:16]}"
