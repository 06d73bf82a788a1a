"""Undelivered placements are judged in the share in which delivered ones are known."""

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from training.judgeable import judgeable, lots


def market(delivered, goal, ids=None):
    """Placements, each in a campaign of its own."""
    n = len(delivered)
    ids = [f"p{k}" for k in range(n)] if ids is None else ids
    return SimpleNamespace(
        placements=SimpleNamespace(
            ids=pl.Series(ids, dtype=pl.String),
            delivered=np.asarray(delivered, dtype=np.float64),
            campaign=np.arange(n),
        ),
        campaigns=SimpleNamespace(goal=np.asarray(goal, dtype=np.int64)),
    )


def drawn(n, known, seed=0):
    """n placements of two goals, 10 % undelivered, whose outcomes are known in a share by goal."""
    rng = np.random.default_rng(seed)
    goal, delivered = rng.integers(0, 2, n), rng.random(n) < 0.9
    missing = delivered & (rng.random(n) >= np.array(known)[goal])
    actual = np.where(missing, np.nan, np.where(delivered, 5.0, 0.0))
    return market(delivered, goal), np.arange(n), actual, delivered, goal


def test_of_each_goal_the_undelivered_stay_the_part_they_are():
    m, rows, actual, delivered, goal = drawn(40_000, (0.15, 0.6))
    judged = judgeable(m, rows, actual)
    known = np.isfinite(actual)
    for code in (0, 1):
        mine = goal == code
        assert (~delivered[mine & judged]).mean() == pytest.approx((~delivered[mine]).mean(), abs=0.015)
        assert (~delivered[mine & known]).mean() > 0.14
    # all that is delivered and known is judged, and nothing that is unknown
    assert (judged[delivered] == known[delivered]).all()


def test_where_every_outcome_is_known_everything_is_judged():
    m, rows, actual, *_ = drawn(2000, (1.0, 1.0))
    assert judgeable(m, rows, actual).all()


def test_where_no_delivered_one_is_known_no_undelivered_one_is_judged():
    m, rows, actual, _, goal = drawn(2000, (0.0, 1.0))
    judged = judgeable(m, rows, actual)
    assert not judged[goal == 0].any()
    assert judged[goal == 1].all()
    nothing_delivered = market(np.zeros(9), np.zeros(9))
    assert not judgeable(nothing_delivered, np.arange(9), np.zeros(9)).any()


def test_the_order_of_rows_and_who_else_is_in_the_data_change_nothing():
    m, rows, actual, *_ = drawn(3000, (0.3, 0.7))
    judged = set(m.placements.ids.filter(pl.Series(judgeable(m, rows, actual))))
    order = np.random.default_rng(1).permutation(3000)
    p = m.placements
    mixed = SimpleNamespace(
        placements=SimpleNamespace(ids=p.ids.gather(order), delivered=p.delivered[order], campaign=p.campaign[order]),
        campaigns=m.campaigns,
    )
    again = judgeable(mixed, np.arange(3000), actual[order])
    assert set(mixed.placements.ids.filter(pl.Series(again))) == judged
    half = rows[::2]
    assert (judgeable(m, half, actual[::2]) == judgeable(m, half[::-1], actual[::2][::-1])[::-1]).all()


def test_more_that_is_known_takes_nobody_out():
    m, rows, actual, delivered, _ = drawn(3000, (0.3, 0.3))
    fuller = np.where(delivered & (np.arange(3000) % 2 == 0), 5.0, actual)
    assert (judgeable(m, rows, fuller) >= judgeable(m, rows, actual)).all()


def test_what_counted_on_a_day_counts_the_same_when_more_has_come_since():
    m, rows, actual, *_ = drawn(4000, (0.3, 0.9))
    day = np.random.default_rng(2).integers(100, 200, 4000)
    actual = np.where((day > 150) & (m.placements.delivered > 0), np.nan, actual)  # the feed ends
    whole = judgeable(m, rows, actual, day)
    for end in (101, 120, 151, 180):
        early = day < end
        np.testing.assert_array_equal(judgeable(m, rows[early], actual[early], day[early]), whole[early])
    # and it is not what is judged where all days are one set
    assert (whole != judgeable(m, rows, actual)).any()


def test_lots_are_even_and_those_of_the_id():
    ids = pl.Series([f"x{k}" for k in range(20_000)])
    found = lots(ids)
    assert ((found >= 0) & (found < 1)).all()
    counts, _ = np.histogram(found, 10, (0, 1))
    assert abs(counts - 2000).max() < 5 * np.sqrt(2000)
    assert lots(ids.gather([5, 3, 5])).tolist() == [found[5], found[3], found[5]]
    assert lots(pl.Series(["ü"])).shape == (1,)


def test_nothing_is_mutated():
    m, rows, actual, *_ = drawn(500, (0.5, 0.5))
    before = actual.copy()
    judgeable(m, rows, actual)
    np.testing.assert_array_equal(actual, before)
