"""What fast scoring keeps of a catalogue under one model: everything about a creator that no brief changes.

A folder of mapped arrays in the home, `prepared/<digest>`, named by the contents of model and catalogue. It is derived
from them and may be deleted at any time; who publishes makes it, or who serves first.
"""

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.brief_columns import encode_briefs
from features.context import PAIR_CODES, CreatorState, brief_context
from features.matrix import FEATURES, define_features
from features.value import GOALS
from serving.artefact import check_files, checksum, read_json, write_json
from serving.catalogue import Catalogue
from serving.columns import Bytes, Readers
from serving.layout import Layout
from serving.model import Model
from serving.stage import Floats, Matrix, Scaler

FORMAT = 1
FOLDER = "prepared"
FILES = ("bytes.npy", "base.npy", "beside_price.npy", "kind.npy", "kinds.npy")
ROWS_AT_ONCE = 65_536
# features that are the log of the price plus something of the creator alone
BESIDE_PRICE = tuple(i for i, f in enumerate(FEATURES) if f.beside_price == "creator")

Ints = NDArray[np.int32]
Allocate = Callable[[str, tuple[int, ...], Any], NDArray[Any]]

log = logging.getLogger("bentoml.influencer_roi")


@dataclass(frozen=True)
class Prepared:
    """n creators under one model.

    Attributes:
        layout: of the model.
        bytes_: the layout's columns of scope `creator`, shape (columns, n).
        base: what a creator's own features add to the linear base of each stage, the intercept included, in fixed
            point; shape (stages, n).
        beside_price: what BESIDE_PRICE add to the log of the price, float32, shape (features, n).
        kind: which creators share all codes, shape (n,).
        kinds: a row of the catalogue for each kind, shape (k,).
    """

    layout: Layout
    bytes_: Bytes
    base: Ints
    beside_price: Matrix
    kind: Ints
    kinds: NDArray[np.int64]

    @cached_property
    def beside_error(self) -> float:
        """How far float32 may have moved `beside_price`."""
        known = self.beside_price[np.isfinite(self.beside_price)]
        return float(np.abs(known).max(initial=0.0)) * 2.0**-24


def linear_part(model: Model, layout: Layout, features: list[int], values: Matrix) -> Floats:
    """What some features add to the linear base of each stage, in logs, shape (n, stages).

    Args:
        model: whose scaler it is.
        layout: the stages, in order.
        features: positions in FEATURES.
        values: of these features, shape (n, len(features)).
    """
    scaler, f = model.scaler, len(FEATURES)
    some = Scaler(*(getattr(scaler, name)[features] for name in ("mean", "scale", "low", "high")))
    both = [*features, *(f + feature for feature in features)]
    coef = np.stack([stage.coef[both] for stage in layout.stages], axis=1)
    return some.design(values).astype(np.float64) @ coef


def prepare(layout: Layout, model: Model, catalogue: Catalogue, allocate: Allocate | None = None) -> Prepared:
    """Compute it for all creators of a catalogue, some at a time.

    Args:
        layout, model: of one model.
        catalogue: n creators.
        allocate: name, shape and type to an array to be filled; default: in memory.
    """
    allocate = allocate or _in_memory
    state = catalogue.state
    n, static = len(state), [position for position, f in enumerate(FEATURES) if f.scope == "creator"]
    columns = layout.columns[: layout.creator_columns]
    readers = Readers.of(columns, static)
    bytes_ = allocate("bytes", (len(columns), n), np.uint8)
    base = allocate("base", (len(layout.stages), n), np.int32)
    beside = allocate("beside_price", (len(BESIDE_PRICE), n), np.float32)
    intercept = np.array([stage.intercept for stage in layout.stages])
    # what it is for must not matter: these read nothing of the brief
    briefs = encode_briefs([{"goal": GOALS[0]}], catalogue.words)
    for low in range(0, n, ROWS_AT_ONCE):
        block = np.asarray(state.static[low : low + ROWS_AT_ONCE])
        high = low + len(block)
        found = np.empty((len(columns), len(block)), dtype=np.uint8)
        readers.read(np.ascontiguousarray(block.T, dtype=np.float64), np.zeros(len(static)), found)
        bytes_[:, low:high] = found
        part = linear_part(model, layout, static, block) + intercept
        base[:, low:high] = np.rint(part * layout.scale).T
        context = brief_context(state.span(low, high), briefs, -1, catalogue.words, len(catalogue.tier_names))
        beside[:, low:high] = define_features(context.at_price(np.ones(high - low)), high - low, BESIDE_PRICE)
    kind, kinds = _kinds(state)
    for name, values in (("kind", kind), ("kinds", kinds)):
        allocate(name, values.shape, values.dtype)[:] = values
    return Prepared(layout, bytes_, base, beside, kind, kinds)


