from datetime import UTC, date, datetime, timedelta, timezone

import polars as pl
import pytest

from features.cells import parse
from features.contract import TABLES, columns, schema
from features.errors import DataError
from features.reading import read_folder, typed
from features.settings import Settings
from features.tables import SETTLED_GIVEN, build, canonical_schema

NUMBER = columns("placements")["fee"].kind
TIME = columns("placements")["posted_at"].kind
FLAG = columns("placements")["delivered"].kind
WORDS = columns("creators")["niches"].kind
WEIGHTS = columns("campaigns")["target_countries"].kind
IDENTITY = columns("creators")["creator_id"].kind
BAD = "cannot be read"


def noon(day=1, hour=12, minute=0, second=0, micro=0):
    return datetime(2025, 1, day, hour, minute, second, micro)


@pytest.mark.parametrize(
    ("kind", "cell", "expected"),
    [
        (NUMBER, "1234", 1234.0),
        (NUMBER, " 12.5 ", 12.5),
        (NUMBER, "1,234,567", 1234567.0),
        (NUMBER, "1,234.5", 1234.5),
        (NUMBER, "-3", -3.0),
        (NUMBER, "1e3", 1000.0),
        (NUMBER, "", None),
        (NUMBER, "  ", None),
        (NUMBER, "1,23", BAD),
        (NUMBER, "12k", BAD),
        (NUMBER, "$5", BAD),
        (NUMBER, "NaN", BAD),
        (NUMBER, "inf", BAD),
        (NUMBER, float("nan"), BAD),
        (NUMBER, float("inf"), BAD),
        (NUMBER, 7, 7.0),
        (NUMBER, True, BAD),
        (TIME, "2025-01-01", noon(hour=0)),
        (TIME, "2025-01-01 12:00", noon()),
        (TIME, "2025-01-01T12:00:00", noon()),
        (TIME, "2025-01-01 12:00:00.25", noon(micro=250_000)),
        (TIME, "2025-01-01T12:00:00Z", noon()),
        (TIME, "2025-01-02T01:30:00+08:00", noon(hour=17, minute=30)),
        (TIME, "2025-01-01T08:00:00-0400", noon()),
        (TIME, "2025-01-01 20:00+08", noon()),
        (TIME, "01/02/2025", BAD),
        (TIME, "2025-1-1", BAD),
        (TIME, "2025-02-30", BAD),
        (TIME, "20250101", BAD),
        (TIME, 20250101, BAD),
        (TIME, date(2025, 1, 1), noon(hour=0)),
        (TIME, datetime(2025, 1, 1, 20, tzinfo=timezone(timedelta(hours=8))), noon()),
        (TIME, datetime(2025, 1, 1, 12, tzinfo=UTC), noon()),
        (TIME, datetime(2025, 1, 1, 12), noon()),
        (FLAG, "TRUE", True),
        (FLAG, "1", True),
        (FLAG, "Yes", True),
        (FLAG, "no", False),
        (FLAG, "0", False),
        (FLAG, "maybe", BAD),
        (FLAG, 2, BAD),
        (FLAG, False, False),
        (WORDS, " 美妆 | 家居、家具和电器", ["美妆", "家居、家具和电器"]),
        (WORDS, "|", None),
        (WORDS, ["a", " b ", None], ["a", "b"]),
        (WORDS, [], None),
        (WEIGHTS, "SG:0.7|my:0.3", [("SG", 0.7), ("MY", 0.3)]),
        (WEIGHTS, "VN", [("VN", 1.0)]),
        (WEIGHTS, "SG|MY", [("SG", 1.0), ("MY", 1.0)]),
        (WEIGHTS, ["SG:2", "MY"], [("SG", 2.0), ("MY", 1.0)]),
        (WEIGHTS, [{"code": "sg", "weight": 2}], [("SG", 2.0)]),
        (WEIGHTS, "SG:", BAD),
        (WEIGHTS, "SG:x", BAD),
        (WEIGHTS, "SG:0", BAD),
        (WEIGHTS, ":1", BAD),
        (WEIGHTS, {"SG": 1.0}, BAD),
        (IDENTITY, "007", "007"),
        (IDENTITY, 7, "7"),
        (IDENTITY, 7.0, "7"),
        (IDENTITY, ["a"], BAD),
    ],
)
def test_a_cell_is_read_or_marked(kind, cell, expected):
    values, bad = parse(pl.Series([cell, None]), kind)
    assert values.dtype == kind.dtype
    assert bad.to_list() == [expected == BAD, False]
    value = values.to_list()[0]
    if kind is WEIGHTS and value is not None:
        value = [(pair["code"], pair["weight"]) for pair in value]
    assert value == (None if expected == BAD else expected)
    assert values.to_list()[1] is None


