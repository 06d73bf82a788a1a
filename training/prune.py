"""`influencer-roi prune`: keep a home's disk in bounds without taking away anything that is, or may again be, served.

Nothing that release.json names is missing at any moment: its shortened list is written first, what it no longer names
leaves the store next (a rename, under the home's lock), and only then are files deleted. What an interrupted prune
left undone the next one does.
"""

import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml  # type: ignore[import-untyped]

from serving.release_file import CATALOGUE, FILE, MODEL, STORE, ReleaseFile, read_release_file, write_release_file
from training import prune_runs
from training.home_lock import home_lock, locked
from training.prune_runs import DAY_SECONDS, Runs
from training.stored import is_whole, stored_versions

LEFTOVERS = ("work/*", ".*-partial-*", f".{FILE}.*")  # of the home; what a killed process left, if it is old


@dataclass(frozen=True)
class Removal:
    """One thing that was removed, or would be."""

    what: str
    bytes: int


@dataclass(frozen=True)
class Pruned:
    """What a prune came to.

    Attributes:
        home: what was pruned.
        removals: in the order in which they are listed.
        reachable: earlier releases that a rollback still reaches; None where nothing is served.
        notes: what was left alone, and why.
        dry_run: nothing was removed.
    """

    home: Path
    removals: tuple[Removal, ...]
    reachable: int | None
    notes: tuple[str, ...]
    dry_run: bool

    @property
    def bytes(self) -> int:
        """Of all removals."""
        return sum(removal.bytes for removal in self.removals)

    def lines(self) -> list[str]:
        """What to tell.

        >>> gone = (Removal("model version 1", 1500), Removal("catalogue 2026-07-01-0a", 20))
        >>> Pruned(Path("home"), gone, 2, (), False).lines()[-1]
        'Removed 2 things, 1,520 bytes, from home. A rollback reaches 2 earlier releases.'
        """
        width = max((len(removal.what) for removal in self.removals), default=0)
        listed = [f"{removal.what:<{width}}  {removal.bytes:>15,} bytes" for removal in self.removals]
        verb = "Would remove" if self.dry_run else "Removed"
        total = f"{verb} {len(self.removals)} things, {self.bytes:,} bytes, from {self.home}."
        if not self.removals:
            total = f"Nothing to remove in {self.home}."
        if self.reachable is not None:
            total += f" A rollback reaches {self.reachable} earlier release{'' if self.reachable == 1 else 's'}."
        return [*listed, *self.notes, total]


@dataclass(frozen=True)
class _Stored:
    """An artefact in the store, or a piece of one."""

    path: Path
    whole: bool
    labels: Mapping[str, str]
    created: str

    @property
    def tag(self) -> str:
        return f"{self.path.parent.name}:{self.path.name}"

    @property
    def what(self) -> str:
        if not self.whole:
            return f"unfinished {self.tag}"
        name, version = self.tag.split(":")
        return f"{'model version' if name == MODEL else 'catalogue'} {version}"


def prune(home: Path, keep: int, *, dry_run: bool = False) -> Pruned:
    """Remove what is neither served nor among the newest.

    Kept are the release in force and the `keep` releases before it, the `keep` newest model versions (each with the
    catalogue it was trained with) and catalogues, versions with an alias, and the files of the runs of all of them
    and of the `keep` newest other runs of each kind. Figures of runs are always kept.

    Args:
        home: what to prune; it may be served from, and trained on, meanwhile.
        keep: how many, at least 1.
        dry_run: only say what would be removed.

    Raises:
        DataError: release.json is broken, or MLflow does not answer; then nothing is removed that MLflow must know of.
    """
    if not home.is_dir():
        return Pruned(home, (), None, (), dry_run)
    with locked(home / STORE / ".prune.lock"):
        aliased = prune_runs.aliased(home)
        with home_lock(home):
            release = _shortened(home, keep)
            leaving = _leaving(home, release, aliased, keep)
            removals = [Removal(item.what, size(item.path)) for item in leaving]
            removals += [Removal(f"rest of {path.name}", size(path)) for path in _trash(home)]
            if not dry_run:
                if release is not None and release != read_release_file(home):
                    write_release_file(home, release)
                for item in leaving:
                    _out_of_store(home, item)
        # what an earlier prune took out of the store without coming to its end is dealt with too
        gone = [*(leaving if dry_run else ()), *(_read(path) for path in _trash(home))]
        still = set(stored_versions(home)) - {item.path.name for item in leaving if item.path.parent.name == MODEL}
        runs = prune_runs.to_empty(home, keep, _run_by_version(gone), still)
        removals += [Removal(f"files of MLflow run {run.name}", run.bytes) for run in runs.runs]
        old = list(_leftovers(home))
        removals += [Removal(f"leftover {path.relative_to(home)}", size(path)) for path in old]
        if not dry_run:
            _delete(home, runs, old)
    return Pruned(home, tuple(removals), None if release is None else len(release.previous), runs.notes, dry_run)


