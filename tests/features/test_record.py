from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.context import placement_context
from features.record import COLUMNS, RECENT_DAYS, DayTotals, Totals, placement_amounts, run_totals

AS_OF = date(2026, 7, 1)


@pytest.fixture
def market(messy_market):
    return messy_market


HUNDREDTHS = ("revenue", "value", "cost")
PARTS = ("sold_clicks", "sold_orders", "seen_views", "seen_clicks")
UNIT = {
    column: 0.01 if column in HUNDREDTHS else 1e-6 if "log_" in column or column in PARTS else 0.0 for column in COLUMNS
}


def history_of(entity, settled, amounts):
    return run_totals(DayTotals.of(entity, settled, amounts))


def check(records, entity, expected):
    most = max(one["placements"] for one in expected)
    for column in COLUMNS:
        want = np.array([one[column] for one in expected])
        # money is kept in hundredths, logs and parts of a count in millionths, each rounded to the nearest
        rounding = 0.5 * UNIT[column] * most
        np.testing.assert_allclose(records[column], want, rtol=1e-12, atol=rounding, err_msg=f"{entity} {column}")


ENTITIES = (
    "creator", "market", "brand", "niche", "deliverable", "platform", "tier", "peers", "goal", "goal_tier",
    "goal_platform", "niche_style",
)  # fmt: skip


@pytest.mark.parametrize("entity", ENTITIES)
def test_totals_equal_a_slow_loop(market, book, slow_totals, entity):
    rows = np.arange(0, 400, 3)
    records = placement_context(market, rows).records[entity]
    expected = [
        slow_totals(
            other
            for other in book
            if other["settled"] < book[row]["agreed"]
            and book[row][entity] is not None
            and other[entity] == book[row][entity]
        )
        for row in rows
    ]
    assert sum(one["viewed"] for one in expected) > 0
    assert any(one["placements"] == 0 for one in expected)
    check(records, entity, expected)


def test_recent_totals_are_of_the_ninety_days_before_the_decision(market, book, slow_totals):
    rows = np.arange(400)
    records = placement_context(market, rows).records["creator_recent"]
    expected = [
        slow_totals(
            other
            for other in book
            if other["creator"] == book[row]["creator"]
            and book[row]["agreed"] - RECENT_DAYS <= other["settled"] < book[row]["agreed"]
        )
        for row in rows
    ]
    every = placement_context(market, rows).records["creator"]["placements"]
    assert (np.array([one["placements"] for one in expected]) < every).any()
    check(records, "creator_recent", expected)


def test_a_persons_record_leaves_out_the_account_at_hand(market, book, slow_totals):
    rows = np.arange(400)
    records = placement_context(market, rows).records["person_others"]
    expected = [
        slow_totals(
            other
            for other in book
            if book[row]["person"] is not None
            and other["person"] == book[row]["person"]
            and other["creator"] != book[row]["creator"]
            and other["settled"] < book[row]["agreed"]
        )
        for row in rows
    ]
    assert sum(one["placements"] for one in expected) > 10
    check(records, "person_others", expected)


EVENT = st.tuples(st.integers(-1, 3), st.integers(0, 200), st.integers(-5, 50))


@settings(max_examples=80, deadline=None)
@given(st.lists(EVENT, max_size=40), st.lists(st.tuples(st.integers(-1, 4), st.integers(0, 300)), min_size=1))
def test_running_totals_equal_a_filter_and_a_sum(events, asked):
    entity, settled, amount = (np.array([e[i] for e in events], dtype=np.int64) for i in range(3))
    amounts = np.repeat(amount[:, None], len(COLUMNS), axis=1)
    history = history_of(entity, settled, amounts)
    who, day = (np.array([a[i] for a in asked], dtype=np.int64) for i in (0, 1))
    total = [sum(a for e, s, a in events if e == w >= 0 and s < d) for w, d in asked]
    recent = [sum(a for e, s, a in events if e == w >= 0 and d - RECENT_DAYS <= s < d) for w, d in asked]
    assert history.at(who, day)["placements"].tolist() == total
    assert history.recent(who, day)["placements"].tolist() == recent


