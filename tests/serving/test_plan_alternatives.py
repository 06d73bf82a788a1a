import itertools
from dataclasses import replace

import numpy as np
import pytest

from features.matrix import NAMES
from features.plan_options import parse_plan
from serving.plan_alternatives import (
    _scenario,
    best_size,
    budget_curve,
    by_cost_per_engagement,
    sensitivity,
    single_sizes,
)
from serving.plan_case import build_case, lower_delivery, other_fees
from serving.plan_offers import plan_offers
from serving.plan_problem import Problem
from serving.plan_solve import solve
from tests.serving.random_plans import mixed, on_commission

ASKED = {"goal": "conversion", "budget": 2500.0, "product_margin": 0.4, "explain": False}
TIERS = {"nano": {"nano"}, "micro": {"micro"}, "macro": {"macro", "mega"}}


@pytest.fixture(scope="module")
def release(world):
    return mixed(world.release, 2, niches=60)


def case_of(release, options=None, size=40, **changes):
    ids = release.catalogue.display["creator_id"].sample(size, seed=6).to_list()
    brief = parse_plan({**ASKED, "filters": {"creator_ids": ids}, **changes, "plan": options or {}})
    return build_case(release, brief, plan_offers(release, brief))


@pytest.fixture(scope="module")
def case(release):
    return case_of(release)


@pytest.fixture(scope="module")
def best(case):
    return solve(case.problem, 30.0).chosen


def test_each_size_alone_is_the_best_of_that_size(case):
    sizes = single_sizes(case)
    for size, one in sizes.items():
        own = np.isin(case.offers.tier, list(TIERS[size]))
        assert not one.made.chosen[~own].any()
        alone = solve(case.problem.part(np.flatnonzero(own)), 30.0)
        assert case.problem.worth_of(one.made.chosen) == pytest.approx(
            case.problem.part(np.flatnonzero(own)).worth_of(alone.chosen), rel=2e-4
        )
    worth = {size: case.problem.worth_of(one.made.chosen) for size, one in sizes.items()}
    assert worth[best_size(sizes, case)] == max(worth.values())


@pytest.mark.parametrize(
    ("options", "missing", "words"),
    [
        ({"tier_limits": {"micro": {"min": 1}}}, {"nano", "macro"}, "limits cannot be kept"),
        ({"tier_limits": {"micro": 0}}, {"micro"}, "can be bought within the budget and limits"),
        ({"must_include": "nano"}, {"micro", "macro"}, "must_include holds"),
        ({}, set(), ""),
    ],
)
def test_what_cannot_be_had_says_why(release, options, missing, words):
    names = release.catalogue.display["creator_id"].sample(40, seed=6)
    shown = release.catalogue.display.filter(release.catalogue.display["creator_id"].is_in(names.implode()))
    tiers = dict(zip(shown["creator_id"], shown["tier"], strict=True))
    if "must_include" in options:
        options = {"must_include": [next(name for name, tier in sorted(tiers.items()) if tier == "nano")]}
    sizes = single_sizes(case_of(release, options, budget=10_000.0))
    assert {size for size, one in sizes.items() if one.made is None} == missing
    assert all(words in sizes[size].missing for size in missing)
    assert all(sizes[size].made.chosen.any() for size in TIERS.keys() - missing)
    nobody = {size: replace(one, made=None) for size, one in sizes.items()}
    assert best_size(nobody, case_of(release)) is None


def test_who_is_not_worth_buying_is_not_said_to_be_out_of_reach(release):
    asked = {"rank_by": "profit", "product_margin": 1e-9, "budget": 10_000.0}
    sizes = single_sizes(case_of(release, {"tier_limits": {"micro": 0}}, **asked))
    assert all(one.made is None for one in sizes.values())
    assert sizes["micro"].missing == "no micro creator can be bought within the budget and limits"
    for size in ("nano", "macro"):
        assert f"no {size}" in sizes[size].missing
        assert "who can be bought is expected to be worth the cost (rank_by: profit)" in sizes[size].missing


def test_cost_per_engagement_by_hand(release):
    """By the price of an engagement on the profile, as long as money is left; not a word of the model."""
    case = case_of(release)
    made = by_cost_per_engagement(case).made
    chosen = np.zeros(len(case.offers), dtype=bool)
    left = case.problem.budget
    rate = case.offers.found.x[:, NAMES.index("log_price_per_engagement")]
    for k in np.argsort(np.where(np.isnan(rate), np.inf, rate), kind="stable"):
        if case.problem.cost[k] <= left:
            chosen[k], left = True, left - case.problem.cost[k]
    np.testing.assert_array_equal(made.chosen, chosen)


@pytest.mark.parametrize("options", [{"max_creators": 3}, {"tier_limits": {"micro": 1}}, {"per_person_cap": 0.1}])
def test_the_simple_rule_keeps_limits_too(release, options):
    case = case_of(release, options)
    made = by_cost_per_engagement(case).made
    assert case.problem.broken(made.chosen) is None
    assert made.chosen.any()


def test_the_simple_rule_where_it_cannot(release):
    names = sorted(release.catalogue.display["creator_id"].sample(40, seed=6).to_list())
    assert (
        "leaves no room" in by_cost_per_engagement(case_of(release, {"must_include": names[:20]}, budget=50.0)).missing
    )
    asks = case_of(release, {"tier_limits": {"mega": {"min": 9}}})
    assert "plan.tier_limits.mega asks for more than the rule buys" in by_cost_per_engagement(asks).missing


