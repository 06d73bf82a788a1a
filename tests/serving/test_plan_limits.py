"""Limits as rows; and where they cannot be kept, a message that is true: asking again as it says succeeds."""

import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from features.plan_options import PlanOptions, parse_plan
from serving.filters import NothingFits
from serving.model import ExtraCost
from serving.plan_case import build_case
from serving.plan_limits import Infeasible, contradiction, explain
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


# --- a least share of the budget


def spent(found, tier):
    return sum(pick.spend for pick in found.plan.picks if pick.tier == tier)


def rows_of(release, options):
    brief = parse_plan({**GOAL, "budget": 1000.0, "plan": options})
    return build_case(release, brief, plan_offers(release, brief)).problem.rows


def test_all_of_a_budget_is_never_demanded_to_the_cent(release):
    """Two of them cost 390, and no others about as much as the budget."""
    found = asked(release, 392.0, {"tier_limits": {"nano": {"min_share": 1.0}}})
    assert {pick.tier for pick in found.plan.picks} == {"nano"}
    assert found.plan.total_cost == 390.0
    least, others = rows_of(release, {"tier_limits": {"nano": {"min_share": 1.0}}})
    assert {row.name for row in (least, others)} == {"plan.tier_limits.nano"}
    assert (least.low, least.high) == (99_000, np.inf)
    assert (others.low, others.high) == (-np.inf, 0)
    assert sorted([*least.members, *others.members]) == list(range(15))


@pytest.mark.parametrize("kind", ["tier_limits", "platform_limits"])
def test_least_shares_of_all_of_a_budget_are_demanded_a_little_less_of(release, kind):
    names = ("nano", "micro", "macro") if kind == "tier_limits" else ("instagram", "tiktok", "youtube")
    shares = dict(zip(names, (0.5, 0.25, 0.25), strict=True))
    rows = rows_of(release, {kind: {name: {"min_share": share} for name, share in shares.items()}})
    assert [row.low for row in rows] == [49_500, -np.inf, 24_750, -np.inf, 24_750, -np.inf]
    assert [row.high for row in rows] == [np.inf, 50_000, np.inf, 75_000, np.inf, 75_000]


@pytest.mark.parametrize(
    ("options", "sides"),
    [
        ({"tier_limits": {"nano": {"min_share": 0.59}, "micro": {"min_share": 0.4}}},
         [(59_000, np.inf), (40_000, np.inf)]),
        # those of tiers and those of platforms are of the same creators
        ({"tier_limits": {"nano": {"min_share": 0.8}}, "platform_limits": {"tiktok": {"min_share": 0.8}}},
         [(80_000, np.inf), (80_000, np.inf)]),
        ({"tier_limits": {"nano": {"min_share": 0.5, "max_share": 0.5}}}, [(49_500, 50_000), (-np.inf, 50_000)]),
    ],
)  # fmt: skip
def test_least_shares_are_demanded_as_they_are_where_there_is_room(release, options, sides):
    assert [(row.low, row.high) for row in rows_of(release, options)] == sides


def test_halves_of_a_budget_are_spent(release):
    found = asked(release, 644.0, {"tier_limits": {"nano": {"min_share": 0.5}, "micro": {"min_share": 0.5}}})
    assert (spent(found, "nano"), spent(found, "micro"), found.plan.total_cost) == (320.0, 320.0, 640.0)


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
    ("budget", "options", "least"),
    [
        (50.0, {"tier_limits": {"macro": {"min": 1}}}, 110.0),  # nobody there is as cheap as the budget
        (1500.0, {"per_creator_cap": 0.1, "must_include": -1}, 2400.0),  # one costs more than a tenth of it
        (1500.0, {"per_person_cap": {"share": 0.1}, "must_include": 1}, 1100.0),
        (300.0, {"platform_limits": {"tiktok": 0.0}, "tier_limits": {"macro": {"min": 2, "max_share": 0.25}}}, None),
        (99.0, {"tier_limits": {"micro": 0}}, 100.0),
    ],
)
def test_a_larger_budget_is_named_though_limits_are_shares_of_it(release, budget, options, least):
    if "must_include" in options:
        options = {**options, "must_include": [ids(release)[options["must_include"]]]}
    if least == 1100.0:
        assert asked(release, budget, options).plan.picks  # 110 is less than a tenth
        budget = 1000.0
    refused = refusal(release, budget, options)
    assert refused.field == "budget"
    named = smallest_budget(refused)
    assert least is None or named == least
    assert asked(release, named, options).plan.picks
    with pytest.raises(NothingFits):
        asked(release, round(named - 0.01, 2), options)


def refusal(release, budget, options, **changes):
    """Why there is no plan, whether the filters or the limits leave nobody."""
    brief = parse_plan({**GOAL, **changes, "budget": budget, "plan": options})
    try:
        plan(release, brief, request_id="r")
    except Infeasible as refused:
        return refused
    except NothingFits:
        return explain(brief, partial(plan_offers, release), nobody=True)
    raise AssertionError("there is a plan")


