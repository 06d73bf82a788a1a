"""Limits as rows; and where they cannot be kept, a message that is true: asking again as it says succeeds."""

import re
from dataclasses import replace

import numpy as np
import pytest

from features.plan_options import parse_plan
from serving.model import ExtraCost
from serving.plan_case import build_case
from serving.plan_limits import Infeasible
from serving.plan_offers import plan_offers
from serving.plan_problem import cents, costs_in_cents
from serving.planning import plan
from serving.release import Release
from tests.serving.fast_scoring import with_profile
from tests.serving.random_plans import mixed, random_options, random_request
from tests.serving.slow_plan import bought_of, broken
from tests.serving.test_planning import answer_or_refusal

GOAL = {"goal": "awareness", "explain": False}


@pytest.fixture(scope="module")
def release(world):
    """Fees of 100, 110, 120 ... and nothing beside them, five of each tier."""
    model, catalogue = world.model, world.catalogue
    tiers = np.array(catalogue.display["tier"].to_list())
    rows = np.sort(np.concatenate([np.flatnonzero(tiers == tier)[:5] for tier in ("nano", "micro", "macro")]))
    some = with_profile(catalogue.part(rows), price=100.0 + 10.0 * np.arange(len(rows)), price_source=1.0)
    some = replace(some, state=replace(some.state, deliverable_prices=np.zeros((len(rows), 0))))
    return Release(replace(model, extra_cost=ExtraCost(0.0, 1.0, 1.0), price_lines={}), some)


def ids(release, tier=None):
    shown = release.catalogue.display
    return [name for name, own in zip(shown["creator_id"], shown["tier"], strict=True) if tier in (None, own)]


def asked(release, budget, options):
    return plan(release, parse_plan({**GOAL, "budget": budget, "plan": options}), request_id="r")


def test_amounts():
    assert [cents(amount) for amount in (0.29, 19.99, 1e9, 0.009)] == [29, 1999, 100_000_000_000, 0]
    assert costs_in_cents(np.array([0.29, 19.99, 0.001, 0.0, -3.0, 100.0])).tolist() == [29, 1999, 1, 0, 0, 10_000]
    # a fee that is the same for all, as it is learnt; and half a hundredth is none
    assert costs_in_cents(np.array([250.00002, 249.99998, 250.004, 1e6])).tolist() == [25_000, 25_000, 25_001, 10**8]
    # what an offer costs fits in a budget of as much, however it is rounded
    rng = np.random.default_rng(0)
    for amount in np.round(rng.uniform(0, 1e5, 300), 2):
        assert costs_in_cents(np.array([amount]))[0] == cents(amount)


@pytest.mark.parametrize(
    ("options", "least", "most"),
    [
        ({"max_creators": 2}, 0, 2),
        ({"tier_limits": {"nano": 0, "micro": 1}}, None, None),
        ({"tier_limits": {"macro": {"min": 5}}}, None, None),
        ({"tier_limits": {"nano": {"min_share": 0.35}}}, None, None),
        ({"tier_limits": {"micro": {"max_spend": 150}}}, None, None),
        ({"platform_limits": {"tiktok": 1, "instagram": 0.2}}, None, None),
        ({"per_creator_cap": 0.11}, None, None),
        ({"per_creator_cap": 120}, None, None),
        ({"per_person_cap": {"spend": 115.0, "placements": 1}}, None, None),
    ],
)
def test_each_limit_binds_and_is_kept(release, options, least, most):
    free = asked(release, 1100.0, {})
    brief = parse_plan({**GOAL, "budget": 1100.0, "plan": options})
    assert broken(brief, bought_of(free.plan)) != []
    found = asked(release, 1100.0, options).plan
    assert broken(brief, bought_of(found)) == []
    assert found.picks
    assert most is None or least < len(found.picks) == most


def test_a_limit_may_be_reached_exactly(release):
    names = ids(release)
    for fee, name in ((100.0, names[0]), (120.0, names[2])):
        for options in (
            {},
            {"per_creator_cap": fee},
            {"tier_limits": {t: {"max_spend": fee} for t in ("nano", "micro", "macro")}},
        ):
            found = asked(release, fee, {**options, "must_include": [name]}).plan
            assert [pick.creator_id for pick in found.picks] == [name]
            assert found.total_cost == fee
    assert asked(release, 1000.0, {"per_creator_cap": 0.1}).plan.total_cost == 100.0


def test_rows_name_the_fields(release):
    brief = parse_plan({**GOAL, "budget": 1100.0, "plan": {
        "max_creators": 3, "per_creator_cap": 0.1,
        "tier_limits": {"nano": 1, "micro": {"min_share": 0.1, "max_share": 0.5}},
    }})  # fmt: skip
    problem = build_case(release, brief, plan_offers(release, brief)).problem
    rows = problem.rows
    assert [row.name for row in rows] == ["plan.max_creators", "plan.tier_limits.nano", "plan.tier_limits.micro"]
    assert [row.counts_creators for row in rows] == [True, True, False]
    assert (rows[2].low, rows[2].high) == (11_000, 55_000)
    assert [(caps.name, caps.most) for caps in problem.caps] == [("plan.per_creator_cap", 11_000)]
    np.testing.assert_array_equal(problem.caps[0].weight, problem.cost)


