from dataclasses import replace

import numpy as np
import pytest

from features.errors import DataError
from features.plan_options import parse_plan
from serving.filters import NothingFits
from serving.plan_offers import LEAST_DELIVERY, plan_offers, with_delivery
from tests.serving.fast_scoring import with_profile
from tests.serving.random_plans import mixed, on_commission

ASKED = {"goal": "conversion", "budget": 1e6, "product_margin": 0.4, "explain": False}
PER_OFFER = ("deliverable", "ids", "creator", "person", "tier", "platform", "country", "audience", "delivery")


@pytest.fixture(scope="module")
def release(world):
    return mixed(world.release)


def offered(release, options=None, **changes):
    return plan_offers(release, parse_plan({**ASKED, **changes, "plan": options or {}}))


def test_an_offer_for_each_price_and_one_where_none_is_listed(release):
    prices, words = release.catalogue.state.deliverable_prices, release.catalogue.words.deliverable.values
    found, names = offered(release), release.catalogue.display["creator_id"].to_list()
    expected = {
        (name, kind)
        for row, name in enumerate(names)
        for kind in ([words[k] for k in np.flatnonzero(np.isfinite(prices[row]))] or [None])
    }
    assert set(zip(found.ids.tolist(), found.deliverable, strict=True)) == expected
    assert len(found) == len(expected) == len(set(found.names))
    assert all(len(getattr(found, name)) == len(found) for name in PER_OFFER)
    listed = [
        prices[names.index(name), words.index(kind)]
        for name, kind in zip(found.ids, found.deliverable, strict=True)
        if kind
    ]
    np.testing.assert_array_equal(found.found.fee[[kind is not None for kind in found.deliverable]], listed)


def test_the_deliverable_of_the_brief_is_the_only_one(release):
    found = offered(release, deliverable="reel")
    assert set(found.deliverable) == {"reel"}
    assert len(np.unique(found.creator)) == len(found) == len(release.catalogue.state)


def test_a_creator_is_removed_with_the_last_offer(release):
    prices = release.catalogue.state.deliverable_prices
    row = int(np.argmax(np.isfinite(prices).sum(axis=1)))
    name, own = release.catalogue.display["creator_id"][row], np.sort(prices[row][np.isfinite(prices[row])])
    only = {"creator_ids": [name]}
    assert len(offered(release, filters={**only, "max_fee": float(own[0])})) == 1
    left = offered(release, filters={**only, "max_fee": float(own[1])})
    assert (len(left), dict(left.found.removed).get("max_fee")) == (2, None)
    with pytest.raises(NothingFits, match="max_fee"):
        offered(release, filters={**only, "max_fee": float(own[0]) - 0.01})
    # whoever must be bought is offered at any fee, and with every deliverable
    assert len(offered(release, {"must_include": [name]}, filters={**only, "max_fee": 0.0})) == len(own)


def test_unknown_things_have_names_and_numbers(release):
    found = offered(release)
    followers = release.catalogue.state.profile["follower_count"]
    own = followers[found.found.rows]
    assert np.isnan(own).any()
    np.testing.assert_array_equal(found.audience[~np.isnan(own)], np.maximum(own[~np.isnan(own)], 1.0))
    assert set(found.audience[np.isnan(own)]) == {np.nanmedian(followers)}
    country = release.catalogue.state.codes["country"][found.found.rows]
    assert (found.country[country < 0] == "unknown").all()
    assert (found.country[country >= 0] != "unknown").all()
    nobody = replace(release, catalogue=with_profile(release.catalogue, follower_count=np.nan))
    assert (offered(nobody).audience == 1.0).all()


def test_persons(release):
    """Accounts of one person have one code; who has none is a person by themselves, whatever they sell."""
    found = offered(release)
    shown = release.catalogue.display["person_id"].to_list()
    person = [shown[row] or f"nobody but {row}" for row in found.found.rows]
    codes = dict(zip(person, found.person.tolist(), strict=True))
    assert [codes[name] for name in person] == found.person.tolist()
    assert len(set(codes.values())) == len(codes)


