"""What a model is trained on, from a folder of tables or from one that `influencer-roi bucket` wrote."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl

from features import money
from features.buckets import WHOLE, Manifest, is_bucketed, part_name, read_manifest
from features.build_market import build_market
from features.check import CheckFailed, Report, load_checked
from features.errors import DataError
from features.market import Market
from features.settings import Settings
from features.tables import Tables
from serving.catalogue import Catalogue, build_catalogue
from training.bucket import bucket
from training.bucketed import bucketed_catalogue, bucketed_dataset, first_rounds
from training.dataset import Dataset, build_dataset
from training.engine import Engine, LocalEngine
from training.run_record import RECORDED
from training.split import day_number, iso, newest_fact, oldest_fact

Say = Callable[[str], None]


@dataclass(frozen=True)
class Loaded:
    """Checked data, encoded as of a day."""

    market: Market
    tables: Tables
    report: Report
    as_of: int


@dataclass(frozen=True)
class Source:
    """Data as a model is trained on them.

    Attributes:
        report: of the check.
        as_of: UTC decision day.
        data: features and labels of every placement.
        catalogue: of every creator as of the day.
        recorded: RECORDED columns by table.
    """

    report: Report
    as_of: int
    data: Dataset
    catalogue: Catalogue
    recorded: Mapping[str, pl.DataFrame]


def load(folder: Path, settings: Settings, as_of: date | None) -> Loaded:
    """Read, check and encode a folder of tables.

    Raises:
        CheckFailed: the data have errors.
        DataError: the folder is a bucketed one.
    """
    if is_bucketed(folder):
        raise DataError(
            f"{folder} is a bucketed folder, from which train and catalogue work: give the folder it was made from"
        )
    tables, found = load_checked(folder, settings)
    if not found.ok:
        raise CheckFailed(found)
    tables = money.in_base_currency(tables, settings)
    day = newest_fact(tables) + 1 if as_of is None else day_number(as_of)
    return Loaded(build_market(tables, settings, day), tables, found, day)


@contextmanager
def source(
    folder: Path, settings: Settings, as_of: date | None, home: Path, engine: Engine, say: Say
) -> Iterator[Source]:
    """The data of a folder; what is written on the way is in `home` and gone afterwards.

    Args:
        folder: of tables, or bucketed.
        settings: configuration.
        as_of: decision day; None: the day after the newest fact.
        home: where work is written.
        engine: where the tasks of buckets run; any but the local one has a folder of tables bucketed first.
        say: told what is being done.

    Raises:
        CheckFailed: the data have errors.
        DataError: they cannot be used.
    """
    say(f"checking {folder}")
    if not is_bucketed(folder) and isinstance(engine, LocalEngine):
        loaded = load(folder, settings, as_of)
        say(f"computing the features of {len(loaded.market.placements)} placements")
        data, catalogue = build_dataset(loaded.market), build_catalogue(loaded.market, loaded.as_of, settings)
        frames = {name: loaded.tables.by_name()[name].select(columns) for name, columns in RECORDED.items()}
        yield Source(loaded.report, loaded.as_of, data, catalogue, frames)
        return
    with _work(home) as work:
        buckets, manifest = _bucketed(folder, settings, work, say)
        day = _day(manifest, as_of)
        rounds = first_rounds(buckets, manifest, settings, day, engine, say)
        say(f"computing the features of {manifest.rows['placements']} placements")
        data, catalogue = bucketed_dataset(buckets, manifest, rounds, engine, work)
        yield Source(manifest.report(), day, data, catalogue, _recorded(buckets, manifest))


@contextmanager
def catalogue_source(
    folder: Path, settings: Settings, as_of: date | None, home: Path, engine: Engine, say: Say
) -> Iterator[Catalogue]:
    """The catalogue of a folder; arguments and errors as of `source`."""
    if not is_bucketed(folder) and isinstance(engine, LocalEngine):
        loaded = load(folder, settings, as_of)
        _require_facts(loaded.as_of, oldest_fact(loaded.tables))
        yield build_catalogue(loaded.market, loaded.as_of, settings)
        return
    with _work(home) as work:
        buckets, manifest = _bucketed(folder, settings, work, say)
        day = _day(manifest, as_of)
        _require_facts(day, manifest.oldest_fact)
        rounds = first_rounds(buckets, manifest, settings, day, engine, say)
        yield bucketed_catalogue(buckets, manifest, rounds, engine, work)


@contextmanager
def _work(home: Path) -> Iterator[Path]:
    """A folder for what is written on the way, which workers must see under the same path."""
    parent = (home / "work").resolve()
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent) as work:
        yield Path(work)


def _bucketed(folder: Path, settings: Settings, work: Path, say: Say) -> tuple[Path, Manifest]:
    if not is_bucketed(folder):
        target = work / "buckets"
        return target, bucket(folder, target, settings, say=say)
    return folder.resolve(), read_manifest(folder, settings)


def _recorded(folder: Path, manifest: Manifest) -> dict[str, pl.DataFrame]:
    frames = {}
    for name, columns in RECORDED.items():
        parts = [part_name(bucket, name) for bucket in range(manifest.buckets)]
        files = [folder / part for part in ([f"{name}.parquet"] if name in WHOLE else parts)]
        frames[name] = pl.scan_parquet(files, glob=False).select(columns).collect()
    return frames


def _day(manifest: Manifest, as_of: date | None) -> int:
    if as_of is not None:
        return day_number(as_of)
    if manifest.newest_fact is None:
        raise DataError("the data hold no date at all: give campaigns a starts_on, or placements an agreed_on")
    return manifest.newest_fact + 1


def _require_facts(as_of: int, oldest: int | None) -> None:
    if oldest is None or as_of <= oldest:
        first = "there is none with a date" if oldest is None else f"the oldest fact is of {iso(oldest)}"
        raise DataError(f"nothing is known before {iso(as_of)}: {first}")