def test_other_worlds(case, best):
    found = sensitivity(case, best)
    value = float((case.offers.found.scores.value * case.problem.kept(best))[best].sum())
    dearer, cheaper = found.fees_plus_20, found.fees_minus_20
    assert dearer.expected_value < value < cheaper.expected_value
    assert found.delivery_minus_10.expected_value < value
    for factor, one in ((1.2, dearer), (0.8, cheaper)):
        other = other_fees(case, factor)
        again = solve(other.problem, 30.0, starts=(best,), exact=False).chosen
        assert one.total_cost == pytest.approx(other.cost[again].sum())
        assert one.expected_value == pytest.approx(
            (case.offers.found.scores.value * case.problem.kept(again))[again].sum()
        )
    for one in (dearer, cheaper, found.delivery_minus_10, found.engagement_minus_20):
        before = set(case.offers.ids[best].tolist())
        assert one.total_cost <= 2500.0
        assert set(one.dropped) <= before
        assert not set(one.joined) & before
        assert one.picks_kept == pytest.approx(1 - len(one.dropped) / len(before))
        assert one.roi == pytest.approx(one.expected_value / one.total_cost - 1)


@pytest.mark.parametrize("options", [{"max_creators": 4}, {"tier_limits": {"micro": {"min_share": 0.5}}}, {}], ids=str)
def test_no_scenario_is_worth_less_than_the_plan_as_it_stands(release, options, monkeypatch):
    """Whatever the fast way finds by itself; a plan that no longer keeps a limit is no such thing."""
    case = case_of(release, options, size=120)
    chosen = solve(case.problem, 30.0).chosen
    monkeypatch.setattr("serving.plan_solve.LEAST_FAST", 10)  # so that the plan's own creators are not all looked at
    told = sensitivity(case, chosen)
    cheaper, rarer = other_fees(case, 0.8), lower_delivery(case, 0.10)
    asked = 0
    for found, other in ((told.fees_minus_20, cheaper), (told.delivery_minus_10, rarer)):
        if other.problem.broken(chosen) is None:
            asked += 1
            assert found.expected_value >= other.problem.worth_of(chosen) * (1 - 1e-9)
    assert asked


def test_other_worlds_cost_what_is_sold_in_them(release):
    """A fifth of the sale is paid and 0.4 of it is worth something: twice the cost in any world."""
    paid = case_of(on_commission(mixed(release, measured=False, niches=400)), budget=300.0)
    found = sensitivity(paid, solve(paid.problem, 30.0).chosen)
    for one in (found.fees_plus_20, found.fees_minus_20, found.delivery_minus_10, found.engagement_minus_20):
        assert 250.0 < one.total_cost <= 300.0
        assert one.expected_value <= 2 * one.total_cost
        assert one.roi == pytest.approx(1.0, rel=0.02)


def test_for_next_to_no_gain_nobody_is_exchanged(case):
    n = len(case.offers)
    last = np.arange(n) >= n - 10
    worths = {"alike": np.full(n, 100.0), "nearly": np.where(last, 99.95, 100.0), "worse": np.where(last, 99.0, 100.0)}
    dropped = {}
    for name, worth in worths.items():
        problem = Problem(worth, np.zeros(n), np.full(n, 25_000), np.arange(n), 250_000)
        dropped[name] = len(_scenario(replace(case, problem=problem), last).dropped)
    assert (dropped["alike"], dropped["nearly"]) == (0, 0)
    assert dropped["worse"] >= 5


def test_who_must_be_bought_may_become_too_dear(release):
    whole = case_of(release)
    dear = whole.offers.ids[int(np.argmax(whole.problem.cost))]
    cost = whole.problem.cost[whole.offers.ids == dear].min() / 100
    case = case_of(release, {"must_include": [str(dear)]}, budget=float(np.ceil(cost)) + 1)
    found = sensitivity(case, solve(case.problem, 30.0).chosen)
    assert found.fees_plus_20 is None
    assert found.fees_minus_20 is not None


@pytest.mark.parametrize("options", [{}, {"max_creators": 3}, {"tier_limits": {"micro": 0.3}}])
def test_what_other_budgets_buy(release, options):
    case = case_of(release, options)
    best = solve(case.problem, 30.0).chosen
    points = budget_curve(case, best)
    assert [point.budget for point in points] == [2500.0 * share for share in (0.25, 0.5, 0.75, 1, 1.25, 1.5, 2)]
    values = [point.expected_value for point in points]
    assert all(after >= before * (1 - 1e-3) for before, after in itertools.pairwise(values))
    assert values[-1] > values[0]
    assert values[3] == pytest.approx(
        float((case.offers.found.scores.value * case.problem.kept(best))[best].sum()), rel=1e-3
    )
    assert all(point.total_cost <= point.budget for point in points)
    assert all(point.value_low <= point.value_high for point in points)


def test_budgets_too_small_for_who_must_be_bought_are_left_out(release):
    whole = case_of(release)
    cost = {name: whole.problem.cost[whole.offers.ids == name].min() / 100 for name in set(whole.offers.ids.tolist())}
    name = min(cost, key=lambda one: abs(cost[one] - 1500.0))
    case = case_of(release, {"must_include": [name]})
    budgets = [point.budget for point in budget_curve(case, solve(case.problem, 30.0).chosen)]
    assert budgets == [2500.0 * share for share in (0.25, 0.5, 0.75, 1, 1.25, 1.5, 2) if 2500.0 * share >= cost[name]]
    assert len(budgets) < 7
