import io

import polars as pl
import pytest

CREATORS = "creator_id,platform\n"
CAMPAIGNS = "campaign_id,brand_id,goal,starts_on,currency\n"
PLACEMENTS = "placement_id,campaign_id,creator_id,agreed_on,posted_at,fee,impressions,revenue,settled_at\n"
SNAPSHOTS = "creator_id,snapshot_at,follower_count,sponsored_share\n"
AUDIENCE = "creator_id,snapshot_at,dimension,code,weight\n"
TWO_CREATORS = CREATORS + "c1,tiktok\nc2,tiktok\n"


def parquet_bytes(frame):
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


# What a sound folder becomes; severity; table; column; count; words of the message and ids.
FILES = [
    ({"placements.csv": None}, "error", "placements", None, 0, ["required table is missing", "placements.parquet"]),
    ({"campaigns.csv": None}, "error", "campaigns", None, 0, ["required table is missing"]),
    ({"creators.csv": b""}, "error", "creators", None, 0, ["creators.csv is empty"]),
    ({"creators.csv": "\n\n"}, "error", "creators", None, 0, ["is empty"]),
    ({"creators.csv": CREATORS}, "error", "creators", None, 0, ["no rows"]),
    ({"fx.csv": "date,currency,rate\n"}, "warning", "fx", None, 0, ["no rows"]),
    ({"creators.csv": TWO_CREATORS.replace(",", ";")}, "error", "creators", None, 0, ["semicolons", "commas are"]),
    ({"creators.csv": TWO_CREATORS.replace(",", "\t")}, "error", "creators", None, 0, ["tabs", "commas are"]),
    (
        {"creators.csv": (CREATORS + "c1,快手\nc2,抖音\n").encode("gbk")},
        "error",
        "creators",
        None,
        0,
        ["not UTF-8", "line 2", "GBK", "CSV UTF-8"],
    ),
    ({"creators.csv": TWO_CREATORS.encode("utf-16")}, "error", "creators", None, 0, ["UTF-16", "CSV UTF-8"]),
    ({"creators.csv": TWO_CREATORS + "c3,a,b\n"}, "error", "creators", None, 0, ["more cells", "line 4", "quotes"]),
    ({"creators.csv": CREATORS + '"c1,tiktok\n'}, "error", "creators", None, 0, ["not valid CSV"]),
    ({"creators.csv": "creator_id,platform,platform\nc1,a,b\n"}, "error", "creators", None, 0, ["two columns named"]),
    (
        {"creators.csv": None, "creators.parquet": parquet_bytes(pl.DataFrame({"creator_id": ["c1"] * 99}))[:-60]},
        "error",
        "creators",
        None,
        0,
        ["creators.parquet", "not a complete Parquet file", "again"],
    ),
    (
        {"creators.parquet": parquet_bytes(pl.DataFrame({"creator_id": ["c1"], "platform": ["x"]}))},
        "error",
        "creators",
        None,
        0,
        ["creators.csv and creators.parquet", "Remove one"],
    ),
    ({"placement.csv": "a\n1\n"}, "warning", "placement.csv", None, 0, ["ignored", "did you mean placements.csv"]),
    ({"fx.xlsx": b"PK"}, "warning", "fx.xlsx", None, 0, ["ignored", "Save it as fx.csv"]),
    ({"costs.csv": "a\n1\n"}, "warning", "costs.csv", None, 0, ["no table of the contract"]),
]

COLUMNS = [
    ({"creators.csv": "creator_id\nc1\nc2\n"}, "error", "creators", "platform", 0, ["required column is missing"]),
    (
        {"creators.csv": "platform,follower_count\ntiktok,5\n"},
        "error",
        "creators",
        "creator_id",
        0,
        ["required column is missing"],
    ),
    (
        {"creators.csv": TWO_CREATORS.replace("creator_id", "Creator ID")},
        "error",
        "creators",
        "creator_id",
        0,
        ["required column is missing", "'Creator ID'", "Rename"],
    ),
    (
        {"placements.csv": "placement_id,campaign_id,creator_id\np1,k1,c1\n"},
        "error",
        "placements",
        "fee",
        0,
        ["required column is missing", "(or cost)"],
    ),
    (
        {"creators.csv": "creator_id,platform,folower_count\nc1,x,1\nc2,x,1\n"},
        "warning",
        "creators",
        "folower_count",
        0,
        ["unknown column", "did you mean follower_count"],
    ),
    (
        {"creators.csv": "creator_id,platform,zodiac\nc1,x,1\nc2,x,1\n"},
        "warning",
        "creators",
        "zodiac",
        0,
        ["unknown column, ignored"],
    ),
    (
        {"placements.csv": "placement_id,campaign_id,creator_id,fee,cost\np1,k1,c1,1,2\n"},
        "warning",
        "placements",
        "fee",
        0,
        ["given twice", "fee is used"],
    ),
]

