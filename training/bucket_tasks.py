"""What is computed of one bucket of creators, wherever: the functions that an engine maps over the buckets.

Three rounds, because creators share records: each bucket is surveyed; then its placements say what they add to the
records of brands, persons, niches and tiers; then, with everybody's, its features and its part of the catalogue are
written. A task reads its bucket's files and what is handed to it, and writes whole files only, so that it can be run
again anywhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.buckets import Bucket, Manifest, read_bucket, read_manifest, read_whole
from features.build_market import Shared, encode_bucket
from features.market import Market, Placements
from features.matrix import NAMES
from features.record import History, run_totals
from features.shared_record import Contribution, value_placements
from features.survey import Survey, take_survey
from features.tables import Tables
from serving.catalogue import build_part, save_catalogue
from training.dataset import Seen, build_dataset
from training.whole_files import whole_file, whole_folder


@dataclass(frozen=True)
class Finished:
    """What a bucket's placements come to, beside the features in their file.

    Attributes:
        rows: positions of its p placements in the table as given, shape (p,).
        creator_ids: of the placements.
        placements: valued; creators in codes of the bucket.
        seen: of the placements.
    """

    rows: NDArray[np.int64]
    creator_ids: pl.Series
    placements: Placements
    seen: Seen


def survey_bucket(bucket: int, folder: Path) -> Survey:
    """First round."""
    return take_survey(_tables(folder, bucket))


def contribute_bucket(bucket: int, folder: Path, shared: Shared) -> Contribution:
    """Second round."""
    market = encode_bucket(_tables(folder, bucket), shared)
    return value_placements(market).contribution(len(market.creators))


def finish_bucket(
    bucket: int, folder: Path, shared: Shared, histories: Mapping[str, History], out: Path, *, catalogue: bool = True
) -> Finished:
    """Third round: writes the features, and the part of the catalogue where wanted, into the folder `out`."""
    found = _read(folder, bucket)
    market = _with_histories(encode_bucket(found.tables, shared), histories)
    data = build_dataset(market)
    features = pl.DataFrame({name: data.x[:, at] for at, name in enumerate(NAMES)})
    with whole_file(features_file(out, bucket)) as path:
        features.write_parquet(path)
    if catalogue:
        _write_catalogue(market, out, bucket)
    return Finished(found.rows, found.tables.placements["creator_id"], market.placements, data.seen)


def catalogue_bucket(bucket: int, folder: Path, shared: Shared, histories: Mapping[str, History], out: Path) -> None:
    """Third round where only the catalogue is wanted."""
    _write_catalogue(_with_histories(encode_bucket(_tables(folder, bucket), shared), histories), out, bucket)


def features_file(out: Path, bucket: int) -> Path:
    """Where a bucket's features lie: float32 Parquet, a column a feature, a row a placement."""
    return out / f"features-{bucket:05d}.parquet"


def catalogue_folder(out: Path, bucket: int) -> Path:
    """Where a bucket's part of the catalogue lies."""
    return out / f"catalogue-{bucket:05d}"


def _write_catalogue(market: Market, out: Path, bucket: int) -> None:
    """The catalogue of the bucket's creators."""
    catalogue = build_part(market, market.as_of, market.settings)
    with whole_folder(catalogue_folder(out, bucket)) as path:
        save_catalogue(catalogue, path)


def _with_histories(market: Market, histories: Mapping[str, History]) -> Market:
    """A bucket with its values, its creators' own records and everybody's shared ones."""
    valued = value_placements(market)
    return replace(
        market, placements=valued.placements, histories={**histories, "creator": run_totals(valued.own_records())}
    )


def _tables(folder: Path, bucket: int) -> Tables:
    return _read(folder, bucket).tables


def _read(folder: Path, bucket: int) -> Bucket:
    manifest, whole = _same_for_all(folder)
    return read_bucket(folder, manifest, bucket, whole)


@lru_cache(maxsize=1)
def _same_for_all(folder: Path) -> tuple[Manifest, Mapping[str, pl.DataFrame]]:
    """What every bucket of a folder holds whole, read once a process: the files of a folder never change."""
    manifest = read_manifest(folder)
    return manifest, read_whole(folder, manifest)
