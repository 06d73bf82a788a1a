"""`bucket` against the whole folder read at once: the same tables and the same report, from any batches and buckets."""

import errno
from collections import Counter
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from features.buckets import MANIFEST, ORDER, WHOLE, read_bucket, read_manifest
from features.check import CheckFailed, commission_only_rate, load_checked
from features.errors import DataError
from features.findings import Finding
from features.money import in_base_currency
from features.settings import Settings
from training import cli
from training.bucket import bucket, default_buckets
from training.bucket_findings import merged
from training.bucket_input import Batch
from training.bucket_spill import Spill, bucket_of
from training.sample import make_market
from training.split import newest_fact, oldest_fact

SMALL = Batch(rows=97, size=3000)


@pytest.fixture(scope="module")
def market():
    """A sample market made untidy: profiles with the creators, equal and late readings, prices, two currencies."""
    frames = make_market(creators=70, placements=300, snapshots=5, seed=3)
    creators, readings = frames["creators"], frames["creator_snapshots"]
    row = pl.int_range(pl.len())
    frames["creators"] = creators.with_columns(
        pl.when(row % 7 == 0).then(1000 + row).alias("follower_count"),
        pl.when(row % 14 == 0).then(pl.lit("EUR")).alias("price_currency"),
        pl.when(row % 14 == 0).then(row + 1.5).alias("price"),
    )
    again = readings.gather_every(3)
    frames["creator_snapshots"] = pl.concat(
        [again.with_columns(pl.col("follower_count") * 2), readings.reverse(), again]
    ).with_columns(pl.when(row % 5 == 0).then(pl.lit("SGD")).otherwise("price_currency").alias("price_currency"))
    ids = creators["creator_id"].gather_every(2)
    frames["creator_prices"] = pl.DataFrame(
        {
            "creator_id": pl.concat([ids, ids]), "price": [float(n % 11) for n in range(2 * len(ids))],
            "snapshot_at": [None if n % 4 else date(2026, 5, 1) for n in range(2 * len(ids))],
            "deliverable": "video", "price_currency": "SGD",
        }
    )  # fmt: skip
    frames["placements"] = (
        frames["placements"]
        .sample(fraction=1, shuffle=True, seed=1)
        .with_columns(pl.when(row % 6 == 0).then(pl.lit("SGD")).otherwise(pl.lit("USD")).alias("currency"))
    )
    days = [date(2025, 6, 1) + timedelta(days=n) for n in range(500)]
    codes = {*frames["fx"]["currency"], "SGD", "EUR", "CNY", "JPY", "MYR", "GBP"} - {"USD"}
    rates = [pl.DataFrame({"date": days, "currency": code, "rate": 0.5}) for code in sorted(codes)]
    frames["fx"] = pl.concat(rates).with_columns(pl.col("rate") + pl.int_range(pl.len()) / 10_000)
    return frames


def write(frames, folder: Path, fmt="csv"):
    folder.mkdir()
    for name, frame in frames.items():
        if isinstance(frame, bytes):
            (folder / f"{name}.csv").write_bytes(frame)
        else:
            getattr(frame, f"write_{fmt}")(folder / f"{name}.{fmt}")
    return folder


def said(report):
    """What a report says, without the ids: rules within buckets name other rows first."""
    return Counter((f.severity, f.table, f.column, f.message, f.count) for f in report.findings)


def ids_of_placements(report):
    """First ids in the order of the file; those of missing rates are in the order of buckets."""
    return {str(f) for f in report.findings if f.table == "placements" and " rate for " not in f.message}


def pieces(out):
    manifest = read_manifest(out, Settings())
    return [read_bucket(out, manifest, number) for number in range(manifest.buckets)]


