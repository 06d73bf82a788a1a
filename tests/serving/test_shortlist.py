"""The answer found fast is that of brute force, to the bit, whatever the model, the brief and the catalogue.

`serving.candidates.candidates` scores everybody with the Boosters: it is the oracle.
"""

import logging
from dataclasses import replace

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.brief import parse_brief
from features.matrix import FEATURES, NAMES
from features.profile import PRICE_SOURCES
from serving import screen as screening
from serving.candidates import candidates
from serving.filters import NothingFits
from serving.price import PriceLine
from serving.promise import Promise
from serving.release import Release
from serving.screen import Screened
from serving.shortlist import _last, contenders, shortlist
from serving.stage import Trees
from serving.steps import noted
from tests.serving.fast_scoring import (
    answers_alike,
    drawn,
    features_of,
    forest,
    random_brief,
    same_answer,
    with_profile,
    with_trees,
)
from tests.serving.test_layout import given as with_one_stage
from tests.serving.test_layout import stump, trees_of

SEEDS = st.integers(0, 2**32 - 1)
LINES = {
    "quoted": PriceLine(0.1, 0.8, 0.2, 0.4, 99), "paid": PriceLine(0.0, 1.0, 0.0, 0.1, 99),
    "estimated": PriceLine(0.5, 0.3, 1.6, 0.7, 99),
}  # fmt: skip
ALL = {"goal": "awareness", "budget": 1e9}
few_examples = settings(max_examples=12, deadline=None)


def briefs(rng, catalogue, n=6):
    return [random_brief(rng, catalogue) for _ in range(n)]


def trained(rng, x, rounds=8, categorical=(), **options):
    """An ensemble that LightGBM fits to a random target."""
    options = {"num_leaves": 31, "min_data_in_leaf": 3, "verbose": -1, "num_threads": 1, "cat_smooth": 1.0, **options}
    y = rng.normal(0, 1, len(x)) + 0.5 * np.nan_to_num(x[:, rng.integers(0, x.shape[1], 5)]).clip(-3, 3).sum(axis=1)
    data = lgb.Dataset(x, y, categorical_feature=list(categorical), params=options)
    return Trees(lgb.train(options, data, rounds).model_to_string(), 0.3)


def shared(model, *trees):
    """The model with the same ensembles in every stage; the fee keeps its own."""
    return replace(model, stages={name: replace(stage, trees=trees) for name, stage in model.stages.items()})


def slow(release):
    """The same release, scored the plain way."""
    plain = Release(release.model, release.catalogue)
    plain.__dict__["prepared"] = None
    return plain


# --- random models and briefs


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.sampled_from([(1, 3), (2, 8), (1, 32)]), st.sampled_from([0.01, 0.3, 3.0]), st.booleans())
def test_random_models(world, seen, seed, leaves, size, lines):
    rng = np.random.default_rng(seed)
    model = with_trees(world.model, rng, seen, leaves=leaves, size=size)
    promise = Promise(1.2, 0.6) if rng.random() < 0.3 else Promise()
    model = replace(model, price_lines=LINES if lines else {}, promise=promise)
    answers_alike(model, world.catalogue, briefs(rng, world.catalogue))


@few_examples
@given(SEEDS, st.sampled_from(["creator", "brief", "kind", "pair", "price"]))
def test_trees_that_ask_about_one_thing_only(world, seen, seed, scope):
    rng = np.random.default_rng(seed)
    model = with_trees(world.model, rng, seen, features=features_of(scope), trees=3)
    answers_alike(replace(model, price_lines=LINES), world.catalogue, briefs(rng, world.catalogue))


@few_examples
@given(SEEDS, st.sampled_from(["brief", "kind", "pair", "price"]))
def test_categories_of_anything(world, seen, seed, scope):
    rng = np.random.default_rng(seed)
    model = with_trees(
        world.model, rng, seen, features=features_of(scope), categorical=0.5, trees=1, leaves=(2, 5)
    )  # fmt: skip
    answers_alike(replace(model, price_lines=LINES), world.catalogue, briefs(rng, world.catalogue))


