import sqlite3
from datetime import date, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.asof import days, keys, last_before, take
from features.context import deliverable_prices

D = date(2026, 3, 10)
DAY = (D - date(1970, 1, 1)).days
# when a fact is known, and whether a decision on D sees it
CLOCK = [
    (None, True),
    ("2020-01-01", True),
    ("2026-03-09", True),
    ("2026-03-09T23:59:59.999999", True),
    ("2026-03-10T07:59:59+08:00", True),
    ("2026-03-10", False),
    ("2026-03-10T00:00:00", False),
    ("2026-03-09T23:00:00-02:00", False),
    ("2026-03-10T23:59:59", False),
    ("2026-03-11", False),
]
FACT = st.tuples(st.integers(0, 4), st.integers(0, 12))
ASKED = st.tuples(st.integers(-1, 5), st.integers(0, 14))


@settings(max_examples=150, deadline=None)
@given(st.lists(FACT, max_size=30), st.lists(ASKED, min_size=1, max_size=20))
def test_the_last_fact_before_a_day_is_what_sql_says(facts, asked):
    """Duplicates, gaps, entities without facts, days before the first fact and after the last."""
    facts = sorted(facts)
    base = sqlite3.connect(":memory:")
    base.execute("create table fact (row integer, entity integer, day integer)")
    base.executemany("insert into fact values (?, ?, ?)", [(row, *fact) for row, fact in enumerate(facts)])
    expected = [
        base.execute("select coalesce(max(row), -1) from fact where entity = ? and day < ?", one).fetchone()[0]
        for one in asked
    ]
    base.close()
    fact_keys = keys(*(np.array([f[i] for f in facts], dtype=np.int64) for i in (0, 1)))
    entity, day = (np.array([a[i] for a in asked], dtype=np.int64) for i in (0, 1))
    assert last_before(fact_keys, entity, day).tolist() == expected


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        ([datetime(1970, 1, 1), datetime(2026, 3, 9, 23, 59, 59, 999_999)], [0, DAY - 1]),
        ([datetime(2026, 3, 10), None], [DAY, 0]),
        ([datetime(1900, 1, 1), datetime(1969, 12, 31), datetime(9999, 12, 31)], [0, 0, 2**21 - 1]),
        ([], []),
    ],
)
def test_a_timestamp_falls_on_its_utc_day(stamps, expected):
    assert days(pl.Series(stamps, dtype=pl.Datetime("us"))).tolist() == expected


def test_take_gives_nan_where_nothing_was_found():
    np.testing.assert_array_equal(take(np.array([4.0, 5.0]), np.array([1, -1, 0])), [5.0, np.nan, 4.0])
    np.testing.assert_array_equal(take(np.array([]), np.array([-1, -1])), [np.nan, np.nan])


def one_creator(**tables):
    return {
        "creators": pl.DataFrame({"creator_id": ["c", "d"], "platform": ["x", "x"], "country": ["SG", "SG"]}),
        "campaigns": pl.DataFrame(
            {"campaign_id": ["k"], "brand_id": ["b"], "goal": ["awareness"], "starts_on": [datetime(2026, 3, 10)]}
        ),
        **{name: pl.DataFrame(rows, infer_schema_length=None) for name, rows in tables.items()},
    }


@pytest.mark.parametrize(("known", "seen"), CLOCK)
def test_when_a_reading_is_seen(encode, known, seen):
    rows = [{"creator_id": "c", "snapshot_at": "2019-06-01", "known_at": known, "follower_count": 500.0}]
    if known is None:
        del rows[0]["snapshot_at"]
    market = encode(one_creator(creator_snapshots=rows), D)
    followers = market.profile(np.array([0, 1]), np.array([DAY, DAY]))["follower_count"]
    np.testing.assert_array_equal(followers, [500.0 if seen else np.nan, np.nan])


