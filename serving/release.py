"""The release: one model and one catalogue that belong together, loaded as release.json names them."""

import logging
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
from serving.release_file import FILE, STORE, read_release_file, store_path

WARMED = 100  # creators that all but the first sample brief are asked of

log = logging.getLogger("bentoml.influencer_roi")


class NoRelease(DataError):
    """There is nothing to serve yet."""


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
        """Briefs for warming up, of goals the model can answer: one to everybody, the others to a few."""
        briefs: list[Brief] = []
        few = self.catalogue.display["creator_id"][:WARMED].to_list()
        for payload in self.catalogue.sample_briefs:
            try:
                self.model.require(payload["goal"])
            except DataError:
                continue
            named = {"filters": {"creator_ids": few}} if briefs else {}
            briefs.append(parse_brief({**payload, **named, "rank_by": "value"}))
        return briefs


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


def load_served(home: Path) -> Release:
    """The same with everything at hand that a request needs.

    Raises:
        NoRelease, DataError: as `load_release`.
    """
    release = load_release(home)
    _ = release.prepared
    return release


def load_pair(home: Path, model_tag: str, catalogue_tag: str) -> Release:
    """Load a model and a catalogue of the home.

    Raises:
        DataError: an artefact is missing or broken, or belongs to another feature list.
    """
    _require(home, catalogue_tag)
    model, catalogue = load_named_model(home, model_tag), load_catalogue(store_path(home, catalogue_tag))
    if model.basis.currency != catalogue.currency:
        raise DataError("model and catalogue are in different currencies: run `influencer-roi catalogue DIR`")
    return Release(model, catalogue, home)


def load_named_model(home: Path, tag: str) -> Model:
    """Load a model of the home.

    Raises:
        DataError: it is missing or broken, or belongs to another feature list.
    """
    _require(home, tag)
    return load_model(store_path(home, tag))


def _require(home: Path, tag: str) -> None:
    if not store_path(home, tag).is_dir():
        raise DataError(f"{tag} is named by {FILE} but not in {home / STORE}: train again, or promote another version")


def prepared_name(home: Path, model_tag: str, catalogue_tag: str) -> str:
    """What a pair's folder of `serving.prepared` is called."""
    model = digest_of(store_path(home, model_tag), "model.json")
    return _pair_digest(model or "", digest_of(store_path(home, catalogue_tag), "catalogue.json") or "")


def _pair_digest(model: str, catalogue: str) -> str:
    return f"{model[:16]}-{catalogue[:16]}"