def test_the_smallest_budget_that_buys_anybody(release):
    for options in ({}, {"max_creators": 1}):
        assert str(refusal(release, 99.99, options)) == (
            "budget: 99.99 is too little to buy anybody: the smallest budget is 100.00. Raise the budget"
        )
    assert asked(release, 100.0, {}).plan.picks
    capped = refusal(release, 500.0, {"per_creator_cap": 0.1})
    assert str(capped) == (
        "budget: 500.00 is too little to buy anybody and to keep plan.per_creator_cap: the smallest budget is "
        "1,000.00. Raise the budget, or relax plan.per_creator_cap"
    )
    assert asked(release, 1000.0, {"per_creator_cap": 0.1}).plan.picks
    # at a margin of nothing nobody is of any worth
    worthless = refusal(release, 50.0, {}, goal="conversion", product_margin=0.0)
    assert smallest_budget(worthless) == 100.0


def test_where_some_were_left_out_a_budget_is_one_that_would_do(release):
    brief = parse_plan({**GOAL, "budget": 200.0, "plan": {"must_include": ids(release)[4:6]}})
    said = explain(brief, lambda other: replace(plan_offers(release, other), outside={"all": 1.0}))
    assert "too little to keep plan.must_include: 290.00 would do. Raise" in str(said)
    brief = parse_plan({**GOAL, "budget": 2000.0, "plan": {"tier_limits": {"nano": {"min": 6}}}})
    said = explain(brief, lambda other: replace(plan_offers(release, other), outside={"all": 1.0}))
    assert "choose from" not in str(said)


@pytest.mark.parametrize(
    ("options", "field", "words"),
    [
        ({"max_creators": 1, "tier_limits": {"nano": {"min": 2}}}, "plan.max_creators", ["1 is less than the 2"]),
        ({"max_creators": 5, "tier_limits": {"nano": {"min": 3}, "micro": {"min": 3}, "macro": 1}},
         "plan.max_creators", ["5 is less than the 6", "plan.tier_limits asks for (nano 3, micro 3)", "raise it"]),
        ({"max_creators": 2, "platform_limits": {"tiktok": {"min": 2}, "youtube": {"min_share": 0.1}}},
         "plan.max_creators", ["2 is less than the 3", "(tiktok 2, youtube 1)"]),
        ({"tier_limits": {"mega": {"min": 1}}}, "plan.tier_limits.mega", ["min is 1, and there are 0 to choose from"]),
        ({"tier_limits": {"nano": {"min": 6}}}, "plan.tier_limits.nano", ["min is 6, and there are 5", "lower it"]),
        ({"platform_limits": {"no such place": {"min": 1}}}, "plan.platform_limits.no such place", ["there are 0"]),
        ({"tier_limits": {"nano": {"min_share": 0.5, "max_spend": 700}}}, "plan.tier_limits.nano",
         ["min_share asks for 750.00 of a budget of 1,500.00", "max_spend is 700.00"]),
        # those of 100, 160, 210, 220 and 230
        ({"tier_limits": {"nano": {"min_share": 0.62}}}, "plan.tier_limits.nano",
         ["asks for 930.00", "all 5 there are to choose from cost 920.00"]),
        ({"tier_limits": {"nano": {"min_share": 0.45, "max": 3}}}, "plan.tier_limits.nano",
         ["asks for 675.00", "the 3 dearest cost 660.00 together", "raise max"]),
        ({"max_creators": 3, "tier_limits": {"nano": {"min_share": 0.45}}}, "plan.max_creators",
         ["the 3 dearest of plan.tier_limits.nano cost 660.00", "asks for 675.00", "raise max_creators"]),
    ],
)  # fmt: skip
def test_what_arithmetic_alone_speaks_against(release, options, field, words):
    with pytest.raises(Infeasible) as refused:
        asked(release, 1500.0, options)
    assert refused.value.field == field
    assert str(refused.value).startswith(f"{field}: ")
    assert [word for word in words if word not in str(refused.value)] == []
    assert asked(release, 1500.0, without(options, field)).plan.picks


@pytest.mark.parametrize(
    "options",
    [
        {"max_creators": 2, "tier_limits": {"nano": {"min": 1}, "micro": {"min": 1}}},
        {"max_creators": 2, "tier_limits": {"nano": {"min": 2}}, "platform_limits": {"tiktok": {"min": 2}}},
        {"tier_limits": {"nano": {"min": 900}, "micro": {"min": 900}}},
        {"max_creators": 1, "tier_limits": {"nano": 4, "micro": {"min": 1, "min_share": 0.5}}},
        {},
    ],
)
def test_counts_that_fit_speak_against_nothing(options):
    assert contradiction(PlanOptions.model_validate(options)) is None


