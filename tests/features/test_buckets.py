"""The reader of bucketed folders: what it gives, and how it refuses what is not as the manifest says."""

import json
import shutil
from datetime import datetime

import polars as pl
import pytest

from features.buckets import (
    FORMAT,
    MANIFEST,
    ORDER,
    ROW,
    WHOLE,
    FileFacts,
    Manifest,
    Shaping,
    is_bucketed,
    part_name,
    part_schema,
    read_bucket,
    read_manifest,
    read_whole,
)
from features.errors import DataError
from features.settings import Settings
from features.tables import Tables, canonical_schema

DAY = datetime(2026, 1, 1)
ROWS = {
    "creators": [{"creator_id": name} for name in ("c1", "c2", "c3")],
    "creator_snapshots": [
        {"creator_id": "c1"},
        {"creator_id": "c1"},
        {"creator_id": "c1", "known_at": DAY},
        {"creator_id": "c1", "known_at": datetime(2026, 1, 2)},
        {"creator_id": "c2", "known_at": DAY},
    ],
    "creator_audience": [{"creator_id": "c1", "dimension": "country", "code": code, "weight": 0.5} for code in "AB"],
    "creator_prices": [{"creator_id": "c1", "deliverable": "video"}, {"creator_id": "c1", "deliverable": "video"}],
    "placements": [{"placement_id": "p4", ROW: 4}, {"placement_id": "p7", ROW: 7}],
    "campaigns": [{"campaign_id": "k1"}],
    "fx": [],
    "audience_overlap": [],
}


def frame(table, rows):
    return pl.DataFrame(rows, schema=part_schema(table), orient="row")


@pytest.fixture
def folder(tmp_path):
    """Two buckets by hand: the second has no rows."""
    out = tmp_path / "out"

    def save(name, table, rows):
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        frame(table, rows).write_parquet(path)
        return FileFacts.of(path, len(rows))

    manifest = Manifest(
        base_currency="USD", shaped_by=Shaping.of(Settings()), source="digest",
        rows={table: len(rows) for table, rows in ROWS.items()}, dates={}, oldest_fact=None, newest_fact=None,
        commission_only_rate=None, findings=(), missing=(),
        whole={table: save(f"{table}.parquet", table, ROWS[table]) for table in WHOLE},
        parts=tuple(
            {table: save(part_name(k, table), table, [] if k else ROWS[table]) for table in ORDER} for k in (0, 1)
        ),
    )  # fmt: skip
    (out / MANIFEST).write_text(manifest.model_dump_json())
    return out


def test_a_bucket_holds_its_rows_and_the_whole_tables(folder):
    assert is_bucketed(folder)
    manifest = read_manifest(folder, Settings())
    assert (manifest.buckets, manifest.report().ok) == (2, True)
    first = read_bucket(folder, manifest, 0)
    assert isinstance(first.tables, Tables)
    assert (first.rows.dtype, first.rows.tolist()) == ("int64", [4, 7])
    for table, found in first.tables.by_name().items():
        assert (dict(found.schema), found.height) == (canonical_schema(table), len(ROWS[table]))
    last = read_bucket(folder, manifest, 1, read_whole(folder, manifest))
    assert (last.rows.shape, last.rows.dtype) == ((0,), "int64")
    assert (last.tables.creators.height, last.tables.campaigns.height) == (0, 1)


def test_what_the_manifest_does_not_name_is_ignored(folder):
    shutil.copytree(folder / "bucket-00000", folder / "bucket-00002")
    (folder / "notes.txt").touch()
    manifest = read_manifest(folder)
    assert manifest.buckets == 2
    with pytest.raises(DataError, match="no bucket 2: they are 0 to 1"):
        read_bucket(folder, manifest, 2)


def rewritten(table, change):
    """A bucket's file written again, and the manifest told what it is now, so that only what differs is found."""

    def mend(folder):
        path = folder / part_name(0, table)
        change(pl.read_parquet(path)).write_parquet(path)
        manifest = json.loads((folder / MANIFEST).read_text())
        rows = manifest["parts"][0][table]["rows"]
        manifest["parts"][0][table] = FileFacts.of(path, rows).model_dump()
        (folder / MANIFEST).write_text(json.dumps(manifest))

    return mend


def broken(path, change):
    return lambda folder: (folder / path).write_bytes(change((folder / path).read_bytes()))


def one_bit_less(data):
    return data[:50] + bytes([data[50] ^ 1]) + data[51:]


def no_parquet(folder):
    (folder / SNAPSHOTS).write_bytes(b"none")
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["parts"][0]["creator_snapshots"] = FileFacts.of(folder / SNAPSHOTS, 5).model_dump()
    (folder / MANIFEST).write_text(json.dumps(manifest))


