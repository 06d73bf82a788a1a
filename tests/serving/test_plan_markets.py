"""Plans in markets where fees are the same for all, gifts, commissions or not known, and where little else is."""

import polars as pl
import pytest

from features.errors import DataError
from features.plan_options import parse_plan
from serving.filters import NothingFits
from serving.planning import plan
from tests.serving.slow_plan import best_set, bought_of, broken, worth_of_answer
from tests.serving.test_planning import ASKED, PROVEN, planned, pool

GIFT = {"product_cost": 30.0, "other_cost": 2.0, "currency": "USD"}


@pytest.fixture(scope="module")
def bare(few, teach):
    """Markets in which little is known, by name."""

    def market(drop=(), **placed):
        frames = {name: table for name, table in few.items() if name not in drop}
        snapshots = frames["creator_snapshots"].drop("price", "price_currency", "price_source")
        columns = [(of if isinstance(of, pl.Expr) else pl.lit(of)).alias(name) for name, of in placed.items()]
        return teach({
            **frames, "creator_snapshots": snapshots, "placements": frames["placements"].with_columns(*columns)
        }).release  # fmt: skip

    nothing = {name: pl.lit(None, dtype=pl.Float64) for name in ("cost", "product_cost", "other_cost")}
    sales = pl.col("revenue") - pl.col("refunds").fill_null(0)
    return {
        "one fee for all": market(fee=250.0, product_cost=0.0, other_cost=0.0, cost=None, currency="USD"),
        "gifts": market(fee=0.0, **GIFT),
        "free": market(fee=0.0, product_cost=0.0, other_cost=0.0, cost=None, currency="USD"),
        "commission": market(fee=0.2 * sales, **nothing),
        "no fees": market(fee=pl.lit(None, dtype=pl.Float64), cost=pl.lit(None, dtype=pl.Float64)),
        "no overlap, no delivery": market(drop=("audience_overlap", "creator_audience"), delivered=True),
    }


def test_one_fee_for_all_buys_as_many_as_it_pays_for(bare):
    found = planned(bare["one fee for all"], budget=1000.0).plan
    assert [pick.spend for pick in found.picks] == pytest.approx([250.0] * 4)
    assert found.total_cost == 1000.0
    assert len(planned(bare["one fee for all"], budget=999.99).plan.picks) == 3
    with pytest.raises(NothingFits, match="the smallest budget is"):
        planned(bare["one fee for all"], budget=249.0)


def test_gifts_cost_what_they_cost(bare):
    found = planned(bare["gifts"], budget=100.0).plan
    assert [pick.spend for pick in found.picks] == [32.0, 32.0, 32.0]
    assert {pick.fee for pick in found.picks} == {0.0}
    with pytest.raises(NothingFits, match="the smallest budget is"):
        planned(bare["gifts"], budget=31.0)
    with pytest.raises(NothingFits, match=r"smallest budget is 32\.00"):
        planned(bare["gifts"], {"must_include": [bare["gifts"].catalogue.display["creator_id"][0]]}, budget=31.0)


def test_who_costs_nothing_is_bought_with_any_budget(bare):
    found = planned(bare["free"], {"max_creators": 5}, budget=0.01).plan
    assert (len(found.picks), found.total_cost) == (5, 0.0)
    assert found.roi == pytest.approx(found.expected_value - 1)
    assert found.p_profit > 0.5
    everybody = planned(bare["free"], budget=0.01).plan
    assert everybody.expected_value > found.expected_value


def test_commissions_move_with_sales(bare):
    answer = planned(bare["commission"], budget=3000.0)
    # whatever is sold, the commission is a share of it: no luck changes the return of the whole
    assert answer.plan.roi_low == answer.plan.roi == answer.plan.roi_high
    assert answer.plan.p_profit == 1.0
    found = answer.plan
    assert 0 < found.total_cost <= 3000.0
    for pick in found.picks:
        assert pick.spend == pytest.approx(pick.expected.value / 0.4 * 0.2, abs=0.011)
    assert answer.sensitivity.fees_plus_20.total_cost <= 3000.0


@pytest.mark.parametrize("rank_by", ["value", "profit", "roi", "impressions"])
def test_without_any_fee_there_is_nothing_to_plan(bare, rank_by):
    with pytest.raises(DataError, match="no fee") as refused:
        planned(bare["no fees"], rank_by=rank_by)
    assert refused.value.field in ("budget", "rank_by")


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("market", ["one fee for all", "gifts", "commission", "no overlap, no delivery"])
def test_the_best_of_all_sets_in_any_market(bare, market, seed):
    release = bare[market]
    ids = pool(release, 9, seed)
    options = {"max_creators": 6} if seed % 2 else {"risk": 0.0, "per_creator_cap": 0.6}
    budget = [300.0, 1500.0][seed // 2]
    brief = parse_plan({**ASKED, "budget": budget, "filters": {"creator_ids": ids}, "plan": options})
    offers, chosen, worth = best_set(release, brief)
    try:
        found = plan(release, brief, request_id="r").plan
    except NothingFits:
        assert not chosen.any()
        return
    assert broken(brief, bought_of(found)) == []
    assert worth_of_answer(release, brief, offers, found)[0] == pytest.approx(worth, rel=PROVEN, abs=1e-6)


def test_what_nobody_measured_is_called_an_estimate(bare):
    answer = planned(bare["no overlap, no delivery"], budget=20_000.0)
    assert any("0 pairs of picks are measured" in note or "no two picks" in note for note in answer.notes)
