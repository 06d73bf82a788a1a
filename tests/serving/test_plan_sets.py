from dataclasses import replace

import numpy as np
import pytest

from features.plan_options import parse_plan
from serving.plan_case import build_case
from serving.plan_draws import DRAWS
from serving.plan_offers import plan_offers
from serving.plan_problem import mask_of
from serving.plan_sets import outcome, plan_of
from tests.serving.random_plans import mixed, on_commission

ASKED = {"goal": "awareness", "budget": 1e6, "explain": False}


@pytest.fixture(scope="module")
def case(world):
    release = mixed(world.release)
    ids = release.catalogue.display["creator_id"].sample(12, seed=8).to_list()
    brief = parse_plan({**ASKED, "filters": {"creator_ids": ids}})
    return build_case(release, brief, plan_offers(release, brief))


def shown(case, positions):
    made = outcome(case, mask_of(len(case.offers), positions))
    return made, plan_of(case, made, None, solved_over=7)


def test_figures_by_hand(case):
    positions = np.arange(0, len(case.offers), 2)
    made, plan = shown(case, positions)
    chosen = mask_of(len(case.offers), positions)
    alone, kept = case.offers.found.scores.value, case.problem.kept(chosen)
    draws = case.draws(positions)
    value = sum(draws.value[k] * kept[position] for k, position in enumerate(positions))
    cost = draws.cost.sum(axis=0)
    assert value.shape == (DRAWS,)
    np.testing.assert_allclose(made.value_draws, value)
    assert plan.expected_value == pytest.approx((alone * kept)[positions].sum())
    assert plan.lost_to_overlap == pytest.approx((alone * (1 - kept))[positions].sum())
    assert plan.lost_to_overlap > 0
    assert (plan.value_low, plan.value_high) == pytest.approx(tuple(np.quantile(value, [0.1, 0.9])))
    assert plan.p_profit == (value > cost).mean()
    assert (plan.roi_low, plan.roi_high) == pytest.approx(tuple(np.quantile(value / cost - 1, [0.1, 0.9])))
    assert plan.total_cost == pytest.approx(case.problem.cost[positions].sum() / 100)
    assert plan.roi == pytest.approx(plan.expected_value / plan.total_cost - 1)
    assert plan.total_cost_high == pytest.approx(np.quantile(cost, 0.9))
    assert (plan.solved.method, plan.solved.gap, plan.solved.solved_over) == ("greedy", None, 7)
    assert (plan.solved.offers, plan.solved.candidates) == (len(case.offers), 12)


def test_picks_in_the_order_of_what_they_add(case):
    _, plan = shown(case, np.arange(len(case.offers)))
    added = [pick.value_added for pick in plan.picks]
    assert added == sorted(added, reverse=True)
    at = {
        (name, kind): k
        for k, (name, kind) in enumerate(zip(case.offers.ids.tolist(), case.offers.deliverable, strict=True))
    }
    for pick in plan.picks:
        k = at[pick.creator_id, pick.deliverable]
        assert pick.value_added == pytest.approx(pick.expected.value * pick.unique_share)
        assert (pick.spend, pick.delivery) == (case.cost[k], case.offers.delivery[k])
        spread = case.offers.found.fee_spread[k]
        if spread:
            assert pick.spend_low < pick.spend < pick.spend_high
            assert np.log(pick.spend_high / pick.spend) == pytest.approx(1.2816 * spread)
            assert pick.spend_high / pick.spend == pytest.approx(pick.spend / pick.spend_low)
        else:
            assert (pick.spend_low, pick.spend_high) == (None, None)


def test_reach_counts_an_audience_once(case):
    seen = case.release.model.together
    assert seen.reach_per_impression is None
    made, plan = shown(case, np.arange(len(case.offers)))
    impressions = case.offers.found.scores.expected["impressions"]
    assert plan.unique_reach == pytest.approx((impressions * made.kept).sum())
    assert plan.unique_reach < impressions.sum()
    model = replace(case.release.model, together=replace(seen, reach_per_impression=0.25))
    less = shown(replace(case, release=replace(case.release, model=model)), np.arange(len(case.offers)))[1]
    assert less.unique_reach == pytest.approx(plan.unique_reach / 4)


