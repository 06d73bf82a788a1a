import json
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from features.brief import parse_brief, parse_brief_json
from features.errors import DataError
from features.plan_options import Cap, Limit, PlanBrief, PlanOptions, parse_plan, parse_plan_json

DOCS = Path(__file__).parents[2] / "docs" / "serving.md"
LEAST = {"goal": "awareness", "budget": 5000}
LIMIT = ["whole number (most creators)", "min, max, min_share, max_share, max_spend"]
CAP = ["whole number 1-10 (most placements)", "a number above 10 (most spend)", "placements, share, spend"]

# the plan, the field that is named, words of the message
REFUSED = [
    (5, "plan", ["an object", "5"]),
    ([], "plan", ["an object"]),
    ({"max_creators": 0}, "plan.max_creators", ["at least 1"]),
    ({"max_creators": 1001}, "plan.max_creators", ["at most 1000"]),
    ({"max_creators": 2.5}, "plan.max_creators", ["a whole number", "2.5"]),
    ({"max_creators": True}, "plan.max_creators", ["a whole number", "True"]),
    ({"max_creators": "3"}, "plan.max_creators", ["a whole number", "'3'"]),
    ({"tier_limits": {"huge": 1}}, "plan.tier_limits.huge", ["'nano'", "'unknown'", "not 'huge'"]),
    ({"tier_limits": [1]}, "plan.tier_limits", ["an object", "[1]"]),
    ({"tier_limits": {"micro": "3"}}, "plan.tier_limits.micro", [*LIMIT, "'3'"]),
    ({"tier_limits": {"micro": True}}, "plan.tier_limits.micro", [*LIMIT, "True"]),
    ({"tier_limits": {"micro": [2]}}, "plan.tier_limits.micro", LIMIT),
    ({"tier_limits": {"micro": 2.5}}, "plan.tier_limits.micro", [*LIMIT, "2.5"]),
    ({"tier_limits": {"micro": -1}}, "plan.tier_limits.micro", [*LIMIT, "-1"]),
    ({"tier_limits": {"micro": float("nan")}}, "plan.tier_limits.micro", LIMIT),
    ({"tier_limits": {"micro": 10**400}}, "plan.tier_limits.micro", LIMIT),
    ({"tier_limits": {"micro": 5000}}, "plan.tier_limits.micro", ["at most 1000 creators", '{"max_spend": 5000}']),
    ({"tier_limits": {"micro": {"min": 5, "max": 2}}}, "plan.tier_limits.micro.max", ["below min (5)", "2"]),
    ({"tier_limits": {"micro": {"min": 1, "max": 0}}}, "plan.tier_limits.micro.max", ["below min (1)", "0"]),
    ({"tier_limits": {"micro": {"min_share": 0.5, "max_share": 0.2}}}, "plan.tier_limits.micro.max_share",
     ["below min_share (0.5)", "0.2"]),
    ({"tier_limits": {"micro": {"max": -1}}}, "plan.tier_limits.micro.max", ["at least 0"]),
    ({"tier_limits": {"micro": {"max_share": 40}}}, "plan.tier_limits.micro.max_share", ["at most 1"]),
    ({"tier_limits": {"micro": {"max_spend": 1e308}}}, "plan.tier_limits.micro.max_spend", ["at most 1e+12"]),
    ({"tier_limits": {"micro": {"min_share": 0.6}, "nano": 3, "macro": {"min_share": 0.5}}}, "plan.tier_limits",
     ["min_share sums to 1.1 (micro 0.6, macro 0.5)"]),
    ({"platform_limits": {"TikTok": {"min_share": 1}, "x": {"min_share": 0.01}}}, "plan.platform_limits",
     ["min_share sums to 1.01 (tiktok 1, x 0.01)"]),
    ({"tier_limits": {"micro": {"max_spend": "1k"}}}, "plan.tier_limits.micro.max_spend", ["a number", "'1k'"]),
    ({"tier_limits": {"micro": {"maxx": 2}}}, "plan.tier_limits.micro.maxx", ["mean plan.tier_limits.micro.max?"]),
    ({"tier_limits": {"micro": {"zzz": 2}}}, "plan.tier_limits.micro.zzz", ["the fields are min, max, min_share"]),
    ({"platform_limits": {"TikTok": 1, "tiktok ": 2}}, "plan.platform_limits", ["tiktok is given twice"]),
    ({"platform_limits": {"": 2}}, "plan.platform_limits.", ["not be empty"]),
    ({"platform_limits": {"tiktok": "2"}}, "plan.platform_limits.tiktok", LIMIT),
    ({"per_creator_cap": 0}, "plan.per_creator_cap", [*CAP, "not 0"]),
    ({"per_creator_cap": -3}, "plan.per_creator_cap", [*CAP, "-3"]),
    ({"per_creator_cap": 2.5}, "plan.per_creator_cap", [*CAP, "2.5"]),
    ({"per_creator_cap": False}, "plan.per_creator_cap", [*CAP, "False"]),
    ({"per_person_cap": "half"}, "plan.per_person_cap", [*CAP, "'half'"]),
    ({"per_person_cap": float("inf")}, "plan.per_person_cap", CAP),
    ({"per_creator_cap": {"placements": 11}}, "plan.per_creator_cap.placements", ["at most 10"]),
    ({"per_creator_cap": {"share": 0}}, "plan.per_creator_cap.share", ["above 0"]),
    ({"per_creator_cap": {"spend": 0}}, "plan.per_creator_cap.spend", ["above 0"]),
    ({"per_creator_cap": 1e13}, "plan.per_creator_cap.spend", ["at most 1e+12"]),
    ({"per_creator_cap": {"spent": 5}}, "plan.per_creator_cap.spent", ["did you mean plan.per_creator_cap.spend?"]),
    ({"per_creator_cap": {"amount": 5}}, "plan.per_creator_cap.amount", ["the fields are placements, share, spend"]),
    ({"must_include": "c1"}, "plan.must_include", ["a list", "'c1'"]),
    ({"must_include": ["c1", 2]}, "plan.must_include.1", ["a text", "2"]),
    ({"must_include": ["a", "b", "a"], "max_creators": 1}, "plan.must_include", ["2 creators", "max_creators is 1"]),
    ({"delivery_rate": 0}, "plan.delivery_rate", ["above 0"]),
    ({"delivery_rate": 80}, "plan.delivery_rate", ["at most 1", "80"]),
    ({"risk": -0.1}, "plan.risk", ["at least 0"]),
    ({"risk": 2}, "plan.risk", ["at most 1"]),
    ({"max_creator": 2}, "plan.max_creator", ["did you mean plan.max_creators?"]),
    ({"zzz": 2}, "plan.zzz", ["the fields are max_creators, tier_limits"]),
    ({"budget": 2}, "plan.budget", ["belongs beside plan"]),
    ({"tiers": ["micro"]}, "plan.tiers", ["belongs inside filters"]),
]  # fmt: skip


