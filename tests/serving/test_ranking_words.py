import pytest

from features.brief import parse_brief
from features.errors import DataError
from serving.ranking import rank

CONVERSION = {"goal": "conversion", "budget": 50_000, "explain": False}


def ask(release, **changes):
    return rank(release, parse_brief({**CONVERSION, **changes}), request_id="r")


def test_a_deliverable_that_is_not_priced_is_refused_where_deliverables_are(world):
    assert ask(world.release, deliverable="REEL").picks == ask(world.release, deliverable="reel").picks
    with pytest.raises(DataError, match="hologram is not in the data.*reel") as error:
        ask(world.release, deliverable="hologram")
    assert error.value.field == "deliverable"


def test_a_word_the_market_never_saw_matches_nobody_and_breaks_nothing(world):
    odd = {"niches": ["no such niche"], "languages": ["tlh"], "platforms": ["tiktok", "no such place"], "brand_id": "?"}
    answer = ask(world.release, **odd)
    assert {pick.platform for pick in answer.picks} == {"tiktok"}
    assert answer.filtered_out["brief_platforms"] == answer.considered - len(
        world.catalogue.display.filter(platform="tiktok")
    )
