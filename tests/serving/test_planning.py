"""Whole plans against every set of a few creators, and what must be true of any plan, read from the answer alone."""

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import DataError
from features.plan_options import parse_plan
from serving import plan_foremost, plan_offers, planning
from serving.filters import NothingFits
from serving.planning import plan
from tests.serving.random_plans import mixed, random_request
from tests.serving.slow_plan import best_set, bought_of, broken, offers_of, worth_of_answer

PROVEN = 1e-4
ASKED = {
    "goal": "conversion", "budget": 4000.0, "product_margin": 0.4, "target_countries": {"SG": 0.7, "MY": 0.3},
    "niches": ["beauty"], "explain": False,
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def time_enough():
    """So that a busy machine finds what an idle one does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "SECONDS", 30.0)
        yield


@pytest.fixture(scope="module")
def releases(world):
    """Overlap measured of some, and of nobody."""
    return [mixed(world.release, 0), mixed(world.release, 1, measured=False)]


@pytest.fixture(scope="module")
def markets(world):
    """The same with fewer audiences in common, so that the best of everybody is found in no time."""
    return [mixed(world.release, 2, niches=60), mixed(world.release, 3, measured=False, niches=60)]


@pytest.fixture(scope="module")
def release(markets):
    return markets[0]


def planned(release, options=None, **changes):
    return plan(release, parse_plan({**ASKED, **changes, "plan": options or {}}), request_id="r")


def answer_or_refusal(release, brief, **how):
    """Of a request: its answer and None, or None and why it is refused; anything else is a defect."""
    try:
        return plan(release, brief, request_id="r", **how), None
    except DataError as refused:
        return None, refused


def spent(shown):
    return sum(round(pick.spend * 100) for pick in shown.picks)


def picked(shown):
    return {(pick.creator_id, pick.deliverable) for pick in shown.picks}


def pool(release, size=60, seed=0):
    rng = np.random.default_rng(seed)
    return [str(name) for name in rng.choice(release.catalogue.display["creator_id"].to_list(), size, replace=False)]


# --- against every set


@pytest.mark.parametrize("seed", range(90))
def test_the_best_of_all_sets(releases, seed):
    release = releases[seed % 2]
    brief = parse_plan(random_request(np.random.default_rng(seed), release, 7))
    offers = offers_of(release, brief)
    if len(offers) > 12:
        brief = parse_plan(random_request(np.random.default_rng(seed), release, 3))
        offers = offers_of(release, brief)
    offers, chosen, worth = best_set(release, brief)
    try:
        found = plan(release, brief, request_id="r").plan
    except NothingFits:
        # nobody whose fee is within the budget is nobody at all
        assert chosen is None or not chosen.any()
        return
    assert broken(brief, bought_of(found)) == []
    mine, value = worth_of_answer(release, brief, offers, found)
    assert mine == pytest.approx(worth, rel=PROVEN, abs=1e-6)
    assert found.expected_value == pytest.approx(value, rel=1e-9, abs=1e-9)
    assert found.solved.method == "optimal"


@pytest.mark.parametrize("measured", [True, False], ids=["overlap measured", "overlap estimated"])
@pytest.mark.parametrize("risk", [0.0, 0.5, 1.0])
def test_the_best_of_all_sets_of_twelve(world, measured, risk):
    """Creators of one country and niche, so that all share an audience; every one of them could be bought."""
    release = mixed(world.release, 5, measured=measured)
    state, display = release.catalogue.state, release.catalogue.display
    kin = (state.codes["country"] == 1) & (display["niche"] == "niche-1").fill_null(False).to_numpy()
    ids = display["creator_id"].to_numpy()[kin & np.isnan(state.deliverable_prices).all(axis=1)][:12].tolist()
    assert len(ids) == 12
    brief = parse_plan({**ASKED, "budget": 3000.0, "filters": {"creator_ids": ids}, "plan": {"risk": risk}})
    offers, _, worth = best_set(release, brief)
    found = plan(release, brief, request_id="r").plan
    mine, _ = worth_of_answer(release, brief, offers, found)
    assert mine == pytest.approx(worth, rel=PROVEN)
    assert 2 <= len(found.picks) < 12
    assert found.lost_to_overlap > 0


def test_the_slow_way_meets_what_it_is_for(releases):
    """The random requests hold everything that a plan can be asked for, or the comparison above says little."""
    seen = Counter()
    for seed in range(90):
        release = releases[seed % 2]
        brief = parse_plan(random_request(np.random.default_rng(seed), release, 7))
        offers = offers_of(release, brief)
        seen.update(name for name in brief.plan.model_fields_set)
        seen["several offers"] += len({one.row for one in offers}) < len(offers)
        seen["unknown followers"] += any(np.isnan(one.followers) for one in offers)
        seen["two accounts"] += len({one.bought.person for one in offers}) < len({one.row for one in offers})
        seen[brief.rank_by] += 1
    wanted = ("max_creators", "tier_limits", "platform_limits", "per_creator_cap", "per_person_cap", "must_include",
              "delivery_rate", "several offers", "unknown followers", "two accounts", "profit",
              "impressions")  # fmt: skip
    assert {name: seen[name] for name in wanted if seen[name] < 5} == {}


# --- any request


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_any_request_is_planned_within_its_limits_or_refused_in_words(markets, seed):
    release = markets[seed % 2]
    brief = parse_plan(random_request(np.random.default_rng(seed), release, 40 if seed % 4 else None))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "SECONDS", 0.5)  # all this is true of any plan, the best or not
        answer, refused = answer_or_refusal(release, brief, curve=seed % 5 == 0)
    if answer is None:
        assert refused.field
        assert str(refused)
        return
    catalogue = release.catalogue
    shown = {name: getattr(answer.alternatives, name) for name in answer.alternatives.missing.keys() ^ ALTERNATIVES}
    for one in (answer.plan, *shown.values()):
        assert broken(brief, bought_of(one)) == []
        assert not {pick.creator_id for pick in one.picks} & set(brief.filters.exclude_creator_ids)
        assert one.total_cost == pytest.approx(spent(one) / 100)
        assert one.total_cost <= brief.budget + 1e-9
        assert len(picked(one)) == len(one.picks)
        figures = (one.expected_value, sum(pick.value_added for pick in one.picks))
        assert figures[0] == pytest.approx(figures[1], rel=1e-9, abs=1e-9)
        alone = sum(pick.expected.value for pick in one.picks)
        assert one.lost_to_overlap == pytest.approx(alone - one.expected_value, rel=1e-6, abs=1e-6)
        for kind in ("tier", "platform", "country"):
            by = getattr(one.spend_by, kind)
            assert sum(by.values()) == pytest.approx(one.total_cost, abs=0.005 * len(by) + 1e-6)
        assert [pick.rank for pick in one.picks] == list(range(1, len(one.picks) + 1))
    tiers = {"micro_only": {"micro"}, "macro_only": {"macro", "mega"}}
    for name, names in tiers.items():
        if name in shown:
            assert {pick.tier for pick in shown[name].picks} <= names
    # numbers hang together
    made = answer.plan
    assert made.value_low <= made.value_high
    assert set(answer.posting_order) == {pick.creator_id for pick in made.picks}
    assert len(set(answer.posting_order)) == len(answer.posting_order)
    assert {pick.creator_id for pick in made.picks if pick.must_include} == set(brief.plan.must_include)
    assert all((pick.reasons == ()) for pick in made.picks)
    ids = set(catalogue.display["creator_id"])
    for pick in made.picks:
        if pick.replacement is not None:
            assert pick.replacement.creator_id in ids - {pick.creator_id}
            rest = [one for one in bought_of(made) if one.creator != pick.creator_id]
            assert sum(one.cents for one in rest) + round(pick.replacement.spend * 100) <= brief.budget * 100 + 1e-4
    points = answer.budget_curve
    assert all(point.total_cost <= point.budget + 1e-9 for point in points)


ALTERNATIVES = {"micro_only", "macro_only", "best_single_tier", "greedy_cost_per_engagement"}


@pytest.mark.parametrize("seed", range(12))
def test_no_alternative_is_worth_more(markets, seed):
    rng = np.random.default_rng(seed)
    request = random_request(rng, markets[1], 40)
    request["rank_by"], request["plan"]["risk"] = "value", 0.0
    try:
        answer = plan(markets[1], parse_plan(request), request_id="r")
    except NothingFits:
        return
    best = answer.plan.expected_value * (1 + PROVEN) + 1e-6
    for name in ALTERNATIVES:
        other = getattr(answer.alternatives, name)
        assert other is None or other.expected_value <= best
        assert (other is None) == (name in answer.alternatives.missing)


# --- what must not change anything, and what must not lower it


@pytest.mark.parametrize(
    "options", [{}, {"max_creators": 3, "risk": 0.5}, {"per_person_cap": 0.3, "tier_limits": {"nano": 2}}]
)
def test_the_order_of_creators_does_not_matter(release, options):
    """Neither that of the rows of the catalogue nor that of the names in the request."""
    ids = pool(release, 16)
    order = np.random.default_rng(2).permutation(len(release.catalogue.state))
    turned = type(release)(release.model, release.catalogue.part(order))
    one = planned(release, options, filters={"creator_ids": ids})
    for other in (
        planned(release, options, filters={"creator_ids": ids[::-1]}),
        planned(turned, options, filters={"creator_ids": ids}),
    ):
        assert picked(other.plan) == picked(one.plan)
        assert other.plan.expected_value == pytest.approx(one.plan.expected_value, rel=1e-9)
        assert other.plan.value_low == pytest.approx(one.plan.value_low, rel=1e-9)
        assert other.plan.p_profit == one.plan.p_profit
        assert other.posting_order == one.posting_order
        assert other.p_mix_beats_single_tier == pytest.approx(one.p_mix_beats_single_tier, abs=0.02)


@pytest.mark.parametrize(
    ("goal", "rank_by"), [("conversion", "value"), ("awareness", "profit"), ("engagement", "impressions")]
)
@pytest.mark.parametrize(
    "options", [{}, {"max_creators": 4}, {"tier_limits": {"micro": 2, "macro": {"max_spend": 500}}}]
)
def test_more_budget_is_worth_no_less(markets, goal, rank_by, options):
    worths = []
    for budget in (60.0, 500.0, 1000.0, 4000.0, 1e9):
        asked = {"goal": goal, "rank_by": rank_by, "budget": budget, "filters": {"creator_ids": pool(markets[1], 20)}}
        try:
            found = planned(markets[1], options, **asked).plan
        except NothingFits:
            assert not worths
            continue
        offers = offers_of(markets[1], parse_plan({**ASKED, **asked, "plan": options}))
        worths.append(worth_of_answer(markets[1], parse_plan({**ASKED, **asked, "plan": options}), offers, found)[0])
    assert len(worths) >= 4
    assert all(after >= before * (1 - PROVEN) for before, after in itertools.pairwise(worths))


def test_more_creators_are_worth_no_less(release):
    worths = [
        planned(release, {"max_creators": most}, filters={"creator_ids": pool(release, 20)}).plan.expected_value
        for most in (1, 3, 6, 1000)
    ]
    assert all(after >= before * (1 - PROVEN) for before, after in itertools.pairwise(worths))
    assert worths[0] < 0.7 * worths[-1]


def test_more_delivery_is_worth_no_less(release):
    few = {"creator_ids": pool(release, 20)}
    less, more = (planned(release, {"delivery_rate": rate}, filters=few).plan.expected_value for rate in (0.3, 0.9))
    assert more > less


def test_a_careful_plan_expects_no_more_and_no_less_is_left_in_bad_luck(release):
    ids = pool(release, 15, 4)
    asked = {"filters": {"creator_ids": ids}, "budget": 800.0}
    bold, careful = (planned(release, {"risk": risk}, **asked).plan for risk in (0.0, 1.0))
    assert careful.expected_value <= bold.expected_value * (1 + PROVEN)
    assert careful.value_low >= bold.value_low * 0.98


@pytest.mark.parametrize("risk", [0.0, 0.5])
def test_must_include_is_bought_though_filters_and_worth_speak_against_it(release, risk):
    few = {"creator_ids": pool(release, 15)}
    dear = planned(release, budget=1e5, filters=few).plan.picks[-1]
    options = {"must_include": [dear.creator_id], "risk": risk}
    found = planned(release, options, budget=dear.spend * 3, filters={**few, "max_fee": 300.0}).plan
    assert dear.creator_id in {pick.creator_id for pick in found.picks if pick.must_include}
    others = [pick for pick in found.picks if not pick.must_include]
    assert others
    assert all(pick.fee <= 300.0 for pick in others)


def test_excluded_creators_are_not_bought(release):
    few = {"creator_ids": pool(release, 25)}
    first = planned(release, filters=few)
    out = [pick.creator_id for pick in first.plan.picks[:4]]
    second = planned(release, filters={**few, "exclude_creator_ids": out})
    assert not set(out) & {pick.creator_id for pick in second.plan.picks}
    assert second.plan.expected_value <= first.plan.expected_value * (1 + PROVEN)
    assert second.filtered_out["exclude_creator_ids"] == 4


def test_several_deliverables_of_one_creator(release):
    """Alone worth buying all; each further one adds less than it would alone."""
    prices = release.catalogue.state.deliverable_prices
    row = int(np.argmax((~np.isnan(prices)).sum(axis=1)))
    name = release.catalogue.display["creator_id"][row]
    found = planned(release, budget=1e6, filters={"creator_ids": [name]}).plan
    assert len(found.picks) == np.isfinite(prices[row]).sum() > 2
    assert {pick.deliverable for pick in found.picks} <= set(release.catalogue.words.deliverable.values)
    assert sorted(pick.fee for pick in found.picks) == pytest.approx(np.sort(prices[row][np.isfinite(prices[row])]))
    assert [pick.unique_share < 1 for pick in found.picks].count(False) == 1
    for cap in (1, 2, {"placements": 2}):
        capped = planned(release, {"per_creator_cap": cap}, budget=1e6, filters={"creator_ids": [name]}).plan
        assert len(capped.picks) == (1 if cap == 1 else 2)
    once = planned(release, {"max_creators": 1}, budget=1e6, filters={"creator_ids": [name]}).plan
    assert picked(once) == picked(found)
    only = planned(release, budget=1e6, deliverable="reel", filters={"creator_ids": [name]}).plan
    assert [pick.deliverable for pick in only.picks] == ["reel"]


# --- very many creators


def test_screening_finds_the_same_plan(world, monkeypatch):
    """Everybody scored exactly, and only those whom fast scores leave."""
    state = world.catalogue.state
    unlisted = replace(state, deliverable_prices=np.zeros((len(state), 0)))
    release = replace(world.release, catalogue=replace(world.catalogue, state=unlisted))
    for rank_by, budget in (("value", 2000.0), ("profit", 8000.0), ("impressions", 1000.0)):
        exact = planned(release, rank_by=rank_by, budget=budget)
        with monkeypatch.context() as patch:
            patch.setattr(plan_offers, "EXACT", 100)
            patch.setattr(plan_foremost, "MOST", 80)
            fast = planned(release, rank_by=rank_by, budget=budget)
        assert fast.plan.solved.candidates < exact.plan.solved.candidates
        assert (fast.considered, fast.filtered_out.keys()) == (exact.considered, exact.filtered_out.keys())
        if rank_by == "impressions":
            # whoever was left out was not bounded
            assert (fast.plan.solved.method, fast.plan.solved.gap) == ("greedy", None)
            continue
        assert exact.plan.expected_value <= fast.plan.expected_value * (1 + fast.plan.solved.gap) + 1e-6
        assert picked(fast.plan) == picked(exact.plan)


# --- nothing to plan


@pytest.mark.parametrize(
    ("changes", "options", "field", "words"),
    [
        ({}, {"must_include": ["nobody", "c000001", "no-one"]}, "plan.must_include", ["2 of 3", "no-one", "nobody"]),
        ({"budget": 0.01}, {}, "budget", ["too little to buy anybody: the smallest budget is", "Raise the budget"]),
        ({"filters": {"max_fee": 0.001}}, {}, "filters.max_fee", ["Relax filters.max_fee first"]),
        ({"filters": {"creator_ids": ["nobody"]}}, {}, "filters.creator_ids", ["no creator is left"]),
        ({"currency": "EUR"}, {}, "currency", ["base currency USD"]),
        ({"deliverable": "song"}, {}, "deliverable", ["song is not in the data"]),
    ],
)  # fmt: skip
def test_refused(release, changes, options, field, words):
    with pytest.raises(DataError) as refused:
        planned(release, options, **changes)
    assert refused.value.field == field
    for word in words:
        assert word in str(refused.value)


def test_nobody_is_worth_their_cost(release):
    """By profit at a margin of next to nothing the best plan buys nobody, and says so."""
    answer = planned(release, rank_by="profit", product_margin=1e-9)
    assert answer.plan.picks == ()
    assert (answer.plan.total_cost, answer.plan.expected_value, answer.plan.roi) == (0.0, 0.0, None)
    assert answer.plan.p_profit is None
    assert answer.posting_order == ()
    assert any("nobody is worth buying" in note for note in answer.notes)


def test_a_brief_that_is_worth_nothing(release):
    """At a margin of 0 every set is worth the same, which is nothing; with must_include that one is bought."""
    answer = planned(release, product_margin=0.0)
    assert answer.plan.expected_value == 0.0
    assert answer.plan.total_cost <= 4000.0
    named = pool(release, 3)
    must = planned(release, {"must_include": named, "risk": 0.5}, product_margin=0.0, budget=1e6)
    assert set(named) <= {pick.creator_id for pick in must.plan.picks}
    assert must.plan.p_profit == 0.0


def test_one_creator(release):
    for name in pool(release, 5, seed=9):
        found = planned(release, budget=1e6, filters={"creator_ids": [name]})
        assert {pick.creator_id for pick in found.plan.picks} == {name}
        assert all(pick.replacement is None for pick in found.plan.picks)
