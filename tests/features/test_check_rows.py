import numpy as np
import polars as pl
import pytest

from features.check import commission_only_rate
from features.reading import read_folder
from features.settings import Settings
from features.tables import build

CREATORS = "creator_id,platform\n"
CAMPAIGNS = "campaign_id,brand_id,goal,starts_on,currency\n"
PLACEMENTS = "placement_id,campaign_id,creator_id,agreed_on,posted_at,fee,impressions,revenue,settled_at\n"
SNAPSHOTS = "creator_id,snapshot_at,follower_count,sponsored_share\n"
AUDIENCE = "creator_id,snapshot_at,dimension,code,weight\n"
TWO_CREATORS = CREATORS + "c1,tiktok\nc2,tiktok\n"


def sales(rows, fee, *, day="2025-01-02"):
    lines = (f"p{i},k1,c1,{day},,{fee(i)},100,{100 + i},\n" for i in range(rows))
    return PLACEMENTS + "".join(lines)


DAYS = "date,currency,rate\n2025-01-01,EUR,1\n2025-01-01,USD,0.92\n"

# What a sound folder becomes; severity; table; column; count; words of the message and ids.
ROWS = [
    (
        {"fx.csv": DAYS},
        "error",
        "fx",
        "rate",
        1,
        ["0.92 for one USD, the base currency", "base_currency", "config.toml"],
    ),
    (
        {"creators.csv": 'creator_id,platform,niches\nc1,x,"美妆,护肤"\nc2,x,a|b\n'},
        "warning",
        "creators",
        "niches",
        1,
        ["separated by |", "美妆,护肤"],
    ),
    (
        {"placements.csv": PLACEMENTS + "p1,k1,c1,,,1,1e300,,\np2,k2,c2,,,1,5,,\n"},
        "error",
        "placements",
        "impressions",
        1,
        ["implausibly large", "p1"],
    ),
    (
        {"creators.csv": TWO_CREATORS + "c1,youtube\n"},
        "error",
        "creators",
        None,
        2,
        ["same creator_id", "c1"],
    ),
    (
        {"placements.csv": PLACEMENTS + "p1,k1,c1,,,1,,,\np1,k2,c2,,,1,,,\n"},
        "error",
        "placements",
        None,
        2,
        ["same placement_id", "p1"],
    ),
    (
        {"campaigns.csv": CAMPAIGNS + "k1,b,local,2025-01-01,\nk2,b,local,2025-01-01,\nk2,b,local,2025-01-01,\n"},
        "error",
        "campaigns",
        None,
        2,
        ["same campaign_id", "k2"],
    ),
    (
        {"creator_snapshots.csv": SNAPSHOTS + "c1,2024-01-01,5,\nc1,2024-01-01,6,\nc1,2024-01-02,6,\n"},
        "warning",
        "creator_snapshots",
        None,
        2,
        ["same creator_id, snapshot_at and known_at", "c1"],
    ),
    (
        {"fx.csv": "date,currency,rate\n2025-01-01,SGD,0.7\n2025-01-01,sgd,0.8\n"},
        "error",
        "fx",
        None,
        2,
        ["same currency and date", "SGD"],
    ),
    (
        {"placements.csv": PLACEMENTS + "p1,k1,c1,,,1,,,\np2,k9,c1,,,1,,,\n"},
        "error",
        "placements",
        "campaign_id",
        1,
        ["is not in campaigns: k9", "p2"],
    ),
    (
        {"placements.csv": PLACEMENTS + "p1,k1,c9,,,1,,,\n"},
        "error",
        "placements",
        "creator_id",
        1,
        ["is not in creators: c9", "p1"],
    ),
    (
        {"creator_snapshots.csv": SNAPSHOTS + "c9,2024-01-01,5,\n"},
        "warning",
        "creator_snapshots",
        "creator_id",
        1,
        ["not in creators", "ignored", "c9"],
    ),
    (
        {"creator_audience.csv": AUDIENCE + "c9,2024-01-01,country,SG,1\n"},
        "warning",
        "creator_audience",
        "creator_id",
        1,
        ["not in creators", "ignored", "c9"],
    ),
    (
        {"creator_prices.csv": "creator_id,deliverable,price\nc9,video,5\n"},
        "warning",
        "creator_prices",
        "creator_id",
        1,
        ["not in creators", "ignored"],
    ),
    (
        {"audience_overlap.csv": "creator_a,creator_b,overlap\nc1,c9,0.1\n"},
        "warning",
        "audience_overlap",
        "creator_b",
        1,
        ["not in creators", "c9"],
    ),
    (
        {"placements.csv": PLACEMENTS + "p1,k1,c1,2025-01-01,2025-01-09T10:00:00Z,1,,,2025-01-08\n"},
        "error",
        "placements",
        "settled_at",
        1,
        ["settled before it was posted", "p1"],
    ),
    (
        {"campaigns.csv": CAMPAIGNS + "k1,b,local,2025-01-01,SGD\nk2,b,local,2025-01-01,USD\n"},
        "error",
        "placements",
        "currency",
        1,
        ["no SGD to USD rate for 2025-01-05", "fx", "7 days", "p1"],
    ),
]