@pytest.mark.parametrize(("plan", "field", "words"), REFUSED, ids=[str(case[0])[:50] for case in REFUSED])
def test_bad_plans_are_refused_by_field_in_plain_words(plan, field, words):
    with pytest.raises(DataError) as refused:
        parse_plan({**LEAST, "plan": plan})
    message = str(refused.value)
    assert refused.value.field == field
    assert message.startswith(f"{field}: ")
    assert [word for word in words if word not in message] == []
    assert len(message) < 500


@pytest.mark.parametrize(
    ("extra", "field", "words"),
    [
        ({"budget": 0}, "budget", "above 0"),
        ({"budget": 1e308}, "budget", r"at most 1e\+12"),
        ({"budget": float("inf")}, "budget", "a finite number"),
        ({"max_creators": 3}, "max_creators", "belongs inside plan"),
        ({"filters": {"max_creators": 3}}, "filters.max_creators", "belongs inside plan"),
        ({"filters": {"plan": {}}}, "filters.plan", "belongs beside filters"),
        ({"plans": {}}, "plans", "did you mean plan?"),
    ],
)
def test_the_brief_around_a_plan_is_read_as_strictly(extra, field, words):
    with pytest.raises(DataError, match=words) as refused:
        parse_plan({**LEAST, **extra})
    assert refused.value.field == field


