from datetime import date

import pytest
from pydantic import ValidationError

from features.brief import Brief, Filters, parse_brief, parse_brief_json
from features.errors import DataError

LEAST = {"goal": "awareness", "budget": 5000}

# what is added to the least brief, the field that is named, words of the message
REFUSED = [
    ({"goal": "sales"}, "goal", ["'awareness'", "'local'", "not 'sales'"]),
    ({"goal": None}, "goal", ["is required"]),
    ({"budget": 0}, "budget", ["above 0"]),
    ({"budget": -1}, "budget", ["above 0", "-1"]),
    ({"budget": float("nan")}, "budget", ["finite"]),
    ({"budget": float("inf")}, "budget", ["finite"]),
    ({"budget": "5,000"}, "budget", ["a number", "'5,000'"]),
    ({"budget": True}, "budget", ["a number", "True"]),
    ({"budget": 10**400}, "budget", ["a number"]),
    ({"budget": None}, "budget", ["is required"]),
    ({"currency": "ABC"}, "currency", ["'ABC'", "ISO 4217"]),
    ({"currency": "RMB"}, "currency", ["use CNY"]),
    ({"target_countries": ["XX"]}, "target_countries", ["'XX'", "ISO 3166-1"]),
    ({"target_countries": {"UK": 1}}, "target_countries", ["use GB"]),
    ({"target_countries": ["Vietnam"]}, "target_countries", ["use VN"]),
    ({"target_countries": "SG"}, "target_countries", ["a list such as", "'SG'"]),
    ({"target_countries": [65]}, "target_countries", ["country codes", "65"]),
    ({"target_countries": {"SG": 0}}, "target_countries.SG", ["above 0"]),
    ({"target_countries": {"SG": float("inf")}}, "target_countries.SG", ["finite"]),
    ({"target_countries": {"SG": 0.1, "sg": 0.2}}, "target_countries", ["SG is given twice"]),
    ({"top": 0}, "top", ["at least 1"]),
    ({"top": 10**9}, "top", ["at most 1000"]),
    ({"top": 2.5}, "top", ["a whole number"]),
    ({"top": True}, "top", ["a whole number"]),
    ({"rank_by": "price"}, "rank_by", ["'roi'", "'profit'"]),
    ({"niches": "beauty"}, "niches", ["a list"]),
    ({"niches": [""]}, "niches.0", ["not be empty"]),
    ({"brand_id": "x" * 201}, "brand_id", ["at most 200"]),
    ({"languages": ["english"]}, "languages.0", ["'english'", "BCP-47"]),
    ({"starts_on": "tomorrow"}, "starts_on", ["2026-03-01", "'tomorrow'"]),
    ({"starts_on": 20260301}, "starts_on", ["2026-03-01"]),
    ({"product_margin": 40}, "product_margin", ["at most 1"]),
    ({"product_price": -1}, "product_price", ["at least 0"]),
    ({"explain": "yes"}, "explain", ["true or false"]),
    ({"explore_share": -0.1}, "explore_share", ["at least 0"]),
    ({"explore_share": 0.7}, "explore_share", ["at most 0.5"]),
    ({"seed": 1.5}, "seed", ["a whole number"]),
    ({"filters": []}, "filters", ["an object"]),
    ({"filters": {"tiers": ["huge"]}}, "filters.tiers.0", ["'nano'", "'unknown'"]),
    ({"filters": {"max_fee": -1}}, "filters.max_fee", ["at least 0"]),
    ({"filters": {"min_credibility": 78}}, "filters.min_credibility", ["at most 1"]),
    ({"filters": {"min_followers": 5, "max_followers": 2}}, "filters.max_followers", ["below min_followers (5)"]),
    ({"filters": {"creator_ids": []}}, "filters.creator_ids", ["nobody", "leave it out"]),
    ({"filters": {"creator_ids": [17]}}, "filters.creator_ids.0", ["a text", "17"]),
    ({"filters": {"countries": ["XX"]}}, "filters.countries.0", ["'XX'"]),
    ({"budgt": 1}, "budgt", ["no such field", "did you mean budget?"]),
    ({"filters": {"max_fees": 1}}, "filters.max_fees", ["did you mean filters.max_fee?"]),
    ({"max_fee": 1}, "max_fee", ["belongs inside filters"]),
    ({"filters": {"budget": 1}}, "filters.budget", ["belongs beside filters"]),
    ({"zzz": 1}, "zzz", ["no such field", "goal, budget, currency"]),
]