@pytest.mark.parametrize(("known", "seen"), [*CLOCK[1:2], *CLOCK[2:]])
def test_a_reading_without_known_at_is_known_when_it_was_taken(encode, known, seen):
    rows = [{"creator_id": "c", "snapshot_at": known, "follower_count": 500.0}]
    market = encode(one_creator(creator_snapshots=rows), D)
    followers = market.profile(np.array([0]), np.array([DAY]))["follower_count"]
    assert np.isnan(followers[0]) != seen


@pytest.mark.parametrize(("odd", "seen"), [("1900-01-01", True), ("9999-12-31", False)])
def test_a_day_no_calendar_of_ours_has_does_not_hide_other_creators(encode, odd, seen):
    """ "Unknown" and "not yet" are often written so."""
    frames = one_creator(
        creator_snapshots=[
            {"creator_id": creator, "snapshot_at": "2019-06-01", "known_at": known, "follower_count": 500.0}
            for creator, known in [("a", "2019-06-01"), ("b", odd), ("c", odd), ("d", odd), ("e", "2019-06-01")]
        ]
    )
    frames["creators"] = pl.DataFrame({"creator_id": list("abcde"), "platform": ["x"] * 5})
    followers = encode(frames, D).profile(np.arange(5), np.full(5, DAY))["follower_count"]
    assert (~np.isnan(followers)).tolist() == [True, seen, seen, seen, True]


@pytest.mark.parametrize(("known", "seen"), CLOCK)
def test_when_an_audience_is_seen(encode, known, seen):
    rows = [{"creator_id": "c", "snapshot_at": known, "dimension": "country", "code": "SG", "weight": 0.4}]
    market = encode(one_creator(creator_audience=rows), D)
    audience = market.lists(np.array([0, 1]), np.array([DAY, DAY]))["country"]
    assert audience.lengths.tolist() == [int(seen), 0]
    assert audience.weights.tolist() == [0.4] * seen


@pytest.mark.parametrize(("known", "seen"), CLOCK)
def test_when_a_price_of_a_deliverable_is_seen(encode, known, seen):
    rows = [{"creator_id": "c", "snapshot_at": "2019-06-01", "known_at": known, "deliverable": "reel", "price": 90.0}]
    if known is None:
        del rows[0]["snapshot_at"]
    market = encode(one_creator(creator_prices=rows), D)
    price, source = deliverable_prices(market, np.array([0, 1]), np.array([DAY, DAY]))
    np.testing.assert_array_equal(price, [[90.0 if seen else np.nan], [np.nan]])
    np.testing.assert_array_equal(np.isnan(source), np.isnan(price))


@pytest.mark.parametrize(("known", "seen"), CLOCK[1:])
def test_when_an_outcome_is_history(encode, known, seen):
    rows = [
        {"placement_id": "p", "campaign_id": "k", "creator_id": "c", "agreed_on": "2019-01-01", "fee": 50.0,
         "impressions": 100.0, "settled_at": known}
    ]  # fmt: skip
    market = encode(one_creator(placements=rows), D)
    totals = market.histories["creator"].at(np.array([0, 1]), np.array([DAY, DAY]))
    assert totals["placements"].tolist() == [float(seen), 0.0]
    assert totals["views"].tolist() == [100.0 * seen, 0.0]


@pytest.mark.parametrize(
    ("posted", "day", "seen"),
    [
        ("2026-02-07", D, True),
        ("2026-02-08", D, False),
        (None, date(2026, 3, 4), True),
        (None, date(2026, 3, 3), False),
    ],
)
def test_an_outcome_without_a_settled_date_is_history_after_the_attribution_window(encode, posted, day, seen):
    """30 days from the post, else from the agreement on 1 February: final on that day, seen the day after."""
    rows = [
        {"placement_id": "p", "campaign_id": "k", "creator_id": "c", "agreed_on": "2026-02-01", "fee": 50.0,
         "posted_at": posted}
    ]  # fmt: skip
    market = encode(one_creator(placements=rows), D)
    totals = market.histories["creator"].at(np.array([0]), np.array([(day - date(1970, 1, 1)).days]))
    assert totals["placements"].tolist() == [float(seen)]
