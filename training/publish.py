"""Publishing: artefacts into the home's BentoML store, and release.json that names the ones served."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from features.errors import DataError
from serving.catalogue import Catalogue, save_catalogue
from serving.model import Model, load_model, save_model
from serving.release import (
    CATALOGUE,
    MODEL,
    STORE,
    ReleaseFile,
    read_release_file,
    store_path,
    write_release_file,
)

KEPT = 20  # earlier releases that a rollback can reach


def store_model(home: Path, model: Model, labels: dict[str, str]) -> str:
    """Keep a registered version in the store; returns its tag."""
    return _store(home, f"{MODEL}:{model.version}", labels, lambda folder: save_model(model, folder))


def store_catalogue(home: Path, catalogue: Catalogue) -> str:
    """Keep a catalogue in the store under its day and content; returns its tag."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        save_catalogue(catalogue, folder)
        tag = f"{CATALOGUE}:{catalogue.data_as_of}-{_digest(folder)}"

        def copy(target: Path) -> None:
            shutil.copytree(folder, target, dirs_exist_ok=True)

        return _store(home, tag, {"data_as_of": catalogue.data_as_of}, copy)


def publish(home: Path, model_tag: str, catalogue_tag: str) -> None:
    """Put a model and a catalogue in force, in one step; the pair before stays reachable by `roll_back`."""
    old = _readable_release(home)
    if old is not None and (old.model, old.catalogue) == (model_tag, catalogue_tag):
        return
    previous = () if old is None else ((old.model, old.catalogue), *old.previous)
    write_release_file(home, ReleaseFile(model_tag, catalogue_tag, previous[:KEPT]))


def promote(home: Path, version: str) -> str:
    """Serve a stored version with the newest catalogue; returns its tag.

    Raises:
        DataError: there is no such version in the store.
    """
    tag = f"{MODEL}:{version}"
    if version not in stored_versions(home):
        known = ", ".join(stored_versions(home)) or "none; run `influencer-roi train DIR`"
        raise DataError(f"version {version} is not in {home / STORE}; stored versions: {known}", field="version")
    release = _readable_release(home)
    own = load_model(store_path(home, tag)).card.get("catalogue")
    catalogue = own if release is None else release.catalogue
    if own is not None and release is not None and _day(own) > _day(release.catalogue):
        catalogue = own
    if catalogue is None or not store_path(home, str(catalogue)).is_dir():
        raise DataError(f"no catalogue is stored for version {version}: run `influencer-roi catalogue DIR`")
    publish(home, tag, str(catalogue))
    return tag


def roll_back(home: Path) -> ReleaseFile:
    """Serve what was served before; returns it. It needs neither MLflow nor the data.

    Raises:
        DataError: nothing was served before.
    """
    release = read_release_file(home)
    if release is None or not release.previous:
        raise DataError("there is no earlier release to go back to; `influencer-roi models` lists the versions")
    (model, catalogue), *rest = release.previous
    for tag in (model, catalogue):
        if not store_path(home, tag).is_dir():
            raise DataError(f"{tag} was served before but is no longer in the store; promote another version")
    back = ReleaseFile(model, catalogue, tuple(rest))
    write_release_file(home, back)
    return back


def stored_versions(home: Path) -> list[str]:
    """Model versions in the store, oldest first."""
    folder = home / STORE / "models" / MODEL
    names = [path.name for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    return sorted((name for name in names if name.isdigit()), key=int)


def _readable_release(home: Path) -> ReleaseFile | None:
    """The release in force; None also where the file is broken, since publishing is what mends it."""
    try:
        return read_release_file(home)
    except DataError:
        return None


def _day(catalogue_tag: str) -> str:
    return catalogue_tag.split(":")[1][:10]


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _store(home: Path, tag: str, labels: dict[str, str], write: Callable[[Path], None]) -> str:
    """Add an artefact to the BentoML store; one that is there already, whole, is left as it is."""
    path = store_path(home, tag)
    if (path / "model.yaml").exists():
        return tag
    if path.exists():
        # cut short by a crash: without model.yaml it would break every listing of the store
        shutil.rmtree(path)
    # everything the program writes stays in the home; BentoML reads these when it is first imported
    os.environ["BENTOML_DO_NOT_TRACK"] = "True"
    os.environ.setdefault("BENTOML_HOME", str((home / STORE).resolve()))
    import bentoml
    from bentoml._internal.models import ModelStore

    models = home / STORE / "models"
    models.mkdir(parents=True, exist_ok=True)
    with bentoml.models.create(tag, labels=labels, _model_store=ModelStore(models.resolve())) as reference:
        write(Path(reference.path))
    return tag
