import math
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.context import placement_context
from features.record import COLUMNS, RECENT_DAYS, Totals, build_history, placement_amounts
from features.tiers import tier_codes

AS_OF = date(2026, 7, 1)
EPOCH = date(1970, 1, 1)


def day_of(stamp):
    return (stamp.date() - EPOCH).days


@pytest.fixture(scope="module")
def market(encode, messy_frames):
    return encode(messy_frames, AS_OF)


@pytest.fixture(scope="module")
def book(market, messy_frames):
    """One dict a placement: what it is about, from the tables, and what it adds, from the encoded numbers."""
    campaigns = {row["campaign_id"]: row for row in messy_frames["campaigns"].to_dicts()}
    creators = {row["creator_id"]: row for row in messy_frames["creators"].to_dicts()}
    p = market.placements
    followers = market.profile(p.creator, p.agreed)["follower_count"]
    tiers = tier_codes(followers, market.settings)
    out = []
    for row, placement in enumerate(messy_frames["placements"].to_dicts()):
        campaign, creator = campaigns[placement["campaign_id"]], creators[placement["creator_id"]]
        agreed = placement["agreed_on"] or campaign["starts_on"]
        settled = placement["settled_at"] or (placement["posted_at"] or agreed) + timedelta(days=30)
        tier, platform, goal = int(tiers[row]), creator["platform"], campaign["goal"]
        out.append(
            {
                "agreed": day_of(agreed), "settled": day_of(settled), "followers": followers[row],
                "delivered": placement["delivered"] is not False,
                "creator": creator["creator_id"], "person": creator["person_id"], "market": "all",
                "brand": campaign["brand_id"], "niche": next(iter(campaign["niches"] or ()), None),
                "deliverable": placement["deliverable"], "platform": platform, "goal": goal, "tier": tier,
                "peers": (platform, tier), "goal_tier": (goal, tier), "goal_platform": (goal, platform),
                "fee": p.fee[row], "cost": p.cost[row], **{name: column[row] for name, column in p.outcomes.items()},
            }
        )  # fmt: skip
    return out


def slow_totals(placements):
    """Every total by its definition, in floats."""
    total = dict.fromkeys(COLUMNS, 0.0)
    for one in placements:
        views, fee, followers, delivered = one["impressions"], one["fee"], one["followers"], one["delivered"]
        viewed = delivered and not math.isnan(views)
        total["placements"] += 1
        total["delivered"] += delivered
        if viewed:
            total["viewed"] += 1
            total["views"] += views
            total["log_views"] += math.log(1 + views)
            for events, exposure in (("engagements", "engaged"), ("clicks", "clicked"), ("conversions", "sold")):
                if not math.isnan(one[events]):
                    total[events] += one[events]
                    total[f"{exposure}_views"] += views
        if delivered and one["clicks"] > 0 and not math.isnan(one["conversions"]):
            # clicks count in full at first and for at most 20 in all
            counted = one["clicks"] / (1 + one["clicks"] / 20)
            total["sold"] += 1
            total["sold_clicks"] += counted
            total["sold_orders"] += one["conversions"] / one["clicks"] * counted
        if viewed and followers > 0:
            total["sized_views"] += 1
            total["sized_log_views"] += math.log(1 + views)
            total["log_followers"] += math.log(followers)
            total["log_followers_squared"] += math.log(followers) ** 2
            total["log_views_by_log_followers"] += math.log(followers) * math.log(1 + views)
        if delivered and not math.isnan(one["net_revenue"]):
            total["sales"] += 1
            total["revenue"] += one["net_revenue"]
        if not math.isnan(one["value"]) and not math.isnan(one["cost"]):
            total["valued"] += 1
            total["value"] += one["value"]
            total["cost"] += one["cost"]
        if fee > 0:
            total["fees"] += 1
            total["log_fee"] += math.log(fee)
            if followers > 0:
                total["sized_fees"] += 1
                total["log_fee_per_follower"] += math.log(fee / followers)
    return total


HUNDREDTHS = ("revenue", "value", "cost")
PARTS = ("sold_clicks", "sold_orders")
UNIT = {
    column: 0.01 if column in HUNDREDTHS else 1e-6 if "log_" in column or column in PARTS else 0.0 for column in COLUMNS
}


def check(records, entity, expected):
    most = max(one["placements"] for one in expected)
    for column in COLUMNS:
        want = np.array([one[column] for one in expected])
        # money is kept in hundredths, logs and parts of a count in millionths, each rounded to the nearest
        rounding = 0.5 * UNIT[column] * most
        np.testing.assert_allclose(records[column], want, rtol=1e-12, atol=rounding, err_msg=f"{entity} {column}")


ENTITIES = (
    "creator", "market", "brand", "niche", "deliverable", "platform", "tier", "peers", "goal", "goal_tier",
    "goal_platform",
)  # fmt: skip


@pytest.mark.parametrize("entity", ENTITIES)
def test_totals_equal_a_slow_loop(market, book, entity):
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


def test_recent_totals_are_of_the_ninety_days_before_the_decision(market, book):
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


def test_a_persons_record_leaves_out_the_account_at_hand(market, book):
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
    history = build_history(entity, settled, amounts)
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
        "follower_count",
    )}  # fmt: skip
    entity, settled = rng.integers(0, 5, n), rng.integers(1, 40, n)
    order = rng.permutation(n)
    one = build_history(entity, settled, placement_amounts(outcomes))
    other = build_history(
        entity[order], settled[order], placement_amounts({name: column[order] for name, column in outcomes.items()})
    )
    np.testing.assert_array_equal(one.keys, other.keys)
    np.testing.assert_array_equal(one.running, other.running)


@pytest.mark.parametrize(
    ("changed", "absent"),
    [
        ({"impressions": np.nan}, {"viewed", "log_views", "views", "engaged_views", "clicks", "sized_views"}),
        ({"delivered": 0.0}, {"delivered", "viewed", "views", "sales", "revenue"}),
        ({"engagements": np.nan}, {"engaged_views", "engagements"}),
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
    }  # fmt: skip
    outcomes = {name: np.array([value]) for name, value in {**known, **changed}.items()}
    totals = Totals(placement_amounts(outcomes), np.array([0]))
    assert totals["placements"].item() == 1
    assert all(totals[name].item() == 0 for name in absent)
    full = Totals(placement_amounts({name: np.array([value]) for name, value in known.items()}), np.array([0]))
    assert all(full[name].item() != 0 for name in COLUMNS)


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