@pytest.mark.parametrize("kind", [NUMBER, TIME, FLAG, WORDS, WEIGHTS, IDENTITY], ids=lambda kind: kind.shape)
def test_columns_of_nothing_keep_their_type(kind):
    for raw in (pl.Series([None, None]), pl.Series([], dtype=pl.String)):
        values, bad = parse(raw, kind)
        assert values.dtype == kind.dtype
        assert values.null_count() == len(raw)
        assert not bad.any()


def test_a_sound_folder_gives_every_table_whole(write_folder, sound):
    tables, findings = read_folder(write_folder(sound), Settings())
    assert findings == []
    for name, frame in tables.by_name().items():
        assert dict(frame.schema) == canonical_schema(name), name
    assert {name: frame.height for name, frame in tables.by_name().items() if frame.height} == {
        "creators": 2,
        "creator_snapshots": 2,
        "campaigns": 2,
        "placements": 2,
    }
    assert tables.creators["platform"].to_list() == ["tiktok", "instagram"]
    assert tables.creators["country"].to_list() == ["SG", "VN"]
    assert tables.creators["niches"].to_list() == [["beauty", "美妆"], ["food"]]
    assert tables.creators["is_verified"].to_list() == [True, False]
    assert tables.creator_snapshots["price_source"].to_list() == ["quoted", None]
    assert tables.campaigns["goal"].to_list() == ["conversion", "awareness"]
    assert tables.campaigns["currency"].to_list() == ["USD", "USD"]
    assert tables.campaigns["platforms"].to_list() == [["tiktok"], None]


def test_defaults(write_folder, sound):
    tables, _ = read_folder(write_folder(sound), Settings(attribution_days=10))
    placements = tables.placements
    assert placements["fee"].to_list() == [1200.0, 80.0]
    assert placements["posted_at"].to_list() == [datetime(2025, 1, 7, 12), None]
    assert placements["agreed_on"].to_list() == [datetime(2025, 1, 5), datetime(2025, 2, 1)]
    assert placements["settled_at"].to_list() == [datetime(2025, 1, 17, 12), datetime(2025, 2, 11)]
    assert placements["delivered"].to_list() == [True, True]
    assert placements["engagements"].to_list() == [15.0, None]
    assert tables.creator_snapshots["known_at"].to_list() == tables.creator_snapshots["snapshot_at"].to_list()


def test_given_values_win_over_defaults():
    frame = pl.DataFrame(
        {
            "placement_id": ["p"],
            "engagements": [7.0],
            "likes": [100.0],
            "delivered": [False],
            "settled_at": [datetime(2025, 3, 1)],
        }
    )
    before = frame.clone()
    row = build({"placements": frame}, Settings()).placements.row(0, named=True)
    assert (row["engagements"], row["delivered"], row["settled_at"]) == (7.0, False, datetime(2025, 3, 1))
    assert frame.equals(before)


def test_creator_prices_are_known_when_taken_unless_said():
    prices = pl.DataFrame(
        {
            "creator_id": ["c", "c"],
            "snapshot_at": [datetime(2025, 1, 1)] * 2,
            "known_at": [None, datetime(2025, 1, 3)],
            "price": [1.0, 2.0],
        }
    )
    known = build({"creator_prices": prices}, Settings()).creator_prices["known_at"].to_list()
    assert known == [datetime(2025, 1, 1), datetime(2025, 1, 3)]


def test_snapshot_columns_of_creators_become_undated_snapshots(write_folder, sound):
    sound["creators.csv"] = "creator_id,platform,follower_count,price\nc1,tiktok,12,\nc2,tiktok,,\n"
    tables, findings = read_folder(write_folder(sound), Settings())
    assert findings == []
    carried = tables.creator_snapshots.filter(pl.col("known_at").is_null())
    assert carried.select("creator_id", "snapshot_at", "follower_count").rows() == [("c1", None, 12.0)]
    assert tables.creator_snapshots.height == 3
    assert "follower_count" not in tables.creators.columns