@pytest.mark.parametrize("fmt", ["csv", "parquet"])
@pytest.mark.parametrize("count", [1, 3, 40])
def test_buckets_together_are_the_whole_folder(market, tmp_path, fmt, count):
    data = write(market, tmp_path / "data", fmt)
    manifest = bucket(data, tmp_path / "out", Settings(), buckets=count, batch=SMALL)
    tables, report = load_checked(data, Settings())
    whole = in_base_currency(tables, Settings())
    found = pieces(tmp_path / "out")
    assert len(found) == count
    for table in ORDER:
        parts = [part.tables.by_name()[table] for part in found]
        assert max(Counter(c for part in parts for c in part["creator_id"].unique()).values(), default=1) == 1
        joined, expected = pl.concat(parts), whole.by_name()[table]
        if table == "placements":
            rows = pl.concat([pl.Series("row", part.rows) for part in found])
            assert sorted(rows) == list(range(expected.height))
            joined = joined.with_columns(rows).sort("row").drop("row")
        else:
            flat = [name for name, dtype in expected.schema.items() if not dtype.is_nested()]
            joined, expected = joined.sort(flat), expected.sort(flat)
        assert_frame_equal(joined, expected, check_exact=True)
    for table in WHOLE:
        assert_frame_equal(found[-1].tables.by_name()[table], whole.by_name()[table], check_exact=True)
    assert manifest == read_manifest(tmp_path / "out")
    assert said(manifest.report()) == said(report)
    assert replace(manifest.report(), findings=()) == replace(report, findings=())
    assert (manifest.oldest_fact, manifest.newest_fact) == (oldest_fact(whole), newest_fact(whole))
    assert manifest.base_currency == "USD"


def test_the_same_rows_in_another_order_give_the_same_files(market, tmp_path):
    mixed = {
        name: frame if name == "placements" else frame.sample(fraction=1, shuffle=True, seed=9)
        for name, frame in market.items()
    }
    for name, frames in (("a", market), ("b", mixed)):
        bucket(write(frames, tmp_path / name), tmp_path / f"out-{name}", Settings(), buckets=3, batch=SMALL)
    for one, other in zip(pieces(tmp_path / "out-a"), pieces(tmp_path / "out-b"), strict=True):
        for table in ORDER:
            assert_frame_equal(one.tables.by_name()[table], other.tables.by_name()[table], check_exact=True)


@pytest.mark.parametrize("booked", [{"fee": 0.1}, {"fee": 0.0, "other_cost": 0.1}])
def test_commission_only_is_found_over_all_buckets(market, tmp_path, booked):
    sold = market["placements"].with_columns(pl.col("revenue").fill_null(50.0), refunds=0.0, product_cost=0.0)
    placements = sold.with_columns((pl.col("revenue") * share).alias(name) for name, share in booked.items())
    data = write({**market, "placements": placements}, tmp_path / "data")
    manifest = bucket(data, tmp_path / "out", Settings(), buckets=4, batch=SMALL)
    tables, _ = load_checked(data, Settings())
    assert manifest.commission_only_rate == commission_only_rate(in_base_currency(tables, Settings())) > 0.09
    assert any("commission only, 10.0%" in str(finding) for finding in manifest.findings)


def cells(table, column, values):
    """The market's table with cells set by row number."""

    def change(market):
        frame = market[table]
        cast = frame[column].cast(pl.String).to_list() if column in frame.columns else [None] * frame.height
        for row, value in values.items():
            cast[row] = value
        return {table: frame.with_columns(pl.Series(column, cast, dtype=pl.String))}

    return change


def more(table, rows, **values):
    """The market's table with copies of rows at its end, changed."""
    return lambda market: {
        table: pl.concat(
            [
                market[table],
                market[table][rows].with_columns(**{name: pl.lit(value) for name, value in values.items()}),
            ],
            how="vertical_relaxed",
        )
    }


def without(table, column=None):
    return lambda market: {table: None if column is None else market[table].drop(column)}


def appended(table, text):
    return lambda market: {table: market[table].write_csv().encode() + text}