def test_totals_are_the_same_to_the_bit_in_any_order():
    rng = np.random.default_rng(0)
    n = 500
    outcomes = {name: rng.lognormal(5, 3, n) for name in (
        "delivered", "impressions", "engagements", "clicks", "conversions", "net_revenue", "value", "cost", "fee",
        "follower_count", "usual_log_views", "usual_log_rate",
    )}  # fmt: skip
    outcomes["usual_log_rate"] = -outcomes["usual_log_rate"]
    entity, settled = rng.integers(0, 5, n), rng.integers(1, 40, n)
    order = rng.permutation(n)
    one = history_of(entity, settled, placement_amounts(outcomes))
    other = history_of(
        entity[order], settled[order], placement_amounts({name: column[order] for name, column in outcomes.items()})
    )
    np.testing.assert_array_equal(one.keys, other.keys)
    np.testing.assert_array_equal(one.running, other.running)


BEYOND = ("compared", "log_views_beyond", "log_views_beyond_squared")
RATES_BEYOND = ("compared_rates", "log_rate_beyond", "log_rate_beyond_squared")
SEEN = ("seen", "seen_views", "seen_clicks")


@pytest.mark.parametrize(
    ("changed", "absent"),
    [
        (
            {"impressions": np.nan},
            {"viewed", "log_views", "views", "engaged_views", "clicks", "sized_views", *BEYOND, *RATES_BEYOND, *SEEN},
        ),
        ({"impressions": 0.0}, {"log_views", "views", *BEYOND, *RATES_BEYOND, *SEEN}),
        ({"delivered": 0.0}, {"delivered", "viewed", "views", "sales", "revenue", *BEYOND, *RATES_BEYOND, *SEEN}),
        ({"engagements": np.nan}, {"engaged_views", "engagements", *RATES_BEYOND}),
        ({"engagements": 0.0}, {"engagements", *RATES_BEYOND}),
        ({"clicks": np.nan}, {"clicks", "sold_clicks", "sold_orders", *SEEN}),
        ({"clicks": 0.0}, {"clicks", "sold", "sold_clicks", "sold_orders", "seen_clicks"}),
        ({"usual_log_views": np.nan}, set(BEYOND)),
        ({"usual_log_rate": np.nan}, set(RATES_BEYOND)),
        ({"net_revenue": np.nan}, {"sales", "revenue"}),
        ({"fee": np.nan}, {"fees", "log_fee", "sized_fees", "log_fee_per_follower"}),
        ({"fee": 0.0}, {"fees", "log_fee", "sized_fees", "log_fee_per_follower"}),
        ({"follower_count": np.nan}, {"sized_fees", "log_fee_per_follower", "sized_views", "log_followers"}),
        ({"cost": np.nan}, {"valued", "value", "cost"}),
        ({"value": np.nan}, {"valued", "value", "cost"}),
    ],
)
def test_what_is_not_known_adds_neither_events_nor_exposure(changed, absent):
    known = {
        "delivered": 1.0, "impressions": 1000.0, "engagements": 50.0, "clicks": 10.0, "conversions": 2.0,
        "net_revenue": 80.0, "value": 90.0, "cost": 30.0, "fee": 25.0, "follower_count": 5000.0,
        "usual_log_views": 6.0, "usual_log_rate": -2.0,
    }  # fmt: skip
    outcomes = {name: np.array([value]) for name, value in {**known, **changed}.items()}
    totals = Totals(placement_amounts(outcomes), np.array([0]))
    assert totals["placements"].item() == 1
    assert all(totals[name].item() == 0 for name in absent)
    full = Totals(placement_amounts({name: np.array([value]) for name, value in known.items()}), np.array([0]))
    assert all(full[name].item() != 0 for name in COLUMNS)
    if changed.keys() <= {"usual_log_views", "usual_log_rate"}:
        assert {name for name in COLUMNS if totals[name].item() != full[name].item()} == absent


def test_none_has_empty_totals():
    totals = Totals(np.full((2, len(COLUMNS)), 7, dtype=np.int64), np.array([-1, 1]))
    assert totals["placements"].tolist() == [0.0, 7.0]


def test_a_commission_is_not_taken_for_a_fee(encode, messy_frames):
    """Known only with the sale: where every fee is the same share of revenue, none enters the record of fees."""
    paid = messy_frames["placements"].with_columns(
        ((pl.col("revenue") - pl.col("refunds").fill_null(0)) * 0.1).alias("fee"),
    )
    assert (paid["fee"] > 0).sum() > 50
    market = encode({**messy_frames, "placements": paid}, AS_OF)
    assert market.commission_rate == pytest.approx(0.1)
    late = np.full(len(market.creators), 20_700)
    assert market.histories["creator"].at(np.arange(len(market.creators)), late)["fees"].sum() == 0
    assert market.histories["creator"].at(np.arange(len(market.creators)), late)["cost"].sum() > 0
