from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from threadpoolctl import threadpool_limits

from features.build_market import build_market
from features.matrix import NAMES
from features.money import in_base_currency
from features.reading import typed
from features.settings import Settings
from features.tables import build
from training.backtest import backtest
from training.dataset import build_dataset
from training.past_candidates import Pairs, can_book, decision_days, foretell, sample_pools
from training.sample import make_market
from training.split import newest_fact, time_split
from training.stage_fit import FitOptions


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def frames():
    return {name: typed(name, table)[0] for name, table in make_market(creators=250, placements=1200, seed=3).items()}


def market_of(frames):
    tables = in_base_currency(build(frames, Settings()), Settings())
    return build_market(tables, Settings(), newest_fact(tables) + 1)


@pytest.fixture(scope="module")
def market(frames):
    return market_of(frames)


@pytest.fixture(scope="module")
def result(market):
    data = build_dataset(market)
    return backtest(data, time_split(market.placements, market.as_of), FitOptions(trees=5, threads=1))


@pytest.fixture(scope="module")
def decided(market, result):
    return decision_days(market, result.split.test, result.split.opens)


# --- the day of the decision


def test_a_campaign_is_decided_when_it_starts_but_within_the_window(market, result, decided):
    p, rows = market.placements, result.split.test
    campaigns, days = decided
    assert campaigns.tolist() == sorted(set(p.campaign[rows].tolist()))
    assert (days >= result.split.opens).all()
    day_of = dict(zip(campaigns.tolist(), days.tolist(), strict=True))
    assert all(day_of[c] <= day for c, day in zip(p.campaign[rows].tolist(), p.agreed[rows].tolist(), strict=True))
    starts = market.campaign_frame["starts_on"].cast(pl.Date).to_physical().to_numpy()
    later = starts[campaigns] > result.split.opens
    assert later.any()
    np.testing.assert_array_equal(days[later], starts[campaigns][later])


def test_a_booking_before_the_start_moves_the_day_and_no_start_leaves_the_first_booking(market, result):
    p, rows = market.placements, result.split.test
    campaign = int(p.campaign[rows[-1]])
    first = int(p.agreed[rows][p.campaign[rows] == campaign].min())
    opens = first - 3
    for start in (None, first + 40):
        moved = pl.lit(None, dtype=pl.Date) if start is None else pl.lit(start).cast(pl.Int32).cast(pl.Date)
        frame = market.campaign_frame.with_columns(moved.alias("starts_on"))
        campaigns, days = decision_days(replace(market, campaign_frame=frame), rows, opens)
        assert days[campaigns == campaign].tolist() == [first]


# --- the pool


def test_a_pool_holds_everybody_on_the_campaigns_platforms_or_a_part(market, decided):
    campaigns, days = decided
    everybody, sizes = sample_pools(market, campaigns, days, 10_000, seed=0)
    assert can_book(market, everybody.campaign, everybody.creator).all()
    np.testing.assert_array_equal(np.bincount(np.searchsorted(campaigns, everybody.campaign)), sizes)
    platforms = market.campaigns.platforms[campaigns]
    codes = market.creators.platform
    np.testing.assert_array_equal(sizes, [np.isin(codes, np.flatnonzero(row)).sum() for row in platforms])
    some, same = sample_pools(market, campaigns, days, 20, seed=0)
    np.testing.assert_array_equal(same, sizes)
    for campaign in campaigns.tolist():
        members = some.creator[some.campaign == campaign]
        assert len(set(members.tolist())) == len(members) <= 20
    again, _ = sample_pools(market, campaigns[2:], days[2:], 20, seed=0)
    np.testing.assert_array_equal(again.creator, some.creator[np.isin(some.campaign, campaigns[2:])])
    other, _ = sample_pools(market, campaigns, days, 20, seed=1)
    assert other.creator.tolist() != some.creator.tolist()


