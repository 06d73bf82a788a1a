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
from serving.catalogue import Catalogue, load_catalogue, save_catalogue
from serving.model import Model, load_model, save_model
from serving.prepared import forget_prepared
from serving.release import load_named_model, load_pair, prepared_name
from serving.release_file import (
    CATALOGUE,
    MODEL,
    STORE,
    ReleaseFile,
    read_release_file,
    release_stamp,
    store_path,
    write_release_file,
)
from training import registry
from training.home_lock import home_lock
from training.stored import is_whole, label_of, stored_versions

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


def keep_version(
    home: Path, model: Model, labels: dict[str, str], catalogue: Catalogue, *, serve: bool,
    beside: Callable[[Path], None] = lambda _: None,
) -> str:  # fmt: skip
    """Keep a registered version with its catalogue, and serve the pair if wanted; returns the model's tag.

    Args:
        home: the home.
        model: its card names the catalogue's tag, which was stored before the model was registered; where `prune`
            took it away since, it is stored again.
        labels: kept beside the model.
        catalogue: of the model's data.
        serve: put the pair in force.
        beside: writes more into the model's folder.
    """
    catalogue_tag = str(model.card["catalogue"])
    with home_lock(home):
        tag = _store_model(home, model, {**labels, "catalogue": catalogue_tag}, beside)
        if not is_whole(store_path(home, catalogue_tag)):
            with _written(catalogue) as (catalogue_tag, folder):
                _store_catalogue(home, catalogue_tag, folder)
        if serve:
            _publish(home, tag, catalogue_tag)
    return tag


def serve_catalogue(home: Path, catalogue: Catalogue) -> str:
    """Keep a catalogue, and serve it with the model in force if there is one; returns its tag.

    Raises:
        DataError: its currency is not that of the model in force, which goes on with its own catalogue; or that model
            cannot be read.
    """
    with _written(catalogue) as (tag, folder), home_lock(home):
        _store_catalogue(home, tag, folder)
        release = read_release_file(home)
        if release is not None:
            # its catalogue may be what is to be mended
            currency = load_named_model(home, release.model).basis.currency
            if currency != catalogue.currency:
                raise DataError(f"the data are in {catalogue.currency}, the served model in {currency}: train again")
            _publish(home, release.model, tag)
    return tag


def promote(home: Path, version: str) -> str:
    """Serve a stored version with the newest catalogue; returns its tag.

    Raises:
        DataError: there is no such version in the store, or this program cannot read it or the catalogue.
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
        _publish(home, tag, str(catalogue), loads=True)
    return tag


def roll_back(home: Path) -> ReleaseFile:
    """Serve what was served before; returns it. It needs neither MLflow nor the data.

    Raises:
        DataError: nothing was served before, or this program cannot read it.
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
        _put_in_force(home, back, loads=True)
    return back


def _require_stored(home: Path, version: str) -> None:
    stored = stored_versions(home)
    if version not in stored:
        known = f"stored versions: {', '.join(stored) or 'none; run `influencer-roi train DIR`'}"
        if registry.was_pruned(home, version):
            raise DataError(f"version {version} was pruned, its model is deleted; {known}", field="version")
        raise DataError(f"version {version} is not in {home / STORE}; {known}", field="version")


def _publish(home: Path, model_tag: str, catalogue_tag: str, *, loads: bool = False) -> None:
    old = _readable_release(home)
    if old is None and release_stamp(home) is not None:
        log.warning(
            "release.json could not be read and is written anew. What was served before is not known any more, so "
            "`rollback` does not reach it; `promote` serves any version that is stored"
        )
    if old is not None and (old.model, old.catalogue) == (model_tag, catalogue_tag):
        return
    previous = () if old is None else ((old.model, old.catalogue), *old.previous)
    _put_in_force(home, ReleaseFile(model_tag, catalogue_tag, previous[:KEPT]), loads=loads)


def _put_in_force(home: Path, release: ReleaseFile, *, loads: bool = False) -> None:
    """Write release.json once all is there that its servers load, and drop what they no longer do.

    Raises:
        DataError: `loads` is wanted, and this program cannot read the model or the catalogue.
    """
    try:
        _ = load_pair(home, release.model, release.catalogue).prepared
    except Exception as error:
        if loads and isinstance(error, DataError):
            raise DataError(
                f"{release.model} with {release.catalogue} cannot be served: {error}. What is served stays; where an "
                "earlier version of the program made it, put that program back first, or promote another version"
            ) from error
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