TRAINED = {
    "as trained": {},
    "zero is missing": {"zero_as_missing": True},
    "missing is zero": {"use_missing": False},
    "fine bins": {"max_bin": 1023, "min_data_in_bin": 1, "rounds": 60, "feature_fraction": 0.1},
    "small": {"num_leaves": 5, "rounds": 40},
    "categories": {"categorical": [NAMES.index(n) for n in (
        "log_price", "log_budget", "home_in_target", "niche_breadth", "creator_placements", "log_price_to_budget")],
        "max_cat_threshold": 8, "rounds": 3, "feature_fraction": 0.3},
}  # fmt: skip


@pytest.mark.parametrize("options", TRAINED.values(), ids=TRAINED)
def test_trained_ensembles(world, options):
    rng = np.random.default_rng(8)
    x = np.array(world.data.x)
    for column in options.get("categorical", ()):
        x[:, column] = np.trunc(x[:, column]).clip(min=0)
    model = shared(world.model, trained(rng, x, **options))
    assert answers_alike(model, world.catalogue, briefs(rng, world.catalogue, 25)) > 15


def test_missing_where_training_had_none_and_the_other_way_round(world):
    rng = np.random.default_rng(9)
    full = np.nan_to_num(world.data.x, nan=0.3)
    holes = np.where(rng.random(world.data.x.shape) < 0.5, np.nan, full).astype(np.float32)
    state, n = world.catalogue.state, len(world.catalogue.state)
    static = np.array(state.static)
    static[rng.random(static.shape) < 0.3] = np.nan
    profile = {name: np.where(rng.random(n) < 0.3, np.nan, v) for name, v in state.profile.items()}
    gaps = replace(world.catalogue, state=replace(state, static=static, profile=profile))
    whole = replace(world.catalogue, state=replace(state, static=np.nan_to_num(static, nan=0.5)))
    for x, catalogue in ((full, gaps), (holes, whole), (holes, gaps)):
        model = shared(world.model, trained(rng, x))
        assert answers_alike(model, catalogue, briefs(rng, world.catalogue, 20)) > 8


# --- models that lack something, or say odd things


@pytest.mark.parametrize("size", [1e2, 1e4, 1e8])
def test_rates_that_are_clipped(world, seen, size):
    rng = np.random.default_rng(1)
    assert answers_alike(with_trees(world.model, rng, seen, size=size), world.catalogue,
                         briefs(rng, world.catalogue, 25)) > 15  # fmt: skip


@pytest.mark.parametrize("coef", [0.0, 30.0, 1e5])
def test_linear_bases_of_any_size(world, seen, coef):
    rng = np.random.default_rng(2)
    assert answers_alike(with_trees(world.model, rng, seen, coef=coef), world.catalogue,
                         briefs(rng, world.catalogue, 25)) > 15  # fmt: skip


def test_returns_that_are_nothing_beside_their_cost(world, seen):
    """ROIs that differ by the last bits about -1."""
    rng = np.random.default_rng(3)
    model = with_trees(world.model, rng, seen)
    for lower in (22.0, 25.0, 30.0):
        stages = {n: replace(s, intercept=s.intercept - lower * (n == "impressions")) for n, s in model.stages.items()}
        assert answers_alike(replace(model, stages=stages), world.catalogue, briefs(rng, world.catalogue, 25)) > 15


def test_a_base_that_goes_by_the_price_alone(world):
    """Single precision rounds the logarithm of a price by more than the fee may be off."""
    unknown = dict.fromkeys(set(world.catalogue.state.profile) - {"price_source", "audience_credibility"}, np.nan)
    catalogue = with_profile(world.catalogue, **unknown)
    rng = np.random.default_rng(4)
    for slope in (1.0, 30.0, 1000.0):
        coef = np.zeros(2 * len(FEATURES))
        coef[NAMES.index("log_price")] = slope
        model = with_one_stage(world.model, "none")
        stages = {name: replace(s, coef=coef * (name == "impressions")) for name, s in model.stages.items()}
        assert answers_alike(replace(model, stages=stages), catalogue, briefs(rng, world.catalogue, 25)) > 10