def without(options, field):
    _, kind, *name = field.split(".", 2)
    return {**options, kind: {k: v for k, v in options[kind].items() if k != name[0]} if name else None}


def test_several_limits_that_arithmetic_speaks_against_are_all_named(release):
    options = {"tier_limits": {"mega": {"min": 1}, "unknown": {"min": 1}}}
    with pytest.raises(
        Infeasible, match=r"^plan\.tier_limits\.mega: min .*; plan\.tier_limits\.unknown: min "
    ) as refused:
        asked(release, 1500.0, options)
    assert refused.value.field == "plan.tier_limits.mega"


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"tier_limits": {"macro": {"max_spend": 1}}, "must_include": "macro"}, "plan.tier_limits.macro"),
        ({"per_creator_cap": {"spend": 110}, "tier_limits": {"micro": {"min": 1}}}, "plan.tier_limits.micro"),
        ({"max_creators": 3, "tier_limits": {"nano": {"min_share": 0.35}}, "must_include": "macro"},
         "plan.max_creators"),
        ({"tier_limits": {"nano": {"min": 3, "max_spend": 460}}}, "plan.tier_limits.nano"),
    ],
)  # fmt: skip
def test_limits_against_each_other_name_the_one_to_relax(release, options, field):
    if "must_include" in options:
        options = {**options, "must_include": [ids(release, "macro")[0]]}
    with pytest.raises(Infeasible, match=r"cannot be kept together with .*a budget of 1,500\.00: relax it$") as refused:
        asked(release, 1500.0, options)
    assert refused.value.field == field
    assert asked(release, 1500.0, without(options, field)).plan.picks


def test_where_no_single_limit_is_to_blame_all_are_named(release):
    """Three of each cost 470 and 400 at least."""
    options = {"tier_limits": {"nano": {"min": 3, "max_spend": 460}, "micro": {"min": 3, "max_spend": 390}}}
    with pytest.raises(Infeasible, match=r"^plan: several limits") as refused:
        asked(release, 1500.0, options)
    assert str(refused.value).endswith("relax two or more of plan.tier_limits.nano and plan.tier_limits.micro")
    assert refused.value.field == "plan"


def test_limits_that_were_only_too_hard_to_keep(release):
    brief = parse_plan({**GOAL, "budget": 1500.0, "plan": {"max_creators": 3, "tier_limits": {"nano": 1}}})
    said = explain(brief, partial(plan_offers, release))
    assert (said.field, "no set was found in time that keeps plan.max_creators and" in str(said)) == ("plan", True)


@pytest.mark.parametrize("kind", ["tier_limits", "platform_limits"])
@pytest.mark.parametrize("limit", [0, {"max_spend": 99}, {"max_share": 0.05}], ids=str)
def test_limits_that_leave_nobody_of_any_worth_are_refused(release, kind, limit):
    shown = release.catalogue.display["tier" if kind == "tier_limits" else "platform"]
    options = {kind: dict.fromkeys(shown.unique(maintain_order=True), limit)}
    refused = refusal(release, 1500.0, options)
    if limit == {"max_share": 0.05}:
        assert smallest_budget(refused) == 2000.0
        assert asked(release, 2000.0, options).plan.total_cost == 100.0
    else:
        assert refused.field == f"plan.{kind}.{shown[0]}"
        assert "leaves nobody to buy with the other limits" in str(refused)
        assert asked(release, 1500.0, without(options, refused.field)).plan.picks
    by_profit = plan(
        release, parse_plan({**GOAL, "rank_by": "profit", "budget": 1500.0, "plan": options}), request_id="r"
    )
    assert by_profit.plan.picks == ()


@pytest.mark.parametrize("seed", range(60))
def test_what_any_refusal_says_is_true(world, markets, seed):
    """Doing what it says is enough, but where arithmetic speaks against a limit by itself: then others may be next."""
    rng, release = np.random.default_rng(seed), markets[seed % 2]
    request = random_request(rng, release, 8)
    request["plan"] |= random_options(rng, release, request["filters"]["creator_ids"], request["budget"])
    answer, refused = answer_or_refusal(release, parse_plan(request))
    seen = set()
    while isinstance(refused, Infeasible) and refused.field != "plan":
        assert refused.field not in seen
        seen.add(refused.field)
        if refused.field == "budget":
            request["budget"] = smallest_budget(refused)
        else:
            request["plan"] = without(request["plan"], refused.field)
        answer, again = answer_or_refusal(release, parse_plan(request))
        enough = refused.field == "budget" or "relax it" in str(refused)
        assert answer is not None or not enough
        refused = again
    if isinstance(refused, Infeasible):
        assert "relax two or more" in str(refused)
    elif refused is not None:
        assert "no creator is left" in str(refused)
    else:
        assert broken(parse_plan(request), bought_of(answer.plan)) == []


@pytest.fixture(scope="module")
def markets(world):
    return [mixed(world.release, 0), mixed(world.release, 1, measured=False)]