def test_what_an_offer_is_worth_does_not_depend_on_budget_or_company(release):
    rich, poor = offered(release), offered(release, budget=900.0)
    few = offered(release, filters={"creator_ids": poor.ids[:30].tolist()}, budget=1e5)
    for fewer in (poor, few):
        at = {name: k for k, name in enumerate(rich.names)}
        where = [at[name] for name in fewer.names]
        for name in ("audience", "delivery"):
            np.testing.assert_array_equal(getattr(fewer, name), getattr(rich, name)[where])
        np.testing.assert_array_equal(fewer.found.scores.value, rich.found.scores.value[where])
        np.testing.assert_array_equal(fewer.found.scores.cost, rich.found.scores.cost[where])


def test_delivery(release, world):
    learnt, given = offered(release), offered(release, {"delivery_rate": 0.5})
    assert LEAST_DELIVERY <= learnt.delivery.min() <= learnt.delivery.max() <= 1.0
    assert (given.delivery == 0.5).all()
    np.testing.assert_allclose(given.found.scores.value, learnt.found.scores.value * 0.5 / learnt.delivery)
    np.testing.assert_allclose(given.worth("impressions"), learnt.worth("impressions") * 0.5 / learnt.delivery)
    cost = learnt.found.scores.cost
    np.testing.assert_array_equal(given.found.scores.cost, cost)
    np.testing.assert_allclose(given.found.scores.roi, given.found.scores.value / np.maximum(cost, 1.0) - 1.0)
    same = with_delivery(release.model, learnt, learnt.delivery)
    np.testing.assert_allclose(same.found.scores.value, learnt.found.scores.value)
    settings = release.model.settings
    set_by_team = settings.model_copy(update={"plan": settings.plan.model_copy(update={"delivery_rate": 0.8})})
    configured = replace(release, model=replace(release.model, settings=set_by_team))
    assert (offered(configured).delivery == 0.8).all()
    assert (offered(configured, {"delivery_rate": 0.5}).delivery == 0.5).all()


@pytest.mark.parametrize("gifts", [0.0, 7.0])
def test_who_does_not_post_gets_no_commission(release, gifts):
    paid = on_commission(release, gifts)
    learnt, given = offered(paid), offered(paid, {"delivery_rate": 0.5})
    sold = learnt.found.scores.expected["net_revenue"] * 0.5 / learnt.delivery
    np.testing.assert_allclose(given.found.fee, 0.2 * sold)
    np.testing.assert_allclose(given.found.scores.cost, 0.2 * sold + gifts)
    np.testing.assert_allclose(
        given.found.scores.roi, 0.4 * sold / np.maximum(0.2 * sold + gifts, 1.0) - 1.0, atol=1e-12
    )


def test_what_the_brief_wants_most_of(release):
    found = offered(release, rank_by="engagements")
    np.testing.assert_array_equal(found.worth("engagements"), found.found.scores.expected["engagements"])
    for name in ("value", "profit", "roi"):
        np.testing.assert_array_equal(found.worth(name), found.found.scores.value)


def test_strangers_and_whoever_asks_no_fee_anybody_knows(release):
    with pytest.raises(DataError, match="1 of 2 are not in the catalogue, such as nobody") as refused:
        offered(release, {"must_include": ["nobody", "c000001"]})
    assert refused.value.field == "plan.must_include"
    feeless = replace(release.model, fee=None, typical_fee=None)
    prices = np.where(np.arange(len(release.catalogue.state)) % 2, 100.0, np.nan)
    state = replace(release.catalogue.state, deliverable_prices=np.zeros((len(prices), 0)))
    catalogue = with_profile(replace(release.catalogue, state=state), price=prices)
    half = replace(release, model=feeless, catalogue=catalogue)
    found = offered(half)
    assert len(found) == np.isfinite(prices).sum()
    assert found.found.removed["unknown_fee"] == np.isnan(prices).sum()
    unknown = half.catalogue.display["creator_id"][0]
    with pytest.raises(DataError, match=f"nothing tells the fee of {unknown}"):
        offered(half, {"must_include": [unknown]})
    none = replace(half, catalogue=with_profile(catalogue, price=np.nan))
    with pytest.raises(DataError, match="no fee and no price is known") as refused:
        offered(none)
    assert refused.value.field == "budget"