def _in_memory(_: str, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    return np.empty(shape, dtype)


def _kinds(state: CreatorState) -> tuple[Ints, NDArray[np.int64]]:
    """Of each creator the kind: those alike in all codes a brief is matched with; and of each kind the first one."""
    code = np.zeros(len(state), dtype=np.int64)
    for name in PAIR_CODES:
        own = np.asarray(state.codes[name]) + 1
        code = code * (int(own.max(initial=0)) + 1) + own
    _, first, kind = np.unique(code, return_index=True, return_inverse=True)
    return kind.astype(np.int32), first.astype(np.int64)


def open_prepared(home: Path, digest: str, layout: Layout, model: Model, catalogue: Catalogue) -> Prepared:
    """Map what was prepared, or prepare it; in memory where the home cannot be written to.

    Args:
        home: holds the folder.
        digest: of model and catalogue.
        layout, model, catalogue: what it is made of.
    """
    folder, n = home / FOLDER / digest, len(catalogue.state)
    found = _read(folder, layout, n)
    if found is not None:
        return found
    try:
        _write(folder, layout, model, catalogue)
    except OSError as error:
        log.warning("what fast scoring needs is kept in memory, not in %s: %s", folder, error)
    return _read(folder, layout, n) or prepare(layout, model, catalogue)


def forget_prepared(home: Path, keep: Collection[str]) -> None:
    """Delete what was prepared for any but some digests; a server that has it mapped goes on."""
    folder = home / FOLDER
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name not in keep:
            shutil.rmtree(path, ignore_errors=True)


def _write(folder: Path, layout: Layout, model: Model, catalogue: Catalogue) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
    try:

        def mapped(name: str, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
            path = beside / f"{name}.npy"
            array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
            if hasattr(os, "posix_fallocate"):
                # on a full disk an error now, instead of a signal that ends the process when the pages are written
                with path.open("r+b") as file:
                    os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
            return array

        prepare(layout, model, catalogue, mapped)
        sums = {name: checksum(beside / name) for name in FILES}
        write_json(beside, "prepared.json", {"format": FORMAT, "checksums": sums})
        beside.chmod(0o755)  # as the store's folders: a server may run as another user
        if folder.exists():
            shutil.rmtree(folder, ignore_errors=True)  # broken, or another process was first
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _read(folder: Path, layout: Layout, n: int) -> Prepared | None:
    """What lies in the folder; None where there is nothing, or nothing whole."""
    try:
        said, _ = read_json(folder, "prepared.json")
        if said["format"] != FORMAT:
            return None
        check_files(folder, said["checksums"])
        bytes_, base, beside, kind, kinds = (
            np.asarray(np.load(folder / name, mmap_mode="r", allow_pickle=False)) for name in FILES
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    shapes = (layout.creator_columns, n), (len(layout.stages), n), (len(BESIDE_PRICE), n), (n,)
    if (bytes_.shape, base.shape, beside.shape, kind.shape) != shapes:
        return None
    return Prepared(layout, bytes_, base, beside, kind, kinds)