@pytest.mark.parametrize(("read", "given"), [(parse_brief, LEAST), (parse_brief_json, None)])
def test_a_ranking_knows_no_plan_and_says_who_does(read, given):
    payload = {**LEAST, "plan": {"max_creators": 3}}
    with pytest.raises(DataError, match=r"^plan: .*belongs to POST /v1/plan and the command plan$") as refused:
        read(payload if given else json.dumps(payload))
    assert refused.value.field == "plan"


def test_who_must_be_bought_must_not_be_excluded():
    given = {**LEAST, "filters": {"exclude_creator_ids": ["c2", "c3"]}, "plan": {"must_include": ["c1", "c2", "c3"]}}
    with pytest.raises(DataError, match=r"c2, c3 cannot be bought: filters\.exclude_creator_ids") as refused:
        parse_plan(given)
    assert refused.value.field == "plan.must_include"
    with pytest.raises(DataError, match=r"^bugdet: .*\(1 more problem: plan\.must_include\)$"):
        parse_plan({**given, "bugdet": 1})
    assert parse_plan({**given, "plan": {"must_include": ["c1"]}}).plan.must_include == ("c1",)


def test_the_first_problem_is_named_and_the_rest_are_counted():
    plan = {"risk": 2, "tier_limits": {"micro": {"min": -1, "maxi": 3}}}
    with pytest.raises(
        DataError, match=r"^plan\.tier_limits\.micro\.maxi: .*\(2 more problems: plan\.tier_l.*, plan\.ri"
    ):
        parse_plan({**LEAST, "plan": plan})


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        (3, {"max": 3}),
        (3.0, {"max": 3}),
        (1, {"max": 1}),
        (0, {"max": 0}),
        (0.0, {"max": 0}),
        (1000, {"max": 1000}),
        (0.25, {"max_share": 0.25}),
        (None, {}),
        ({}, {}),
        ({"min": 1, "max": 1, "max_share": None}, {"min": 1, "max": 1}),
        (
            {"min_share": 0.2, "max_share": 0.2, "max_spend": 10},
            {"min_share": 0.2, "max_share": 0.2, "max_spend": 10.0},
        ),
    ],
)
def test_the_normal_form_of_a_limit(given, normal):
    plan = parse_plan({**LEAST, "plan": {"tier_limits": {"micro": given}, "platform_limits": {" TikTok": given}}}).plan
    assert plan.tier_limits == {"micro": Limit(**normal)}
    assert plan.platform_limits == {"tiktok": Limit(**normal)}


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        (1, {"placements": 1}),
        (10, {"placements": 10}),
        (2.0, {"placements": 2}),
        (0.5, {"share": 0.5}),
        (10.5, {"spend": 10.5}),
        (11, {"spend": 11.0}),
        ({"placements": 2, "share": 1, "spend": 5}, {"placements": 2, "share": 1.0, "spend": 5.0}),
    ],
)
def test_the_normal_form_of_a_cap(given, normal):
    plan = parse_plan({**LEAST, "plan": {"per_creator_cap": given, "per_person_cap": given}}).plan
    assert plan.per_creator_cap == plan.per_person_cap
    assert plan.per_creator_cap.model_dump(exclude_none=True) == normal


@pytest.mark.parametrize(
    "shares", [(1.0,), (0.5, 0.5), (1 / 3, 1 / 3, 1 / 3), (0.3333334, 0.3333333, 0.3333333), (0.7, 0.2, 0.1)]
)
def test_least_shares_may_ask_for_all_of_a_budget(shares):
    """As floats they may sum to a little more."""
    limits = {name: {"min_share": share} for name, share in zip(("nano", "micro", "macro"), shares, strict=False)}
    plan = parse_plan({**LEAST, "plan": {"tier_limits": limits, "platform_limits": limits}}).plan
    assert [limit.min_share for limit in plan.tier_limits.values()] == list(shares)
    assert plan.platform_limits == plan.tier_limits