def _store_model(
    home: Path, model: Model, labels: dict[str, str], beside: Callable[[Path], None] = lambda _: None
) -> str:
    def write(folder: Path) -> None:
        save_model(model, folder)
        beside(folder)

    tag = f"{MODEL}:{model.version}"
    _refuse_other_run(store_path(home, tag), labels)
    return _store(home, tag, labels, write, load_model)


def _refuse_other_run(folder: Path, labels: dict[str, str]) -> None:
    """Refuse a number that was free when it was registered, and that the store holds now, of another run."""
    there, run = label_of(folder, "run_id"), labels.get("run_id")
    if run is not None and there is not None and there != run:
        raise DataError(
            f"version {folder.name} is in {folder.parent} already, of another run ({there}): two trainings of "
            "this home were recorded in two places at once. Train again",
            field="version",
        )


@contextmanager
def _written(catalogue: Catalogue) -> Iterator[tuple[str, Path]]:
    """The tag of a catalogue, and a temporary folder that holds it: writing takes time, and needs no lock."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        try:
            save_catalogue(catalogue, folder)
        except OSError as error:
            raise DataError(
                f"the catalogue could not be written in {folder.parent} ({_reason(error)}). What is served stays; "
                "where that disk is full, free space, or let TMPDIR name a folder elsewhere. Then run again"
            ) from error
        yield f"{CATALOGUE}:{catalogue.data_as_of}-{_digest(folder)}", folder


def _store_catalogue(home: Path, tag: str, folder: Path) -> str:
    def copy(target: Path) -> None:
        shutil.copytree(folder, target, dirs_exist_ok=True)

    return _store(home, tag, {"data_as_of": _day(tag)}, copy, load_catalogue)


def _store(
    home: Path, tag: str, labels: dict[str, str], write: Callable[[Path], None], load: Callable[[Path], object]
) -> str:
    """Add an artefact to the BentoML store, in one step; one that is there already and loads is left as it is.

    Raises:
        DataError: the disk does not take it.
    """
    path = store_path(home, tag)
    if is_whole(path) and _loads(path, load):
        return tag
    # everything the program writes stays in the home; BentoML reads these when it is first imported
    os.environ["BENTOML_DO_NOT_TRACK"] = "True"
    os.environ.setdefault("BENTOML_HOME", str((home / STORE).resolve()))
    import bentoml
    from bentoml._internal.models import ModelStore

    models = path.parent.parent
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # BentoML copies into a store file by file, model.yaml among them: killed meanwhile, it leaves a piece that
        # looks whole. So into a store of its own, and from there by a rename.
        with tempfile.TemporaryDirectory(prefix=".store-partial-", dir=home, ignore_cleanup_errors=True) as beside:
            with bentoml.models.create(tag, labels=labels, _model_store=ModelStore(beside)) as reference:
                write(Path(reference.path))
            made = Path(beside) / path.parent.name / path.name
            # BentoML leaves the mode of a temporary folder, private to this user: a server may run as another
            made.chmod(models.stat().st_mode & 0o777)
            _to_disk(made)
            if path.exists():
                path.rename(Path(beside) / "broken")  # cut short by a crash, or damaged since
            made.rename(path)
            (made.parent / "latest").replace(path.parent / "latest")
    except OSError as error:
        raise DataError(
            f"{tag} could not be stored in {home / STORE} ({_reason(error)}). What is served stays; where the disk is "
            "full, `influencer-roi prune` frees space. Then run again"
        ) from error
    return tag


def _loads(folder: Path, load: Callable[[Path], object]) -> bool:
    try:
        load(folder)
    except DataError:
        return False
    return True


def _to_disk(folder: Path) -> None:
    """Wait until all of a folder is on the disk: release.json, which is, may name it next."""
    for path in [*folder.rglob("*"), folder]:
        opened = os.open(path, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def _reason(error: OSError) -> str:
    if isinstance(error, shutil.Error):
        # of a folder: a reason for each file
        error_of_first = str(error.args[0][0][2])
        return error_of_first.partition(": ")[0]
    return error.strerror or str(error)
