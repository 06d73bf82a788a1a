from datetime import date, datetime
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from features.errors import DataError
from features.settings import Settings
from features.tables import build
from training.split import day_number, iso, labelled, newest_fact, time_split


def placements(agreed, settled):
    return SimpleNamespace(agreed=np.array(agreed, dtype=np.int64), settled=np.array(settled, dtype=np.int64))


def daily(days=100, window=10):
    """A placement a day, settled `window` days later."""
    return placements(range(days), range(window, days + window))


@pytest.mark.parametrize(
    ("agreed", "settled", "kept"),
    [(99, 99, True), (98, 99, True), (99, 100, False), (100, 100, False), (50, 1000, False), (100, 99, False)],
)
def test_only_what_was_agreed_and_settled_before_the_day_is_a_label(agreed, settled, kept):
    assert labelled(placements([agreed], [settled]), 100).tolist() == [0] * kept


def test_the_window_is_the_latest_fifth_and_the_gap_is_in_neither():
    p = daily()
    split = time_split(p, 110)
    assert split.opens == 80
    assert split.test.tolist() == list(range(80, 100))
    # settled on day 79 at the latest: agreed on day 69
    assert split.train.tolist() == list(range(70))
    gap = set(range(100)) - set(split.train) - set(split.test)
    assert gap == set(range(70, 80))


@pytest.mark.parametrize(
    ("agreed", "settled", "where"),
    [
        (60, 79, "train"), (60, 80, "gap"), (60, 109, "gap"), (79, 79, "train"), (79, 85, "gap"),
        (80, 81, "test"), (80, 80, "test"), (80, 110, "neither"), (99, 109, "test"),
    ],
)  # fmt: skip
def test_boundary_days(agreed, settled, where):
    p = daily()
    p.settled[agreed] = settled
    split = time_split(p, 110)
    assert split.opens == (79 if where == "neither" else 80)
    assert (agreed in split.train, agreed in split.test) == (where == "train", where == "test")


def test_rows_after_the_as_of_day_are_in_neither():
    p = daily()
    split = time_split(p, 60)
    both = [*split.train, *split.test]
    assert (p.agreed[both] < 60).all()
    assert (p.settled[both] < 60).all()
    assert max(split.test) == 49


def test_a_window_is_made_smaller_where_too_little_settled_before():
    # a surge, of which a third had settled when the latest tenth began
    p = placements([*range(100)], [*(np.arange(100) + 60)])
    split = time_split(p, 200)
    assert len(split.test) == 10
    assert len(split.train) == 30


def test_when_no_window_leaves_enough_the_one_that_leaves_most_is_taken():
    p = placements([*range(100)], [*(np.arange(100) + 85)])
    split = time_split(p, 300)
    assert (len(split.train), len(split.test)) == (5, 10)


def test_all_on_one_day_leaves_nothing_to_test_on():
    split = time_split(placements([50] * 30, [60] * 30), 100)
    assert (split.opens, len(split.train), len(split.test)) == (100, 30, 0)


def test_nothing_settled_is_an_error():
    with pytest.raises(DataError, match="no placement was agreed and settled before 1970-02-10"):
        time_split(placements([30], [60]), 40)


def test_order_of_rows_does_not_matter():
    p, order = daily(), np.random.default_rng(0).permutation(100)
    moved = time_split(placements(p.agreed[order], p.settled[order]), 110)
    assert sorted(order[moved.test]) == time_split(p, 110).test.tolist()
    assert sorted(order[moved.train]) == time_split(p, 110).train.tolist()


def test_days_and_dates_are_each_others_inverse():
    assert iso(day_number(date(2026, 3, 1))) == "2026-03-01"
    assert day_number(date(1970, 1, 2)) == 1


def tables(**frames):
    return build({name: pl.DataFrame(rows) for name, rows in frames.items()}, Settings())


FACTS = {
    "creator_snapshots": {"creator_id": ["c"], "snapshot_at": [datetime(2026, 1, 5)]},
    "campaigns": {"campaign_id": ["k"], "goal": ["local"], "starts_on": [datetime(2026, 1, 3)]},
    "placements": {"placement_id": ["p"], "campaign_id": ["k"], "creator_id": ["c"], "fee": [1.0]},
}


@pytest.mark.parametrize(
    ("table", "changes", "newest"),
    [
        ("campaigns", {}, "2026-01-05"),
        ("creator_snapshots", {"known_at": [datetime(2026, 1, 9)]}, "2026-01-09"),
        ("campaigns", {"starts_on": [datetime(2026, 1, 8, 23, 59)]}, "2026-01-08"),
        ("placements", {"posted_at": [datetime(2026, 1, 7)]}, "2026-01-07"),
        ("placements", {"agreed_on": [datetime(2026, 1, 6)]}, "2026-01-06"),
        # not settled: the day on which it will be is no fact yet
        ("placements", {"settled_at": [datetime(2026, 3, 1)]}, "2026-01-05"),
        ("placements", {"settled_at": [datetime(2026, 3, 1)], "impressions": [5.0]}, "2026-03-01"),
        # "not yet"
        ("placements", {"settled_at": [datetime(9999, 12, 31)], "impressions": [5.0]}, "2026-01-05"),
        ("creator_snapshots", {"known_at": [datetime(9999, 12, 31)]}, "2026-01-03"),
    ],
)
def test_the_newest_fact(table, changes, newest):
    assert iso(newest_fact(tables(**{**FACTS, table: {**FACTS[table], **changes}}))) == newest


def test_no_date_at_all_is_an_error():
    with pytest.raises(DataError, match="no date at all: give .*agreed_on"):
        newest_fact(tables(creators={"creator_id": ["c"], "platform": ["x"]}))