def test_a_fee_of_zero_in_the_log_where_zero_is_missing(world, seen):
    """Fees of 1, and at the budget: logarithms of 0, which a split may take for missing."""
    rng = np.random.default_rng(5)
    for feature, price, budget in (("log_price", 1.0, 1e5), ("log_price_to_budget", 300.0, 300.0)):
        catalogue = with_profile(
            world.catalogue, price=np.where(rng.random(len(seen)) < 0.5, price, world.catalogue.state.profile["price"])
        )  # fmt: skip
        for decision in (1 << 2, 1 << 2 | 2):
            trees = trees_of(*(stump(NAMES.index(feature), edge, decision) for edge in (-3.0, 2.0)))
            model = shared(world.model, trees, forest(rng, seen))
            for brief in briefs(rng, world.catalogue, 10):
                answers_alike(model, catalogue, [{**brief, "budget": budget}])


@pytest.mark.parametrize("rank_by", ["roi", "profit"])
def test_fees_to_ask_for_where_no_fee_is_sure_at_a_split(world, seen, rank_by):
    """One quote for all, and a split exactly there: everybody's margin is wide."""
    quoted = float(PRICE_SOURCES.index("quoted"))
    catalogue = with_profile(world.catalogue, price=100.0, price_source=quoted)
    model = replace(world.model, price_lines={"quoted": PriceLine(0.0, 1.0, 0.0, 0.8, 99)})
    there = candidates(Release(model, catalogue), parse_brief(ALL)).x[0, NAMES.index("log_price")]
    tree = stump(NAMES.index("log_price"), float(there)).replace("leaf_value=-1 1", "leaf_value=0 0.0001")
    asked = 0
    for seed in range(4):
        creators = with_trees(model, np.random.default_rng(seed), seen, features=features_of("creator"))
        stages = {name: replace(s, trees=(*s.trees, trees_of(tree))) for name, s in creators.stages.items()}
        release = Release(replace(creators, stages=stages), catalogue)
        for top in (1, 5, 20, 100):
            full, _ = same_answer(release, {**ALL, "top": top, "rank_by": rank_by})
            asked += len(full.rows) > top
    assert asked == 16


def test_goals_and_costs_that_the_data_give_or_lack(world, seen):
    rng = np.random.default_rng(6)
    model = with_trees(world.model, rng, seen)
    value = replace(model.stages["impressions"], quantity="value", exposure="one")
    unpriced = with_profile(world.catalogue, price=np.nan)
    unpriced = replace(unpriced, state=replace(
        unpriced.state, deliverable_prices=unpriced.state.deliverable_prices * np.nan))  # fmt: skip
    free = replace(model, fee=None, typical_fee=0.0, extra_cost=replace(model.extra_cost, elasticity=0.0))
    cases = [
        (replace(model, overridden_goals=("local", "awareness"), stages={**model.stages, "value": value}), None),
        (replace(model, fee=None), None),
        (replace(model, fee=None), unpriced),
        (replace(model, fee=None, typical_fee=None), None),
        (replace(model, fee=None, typical_fee=None), unpriced),
        (free, unpriced),
        (replace(model, promise=Promise(0.5, 0.9), price_lines=LINES), None),
        (replace(model, stages={n: s for n, s in model.stages.items() if n not in ("net_revenue", "engagements")}),
         None),
        (with_one_stage(model, "clicks", *model.stages["clicks"].trees), None),
        (replace(model, levels=dict.fromkeys(model.levels, 0.0)), None),
    ]  # fmt: skip
    for changed, catalogue in cases:
        answers_alike(changed, catalogue or world.catalogue, briefs(rng, world.catalogue, 12))


