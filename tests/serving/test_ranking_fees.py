from dataclasses import replace

import numpy as np
import pytest

from features.brief import parse_brief
from serving.ranking import rank
from serving.release import Release

CONVERSION = {"goal": "conversion", "budget": 50_000, "explain": False}
EVERYBODY = 1000


def ask(release, **changes):
    return rank(release, parse_brief({**CONVERSION, **changes}), request_id="r")


def test_every_pick_says_where_its_fee_is_from(world):
    state, names = world.catalogue.state, world.catalogue.display["creator_id"].to_list()
    sources = {}
    for pick in ask(world.release, top=EVERYBODY).picks:
        row = names.index(pick.creator_id)
        price, source = state.profile["price"][row], state.profile["price_source"][row]
        if np.isnan(price):
            assert pick.fee_source == "estimated"
        else:
            assert pick.fee_source == ("quoted", "paid", "estimated")[int(source)]
        sources[pick.fee_source] = sources.get(pick.fee_source, 0) + 1
    assert sources.keys() == {"quoted", "paid", "estimated"}
    assert all(pick.fee_source != "estimated" for pick in ask(
        world.release, top=EVERYBODY, filters={"known_price_only": True}).picks)  # fmt: skip


def test_the_price_of_the_deliverable_is_used_when_the_brief_names_it(world):
    names = world.catalogue.display["creator_id"].to_list()
    priced = {names[i]: i * 10.0 + 50 for i in range(40)}
    asked = {pick.creator_id: pick for pick in ask(world.release, deliverable="reel", top=EVERYBODY).picks}
    for name, price in priced.items():
        assert asked[name].fee == price
    usual = {pick.creator_id: pick for pick in ask(world.release, top=EVERYBODY).picks}
    assert any(usual[name].fee != price for name, price in priced.items())
    other = {pick.creator_id: pick for pick in ask(world.release, deliverable="story", top=EVERYBODY).picks}
    known = [name for name, pick in usual.items() if pick.fee_source != "estimated"]
    # a price that is not of the deliverable is weighed against what others are paid for it
    assert [other[name].fee for name in known] == pytest.approx([usual[name].fee for name in known], rel=0.25)
    exact = Release(replace(world.model, price_lines={}), world.catalogue)
    plain = {pick.creator_id: pick for pick in ask(exact, top=EVERYBODY).picks}
    assert [plain[name].fee for name in known] == [
        world.catalogue.state.profile["price"][names.index(name)] for name in known
    ]


def test_the_price_of_a_deliverable_says_where_it_is_from(world):
    # the prices by deliverable of this market were paid, not quoted
    names = set(world.catalogue.display["creator_id"][:40])
    picks = ask(world.release, deliverable="reel", top=EVERYBODY).picks
    assert {pick.fee_source for pick in picks if pick.creator_id in names} == {"paid"}