def size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; links are not followed.

    >>> size(Path("no-such-file"))
    0
    """
    return sum(stat.st_size for stat in _stats(path))


def _shortened(home: Path, keep: int) -> ReleaseFile | None:
    """The release with the earlier ones that stay, all of them whole."""
    release = read_release_file(home)
    if release is None:
        return None
    models = home / STORE / "models"
    there = [pair for pair in release.previous if all(is_whole(models / tag.replace(":", "/")) for tag in pair)]
    return replace(release, previous=tuple(there[:keep]))


def _leaving(home: Path, release: ReleaseFile | None, aliased: set[str], keep: int) -> list[_Stored]:
    models = sorted(_stored(home, MODEL), key=lambda item: int(item.path.name))
    catalogues = sorted(_stored(home, CATALOGUE), key=lambda item: item.created)
    kept = set() if release is None else {tag for pair in (_pair(release), *release.previous) for tag in pair}
    kept |= {f"{MODEL}:{version}" for version in aliased}
    for items in (models, catalogues):
        kept |= {item.tag for item in [item for item in items if item.whole][-keep:]}
    kept |= {item.labels["catalogue"] for item in models if item.tag in kept and "catalogue" in item.labels}
    # half an artefact of which release.json speaks may still be of use to whoever mends it
    named = set() if release is None else set(_pair(release))
    return [item for item in [*models, *catalogues] if item.tag not in (kept if item.whole else named)]


def _pair(release: ReleaseFile) -> tuple[str, str]:
    return release.model, release.catalogue


def _stored(home: Path, name: str) -> list[_Stored]:
    folder = home / STORE / "models" / name
    paths = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    # nothing of ours has another name
    return [_read(path) for path in paths if name != MODEL or path.name.isdigit()]


def _read(path: Path) -> _Stored:
    try:
        said: Any = yaml.safe_load((path / "model.yaml").read_text(encoding="utf-8"))
        labels = {str(key): str(value) for key, value in said["labels"].items()}
        return _Stored(path, True, labels, str(said["creation_time"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError):
        return _Stored(path, is_whole(path), {}, "")


def _out_of_store(home: Path, item: _Stored) -> None:
    """Take an artefact out of the store in one step; its model.yaml still says which run it belongs to."""
    trash = home / STORE / "pruned"
    trash.mkdir(exist_ok=True)
    item.path.rename(trash / f"{item.path.parent.name}-{item.path.name}-{uuid4().hex[:8]}")


def _trash(home: Path) -> list[Path]:
    trash = home / STORE / "pruned"
    return sorted(trash.iterdir()) if trash.is_dir() else []


def _run_by_version(items: Sequence[_Stored]) -> dict[str, str]:
    """The run of each model version; a catalogue has neither label."""
    return {
        item.labels["version"]: item.labels["run_id"] for item in items if {"version", "run_id"} <= set(item.labels)
    }


def _delete(home: Path, runs: Runs, old: Sequence[Path]) -> None:
    prune_runs.empty(home, runs)
    for path in [*_trash(home), *old]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _leftovers(home: Path) -> Iterator[Path]:
    """What nothing wrote to for a day."""
    before = time.time() - DAY_SECONDS
    for pattern in LEFTOVERS:
        for path in sorted(home.glob(pattern)):
            if max((stat.st_mtime for stat in _stats(path, folders=True)), default=before) < before:
                yield path


def _stats(path: Path, *, folders: bool = False) -> Iterator[os.stat_result]:
    """What the system says of files, and of folders if wanted; those that vanish meanwhile are left out."""
    paths = [path]
    if path.is_dir() and not path.is_symlink():
        walked = list(os.walk(path))
        paths = [Path(top, name) for top, _, names in walked for name in names]
        paths += [Path(top) for top, _, _ in walked] if folders else []
    for one in paths:
        try:
            yield one.lstat()
        except FileNotFoundError:
            continue