def test_signals_of_any_size(world, seen):
    rng = np.random.default_rng(7)
    model, state = with_trees(world.model, rng, seen), world.catalogue.state
    for value in (np.inf, -np.inf, 1e-45, -1e-45, 1e-36, 3e38):
        static = np.array(state.static)
        static[rng.random(static.shape) < 0.2] = value
        catalogue = replace(world.catalogue, state=replace(state, static=static))
        answers_alike(model, catalogue, briefs(rng, world.catalogue, 8))
    odd = {"follower_count": (1e300, 0.0), "median_views": (0.0,), "price": (0.0, 1e-300, 1e300),
           "avg_likes": (5e-324,), "audience_credibility": (0.0,)}  # fmt: skip
    for name, value in ((name, value) for name, values in odd.items() for value in values):
        column = np.where(rng.random(len(state)) < 0.3, value, state.profile[name])
        with np.errstate(over="ignore"):
            answers_alike(model, with_profile(world.catalogue, **{name: column}), briefs(rng, world.catalogue, 8))


# --- ties, bounds and sizes


def test_alike_creators_stand_in_the_order_of_their_rows(world, seen):
    alike = replace(world.catalogue, state=world.catalogue.state.part(np.arange(600) % 4),
                    display=drawn(world.catalogue, 600).display)  # fmt: skip
    model = with_trees(world.model, np.random.default_rng(0), seen)
    for rank_by in ("roi", "profit", "value", "impressions"):
        for top in (1, 20, 150, 599, 600, 1000):
            full, found = same_answer(Release(model, alike), {**ALL, "rank_by": rank_by, "top": top})
            order = full.order[full.best(top)]
            assert len(np.unique(order)) <= 4
            same = np.flatnonzero(order[1:] == order[:-1])
            picks = found.found.rows[found.picks]
            assert (picks[same] < picks[same + 1]).all()


@pytest.mark.parametrize("lines", [{}, LINES], ids=["paid as priced", "lines"])
def test_a_bound_exactly_at_somebodys_fee(world, seen, lines):
    model = replace(with_trees(world.model, np.random.default_rng(0), seen), price_lines=lines)
    release = Release(model, world.catalogue)
    fees = np.sort(candidates(release, parse_brief(ALL)).fee)
    for fee in fees[[0, 5, 50, 200, len(fees) // 2, -5]]:
        counts = []
        for at in (np.nextafter(fee, 0), fee, np.nextafter(fee, np.inf)):
            for brief in ({**ALL, "budget": float(at)}, {**ALL, "filters": {"max_fee": float(at)}}):
                answer = same_answer(release, {**brief, "top": 1000})
                counts.append(0 if answer is None else len(answer[0].rows))
        assert counts[:3] != [counts[0]] * 3


def test_nobody_fits_is_said_alike(world):
    for filters in ({"max_fee": 1e-9}, {"known_price_only": True, "creator_ids": ["new-1"]}, {"min_followers": 1e15}):
        assert same_answer(world.release, {**ALL, "filters": filters}) is None
        with pytest.raises(NothingFits):
            shortlist(world.release, parse_brief({**ALL, "filters": filters}))


@pytest.mark.parametrize("rows", [1, 7, 150, 401, 402, 403])
def test_creators_looked_at_some_at_a_time(world, seen, rows, monkeypatch):
    monkeypatch.setattr(screening, "ROWS_AT_ONCE", rows)
    rng = np.random.default_rng(rows)
    model = replace(with_trees(world.model, rng, seen), price_lines=LINES)
    answers_alike(model, world.catalogue, briefs(rng, world.catalogue, 5 if rows == 1 else 15))


def test_few_of_many_are_scored_exactly(world, seen):
    catalogue = drawn(world.catalogue, 20_000)
    rng = np.random.default_rng(0)
    for model in (world.model, with_trees(world.model, rng, seen)):
        release = Release(model, catalogue)
        for brief in (ALL, {**ALL, "goal": "conversion", "rank_by": "value"}, {**ALL, "rank_by": "profit", "top": 100},
                      {**ALL, "goal": "engagement", "filters": {"tiers": ["micro"], "max_fee": 900.0}}):  # fmt: skip
            full, found = same_answer(release, brief)
            assert len(full.rows) > 2000
            assert len(found.found.rows) < 128 + brief.get("top", 20) + 400


@few_examples
@given(SEEDS, st.sampled_from([0.1, 0.5]), st.integers(0, 99))
def test_explored_slots_are_drawn_from_the_same_pool(world, seen, seed, share, draw):
    rng = np.random.default_rng(seed)
    model = replace(with_trees(world.model, rng, seen), price_lines=LINES)
    release = Release(model, world.catalogue)
    for fields in briefs(rng, world.catalogue):
        brief = parse_brief({**fields, "explore_share": share, "seed": draw})
        try:
            plain = shortlist(slow(release), brief)
        except NothingFits:
            continue
        fast = shortlist(release, brief)
        np.testing.assert_array_equal(fast.found.rows[fast.picks], plain.found.rows[plain.picks])
        assert (fast.explored, fast.chance) == (plain.explored, plain.chance)


# --- falling back


def foreign(world, seen, kind):
    rng = np.random.default_rng(0)
    if kind == "fee":
        return replace(
            world.model, fee=replace(world.model.fee, trees=(forest(rng, seen, features=features_of("price")),))
        )
    if kind == "leaves":
        return shared(world.model, trained(rng, world.data.x, num_leaves=40))
    return shared(world.model, *(trained(
        rng, np.trunc(np.nan_to_num(world.data.x)).clip(0), categorical=features_of("creator"),
        feature_fraction=0.2, min_data_per_group=5) for _ in range(4)))  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "words"), [("leaves", "40 leaves"), ("categories", "on categories"), ("fee", "what a fee buys")]
)
def test_models_of_another_kind_are_answered_the_slow_way_loudly(world, seen, kind, words, caplog):
    release = Release(foreign(world, seen, kind), world.catalogue)
    with caplog.at_level(logging.WARNING, "bentoml.influencer_roi"), noted() as steps:
        for brief in (ALL, {**ALL, "goal": "conversion", "top": 3}):
            same_answer(release, brief)
    assert release.prepared is None
    (said,) = [record.getMessage() for record in caplog.records]
    assert "is scored the slow way" in said
    assert words in said
    assert steps.fallbacks == {"model": 2}


