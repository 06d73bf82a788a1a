"""What each feature declares that it depends on is all that it depends on: fast scoring works out no more."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.brief import parse_brief
from features.brief_columns import encode_briefs
from features.context import PAIR_CODES, brief_context, creator_view
from features.declare import Context, log_positive
from features.matrix import FEATURES, define_features
from features.settings import Settings
from serving.catalogue import build_catalogue

DAY = 20_600
BRIEFS = st.fixed_dictionaries(
    {"goal": st.sampled_from(["awareness", "engagement", "conversion", "launch", "local"]),
     "budget": st.floats(1.0, 1e6)},
    optional={
        "brand_id": st.sampled_from(["synthetic-000", "synthetic-027", "nobody"]),
        "niches": st.lists(st.sampled_from(["beauty", "fashion", "gaming", "tech", "falconry"]), unique=True),
        "target_countries": st.dictionaries(st.sampled_from(["SG", "CN", "US", "IS"]), st.floats(0.1, 1.0)),
        "languages": st.lists(st.sampled_from(["en", "zh", "is"]), unique=True),
        "platforms": st.lists(st.sampled_from(["tiktok", "instagram", "myspace"]), unique=True),
        "starts_on": st.dates(),
        "product_price": st.floats(0.0, 500.0),
        "product_margin": st.floats(0.0, 1.0),
        "is_new_product": st.booleans(),
    },
)  # fmt: skip
CODES = st.integers(-1, 4)
PRICED = [i for i, f in enumerate(FEATURES) if f.beside_price is not None]


def positions(scope):
    return [i for i, f in enumerate(FEATURES) if f.scope == scope]


@pytest.fixture(scope="module")
def catalogue(messy_market):
    return build_catalogue(messy_market, DAY, Settings())


@pytest.fixture(scope="module")
def context_of(catalogue):
    def made(brief, deliverable=-1, price=None):
        fields = parse_brief(brief).model_dump()
        briefs = encode_briefs([fields], catalogue.words, catalogue.cpm_factors)
        context = brief_context(catalogue.state, briefs, deliverable, catalogue.words, len(catalogue.tier_names))
        return (
            context if price is None else context.at_price(np.broadcast_to(price, len(catalogue.state)).astype(float))
        )

    return made


def worked_out(context, n, features):
    return define_features(context, n, features, np.float64)


def test_every_scope_is_declared_by_some():
    assert {f.scope for f in FEATURES} == {"creator", "brief", "kind", "pair"}
    assert {f.beside_price for f in FEATURES} == {None, "creator", "brief", "pair"}
    assert all(FEATURES[i].scope == "pair" for i in PRICED)


@settings(max_examples=40, deadline=None)
@given(BRIEFS, CODES)
def test_a_brief_has_one_value_for_all_creators(catalogue, context_of, brief, deliverable):
    n = len(catalogue.state)
    values = worked_out(context_of(brief, deliverable), n, positions("brief"))
    np.testing.assert_array_equal(values, np.broadcast_to(values[:, :1], values.shape))
    one = brief_one(catalogue, brief, deliverable)
    np.testing.assert_array_equal(worked_out(one, 1, positions("brief"))[:, 0], values[:, 0])


def brief_one(catalogue, brief, deliverable):
    briefs = encode_briefs([parse_brief(brief).model_dump()], catalogue.words, catalogue.cpm_factors)
    last = len(catalogue.state) - 1
    state = catalogue.state.span(last, last + 1)
    return brief_context(state, briefs, deliverable, catalogue.words, len(catalogue.tier_names))


@settings(max_examples=40, deadline=None)
@given(BRIEFS, CODES)
def test_creators_of_a_kind_share_a_value(catalogue, context_of, brief, deliverable):
    n, codes = len(catalogue.state), catalogue.state.codes
    values = worked_out(context_of(brief, deliverable), n, positions("kind"))
    kinds = np.stack([np.asarray(codes[name]) for name in PAIR_CODES], axis=1)
    _, first, kind = np.unique(kinds, axis=0, return_index=True, return_inverse=True)
    assert len(first) < n
    np.testing.assert_array_equal(values, values[:, first][:, kind.reshape(-1)])


@settings(max_examples=25, deadline=None)
@given(BRIEFS, CODES, st.floats(0.01, 1e6))
def test_only_what_is_beside_a_price_reads_it(catalogue, context_of, brief, deliverable, price):
    n = len(catalogue.state)
    others = [i for i, f in enumerate(FEATURES) if f.scope != "creator" and i not in PRICED]
    before = worked_out(context_of(brief, deliverable), n, others)
    np.testing.assert_array_equal(worked_out(context_of(brief, deliverable, price), n, others), before)


@settings(max_examples=40, deadline=None)
@given(BRIEFS, BRIEFS, CODES, st.floats(0.01, 1e6))
def test_a_price_adds_its_log_and_no_more(catalogue, context_of, brief, other, deliverable, price):
    n = len(catalogue.state)
    prices = price * np.random.default_rng(0).lognormal(0, 1, n)
    at_price = worked_out(context_of(brief, deliverable, prices), n, PRICED)
    at_one = worked_out(context_of(brief, deliverable, 1.0), n, PRICED)
    np.testing.assert_allclose(at_price - log_positive(prices), at_one, rtol=0, atol=1e-12)
    elsewhere = worked_out(context_of(other, -1, 1.0), n, PRICED)
    for row, feature in enumerate(PRICED):
        if FEATURES[feature].beside_price == "creator":
            np.testing.assert_array_equal(elsewhere[row], at_one[row])
        if FEATURES[feature].beside_price == "brief":
            np.testing.assert_array_equal(at_one[row], np.full(n, at_one[row, 0]))


def test_without_a_price_there_is_nothing_beside_it(catalogue, context_of):
    n = len(catalogue.state)
    for price in (np.nan, 0.0):
        assert np.isnan(worked_out(context_of({"goal": "launch", "budget": 9.0}, price=price), n, PRICED)).all()


@settings(max_examples=20, deadline=None)
@given(BRIEFS, CODES)
def test_a_creator_is_the_same_whatever_the_brief(catalogue, messy_market, brief, deliverable):
    """What the catalogue keeps is what the definitions say of each brief, where they read what it keeps for pairs."""
    n = len(catalogue.state)
    view = creator_view(messy_market, np.arange(n), np.full(n, DAY))
    briefs = encode_briefs([parse_brief(brief).model_dump()], catalogue.words, catalogue.cpm_factors)
    context = Context(view.profile, view.codes, view.lists, view.records, briefs, np.zeros(1, dtype=np.int64))
    np.testing.assert_array_equal(define_features(context, n, positions("creator")), catalogue.state.static.T)


def test_sums_of_lists_are_worked_out_once_and_kept_at_another_price(context_of):
    context = context_of({"goal": "launch", "budget": 9.0, "target_countries": {"SG": 1.0}})
    first = context.dot("country", "targets")
    assert context.dot("country", "targets") is first
    assert context.at_price(np.ones(len(first))).dot("country", "targets") is first
    np.testing.assert_array_equal(first, context.lists["country"].dot(context.briefs.targets, context.which))
    other = context_of({"goal": "launch", "budget": 9.0, "target_countries": {"CN": 1.0}})
    assert not np.array_equal(other.dot("country", "targets"), first, equal_nan=True)
