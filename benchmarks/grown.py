"""Catalogues of any size for timing: creators of a SYNTHETIC one drawn again and again, each number a bit different."""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.lib import format as npy

from features.overlap import Overlap
from serving.artefact import checksum, read_json, write_json
from serving.catalogue import Catalogue, save_catalogue

JITTER = 0.05  # relative standard deviation
PIECE = 1_000_000  # creators held in memory at a time


def grown(catalogue: Catalogue, n: int, seed: int = 0, first: int = 0) -> Catalogue:
    """A catalogue of n creators drawn from another one's, their signals jittered; ids count from `first`."""
    rng = np.random.default_rng(seed)
    # in no order: alike ones side by side would flatter whatever walks trees a row at a time
    rows = rng.integers(0, len(catalogue.state), n)
    state = catalogue.state.part(rows)

    def jittered(values):
        factor = rng.standard_normal(values.shape, dtype=np.float32)
        factor *= JITTER
        factor += 1.0
        return values * factor

    exact = ("price_source",)
    profile = {name: v if name in exact else jittered(np.asarray(v)) for name, v in state.profile.items()}
    static = np.asarray(state.static)
    for column in range(static.shape[1]):
        static[:, column] = jittered(static[:, column])
    display = catalogue.display[rows].with_columns(
        pl.Series("creator_id", [f"c{i:08d}" for i in range(first, first + n)]),
        pl.lit(None, dtype=pl.String).alias("person_id"),
    )
    state = replace(state, profile=profile, static=static)
    # who shares an audience with whom is of the creators drawn from
    return replace(catalogue, state=state, display=display, overlap=Overlap.unmeasured(), digest="")


def write_grown(catalogue: Catalogue, n: int, folder: Path) -> None:
    """The artefact of a grown catalogue, a piece at a time, into an existing, empty folder."""
    displays = []
    for seed, low in enumerate(range(0, n, PIECE)):
        piece = grown(catalogue, min(PIECE, n - low), seed, low)
        displays.append(piece.display)
        if not low:
            save_catalogue(piece, folder)
            continue
        with tempfile.TemporaryDirectory(dir=folder.parent) as beside:
            save_catalogue(piece, Path(beside))
            del piece
            for path in sorted(Path(beside).glob("*.npy")):
                _append(folder / path.name, path)
    pl.concat(displays).write_ipc(folder / "display.arrow", compression="uncompressed")
    data, _ = read_json(folder, "catalogue.json")
    sums = {name: checksum(folder / name) for name in data["checksums"]}
    write_json(folder, "catalogue.json", {**data, "creators": n, "checksums": sums})


def _append(target: Path, path: Path) -> None:
    """Rows of one .npy file after those of another; totals are of the market, the same in every piece."""
    if path.name.startswith("totals-"):
        return
    rows = np.load(path, mmap_mode="r", allow_pickle=False)
    if path.name.endswith("-offsets.npy"):
        rows = rows[1:] + np.load(target, mmap_mode="r", allow_pickle=False)[-1]
    with target.open("r+b") as file:
        npy.read_magic(file)
        (held, *rest), order, dtype = npy.read_array_header_1_0(file)
        file.seek(0, 2)
        np.ascontiguousarray(rows).tofile(file)
        # a header has room for any number of rows, so that it does not grow
        file.seek(0)
        header = {"descr": npy.dtype_to_descr(dtype), "fortran_order": order, "shape": (held + len(rows), *rest)}
        npy.write_array_header_1_0(file, header)