MARKET = [
    (
        {"creators.csv": "creator_id,platform,follower_count\nc1,x,5\nc2,x,\n"},
        "warning",
        "creators",
        None,
        1,
        ["undated profiles", "as-of truth is not guaranteed", "c1"],
    ),
    (
        {"creator_audience.csv": AUDIENCE + "c1,,country,SG,1\n"},
        "warning",
        "creator_audience",
        None,
        1,
        ["undated audiences", "c1"],
    ),
    (
        {"creator_audience.csv": AUDIENCE + "c1,2024-01-01,country,SG,0.9\nc1,2024-01-01,country,MY,0.2\n"},
        "warning",
        "creator_audience",
        "weight",
        1,
        ["above 1", "country", "c1"],
    ),
    (
        {"creator_audience.csv": AUDIENCE + "c1,2024-01-01,country,SG,0.9\nc1,2024-01-02,country,MY,0.98\n"},
        "warning",
        "creator_audience",
        "weight",
        1,
        ["below 1", "the rest is unknown", "c1"],
    ),
    (
        {"placements.csv": sales(40, lambda i: 0.1 * (100 + i))},
        "warning",
        "placements",
        "fee",
        0,
        ["commission only", "10.0%", "constant by construction", "rank_by: value"],
    ),
    (
        {"creator_snapshots.csv": SNAPSHOTS + "c1,2025-01-05,5,\nc2,2024-12-01,5,\n"},
        "warning",
        "placements",
        "agreed_on",
        1,
        ["first snapshot", "p1"],
    ),
    (
        {"creator_snapshots.csv": SNAPSHOTS + "c1,2025-01-08,5,\nc1,2025-02-08,5,\nc2,2024-12-01,5,\n"},
        "warning",
        "creator_snapshots",
        "snapshot_at",
        1,
        ["after all their posts", "nothing was known beforehand", "c1"],
    ),
    (
        {"creators.csv": "creator_id,platform,person_id\nc1,tiktok,ana\nc2,TikTok,ana\n"},
        "warning",
        "creators",
        "person_id",
        2,
        ["several accounts on the same platform", "c1, c2"],
    ),
    (
        {"placements.csv": PLACEMENTS + "p1,k1,c1,,,1,50,,\np2,k1,c1,,,1,50,3,\np3,k2,c1,,,1,50,,\n"},
        "warning",
        "placements",
        "revenue",
        1,
        ["50%", "impressions but no revenue", "p1"],
    ),
    (
        {
            "placements.csv": PLACEMENTS
            + "".join(f"a{i},k1,c1,2025-01-02,,1,50,,\n" for i in range(30))
            + "p1,k1,c1,2025-02-01,,1,50,7,\n"
        },
        "warning",
        "placements",
        "revenue",
        30,
        ["agreed before 2025-02-01", "seem not to be known", "a0"],
    ),
    (
        {
            "placements.csv": PLACEMENTS
            + "p1,k1,c1,2025-01-01,2025-01-02,1,50,9,\np2,k2,c1,2025-01-01,2025-01-02,1,50,9,\n"
        },
        "warning",
        "placements",
        "revenue",
        2,
        ["two campaigns", "counted twice", "p1, p2"],
    ),
]


@pytest.mark.parametrize(("changes", "severity", "table", "column", "count", "words"), ROWS + MARKET)
def test_what_is_wrong_between_rows_and_tables_is_named(
    checked, counts, changes, severity, table, column, count, words
):
    report = checked(changes)
    assert counts(report, severity, table, column, words) == [count], "\n".join(map(str, report.findings))
    assert report.ok == (severity == "warning"), "\n".join(map(str, report.errors))


@pytest.mark.parametrize(
    ("rows", "fee", "expected"),
    [
        (30, lambda i: 0.2 * (100 + i), 0.2),
        (29, lambda i: 0.2 * (100 + i), None),
        (30, lambda i: 0.2 * (100 + i) if i < 24 else 500, 0.2),
        (30, lambda i: 0.2 * (100 + i) if i < 23 else 500, None),
        (30, lambda i: 100 + i, None),
        (30, lambda i: 20 + 3 * i, None),
        (30, lambda _: "", None),
    ],
    ids=["fixed", "too few", "80 % fixed", "under 80 % fixed", "all of revenue", "own prices", "unknown fees"],
)
def test_commission_only_rate(write_folder, sound, rows, fee, expected):
    tables, _ = read_folder(write_folder({**sound, "placements.csv": sales(rows, fee)}), Settings())
    found = commission_only_rate(tables)
    assert found == (expected if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("fee", "product_cost", "other_cost", "expected"),
    [
        (0.0, None, 0.2, 0.2),
        (0.1, 0.02, 0.08, 0.2),
        (0.2, None, None, 0.2),
        (None, None, 0.2, None),
        (0.5, 0.3, 0.3, 0.5),
    ],
    ids=["other cost", "shared out", "fee", "unknown fee", "more than the sale"],
)
def test_a_commission_may_be_booked_in_any_part_of_the_cost(fee, product_cost, other_cost, expected):
    net = np.arange(40) + 100.0
    shares = {"fee": fee, "product_cost": product_cost, "other_cost": other_cost}
    cost = {name: [None] * 40 if share is None else net * share for name, share in shares.items()}
    sold = pl.DataFrame(
        {**cost, "revenue": net + 5, "refunds": [5.0] * 40}, schema_overrides=dict.fromkeys(cost, float)
    )
    found = commission_only_rate(build({"placements": sold}, Settings()))
    assert found == (expected if expected is None else pytest.approx(expected))


def test_gifts_beside_a_commission_leave_it_one():
    net = np.arange(40) * 10 + 10.0
    sold = pl.DataFrame({"fee": net * 0.2, "product_cost": [30.0] * 40, "revenue": net})
    assert commission_only_rate(build({"placements": sold}, Settings())) == pytest.approx(0.2)