def test_amounts_up_to_a_million_millions_are_read():
    plan = {"tier_limits": {"micro": {"max_spend": 1e12}}, "per_creator_cap": 1e12}
    brief = parse_plan({**LEAST, "budget": 1e12, "plan": plan})
    assert (brief.budget, brief.plan.tier_limits["micro"].max_spend, brief.plan.per_creator_cap.amount) == (1e12,) * 3


def test_the_tighter_of_share_and_amount_holds():
    assert Limit().spend(1000) is None
    assert Limit(max_share=0.4).spend(1000) == 400
    assert Limit(max_share=0.4, max_spend=300).spend(1000) == 300
    assert Limit(max_share=0.2, max_spend=300).spend(1000) == 200
    assert (Limit(max_spend=0).spend(1000), Limit(max_share=0).spend(1000)) == (0, 0)
    assert (Limit().least_spend(1000), Limit(min_share=0.3).least_spend(1000)) == (0, 300)
    assert Cap(placements=2).spend(1000) is None
    assert Cap(share=0.4, spend=300).spend(1000) == 300
    assert Cap(share=0.2).spend(1000) == 200


def test_without_a_plan_or_with_null_nothing_limits_it():
    free = PlanOptions()
    assert (free.max_creators, free.tier_limits, free.per_creator_cap, free.delivery_rate, free.risk) == (
        None, {}, None, None, 0,
    )  # fmt: skip
    for plan in ({}, {"plan": None}, {"plan": {}}, {"plan": dict.fromkeys(PlanOptions.model_fields)}):
        assert parse_plan({**LEAST, **plan}).plan == free


def test_a_plan_cannot_be_changed_and_comes_back_from_json():
    given = {
        "max_creators": 4,
        "tier_limits": {"mega": 0, "micro": {"min": 1, "min_share": 0.2}},
        "platform_limits": {"TikTok": 0.5},
        "per_creator_cap": {"placements": 2, "spend": 900},
        "per_person_cap": 0.4,
        "must_include": ["c1", "c1", "c2"],
        "delivery_rate": 0.8,
        "risk": 1,
    }
    brief = parse_plan({**LEAST, "plan": given})
    assert brief.plan.must_include == ("c1", "c2")
    assert parse_plan(brief.model_dump()) == brief
    assert parse_plan(brief.model_dump(exclude_unset=True)) == brief
    assert parse_plan_json(brief.model_dump_json()) == brief
    with pytest.raises(ValidationError):
        brief.plan.risk = 0.5


def test_the_schema_says_that_a_number_will_do_and_its_example_is_a_plan():
    schema = PlanBrief.model_json_schema()
    for name in ("Limit", "Cap"):
        number, whole = schema["$defs"][name]["anyOf"]
        assert number["type"] == "number"
        assert whole["type"] == "object"
    assert set(schema["$defs"]["Cap"]["anyOf"][1]["properties"]) == {"placements", "share", "spend"}
    assert parse_plan(schema["example"]).plan.max_creators == 8


def test_the_docs_name_every_field_and_their_example_is_a_plan():
    section = DOCS.read_text(encoding="utf-8").split("\n## Plan a budget\n")[1].split("\n## ")[0]
    body = re.search(r"-d '(.*?)'", section, re.S)[1]
    assert parse_plan_json(body).plan.per_creator_cap == Cap(share=0.4)
    for name in PlanOptions.model_fields:
        assert f"`{name}`" in section
    for model in (Limit, Cap):
        names = [field.alias or name for name, field in model.model_fields.items()]
        assert f"`{{{', '.join(json.dumps(name) for name in names)}}}`" in section