@pytest.mark.parametrize(("extra", "field", "words"), REFUSED, ids=[str(case[0])[:40] for case in REFUSED])
def test_bad_briefs_are_refused_by_field_in_plain_words(extra, field, words):
    with pytest.raises(DataError) as refused:
        parse_brief({**LEAST, **extra})
    message = str(refused.value)
    assert refused.value.field == field
    assert message.startswith(f"{field}: ")
    assert [word for word in words if word not in message] == []
    assert "pydantic" not in message.lower()
    assert len(message) < 500


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "body is empty"),
        (b" \n", "body is empty"),
        ("null", "not null"),
        ("[]", "not a list"),
        ('"brief"', "not a text"),
        ("17", "not a number"),
        ("{", "not valid JSON"),
        ("{'goal': 1}", "double quotes"),
        ('{"goal": "local", "budget": NaN}', "NaN"),
        ('{"goal": "local", "budget": 1e999}', "finite"),
        ("[" * 100_000, "recursion"),
        (b"\xff\xfe", "not valid JSON"),
    ],
)
def test_text_that_is_no_brief_is_refused(text, words):
    with pytest.raises(DataError, match=words):
        parse_brief_json(text)


def test_the_first_problem_is_named_and_the_rest_are_counted():
    with pytest.raises(DataError, match=r"^zzz: .*\(2 more problems: budget, top\)$"):
        parse_brief({**LEAST, "top": 0, "budget": 0, "zzz": 1})
    with pytest.raises(DataError, match=r"^budget: is required \(1 more problem: goal\)$|^goal: is required"):
        parse_brief({})


def test_a_brief_is_put_into_its_normal_form():
    brief = parse_brief(
        {
            "goal": "local",
            "budget": 100,
            "currency": " sgd",
            "niches": [" Beauty ", "food", "food"],
            "target_countries": {"sg": 0.7, " MY ": 0.3},
            "languages": ["zh-Hant-TW", "ZH", "en_SG"],
            "platforms": ["TikTok "],
            "starts_on": "2026-03-01",
            "filters": {"countries": ["sg"], "platforms": ["X"], "tiers": ["micro"]},
        }
    )
    assert brief.currency == "SGD"
    assert brief.niches == ("Beauty", "food")
    assert brief.target_countries == {"SG": 0.7, "MY": 0.3}
    assert brief.languages == ("zh", "en")
    assert brief.platforms == ("tiktok",)
    assert brief.starts_on == date(2026, 3, 1)
    assert brief.filters == Filters(countries=("SG",), platforms=("x",), tiers=("micro",))
    assert parse_brief(brief.model_dump()) == brief
    assert parse_brief_json(brief.model_dump_json()) == brief


def test_a_list_of_countries_means_equal_weights():
    assert parse_brief({**LEAST, "target_countries": ["SG", "my", "SG"]}).target_countries == {"SG": 1.0, "MY": 1.0}


def test_null_is_the_same_as_left_out_and_the_defaults_are_those_of_the_contract():
    given = dict.fromkeys(Brief.model_fields, None)
    assert parse_brief({**given, **LEAST}) == parse_brief(LEAST)
    brief = parse_brief(LEAST)
    assert (brief.top, brief.rank_by, brief.explain, brief.explore_share) == (20, "roi", True, 0)
    assert not any(value for value in brief.filters.model_dump().values())


def test_a_brief_cannot_be_changed_and_neither_is_what_it_was_read_from():
    payload = {**LEAST, "target_countries": {"sg": 1.0}, "niches": [" a "]}
    brief = parse_brief(payload)
    assert payload == {**LEAST, "target_countries": {"sg": 1.0}, "niches": [" a "]}
    with pytest.raises(ValidationError):
        brief.top = 5


def test_the_example_in_the_schema_is_a_brief():
    assert parse_brief(Brief.model_json_schema()["example"]).goal == "conversion"