def test_commissions_are_answered_the_slow_way(world, seen):
    model = replace(
        with_trees(world.model, np.random.default_rng(0), seen), commission_rate=0.2, fee=None, price_lines={}
    )  # fmt: skip
    with noted() as steps:
        for rank_by in ("roi", "value"):
            same_answer(Release(model, world.catalogue), {**ALL, "goal": "conversion", "rank_by": rank_by})
    assert steps.fallbacks == {"commission": 2}


def test_the_fast_way_is_what_answers(world):
    with noted() as steps:
        same_answer(world.release, ALL)
    assert (dict(steps.fallbacks), "screen" in steps.seconds) == ({}, True)


# --- who contends


def test_the_last_pick_lies_between_bounds_that_unsure_ones_raise_but_do_not_widen():
    order, margin = np.array([5.0, 4.0, 3.0, 9.0, np.nan]), np.array([0.5, 0.5, 0.5, 4.0, 0.0])
    unsure = np.array([False, False, False, True, False])
    rest = dict.fromkeys(("relative", "value", "cost", "fee", "fee_spread", "source"), order)
    screened = Screened(rows=np.arange(5), order=order, margin=margin, unsure=unsure, **rest)
    assert _last(screened, 1) == (5.0, 5.5)  # at least what the unsure one has; at most as if it were none
    assert _last(screened, 2) == (4.5, 4.5)
    assert _last(screened, 3) == (3.5, -np.inf)  # whatever it turns out to be, it is asked again


@given(st.lists(st.tuples(st.sampled_from([np.nan, *range(-3, 4)]), st.sampled_from([0.0, 0.5, 1.0, 9.0])), min_size=1,
                max_size=12), st.integers(1, 6), SEEDS)  # fmt: skip
def test_contenders_hold_the_best_whatever_the_truth(orders, most, seed):
    order, margin = (np.array(column, dtype=float) for column in zip(*orders, strict=True))
    margin[np.isnan(order)] = 0.0
    found = set(contenders(order, margin, most).tolist())
    rng = np.random.default_rng(seed)
    for _ in range(10):
        true = order + margin * rng.choice([-1.0, 0.0, 1.0], len(order))
        best = np.argsort(-np.nan_to_num(true, nan=-np.inf), kind="stable")[:most]
        assert set(best.tolist()) <= found
