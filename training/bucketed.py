"""A bucketed folder as a data set and a catalogue: the tasks of its buckets, and what they come to together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.buckets import Manifest, read_whole
from features.build_market import Shared, encode_bucket, share
from features.encoding import Vocabulary
from features.market import Market, Placements
from features.matrix import NAMES
from features.record import History
from features.settings import Settings
from features.shared_record import shared_histories
from features.survey import Survey
from features.tables import Tables, build
from serving.catalogue import Catalogue, join_catalogues, load_catalogue, with_overlap
from serving.stage import Matrix
from training.bucket_tasks import (
    Finished,
    catalogue_bucket,
    catalogue_folder,
    contribute_bucket,
    features_file,
    finish_bucket,
    survey_bucket,
)
from training.dataset import Dataset, Seen, dataset
from training.engine import Engine

Ints = NDArray[np.int64]

MAPPED = 8  # parts of a catalogue open at a time: each is some forty files, of the 1024 a process may usually open


@dataclass(frozen=True)
class Rounds:
    """What the first two rounds found: all that buckets know of each other."""

    tables: Tables
    shared: Shared
    histories: Mapping[str, History]


def first_rounds(
    folder: Path, manifest: Manifest, settings: Settings, as_of: int, engine: Engine, say: Callable[[str], None]
) -> Rounds:
    """Survey the buckets, and run the records that creators share.

    Args:
        folder, manifest: of the bucketed data.
        settings: those it was written with.
        as_of: UTC decision day of the catalogue.
        engine: where the tasks run.
        say: told what is being done.
    """
    buckets = range(manifest.buckets)
    whole = build(read_whole(folder, manifest), settings)
    say(f"surveying {manifest.buckets} buckets")
    survey = Survey.total(list(engine.map(survey_bucket, buckets, folder)))
    shared = share(whole, survey, settings, as_of, manifest.commission_only_rate)
    say("running shared records")
    return Rounds(whole, shared, shared_histories(engine.map(contribute_bucket, buckets, folder, shared)))


def bucketed_dataset(
    folder: Path, manifest: Manifest, rounds: Rounds, engine: Engine, out: Path
) -> tuple[Dataset, Catalogue]:
    """Third round: features of every placement, in the order of their table, and the catalogue."""
    common = folder, rounds.shared, rounds.histories, out
    finished = list(engine.map(finish_bucket, range(manifest.buckets), *common))
    order = np.argsort(np.concatenate([part.rows for part in finished]), kind="stable")
    placements: Placements = _joined([part.placements for part in finished], order)
    ids = pl.concat([part.creator_ids for part in finished]).gather(order)
    nobody = encode_bucket(rounds.tables, rounds.shared)
    market: Market = replace(nobody, placements=replace(placements, creator=Vocabulary.of(ids).codes(ids)))
    seen: Seen = _joined([part.seen for part in finished], order)
    return dataset(market, _features(finished, out), seen), _catalogue(manifest, rounds, out)


def bucketed_catalogue(folder: Path, manifest: Manifest, rounds: Rounds, engine: Engine, out: Path) -> Catalogue:
    """Third round for the catalogue alone."""
    list(engine.map(catalogue_bucket, range(manifest.buckets), folder, rounds.shared, rounds.histories, out))
    return _catalogue(manifest, rounds, out)


def _catalogue(manifest: Manifest, rounds: Rounds, out: Path) -> Catalogue:
    parts = _together([catalogue_folder(out, bucket) for bucket in range(manifest.buckets)])
    return with_overlap(parts, rounds.tables.audience_overlap, rounds.shared.settings.plan)


def _together(folders: Sequence[Path]) -> Catalogue:
    """The catalogue whose parts lie in some folders, few of them mapped at a time: what is joined is in memory."""
    if len(folders) <= MAPPED:
        return join_catalogues([load_catalogue(folder) for folder in folders])
    step = -(-len(folders) // MAPPED)
    return join_catalogues([_together(folders[at : at + step]) for at in range(0, len(folders), step)])


def _features(finished: Sequence[Finished], out: Path) -> Matrix:
    """Features in the order of the placements' table, read bucket by bucket."""
    x = np.empty((sum(len(part.rows) for part in finished), len(NAMES)), dtype=np.float32)
    for bucket, part in enumerate(finished):
        x[part.rows] = pl.read_parquet(features_file(out, bucket)).to_numpy()
    return x


def _joined(parts: Sequence[Any], order: Ints) -> Any:
    """Columns of several data classes of one kind as one, their rows in another order."""
    first = parts[0]
    if is_dataclass(first) and not isinstance(first, type):
        columns = {f.name: _joined([getattr(part, f.name) for part in parts], order) for f in fields(first)}
        return replace(first, **columns)
    if isinstance(first, Mapping):
        return {name: _joined([part[name] for part in parts], order) for name in first}
    if isinstance(first, pl.Series):
        return pl.concat(parts).gather(order)
    return np.concatenate(parts)[order]