CELLS = [
    (
        {"placements.csv": PLACEMENTS + "p1,k1,c1,,,12k,,,\np2,k1,c1,,,n/a,,,\n"},
        "error",
        "placements",
        "fee",
        2,
        ["cannot be read", "'12k', 'n/a'", "a number such as", "p1, p2"],
    ),
    (
        {"placements.csv": PLACEMENTS + "p1,k1,c1,01/02/2025,,1,,,\n"},
        "error",
        "placements",
        "agreed_on",
        1,
        ["'01/02/2025'", "ISO 8601", "p1"],
    ),
    (
        {"placements.csv": PLACEMENTS + "p1,k1,c1,,,1,,NaN,\n"},
        "error",
        "placements",
        "revenue",
        1,
        ["cannot be read", "'NaN'"],
    ),
    (
        {"creators.csv": "creator_id,platform,is_verified\nc1,x,maybe\nc2,x,\n"},
        "error",
        "creators",
        "is_verified",
        1,
        ["true or false"],
    ),
    (
        {"creators.csv": "creator_id,platform\nc1,x\nc2, \n"},
        "error",
        "creators",
        "platform",
        1,
        ["required but empty", "c2"],
    ),
    (
        {"creators.csv": "creator_id,platform\nc1,x\nc2,x\n,x\n"},
        "error",
        "creators",
        "creator_id",
        1,
        ["required but empty", "row 3"],
    ),
    (
        {"creator_snapshots.csv": SNAPSHOTS + "c1,,5,\n"},
        "error",
        "creator_snapshots",
        "snapshot_at",
        1,
        ["required but empty", "c1"],
    ),
    (
        {"campaigns.csv": CAMPAIGNS + "k1,b,convert,2025-01-01,\nk2,b,local,2025-01-01,\n"},
        "error",
        "campaigns",
        "goal",
        1,
        ["unknown goal 'convert'", "awareness", "Did you mean conversion?", "k1"],
    ),
    (
        {"placements.csv": PLACEMENTS + "p1,k1,c1,,,-5,,,\n"},
        "error",
        "placements",
        "fee",
        1,
        ["negative", "'-5.0'", "p1"],
    ),
    (
        {"placements.csv": PLACEMENTS + "p1,k1,c1,,,5,-1,,\n"},
        "error",
        "placements",
        "impressions",
        1,
        ["negative"],
    ),
    (
        {"placements.csv": "placement_id,campaign_id,creator_id,fee,likes,saves\np1,k1,c1,1,-2,9\n"},
        "error",
        "placements",
        "likes",
        1,
        ["negative", "p1"],
    ),
    (
        {"fx.csv": "date,currency,rate\n2025-01-01,SGD,0\n"},
        "error",
        "fx",
        "rate",
        1,
        ["above 0"],
    ),
    (
        {"creator_snapshots.csv": SNAPSHOTS + "c1,2024-01-01,5,1.5\nc2,2024-01-01,5,0.5\nc2,2024-01-02,5,0.5\n"},
        "error",
        "creator_snapshots",
        "sponsored_share",
        1,
        ["is over 1", "'1.5'", "c1"],
    ),
    (
        {"creator_snapshots.csv": SNAPSHOTS + "c1,2024-01-01,5,15\nc2,2024-01-01,5,0.5\nc2,2024-01-02,5,20\n"},
        "error",
        "creator_snapshots",
        "sponsored_share",
        2,
        ["looks like percent", "divide by 100"],
    ),
    (
        {
            "creators.csv": "creator_id,platform,follower_count\nc1,x,-1\nc2,x,1\n",
            "creator_snapshots.csv": None,
        },
        "error",
        "creators",
        "follower_count",
        1,
        ["negative", "c1"],
    ),
    (
        {"creators.csv": "creator_id,platform,country\nc1,x,Vietnam\nc2,x,ZZ\n"},
        "error",
        "creators",
        "country",
        2,
        ["'VIETNAM' (did you mean VN?)", "'ZZ'", "c1, c2"],
    ),
    (
        {"campaigns.csv": "campaign_id,brand_id,goal,starts_on,target_countries\nk1,b,local,2025-01-01,SG|Malaysia\n"},
        "error",
        "campaigns",
        "target_countries",
        1,
        ["did you mean MY?", "k1"],
    ),
    (
        {"campaigns.csv": "campaign_id,brand_id,goal,starts_on,target_countries\nk1,b,local,2025-01-01,SG:0\n"},
        "error",
        "campaigns",
        "target_countries",
        1,
        ["cannot be read", "weights above 0"],
    ),
    (
        {"campaigns.csv": CAMPAIGNS + "k1,b,local,2025-01-01,RMB\nk2,b,local,2025-01-01,\n"},
        "error",
        "campaigns",
        "currency",
        1,
        ["ISO 4217", "did you mean CNY?"],
    ),
    (
        {"creator_audience.csv": AUDIENCE + "c1,2024-01-01,country,Singapore,1\n"},
        "error",
        "creator_audience",
        "code",
        1,
        ["did you mean SG?", "c1"],
    ),
    (
        {"creator_audience.csv": AUDIENCE + "c1,2024-01-01,country,SG,0.9\nc1,2024-01-01,country,other,0.1\n"},
        "warning",
        "creator_audience",
        "code",
        1,
        ["'OTHER'", "rest of the world"],
    ),
    (
        {"creator_audience.csv": AUDIENCE + "c1,2024-01-01,countries,SG,1\n"},
        "error",
        "creator_audience",
        "dimension",
        1,
        ["unknown dimension", "Did you mean country?"],
    ),
]


@pytest.mark.parametrize(("changes", "severity", "table", "column", "count", "words"), FILES + COLUMNS + CELLS)
def test_what_is_wrong_in_files_columns_and_cells_is_named(
    checked, counts, changes, severity, table, column, count, words
):
    report = checked(changes)
    assert counts(report, severity, table, column, words) == [count], "\n".join(map(str, report.findings))
    assert report.ok == (severity == "warning"), "\n".join(map(str, report.errors))
