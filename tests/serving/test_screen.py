"""Margins hold for everybody, say something, and the fee filters decide as on the plain path."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.brief import parse_brief
from serving import screen as screening
from serving.candidates import ask, candidates, eligible
from serving.filters import NothingFits
from serving.kernels import BLOCK
from serving.price import PriceLine
from serving.release import Release
from serving.screen import screen
from tests.serving.fast_scoring import (
    drawn,
    features_of,
    forest,
    random_brief,
    same_answer,
    screened_within_margin,
    with_profile,
    with_trees,
)
from tests.serving.test_layout import given as with_one_stage
from tests.serving.test_layout import trees_of

ALL = {"goal": "awareness", "budget": 1e9}
LINES = {"quoted": PriceLine(0.1, 0.8, 0.2, 0.4, 99), "estimated": PriceLine(0.5, 0.3, 1.6, 0.7, 99)}


@pytest.fixture(scope="module")
def models(world, seen):
    rng = np.random.default_rng(0)
    return [
        world.model,
        with_trees(world.model, rng, seen),
        replace(with_trees(world.model, rng, seen, categorical=0.0, trees=15), price_lines=LINES),
    ]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 2))
def test_nobody_is_further_off_than_the_margin_says(world, models, seed, which):
    brief = random_brief(np.random.default_rng(seed), world.catalogue)
    screened_within_margin(Release(models[which], world.catalogue), brief)


def test_margins_are_narrow(world, models):
    """A margin as wide as what it is about would be as true, and of no use."""
    for model in models:
        for rank_by in ("roi", "profit", "value", "impressions"):
            full, found = screened_within_margin(Release(model, world.catalogue), {**ALL, "rank_by": rank_by})
            size = {"roi": full.order + 1, "profit": full.scores.value + full.scores.cost}.get(rank_by, full.order)
            assert (found.margin[~found.unsure] < 1e-3 * np.abs(size[~found.unsure])).all()
            assert found.unsure.mean() < 0.05


def test_fees_values_and_costs_are_as_near_as_said(world, models):
    for model in models:
        full, found = screened_within_margin(Release(model, world.catalogue), {**ALL, "goal": "launch"})
        for mine, exact in ((found.value, full.scores.value), (found.cost, full.scores.cost), (found.fee, full.fee)):
            assert (np.abs(mine - exact) <= found.relative * np.abs(exact)).all()


@pytest.mark.parametrize("level", [1e3, 1e5, 1e7])
def test_fees_that_are_only_roughly_known(world, seen, level):
    """Trees that cancel each other out leave little precision for the fee, and all of it for the rest."""
    high, low = (f"num_leaves=1\nnum_cat=0\nleaf_value={sign}{level}\nis_linear=0" for sign in ("", "-"))
    fee = forest(np.random.default_rng(0), seen, features=features_of("creator", "pair"))
    bare = with_one_stage(world.model, "none")
    stages = {name: replace(stage, coef=stage.coef * 0.0) for name, stage in bare.stages.items()}
    model = replace(bare, stages=stages, fee=replace(bare.fee, trees=(trees_of(high, low), fee)), price_lines=LINES)
    catalogue = with_profile(world.catalogue, price=np.where(np.arange(len(seen)) % 3, np.nan, 90.0))
    fees = np.sort(candidates(Release(model, catalogue), parse_brief(ALL)).fee)
    for rank_by in ("roi", "profit"):
        for most in (1e9, float(fees[50]), float(fees[200])):
            brief = {**ALL, "rank_by": rank_by, "filters": {"max_fee": most}}
            full, found = screened_within_margin(Release(model, catalogue), brief)
            if most == 1e9:
                assert np.abs(found.fee / full.fee - 1.0).max() > 0.01 * level * 2.0**-30


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("estimated", [True, False], ids=["fees estimated", "fees known"])
def test_splits_exactly_at_fees_and_what_they_buy(world, seen, seed, estimated):
    """Whoever may be sent the other way is unsure; nobody else is scored by another leaf."""
    rng = np.random.default_rng(seed)
    model = with_trees(world.model, rng, seen)
    # of a fee that is known, what it is divided by is still rounded
    model = replace(model, price_lines=LINES) if estimated else replace(model, fee=None, price_lines={})
    there = candidates(Release(model, world.catalogue), parse_brief(ALL)).x
    priced = with_trees(
        model, rng, there, features=features_of("price"), leaves=(4, 9), missing=(2,), categorical=0.0, size=1.0
    )  # fmt: skip
    priced = replace(priced, fee=model.fee)
    for rank_by in ("roi", "value", "impressions"):
        _, found = screened_within_margin(Release(priced, world.catalogue), {**ALL, "rank_by": rank_by})
        assert 0.0 < found.unsure.mean() < 0.9
        same_answer(Release(priced, world.catalogue), {**ALL, "rank_by": rank_by, "top": 5})


@pytest.mark.parametrize("n", [1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 3])
def test_any_number_of_creators(world, models, n):
    release = Release(models[2], drawn(world.catalogue, n, seed=n))
    screened_within_margin(release, ALL)
    if n > 1:
        screened_within_margin(release, {**ALL, "filters": {"max_fee": 800.0}, "rank_by": "profit"})


@pytest.mark.parametrize("rows", [97, BLOCK, BLOCK + 1])
def test_some_at_a_time_are_scored_as_all_at_once(world, models, rows, monkeypatch):
    catalogue = drawn(world.catalogue, 2 * BLOCK + 5)
    for brief in (ALL, {**ALL, "goal": "conversion", "filters": {"max_fee": 500.0, "tiers": ["micro", "macro"]}}):
        asked = ask(Release(models[2], catalogue), parse_brief(brief))
        at_once, _ = screen(asked, asked.release.prepared, *eligible(asked))
        with monkeypatch.context() as patch:
            patch.setattr(screening, "ROWS_AT_ONCE", rows)
            in_parts, passed = screen(asked, asked.release.prepared, *eligible(asked))
        np.testing.assert_array_equal(passed, at_once.rows)
        for name, column in vars(at_once).items():
            np.testing.assert_array_equal(getattr(in_parts, name), column, err_msg=name)


def test_who_is_left_out_early_changes_nothing(world, models, monkeypatch):
    """A fee filter that leaves few, and one that leaves nearly all, take two ways through the code."""
    release = Release(models[2], world.catalogue)
    fees = np.sort(candidates(release, parse_brief(ALL)).fee)
    for share in (0.1, 0.79, 0.81, 0.97):
        brief = {**ALL, "filters": {"max_fee": float(fees[int(share * len(fees))])}}
        answers = []
        for worth in (0.0, 1.1):
            monkeypatch.setattr(screening, "WORTH_LEAVING", worth)
            answers.append(screened_within_margin(release, brief)[1])
        for name, column in vars(answers[0]).items():
            np.testing.assert_array_equal(getattr(answers[1], name), column, err_msg=name)


def test_thinning_sees_everybody_once_and_all_who_passed_are_told(world, models, monkeypatch):
    monkeypatch.setattr(screening, "ROWS_AT_ONCE", 50)
    asked = ask(Release(models[0], world.catalogue), parse_brief({**ALL, "filters": {"max_fee": 900.0}}))
    seen_rows = []

    def first_alone(part):
        seen_rows.extend(part.rows.tolist())
        return part.part(np.array([0]))

    found, passed = screen(asked, asked.release.prepared, *eligible(asked), first_alone)
    assert seen_rows == passed.tolist() == candidates(asked.release, asked.brief).rows.tolist()
    assert 1 < len(found.rows) <= 9


def test_nobody_left_is_refused(world):
    asked = ask(world.release, parse_brief({**ALL, "filters": {"max_fee": 1e-9}}))
    with pytest.raises(NothingFits, match="max_fee"):
        screen(asked, world.release.prepared, *eligible(asked))