# --- what cannot be kept


def smallest_budget(error):
    return float(re.search(r"smallest budget is ([\d,]+\.\d\d)", str(error))[1].replace(",", ""))


@pytest.mark.parametrize(
    "options",
    [
        {"must_include": 3},
        {"tier_limits": {"macro": {"min": 2}}},
        {"tier_limits": {"macro": {"min": 1}, "nano": {"min": 2}}},
        {"must_include": 2, "tier_limits": {"nano": {"min_share": 0.3}, "macro": {"min_share": 0.2}}},
        {"must_include": 2, "max_creators": 2, "risk": 0.5},
        {
            "must_include": 2,
            "max_creators": 4,
            "tier_limits": {"nano": {"min": 1}, "macro": {"min": 1}, "micro": {"min": 1}},
        },
    ],
)
def test_too_little_budget_names_the_smallest_that_will_do(release, options):
    options = {
        **options,
        **({"must_include": ids(release)[-options["must_include"] :]} if "must_include" in options else {}),
    }
    with pytest.raises(Infeasible, match="is too little") as refused:
        asked(release, 200.0, options)
    assert refused.value.field == "budget"
    least = smallest_budget(refused.value)
    brief = parse_plan({**GOAL, "budget": least, "plan": options})
    assert broken(brief, bought_of(asked(release, least, options).plan)) == []
    with pytest.raises(Infeasible):
        asked(release, round(least - 0.01, 2), options)


def test_the_smallest_budget_by_hand(release):
    """140 and 150 are asked for."""
    names = ids(release)[4:6]
    with pytest.raises(Infeasible, match=r"200\.00 is too little .* the smallest budget is 290\.00\. Raise the budget"):
        asked(release, 200.0, {"must_include": names})
    assert asked(release, 290.0, {"must_include": names}).plan.total_cost == 290.0


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"tier_limits": {"mega": {"min": 1}}}, "plan.tier_limits.mega"),
        ({"tier_limits": {"nano": {"min": 6}}}, "plan.tier_limits.nano"),
        ({"platform_limits": {"no such place": {"min": 1}}}, "plan.platform_limits.no such place"),
        ({"max_creators": 1, "tier_limits": {"nano": {"min": 2}}}, "plan.max_creators"),
        ({"per_creator_cap": 0.1, "must_include": -1}, "plan.per_creator_cap"),
        ({"tier_limits": {"macro": {"max_spend": 1}}, "must_include": "macro"}, "plan.tier_limits.macro"),
        ({"tier_limits": {"nano": {"min_share": 0.99}}}, "plan.tier_limits.nano"),
    ],
)
def test_limits_against_each_other_name_the_one_to_relax(release, options, field):
    must = options.get("must_include")
    if must is not None:
        options = {**options, "must_include": [ids(release, "macro")[0] if must == "macro" else ids(release)[must]]}
    with pytest.raises(Infeasible, match="cannot be kept together") as refused:
        asked(release, 1500.0, options)
    assert refused.value.field == field
    _, kind, *name = field.split(".")
    relaxed = {**options, kind: {k: v for k, v in options[kind].items() if k != name[0]} if name else None}
    assert asked(release, 1500.0, relaxed).plan.picks


def test_several_limits_to_relax_are_all_named(release):
    options = {"tier_limits": {"mega": {"min": 1}, "unknown": {"min": 1}}}
    with pytest.raises(Infeasible, match="several limits") as refused:
        asked(release, 1500.0, options)
    assert "plan.tier_limits.mega, plan.tier_limits.unknown" in str(refused.value)
    assert refused.value.field == "plan"


@pytest.mark.parametrize("seed", range(60))
def test_what_any_refusal_says_is_true(world, markets, seed):
    rng, release = np.random.default_rng(seed), markets[seed % 2]
    request = random_request(rng, release, 8)
    request["plan"] |= random_options(rng, release, request["filters"]["creator_ids"], request["budget"])
    _, refused = answer_or_refusal(release, parse_plan(request))
    if not isinstance(refused, Infeasible):
        # answered, or nobody at all is left
        assert refused is None or "no creator is left" in str(refused)
        return
    if refused.field == "plan":
        assert "Relax two or more" in str(refused)
        return
    if refused.field == "budget":
        request["budget"] = smallest_budget(refused)
    else:
        _, kind, *name = refused.field.split(".", 2)
        request["plan"][kind] = {k: v for k, v in request["plan"][kind].items() if k != name[0]} if name else None
    answer, again = answer_or_refusal(release, parse_plan(request))
    # with a limit less the budget alone may still be too little
    assert answer is not None or (refused.field != "budget" and again.field == "budget")


@pytest.fixture(scope="module")
def markets(world):
    return [mixed(world.release, 0), mixed(world.release, 1, measured=False)]
