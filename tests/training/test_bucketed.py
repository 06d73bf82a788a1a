"""A bucketed folder gives what the folder of tables gives, to the bit: on this machine and on a cluster."""

import json
import os
import resource
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from features.buckets import part_name
from features.errors import DataError
from features.overlap import Overlap
from features.settings import PlanSettings, Settings
from training.bucket import bucket
from training.engine import Engine, LocalEngine, engine
from training.pipeline import train
from training.sample import write_sample
from training.source import Source, catalogue_source, source
from training.split import day_number, labelled
from training.tier_table import TierTable, tier_table


def differences(one: Any, other: Any, path: str = "") -> Iterator[str]:
    """Where two nests of data classes, mappings, arrays and frames differ, to the bit."""
    if is_dataclass(one):
        for field in fields(one):
            yield from differences(getattr(one, field.name), getattr(other, field.name), f"{path}.{field.name}")
    elif isinstance(one, Mapping):
        if list(one) != list(other):
            yield path
        for key in one:
            yield from differences(one[key], other[key], f"{path}[{key}]")
    elif isinstance(one, np.ndarray):
        if one.shape != other.shape or one.dtype != other.dtype or one.tobytes() != other.tobytes():
            yield path
    elif isinstance(one, pl.DataFrame | pl.Series):
        if not one.equals(other):
            yield path
    elif one != other:
        yield path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A market with several accounts of one person, formats priced apart for a few creators, and untidy overlaps."""
    path = tmp_path_factory.mktemp("data") / "market"
    write_sample(path, creators=160, placements=900, snapshots=5, seed=4, fmt="parquet", world="cliffs")
    creators = pl.read_parquet(path / "creators.parquet")
    few = creators.head(4)["creator_id"]
    pl.DataFrame({
        "creator_id": [*few, *few], "snapshot_at": ["2025-01-01"] * 4 + ["2025-06-01"] * 4,
        "deliverable": ["video"] * 8, "price": np.arange(100.0, 900.0, 100.0), "price_currency": ["USD"] * 8,
    }).write_parquet(path / "creator_prices.parquet")  # fmt: skip
    table = pl.read_parquet(path / "audience_overlap.parquet")
    turned = table.head(30).select(creator_a="creator_b", creator_b="creator_a", overlap=pl.col("overlap") / 3)
    odd = pl.DataFrame({"creator_a": [few[0], "nobody"], "creator_b": [few[0], few[1]], "overlap": [1.0, 1.0]})
    pl.concat([turned, table, table.head(5), odd]).write_parquet(path / "audience_overlap.parquet")
    return path


def sourced(folder: Path, home: Path, run: Engine) -> Source:
    with source(folder, Settings(), None, home, run, lambda _: None) as found:
        return found


@pytest.fixture(scope="module")
def plain(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Source:
    return sourced(folder, tmp_path_factory.mktemp("home"), LocalEngine())


def tiers(found: Source) -> TierTable:
    return tier_table(found.data, labelled(found.data.market.placements, found.as_of))


def require_equal(one: Source, other: Source) -> None:
    assert list(differences(one.data.x, other.data.x, "x")) == []
    assert list(differences(one.data.labels, other.data.labels, "labels")) == []
    assert list(differences(one.data.seen, other.data.seen, "seen")) == []
    assert list(differences(one.catalogue, other.catalogue, "catalogue")) == []
    mine, others = one.data.market.placements, other.data.market.placements
    apart = {name: getattr(mine, name) for name in vars(mine) if name != "creator"}
    assert list(differences(apart, {name: getattr(others, name) for name in apart}, "placements")) == []
    assert tiers(one) == tiers(other)
    assert one.as_of == other.as_of
    assert one.report.rows == other.report.rows


@pytest.mark.parametrize("buckets", [1, 3, 8])
def test_buckets_give_what_the_tables_give(folder: Path, plain: Source, tmp_path: Path, buckets: int) -> None:
    bucket(folder, tmp_path / "out", Settings(), buckets=buckets)
    found = sourced(tmp_path / "out", tmp_path / "home", LocalEngine())
    require_equal(plain, found)
    assert np.isfinite(found.data.x).any(axis=0).sum() > 80
    assert sum(line.ratio is not None for line in tiers(found).lines) > 5
    assert found.catalogue.state.deliverable_prices.shape[1] > 0
    assert len(found.catalogue.overlap.first) > 90
    assert found.catalogue.overlap.levels != Overlap.unmeasured().levels
    assert list((tmp_path / "home" / "work").iterdir()) == []


def die_first(number: int, marks: Path, task: Any, *common: Any) -> Any:
    """The first try of bucket 1 takes its worker with it, after its files are written."""
    found = task(number, *common)
    mark = marks / f"{task.__name__}-{number}"
    if number == 1 and not mark.exists():
        mark.touch()
        os._exit(9)
    return found


class Deadly:
    """An engine that loses a worker in every round."""

    def __init__(self, run: Engine, marks: Path) -> None:
        self._run, self._marks = run, marks

    def map(self, task: Any, buckets: Sequence[int], *common: Any) -> Iterator[Any]:
        return self._run.map(die_first, buckets, self._marks, task, *common)


def test_a_cluster_that_loses_workers_gives_the_same(folder: Path, plain: Source, tmp_path: Path) -> None:
    bucket(folder, tmp_path / "out", Settings(), buckets=4)
    (tmp_path / "marks").mkdir()
    with engine("dask", tmp_path / "home") as dask:
        found = sourced(tmp_path / "out", tmp_path / "home", Deadly(dask, tmp_path / "marks"))
        # tables are put into buckets first
        again = sourced(folder, tmp_path / "home", dask)
    require_equal(plain, found)
    require_equal(plain, again)
    assert sorted(path.name for path in (tmp_path / "marks").iterdir()) == [
        "contribute_bucket-1", "finish_bucket-1", "survey_bucket-1",
    ]  # fmt: skip


def test_the_catalogue_alone_is_that_of_training(folder: Path, plain: Source, tmp_path: Path) -> None:
    bucket(folder, tmp_path / "out", Settings(), buckets=3)
    with catalogue_source(
        tmp_path / "out", Settings(), None, tmp_path / "home", LocalEngine(), lambda _: None
    ) as found:
        assert list(differences(plain.catalogue, found)) == []


def test_overlap_levels_are_shrunk_towards_those_of_the_settings(folder: Path, tmp_path: Path) -> None:
    settings = Settings(plan=PlanSettings(overlap_same_person=0.9, overlap_same_niche=0.0))
    bucket(folder, tmp_path / "out", settings, buckets=3)
    found = []
    for source_folder in (folder, tmp_path / "out"):
        with catalogue_source(
            source_folder, settings, None, tmp_path / "home", LocalEngine(), lambda _: None
        ) as catalogue:
            found.append(catalogue.overlap)
    assert list(differences(*found)) == []
    assert found[0].levels.same_person > 0.6


def test_more_buckets_than_files_may_be_open_at_once(folder: Path, plain: Source, tmp_path: Path) -> None:
    bucket(folder, tmp_path / "out", Settings(), buckets=24)
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (600, most))  # a part of the catalogue is some forty files
    try:
        found = sourced(tmp_path / "out", tmp_path / "home", LocalEngine())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))
    require_equal(plain, found)


def test_a_day_before_every_fact_is_refused(folder: Path, tmp_path: Path) -> None:
    bucket(folder, tmp_path / "out", Settings(), buckets=2)
    with (
        pytest.raises(DataError, match="nothing is known before 1990-01-01"),
        catalogue_source(
            tmp_path / "out", Settings(), date(1990, 1, 1), tmp_path / "home", LocalEngine(), lambda _: None
        ),
    ):
        pass
    assert day_number(date(1990, 1, 1)) > 0


@pytest.mark.parametrize("table", ["creators", "creator_snapshots", "placements"])
def test_a_broken_bucket_is_named_and_nothing_is_left(folder: Path, tmp_path: Path, table: str) -> None:
    out = tmp_path / "out"
    bucket(folder, out, Settings(), buckets=3)
    file = out / part_name(1, table)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DataError, match=f"{part_name(1, table)} is cut short"):
        sourced(out, tmp_path / "home", LocalEngine())
    assert list((tmp_path / "home" / "work").iterdir()) == []


def test_a_model_trained_from_buckets_is_that_of_the_tables(folder: Path, tmp_path: Path) -> None:
    bucket(folder, tmp_path / "out", Settings(), buckets=3)
    kept = []
    for home, data in ((tmp_path / "a", folder), (tmp_path / "b", tmp_path / "out")):
        done = train(data, home, promote="never")
        (path,) = home.glob(f"**/influencer-roi-model/{done.version}/model.json")
        told = json.loads(path.read_text(encoding="utf-8"))
        named = ("stages", "trees", "scaler", "levels", "promise", "intervals", "together")
        kept.append({**{name: told[name] for name in named}, "tiers": told["card"]["tiers"]})
    assert kept[0] == kept[1]
    assert kept[0]["together"]["reach_placements"] > 100
    assert kept[0]["tiers"]["all goals"]["text"]
