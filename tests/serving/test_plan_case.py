from dataclasses import replace

import numpy as np
import pytest

from features.overlap import Pairs
from features.plan_options import parse_plan
from serving.plan_case import LEAST_SHARED, build_case, lower_delivery, other_budget, other_fees
from serving.plan_offers import plan_offers
from serving.together import Together
from tests.serving.random_plans import mixed, on_commission
from tests.serving.slow_plan import objective, offers_of

ASKED = {"goal": "conversion", "budget": 3000.0, "product_margin": 0.4, "explain": False}


@pytest.fixture(scope="module")
def release(world):
    return mixed(world.release)


@pytest.fixture(scope="module")
def ids(release):
    return release.catalogue.display["creator_id"].sample(9, seed=3).to_list()


def case_of(release, ids, options=None, **changes):
    brief = parse_plan({**ASKED, "filters": {"creator_ids": ids}, **changes, "plan": options or {}})
    return build_case(release, brief, plan_offers(release, brief))


@pytest.mark.parametrize("rank_by", ["value", "profit", "engagements"])
@pytest.mark.parametrize("options", [{}, {"delivery_rate": 0.6}, {"risk": 0.5}, {"risk": 1.0}], ids=str)
def test_sets_are_worth_what_the_words_of_the_contract_say(release, ids, rank_by, options):
    case = case_of(release, ids, options, rank_by=rank_by, budget=1e6)
    offers = offers_of(release, case.brief)
    assert [one.deliverable for one in offers] == list(case.offers.deliverable)
    rng = np.random.default_rng(0)
    sets = rng.random((60, len(offers))) < 0.5
    slow = objective(release, case.brief, offers, sets)
    near = 1e-6 if options.get("risk") else 1e-9  # draws are float32
    np.testing.assert_allclose([case.problem.worth_of(chosen) for chosen in sets], slow, rtol=near, atol=near)


def test_equal_creators_lose_to_the_first_by_name_only(release, ids):
    """Two who are alike in everything: one keeps all, the other what the first does not reach."""
    case = case_of(release, ids, budget=1e6)
    n = len(case.offers)
    alike = replace(case.offers, delivery=np.full(n, 0.8), audience=np.full(n, 5e4))
    alike = replace(alike, found=replace(alike.found, scores=replace(alike.found.scores, value=np.full(n, 100.0))))
    one, two = 0, int(np.flatnonzero(case.offers.creator != case.offers.creator[0])[0])
    catalogue = _Measured(release.catalogue, Pairs(np.array([one]), np.array([two]), np.array([0.5]), np.array([True])))
    problem = build_case(replace(release, catalogue=catalogue), case.brief, alike).problem
    both = np.zeros(n, dtype=bool)
    both[[one, two]] = True
    assert problem.kept(both)[[one, two]].tolist() == pytest.approx([1.0, 1 - 0.5 * 0.8])


def test_whoever_brings_more_if_posted_was_there_first(release, ids):
    """90 is expected of one who posts every other time, 100 of one who always does: the first brings more if posted."""
    case = case_of(release, ids, budget=1e6)
    n = len(case.offers)
    one, two = 0, int(np.flatnonzero(case.offers.creator != case.offers.creator[0])[0])
    value, delivery = np.full(n, 100.0), np.full(n, 1.0)
    value[two], delivery[two] = 90.0, 0.5
    scores = replace(case.offers.found.scores, value=value)
    found = replace(case.offers.found, scores=scores)
    offers = replace(case.offers, found=found, delivery=delivery, audience=np.full(n, 5e4))
    catalogue = _Measured(release.catalogue, Pairs(np.array([one]), np.array([two]), np.array([0.5]), np.array([True])))
    problem = build_case(replace(release, catalogue=catalogue), case.brief, offers).problem
    both = np.zeros(n, dtype=bool)
    both[[one, two]] = True
    assert problem.kept(both)[[one, two]].tolist() == pytest.approx([1 - 0.5 * 0.5, 1.0])


class _Measured:
    """A catalogue in which some pairs share an audience."""

    def __init__(self, catalogue, pairs):
        self._catalogue, self._pairs = catalogue, pairs

    def __getattr__(self, name):
        return getattr(self._catalogue, name)

    def overlaps(self, _):
        return self._pairs


def test_a_further_placement_with_a_creator_tires(release):
    prices = release.catalogue.state.deliverable_prices
    row = int(np.argmax((~np.isnan(prices)).sum(axis=1)))
    case = case_of(release, [release.catalogue.display["creator_id"][row]], {"delivery_rate": 1.0}, budget=1e6)
    n = len(case.offers)
    kept = np.sort(case.problem.kept(np.ones(n, dtype=bool)))[::-1]
    # half the audience is shared, and 8 % is lost by fatigue, with each one before
    np.testing.assert_allclose(kept, (0.5 * 0.92) ** np.arange(n))


def test_other_fees_deliveries_and_budgets(release, ids):
    case = case_of(release, ids, {"max_creators": 4, "tier_limits": {"micro": 0.5}, "per_creator_cap": 0.4})
    fee, cost = case.offers.found.fee, case.offers.found.scores.cost
    np.testing.assert_allclose(other_fees(case, 1.2).cost, cost + 0.2 * fee, atol=0.0101)
    np.testing.assert_allclose(other_fees(case, 0.8).cost, cost - 0.2 * fee, atol=0.0101)
    np.testing.assert_array_equal(other_fees(case, 1.0).problem.cost, case.problem.cost)
    lower = lower_delivery(case, 0.1)
    np.testing.assert_allclose(lower.offers.delivery, np.maximum(case.offers.delivery - 0.1, 0.0))
    np.testing.assert_allclose(lower.problem.worth, case.problem.worth * lower.offers.delivery / case.offers.delivery)
    half = other_budget(case, 0.5)
    assert (half.problem.budget, half.brief.budget) == (150_000, 1500.0)
    spend = next(row for row in half.problem.rows if row.name == "plan.tier_limits.micro")
    assert (spend.high, half.problem.caps[0].most) == (75_000, 60_000)


@pytest.mark.parametrize("goal", ["conversion", "awareness"])
def test_commissions_fall_with_the_sales(release, ids, goal):
    """Fewer posts are fewer sales, and so cost less; what people ask for changes nothing."""
    case = case_of(on_commission(release, gifts=5.0), ids, goal=goal)
    assert (case.offers.found.fee > 10).sum() > 3
    lower = lower_delivery(case, 0.1)
    left = lower.offers.delivery / case.offers.delivery
    np.testing.assert_allclose(lower.offers.found.fee, case.offers.found.fee * left)
    np.testing.assert_allclose(lower.cost, case.offers.found.fee * left + 5.0, atol=0.0101)
    np.testing.assert_array_equal(other_fees(case, 1.2).problem.cost, case.problem.cost)


def test_luck_is_shared_at_least_a_little(release, ids):
    """However little past placements of a campaign shared, those of a plan are chosen by one model."""
    case = case_of(release, ids, budget=1e6)
    positions = np.arange(len(case.offers))

    def drawn(shared):
        model = replace(release.model, together=Together(shared=shared))
        return replace(case, release=replace(release, model=model)).draws(positions).value

    np.testing.assert_array_equal(drawn(0.0), drawn(LEAST_SHARED))
    assert not np.array_equal(drawn(0.0), drawn(0.3))