SNAPSHOTS, PLACEMENTS = part_name(0, "creator_snapshots"), part_name(0, "placements")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: (f / SNAPSHOTS).unlink(), "bucket-00000/creator_snapshots.parquet is missing"),
        (lambda f: shutil.rmtree(f / "bucket-00000"), "bucket-00000/creators.parquet is missing"),
        (lambda f: (f / "fx.parquet").unlink(), "fx.parquet is missing"),
        (broken(SNAPSHOTS, lambda data: data[:-9]), r"creator_snapshots.parquet is cut short: \d+ bytes, not \d+"),
        (broken(SNAPSHOTS, lambda _: b""), "creator_snapshots.parquet is cut short: 0 bytes"),
        (broken(SNAPSHOTS, lambda data: data + b"1"), "creator_snapshots.parquet was replaced"),
        (broken(SNAPSHOTS, one_bit_less), "creator_snapshots.parquet was changed: it holds other bytes"),
        (broken("campaigns.parquet", lambda data: bytes(len(data))), "campaigns.parquet was changed"),
        (no_parquet, "creator_snapshots.parquet is not a complete Parquet file"),
        (rewritten("creator_snapshots", lambda t: t[:-1]), "holds 4 rows, not 5"),
        (rewritten("creator_snapshots", lambda t: t.drop("price")), "column price is missing"),
        (rewritten("creator_snapshots", lambda t: t.with_columns(price=1)), "column price holds Int32, not Float64"),
        (rewritten("creator_snapshots", lambda t: t.with_columns(more=1)), "column more does not belong there"),
        (rewritten("creators", lambda t: t.select(reversed(t.columns))), "columns are in another order"),
        (rewritten("placements", lambda t: t.drop(ROW)), "column row is missing"),
        (rewritten("placements", lambda t: t.reverse()), "placements.parquet is not sorted by row"),
        (rewritten("placements", lambda t: t.with_columns(row=pl.lit(4, pl.Int64))), "not sorted by row"),
        (rewritten("creators", lambda t: t[[2, 1, 0]]), "creators.parquet is not sorted by creator_id"),
        (rewritten("creators", lambda t: t[[0, 0, 1]]), "creators.parquet is not sorted by creator_id"),
        (rewritten("creator_snapshots", lambda t: t[[4, 0, 1, 2, 3]]), "not sorted by creator_id, known_at"),
        (rewritten("creator_snapshots", lambda t: t[[0, 1, 3, 2, 4]]), "not sorted by creator_id, known_at"),
        (rewritten("creator_snapshots", lambda t: t[[0, 2, 1, 3, 4]]), "not sorted by creator_id, known_at"),
        (rewritten("creator_audience", lambda t: t.reverse()), "sorted by creator_id, snapshot_at, dimension, code"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_as_promised_is_named(folder, spoil, words):
    spoil(folder)
    with pytest.raises(DataError, match=words) as caught:
        read_bucket(folder, read_manifest(folder), 0)
    assert f"influencer-roi bucket DIR {folder}" in str(caught.value)


def edited(**values):
    def edit(folder):
        manifest = json.loads((folder / MANIFEST).read_text())
        (folder / MANIFEST).write_text(json.dumps({**manifest, **values}))

    return edit


def fewer_rows(folder):
    manifest = json.loads((folder / MANIFEST).read_text())
    edited(rows={**manifest["rows"], "creators": 2})(folder)


def a_table_less(folder):
    manifest = json.loads((folder / MANIFEST).read_text())
    del manifest["parts"][1]["creators"]
    edited(parts=manifest["parts"])(folder)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: (f / MANIFEST).unlink(), "buckets.json is not there: this is no bucketed folder"),
        (shutil.rmtree, "buckets.json is not there"),
        (broken(MANIFEST, lambda data: data[:-5]), "buckets.json cannot be read"),
        (broken(MANIFEST, lambda _: b"\xff"), "buckets.json cannot be read"),
        (broken(MANIFEST, lambda _: b"[]"), "buckets.json cannot be used"),
        (edited(format=FORMAT + 1), f"is of format {FORMAT + 1}, not {FORMAT}"),
        (edited(more=1), "buckets.json cannot be used: more"),
        (edited(newest_fact="today"), "buckets.json cannot be used: newest_fact"),
        (edited(newest_fact=99_999_999), "buckets.json cannot be used: newest_fact"),
        (edited(parts=[]), "names no bucket"),
        (edited(whole={}), "does not name every table"),
        (a_table_less, "does not name every table"),
        (fewer_rows, "the buckets' creators rows do not add up"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_named(folder, spoil, words):
    spoil(folder)
    with pytest.raises(DataError, match=words) as caught:
        read_manifest(folder)
    assert f"influencer-roi bucket DIR {folder}" in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"attribution_days": 14}, "attribution_days 30, now 14"),
        ({"base_currency": "EUR", "fx_max_age_days": 1}, "base_currency 'USD', now 'EUR'; fx_max_age_days 7, now 1"),
    ],
)
def test_other_settings_are_refused_by_name(folder, settings, words):
    with pytest.raises(DataError, match=words):
        read_manifest(folder, Settings(**settings))
    assert read_manifest(folder).shaped_by == Shaping.of(Settings())


def test_settings_that_shape_no_table_are_free(folder):
    assert read_manifest(folder, Settings(tier_by_reads=())).buckets == 2
