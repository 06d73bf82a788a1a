"""Publishing: artefacts into the home's BentoML store, and release.json that names the ones served.

Every function here that writes holds the home's lock, so that processes of one home take turns: two that train at
once, a catalogue rebuilt meanwhile, a rollback, `prune`.
"""

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from features.errors import DataError
from serving.catalogue import Catalogue, save_catalogue
from serving.model import Model, load_model, save_model
from serving.prepared import forget_prepared
from serving.release import load_pair, load_release, prepared_name
from serving.release_file import CATALOGUE, MODEL, STORE, ReleaseFile, read_release_file, store_path, write_release_file
from training import tracking
from training.home_lock import home_lock

log = logging.getLogger(__name__)

KEPT = 20  # earlier releases that a rollback can reach
NOTHING_EARLIER = "there is no earlier release to go back to; `influencer-roi models` lists the versions"


def store_model(home: Path, model: Model, labels: dict[str, str]) -> str:
    """Keep a registered version in the store; returns its tag."""
    with home_lock(home):
        return _store_model(home, model, labels)


def store_catalogue(home: Path, catalogue: Catalogue) -> str:
    """Keep a catalogue in the store under its day and content; returns its tag."""
    with _written(catalogue) as (tag, folder), home_lock(home):
        return _store_catalogue(home, tag, folder)


def publish(home: Path, model_tag: str, catalogue_tag: str) -> None:
    """Put a model and a catalogue in force, in one step; the pair before stays reachable by `roll_back`."""
    with home_lock(home):
        _publish(home, model_tag, catalogue_tag)


def keep_version(home: Path, model: Model, labels: dict[str, str], catalogue: Catalogue, *, serve: bool) -> str:
    """Keep a registered version with its catalogue, and serve the pair if wanted; returns the model's tag.

    Args:
        home: the home.
        model: its card names the catalogue's tag, which was stored before the model was registered; where `prune`
            took it away since, it is stored again.
        labels: kept beside the model.
        catalogue: of the model's data.
        serve: put the pair in force.
    """
    catalogue_tag = str(model.card["catalogue"])
    with home_lock(home):
        tag = _store_model(home, model, {**labels, "catalogue": catalogue_tag})
        if not is_whole(store_path(home, catalogue_tag)):
            with _written(catalogue) as (catalogue_tag, folder):
                _store_catalogue(home, catalogue_tag, folder)
        if serve:
            _publish(home, tag, catalogue_tag)
    return tag


def serve_catalogue(home: Path, catalogue: Catalogue) -> str:
    """Keep a catalogue, and serve it with the model in force if there is one; returns its tag.

    Raises:
        DataError: its currency is not that of the model in force, which goes on with its own catalogue.
    """
    with _written(catalogue) as (tag, folder), home_lock(home):
        _store_catalogue(home, tag, folder)
        release = read_release_file(home)
        if release is not None:
            currency = load_release(home).model.basis.currency
            if currency != catalogue.currency:
                raise DataError(f"the data are in {catalogue.currency}, the served model in {currency}: train again")
            _publish(home, release.model, tag)
    return tag


def promote(home: Path, version: str) -> str:
    """Serve a stored version with the newest catalogue; returns its tag.

    Raises:
        DataError: there is no such version in the store.
    """
    _require_stored(home, version)
    with home_lock(home):
        _require_stored(home, version)
        tag = f"{MODEL}:{version}"
        release = _readable_release(home)
        own = load_model(store_path(home, tag)).card.get("catalogue")
        catalogue = own if release is None else release.catalogue
        if own is not None and release is not None and _day(own) > _day(release.catalogue):
            catalogue = own
        if catalogue is None or not store_path(home, str(catalogue)).is_dir():
            raise DataError(f"no catalogue is stored for version {version}: run `influencer-roi catalogue DIR`")
        _publish(home, tag, str(catalogue))
    return tag


def roll_back(home: Path) -> ReleaseFile:
    """Serve what was served before; returns it. It needs neither MLflow nor the data.

    Raises:
        DataError: nothing was served before.
    """
    if read_release_file(home) is None:
        raise DataError(NOTHING_EARLIER)
    with home_lock(home):
        release = read_release_file(home)
        if release is None or not release.previous:
            raise DataError(NOTHING_EARLIER)
        (model, catalogue), *rest = release.previous
        for tag in (model, catalogue):
            if not store_path(home, tag).is_dir():
                raise DataError(f"{tag} was served before but is no longer in the store; promote another version")
        back = ReleaseFile(model, catalogue, tuple(rest))
        _put_in_force(home, back)
    return back


def stored_versions(home: Path) -> list[str]:
    """Model versions in the store, whole, oldest first."""
    folder = home / STORE / "models" / MODEL
    names = [path.name for path in folder.iterdir() if is_whole(path)] if folder.is_dir() else []
    return sorted((name for name in names if name.isdigit()), key=int)


def is_whole(folder: Path) -> bool:
    """Whether an artefact of the store was written to its end: its model.yaml is there."""
    return (folder / "model.yaml").exists()


def _require_stored(home: Path, version: str) -> None:
    stored = stored_versions(home)
    if version not in stored:
        known = f"stored versions: {', '.join(stored) or 'none; run `influencer-roi train DIR`'}"
        if tracking.was_pruned(home, version):
            raise DataError(f"version {version} was pruned, its model is deleted; {known}", field="version")
        raise DataError(f"version {version} is not in {home / STORE}; {known}", field="version")


def _publish(home: Path, model_tag: str, catalogue_tag: str) -> None:
    old = _readable_release(home)
    if old is not None and (old.model, old.catalogue) == (model_tag, catalogue_tag):
        return
    previous = () if old is None else ((old.model, old.catalogue), *old.previous)
    _put_in_force(home, ReleaseFile(model_tag, catalogue_tag, previous[:KEPT]))


def _put_in_force(home: Path, release: ReleaseFile) -> None:
    """Write release.json once all is there that its servers load, and drop what they no longer do."""
    try:
        _ = load_pair(home, release.model, release.catalogue).prepared
    except Exception as error:
        # a server makes it then, or refuses what is broken and says so
        log.warning("nothing is prepared for fast scoring of %s (%s)", release.model, error)
    write_release_file(home, release)
    forget_prepared(
        home, [prepared_name(home, *pair) for pair in ((release.model, release.catalogue), *release.previous[:1])]
    )


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


def _store_model(home: Path, model: Model, labels: dict[str, str]) -> str:
    return _store(home, f"{MODEL}:{model.version}", labels, lambda folder: save_model(model, folder))


@contextmanager
def _written(catalogue: Catalogue) -> Iterator[tuple[str, Path]]:
    """The tag of a catalogue, and a temporary folder that holds it: writing takes time, and needs no lock."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        save_catalogue(catalogue, folder)
        yield f"{CATALOGUE}:{catalogue.data_as_of}-{_digest(folder)}", folder


def _store_catalogue(home: Path, tag: str, folder: Path) -> str:
    def copy(target: Path) -> None:
        shutil.copytree(folder, target, dirs_exist_ok=True)

    return _store(home, tag, {"data_as_of": _day(tag)}, copy)


def _store(home: Path, tag: str, labels: dict[str, str], write: Callable[[Path], None]) -> str:
    """Add an artefact to the BentoML store; one that is there already, whole, is left as it is."""
    path = store_path(home, tag)
    if is_whole(path):
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
    # BentoML leaves the mode of a temporary folder, private to this user: a server may run as another, in a container
    path.chmod(models.stat().st_mode & 0o777)
    return tag