BAD = {
    "unreadable numbers": cells("placements", "fee", {2: "12k", 150: "n/a", 151: "12k", 280: "?", 299: "'x', \"y\""}),
    "likes below zero": cells("placements", "likes", {5: "-3", 250: "-4"}),
    "no creator": cells("placements", "creator_id", {7: None, 260: None}),
    "no placement id": cells("placements", "placement_id", {9: None, 211: None}),
    "placement twice": more("placements", [3, 200]),
    "placement twice for others": more("placements", [3], creator_id="c000001"),
    "unknown creator": cells("placements", "creator_id", {1: "nobody", 150: "noone", 298: "nobody"}),
    "unknown campaign": cells("placements", "campaign_id", {1: "nothing", 298: "never"}),
    "settled early": cells("placements", "settled_at", {4: "2020-01-01", 290: "2020-01-02"}),
    "creator twice": more("creators", [3, 60]),
    "snapshot of nobody": more("creator_snapshots", [3, 60], creator_id="nobody"),
    "audience of nobody": more("creator_audience", [3, 60], creator_id="nobody"),
    "overlap of nobody": more("audience_overlap", [3], creator_a="nobody"),
    "one person twice": cells("creators", "person_id", dict.fromkeys((1, 2, 30, 31, 50, 51, 69), "somebody")),
    "percent": lambda market: {"creator_snapshots": market["creator_snapshots"].with_columns(sponsored_share=40.0)},
    "weights above 1": cells("creator_audience", "weight", {5: "1.9", 400: "3"}),
    "a doubled audience": lambda market: {"creator_audience": pl.concat([market["creator_audience"]] * 2)},
    "country names": cells("creators", "country", {1: "Vietnam", 65: "Nowhere", 66: "Singapore", 68: "Peru"}),
    "other words": cells("creator_snapshots", "price_source", {1: "payd", 200: "guess", 201: "quote"}),
    "a bad carried cell": cells("creators", "follower_count", {1: "many", 60: "-2"}),
    "no date": cells("creator_snapshots", "snapshot_at", {3: "01/02/2026", 200: None, 299: "soon"}),
    "no such money": cells("creator_prices", "price_currency", {3: "RMB", 60: "YEN"}),
    "no rate": cells("placements", "currency", {3: "CHF", 60: "SEK", 290: "CHF"}),
    "no rates at all": without("fx"),
    "rates of another base": more("fx", [3], currency="USD"),
    "bad goal": cells("campaigns", "goal", {1: "sales"}),
    "no fee column": without("placements", "fee"),
    "no creator column": lambda market: {"creators": market["creators"].select("platform", "username")},
    "a misspelt column": lambda market: {"placements": market["placements"].rename({"creator_id": "creatorid"})},
    "no creators": without("creators"),
    "no campaigns": without("campaigns"),
    "no placements": without("placements"),
    "a header only": lambda market: {"placements": market["placements"].head(0)},
    "an empty file": lambda _: {"creator_snapshots": b""},
    "a long line": appended("placements", b"p,k" + b",1" * 60 + b"\n"),
    "not UTF-8": appended("creators", "c9,tiktok,Ana\xefs\n".encode("latin-1")),
    "UTF-16": lambda market: {"creators": market["creators"].write_csv().encode("utf-16")},
    "semicolons": lambda market: {"creators": market["creators"].write_csv(separator=";").encode()},
    "two equal columns": lambda _: {"fx": b"date,rate,rate\n2026-01-01,1,2\n"},
    "two orders counted twice": lambda market: {
        "placements": market["placements"].with_columns(
            creator_id=pl.lit("c000001"), posted_at=pl.lit("2026-06-01"), revenue=pl.lit(9.0)
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_said_as_by_check_and_nothing_is_written(market, tmp_path, case):
    frames = {**market, **BAD[case](market)}
    data = write({name: frame for name, frame in frames.items() if frame is not None}, tmp_path / "data")
    _, report = load_checked(data, Settings())
    try:
        found = bucket(data, tmp_path / "out", Settings(), buckets=3, batch=SMALL).report()
    except CheckFailed as failed:
        found = failed.report
    assert found.ok is report.ok
    assert said(found) == said(report)
    assert ids_of_placements(found) == ids_of_placements(report)
    assert {(f.table, f.column, f.message): len(f.ids) for f in found.findings} == {
        (f.table, f.column, f.message): len(f.ids) for f in report.findings
    }
    assert replace(found, findings=()) == replace(report, findings=())
    assert sorted(path.name for path in tmp_path.iterdir()) == (["data", "out"] if report.ok else ["data"])


def test_parquet_cut_short_is_named(market, tmp_path):
    data = write(market, tmp_path / "data", "parquet")
    path = data / "creator_snapshots.parquet"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(CheckFailed) as failed:
        bucket(data, tmp_path / "out", Settings(), buckets=2)
    assert "creator_snapshots.parquet is not a complete Parquet file" in str(failed.value.report.errors[0])
    assert not (tmp_path / "out").exists()


def misplaced(tmp_path, market):
    data = write(market, tmp_path / "data")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    (tmp_path / "file").touch()
    (tmp_path / "bucketed").mkdir()
    (tmp_path / "bucketed" / MANIFEST).touch()
    return data


@pytest.mark.parametrize(
    ("folder", "out", "words"),
    [
        ("none", "out", "data folder .* is not there"),
        ("data", "data", "lies inside the data folder"),
        ("data", "data/below/out", "lies inside the data folder"),
        ("data", "full", "is not empty"),
        ("data", "file", "is a file"),
        ("data", "file/out", "writing .*file/out failed .*choose another OUT"),
        ("bucketed", "out", "is a bucketed folder already"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused_by_name(market, tmp_path, folder, out, words):
    misplaced(tmp_path, market)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match=words):
        bucket(tmp_path / folder, tmp_path / out, Settings(), buckets=2)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_empty_folder_is_taken_and_missing_parents_are_made(market, tmp_path):
    data = write(market, tmp_path / "data")
    (tmp_path / "there").mkdir()
    for out in ("there", "made/out"):
        bucket(data, tmp_path / out, Settings(), buckets=2)
        assert read_manifest(tmp_path / out).buckets == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "made", "there"]


@pytest.mark.parametrize("after", [0, 3, 9])
def test_a_full_disk_is_named_and_leaves_nothing(market, tmp_path, monkeypatch, after):
    data = write(market, tmp_path / "data")
    real, done = pl.DataFrame.write_parquet, []

    def full(*args, **options):
        done.append(1)
        if len(done) > after:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*args, **options)

    monkeypatch.setattr(pl.DataFrame, "write_parquet", full)
    with pytest.raises(DataError, match=r"writing .*out failed \(No space left on device\).*choose another OUT"):
        bucket(data, tmp_path / "out", Settings(), buckets=2)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_an_interrupted_run_leaves_nothing(market, tmp_path):
    data = write(market, tmp_path / "data")

    def stop(step):
        if step == "bucket 2 of 2":
            assert any(path.name.startswith(".out-partial-") for path in tmp_path.iterdir())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bucket(data, tmp_path / "out", Settings(), buckets=2, say=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("fmt", ["csv", "parquet"])
def test_the_default_number_of_buckets_follows_the_size(market, tmp_path, monkeypatch, fmt):
    data = write(market, tmp_path / "data", fmt)
    files = {name: data / f"{name}.{fmt}" for name in market}
    assert default_buckets(files) == 1
    monkeypatch.setattr("training.bucket.CELLS_A_BUCKET", 5000)
    assert 3 < default_buckets(files) < 30
    monkeypatch.setattr("training.bucket.CELLS_A_BUCKET", 1)
    assert default_buckets(files) == 4096


def test_the_command_says_what_it_wrote_and_refuses_errors_with_the_report(market, tmp_path, monkeypatch, capsys):
    def run(*args):
        monkeypatch.setattr("sys.argv", ["influencer-roi", *map(str, args), "--home", str(tmp_path / "home")])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        return stopped.value.code, *capsys.readouterr()

    data = write(market, tmp_path / "data")
    code, out, _ = run("bucket", data, tmp_path / "out", "--buckets", 2)
    assert (code, "Base currency USD" in out, f"{tmp_path / 'out'} in 2 buckets" in out.replace("\n", "")) == (
        0,
        True,
        True,
    )
    assert read_manifest(tmp_path / "out").buckets == 2
    bad = write({**market, **BAD["unknown creator"](market)}, tmp_path / "bad")
    code, _, err = run("bucket", bad, tmp_path / "other")
    assert (code, "placements.creator_id: is not in creators: nobody, noone" in err) == (1, True)
    assert not (tmp_path / "other").exists()


def test_findings_of_parts_become_one():
    parts = [
        Finding("error", "t", "c", "unknown c 'x', 'a': use one of b. Did you mean b?", 2, ("1", "2")),
        Finding("error", "t", "c", "unknown c 'y', \"it's\": use one of b.", 3, ("2", "3")),
        Finding("error", "t", "d", "is over 1: '3'. A fraction 0-1 belongs here.", 1, ("1",)),
        Finding("error", "t", "d", "looks like percent: divide by 100, a fraction 0-1 belongs here.", 9, ("4",)),
    ]
    assert [str(finding) for finding in merged(parts)] == [
        "t.c: unknown c 'x', 'a', 'y': use one of b. Did you mean b? (5 rows: 1, 2, 3, ...)",
        "t.d: looks like percent: divide by 100, a fraction 0-1 belongs here. (10 rows: 1, 4, ...)",
    ]


def test_a_spill_gives_each_bucket_its_rows_in_order(tmp_path):
    frame = pl.DataFrame({"key": [f"k{n % 17}" for n in range(200)], "row": range(200)})
    codes = bucket_of(frame["key"], 5)
    with Spill(tmp_path / "spill", 5) as spill:
        for part in (slice(0, 3), slice(3, 3), slice(3, 150), slice(150, 200)):
            spill.add(frame[part], codes[part])
        for number in range(5):
            assert_frame_equal(spill.bucket(number), frame.filter(codes == number))
        spill.clear()
        assert spill.bucket(0).height == 0