def test_where_no_platform_is_named_everybody_can_be_booked(market):
    silent = replace(market, campaigns=replace(market.campaigns, platforms=np.zeros_like(market.campaigns.platforms)))
    everybody = np.arange(len(market.creators))
    assert can_book(silent, np.zeros(len(everybody), dtype=np.int64), everybody).all()
    assert not can_book(market, np.zeros(len(everybody), dtype=np.int64), everybody).all()


# --- what is foretold


def test_predictions_do_not_change_with_what_comes_after_the_day(frames, market, result, decided):
    campaigns, days = decided
    pairs, _ = sample_pools(market, campaigns, days, 60, seed=0)
    before = foretell(market, result.model, pairs)
    day = int(days.min())
    late = pl.lit(day).cast(pl.Int32).cast(pl.Date)
    changed = {
        **frames,
        "placements": frames["placements"].with_columns(
            [
                pl.when(pl.col("agreed_on").cast(pl.Date) >= late).then(pl.col("fee") * 9).otherwise(pl.col("fee")),
                *(
                    pl.when(pl.col("settled_at").cast(pl.Date) < late).then(pl.col(name)).otherwise(pl.col(name) * 7)
                    for name in ("impressions", "engagements", "clicks", "conversions", "revenue")
                ),
            ]
        ),
        "creator_snapshots": frames["creator_snapshots"].with_columns(
            pl.when(pl.col("snapshot_at").cast(pl.Date) >= late).then(pl.col(name) * 5).otherwise(pl.col(name))
            for name in ("price", "follower_count", "median_views")
        ),
    }
    early = Pairs(*(column[pairs.day == day] for column in (pairs.campaign, pairs.creator, pairs.day)))
    after = foretell(market_of(changed), result.model, early)
    for name in ("x", "value", "cost", "roi"):
        same = getattr(before, name)[pairs.day == day]
        np.testing.assert_allclose(getattr(after, name), same, rtol=1e-5, atol=1e-6, err_msg=name)
    # the change is one that a later day does see
    later = replace(early, day=early.day + 200)
    seen = foretell(market_of(changed), result.model, later).cost
    assert (seen > 2 * foretell(market, result.model, later).cost).any()


def test_a_fee_agreed_in_the_campaign_is_not_known_and_an_unknown_price_is_estimated(market, result):
    p, rows = market.placements, result.split.test
    pairs = Pairs(p.campaign[rows], p.creator[rows], p.agreed[rows])
    foretold = foretell(market, result.model, pairs)
    dear = replace(market, placements=replace(p, fee=p.fee * 10))
    np.testing.assert_array_equal(foretell(dear, result.model, pairs).cost, foretold.cost)
    assert np.isfinite(foretold.cost).all()
    price = np.exp(foretold.x[:, NAMES.index("log_price")].astype(float))
    np.testing.assert_allclose(price + result.model.extra_cost.at(price), foretold.cost, rtol=1e-4)
    never = Pairs(pairs.campaign[:5], pairs.creator[:5], np.full(5, 1))  # before anything was known
    unknown = foretell(market, result.model, never)
    fee = np.exp(unknown.x[:, NAMES.index("log_price")].astype(float))
    assert (fee > 0).all()
    np.testing.assert_allclose(fee + result.model.extra_cost.at(fee), unknown.cost, rtol=1e-4)


def test_chunks_change_nothing_and_no_pair_gives_no_row(market, result, decided, monkeypatch):
    pairs, _ = sample_pools(market, *decided, 15, seed=0)
    whole = foretell(market, result.model, pairs)
    monkeypatch.setattr("training.past_candidates.ROWS_AT_ONCE", 37)
    parts = foretell(market, result.model, pairs)
    np.testing.assert_allclose(parts.roi, whole.roi, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(parts.x, whole.x, rtol=1e-5, atol=1e-6)
    nobody = foretell(market, result.model, Pairs(*(np.zeros(0, dtype=np.int64) for _ in range(3))))
    assert nobody.x.shape == (0, len(NAMES))