def test_a_dated_creators_table_keeps_its_date(write_folder, sound):
    sound["creators.csv"] = "creator_id,platform,snapshot_at,follower_count\nc1,tiktok,2025-01-02,12\nc2,tiktok,,1\n"
    sound["creator_snapshots.csv"] = None
    tables, _ = read_folder(write_folder(sound), Settings())
    assert tables.creator_snapshots["known_at"].to_list() == [datetime(2025, 1, 2), None]


def test_cost_is_another_name_for_fee(write_folder, sound):
    sound["placements.csv"] = "placement_id,campaign_id,creator_id,cost\np1,k1,c1,5\n"
    tables, findings = read_folder(write_folder(sound), Settings())
    assert findings == []
    assert tables.placements["fee"].to_list() == [5.0]


@pytest.mark.parametrize("blank", ["\n", "\r\n", ",,,\n"], ids=["lf", "crlf", "commas"])
def test_bom_line_ends_and_blank_lines_do_no_harm(write_folder, sound, blank):
    text = "creator_id, platform ,username,niches\nc1,tiktok,中文,美妆\n" + blank + 'c2,tiktok,"a\nb",\n'
    sound["creators.csv"] = b"\xef\xbb\xbf" + text.encode()
    tables, findings = read_folder(write_folder(sound), Settings())
    assert findings == []
    assert tables.creators["username"].to_list() == ["中文", "a\nb"]


def test_parquet_reads_as_csv_does(write_folder, sound, tmp_path):
    from_csv, _ = read_folder(write_folder(sound), Settings())
    folder = tmp_path / "parquet"
    folder.mkdir()
    for name, frame in from_csv.by_name().items():
        if frame.height:
            frame.drop(SETTLED_GIVEN, strict=False).write_parquet(folder / f"{name}.parquet")
    from_parquet, findings = read_folder(folder, Settings())
    assert findings == []
    for name, frame in from_csv.by_name().items():
        read = from_parquet.by_name()[name]
        # a default that was written out is given from then on
        assert frame.drop(SETTLED_GIVEN, strict=False).equals(read.drop(SETTLED_GIVEN, strict=False)), name


def test_parquet_may_hold_numbers_as_text_and_times_with_a_zone(tmp_path):
    zone = pl.Series([datetime(2025, 1, 1, 12)]).dt.replace_time_zone("Asia/Singapore")
    raw = pl.DataFrame({"placement_id": [1], "campaign_id": [2.0], "creator_id": ["3"], "fee": ["1,000"]})
    file = tmp_path / "placements.parquet"
    raw.with_columns(zone.alias("posted_at"), pl.Series("agreed_on", [date(2025, 1, 1)])).write_parquet(file)
    frame, findings = typed("placements", pl.read_parquet(file))
    assert findings == []
    row = frame.row(0, named=True)
    assert (row["placement_id"], row["campaign_id"], row["fee"]) == ("1", "2", 1000.0)
    assert (row["posted_at"], row["agreed_on"]) == (datetime(2025, 1, 1, 4), datetime(2025, 1, 1))


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (None, ["not there", "creators", "placements", ".csv or <table>.parquet"]),
        ({}, ["no table", "creators"]),
        ({"notes.csv": "a\n1\n"}, ["no table", "only notes.csv"]),
    ],
    ids=["absent", "empty", "other files only"],
)
def test_a_folder_without_tables_is_refused(write_folder, tmp_path, files, words):
    folder = tmp_path / "nowhere" if files is None else write_folder(files)
    with pytest.raises(DataError) as caught:
        read_folder(folder, Settings())
    for word in words:
        assert word in str(caught.value)


def test_a_file_in_place_of_a_folder_is_refused(tmp_path):
    (tmp_path / "creators.csv").write_text("creator_id\n")
    with pytest.raises(DataError, match="is a file, not a folder"):
        read_folder(tmp_path / "creators.csv", Settings())


def test_declarations_name_their_keys_and_days():
    for name, declaration in TABLES.items():
        declared = schema(name)
        assert set(declaration.key) <= set(declared), name
        assert declaration.key, name
        assert declaration.day is None or declared[declaration.day] == pl.Datetime("us"), name