def test_spend_by(case):
    _, plan = shown(case, np.arange(len(case.offers)))
    for kind in ("tier", "platform", "country"):
        names, spend = getattr(case.offers, kind), getattr(plan.spend_by, kind)
        assert list(spend.values()) == sorted(spend.values(), reverse=True)
        assert spend == {name: pytest.approx(case.cost[names == name].sum(), abs=0.01) for name in set(names.tolist())}


def test_nobody(case):
    _, plan = shown(case, [])
    assert (plan.picks, plan.total_cost, plan.expected_value, plan.unique_reach) == ((), 0.0, 0.0, 0.0)
    assert (plan.roi, plan.roi_low, plan.roi_high, plan.p_profit) == (None, None, None, None)
    assert plan.spend_by.tier == {}


# --- paid by commission


def paid_by_sales(case, goal, gifts=0.0, **changes):
    release = on_commission(case.release, gifts)
    release = replace(release, model=replace(release.model, **changes))
    brief = case.brief.model_copy(update={"goal": goal, "product_margin": 0.5})
    return build_case(release, brief, plan_offers(release, brief))


@pytest.mark.parametrize("goal", ["conversion", "local"])
def test_a_commission_moves_with_the_sale(case, goal):
    """A fifth of the sale is paid and half of it is worth something: 2.5 times the cost, whatever is sold."""
    paid = paid_by_sales(case, goal)
    alone = int(np.argmax(paid.offers.found.fee))
    _, plan = shown(paid, [alone])
    (pick,) = plan.picks
    for bounds in ((plan.roi_low, plan.roi, plan.roi_high), (pick.roi_low, pick.roi, pick.roi_high)):
        assert bounds == pytest.approx([1.5] * 3, rel=1e-3)
    assert (plan.p_profit, pick.p_profit) == (1.0, 1.0)
    assert plan.value_high > 2 * plan.value_low
    assert plan.total_cost_high == pytest.approx(plan.value_high / 2.5, abs=0.02)
    assert (pick.spend_low, pick.spend_high) == pytest.approx((plan.value_low / 2.5, plan.total_cost_high), abs=0.02)


def test_commissions_of_a_set_move_with_its_value(case):
    paid = paid_by_sales(case, "conversion")
    made, plan = shown(paid, np.arange(len(paid.offers)))
    assert plan.lost_to_overlap > 0
    np.testing.assert_allclose(made.cost_draws, made.value_draws * plan.total_cost / plan.expected_value, rtol=1e-3)
    assert plan.roi_low == plan.roi == plan.roi_high
    assert plan.total_cost_high / plan.total_cost == pytest.approx(plan.value_high / plan.expected_value, rel=1e-3)


def test_gifts_beside_a_commission_cost_the_same_whatever_is_sold(case):
    paid = paid_by_sales(case, "conversion", gifts=400.0)
    alone = int(np.argmax(paid.offers.found.fee))
    made, plan = shown(paid, [alone])
    np.testing.assert_allclose(made.cost_draws, made.value_draws / 2.5 + 400.0, atol=0.02)
    assert plan.roi_low < plan.roi < plan.roi_high < 1.5
    assert plan.p_profit == (made.value_draws > made.cost_draws).mean()
    assert 0.0 < plan.p_profit < 1.0


@pytest.mark.parametrize(
    ("goal", "given"), [("awareness", ()), ("engagement", ()), ("launch", ()), ("conversion", ("conversion",))]
)
def test_a_value_that_is_no_share_of_the_sale_varies_by_itself(case, goal, given):
    paid = paid_by_sales(case, goal, overridden_goals=given)
    made, plan = shown(paid, np.arange(len(paid.offers)))
    assert plan.total_cost_high == pytest.approx(plan.total_cost)
    rois = made.value_draws / plan.total_cost - 1
    assert (plan.roi_low, plan.roi_high) == pytest.approx(tuple(np.quantile(rois, [0.1, 0.9])))
    assert plan.roi_low < plan.roi < plan.roi_high
    for pick in plan.picks:
        assert pick.roi_low < pick.roi_high
        assert (pick.spend_low, pick.spend_high) == (None, None)
