from dataclasses import replace

import numpy as np
import pytest

from features.plan_options import parse_plan
from serving.plan_case import build_case
from serving.plan_notes import notes
from serving.plan_offers import plan_offers
from serving.plan_problem import mask_of
from serving.plan_sets import outcome
from serving.plan_solve import solve
from tests.serving.random_plans import mixed

ASKED = {"goal": "conversion", "budget": 2500.0, "product_margin": 0.4, "explain": False}


@pytest.fixture(scope="module")
def release(world):
    return mixed(world.release, 2, niches=60)


@pytest.fixture(scope="module")
def ids(release):
    return release.catalogue.display["creator_id"].sample(30, seed=6).to_list()


def planned(release, ids, options=None, **changes):
    filters = {"creator_ids": ids, **changes.pop("filters", {})}
    brief = parse_plan({**ASKED, "filters": filters, **changes, "plan": options or {}})
    case = build_case(release, brief, plan_offers(release, brief))
    return case, outcome(case, solve(case.problem, 30.0).chosen)


def said(case, made):
    return " | ".join(notes(case, made))


def test_what_is_an_estimate(release, ids):
    case, made = planned(release, ids)
    every = said(case, made)
    assert "audience overlap" in every
    assert "learnt from past placements" in every
    assert "50% of agreed posts" in said(*planned(release, ids, {"delivery_rate": 0.5}))
    unsure = int((case.offers.found.fee_spread[made.positions] > 0).sum())
    assert unsure
    assert f"{unsure} of {len(made.positions)} fees may turn out otherwise" in every
    model = replace(release.model, stages={k: v for k, v in release.model.stages.items() if k != "delivery"})
    bare = replace(case, release=replace(release, model=model))
    assert "every post is taken to appear" in said(bare, made)
    for words in ("must_include", "worth nothing", "costs nearly nothing", "nobody is worth buying"):
        assert words not in every


def test_a_plan_of_nobody_says_that_and_nothing_of_picks(release, ids):
    found = notes(*planned(release, ids, rank_by="profit", product_margin=1e-9))
    assert len(found) == 1
    assert "nobody is worth buying" in found[0]


@pytest.fixture(scope="module")
def stranger(release, ids):
    """A creator who is not among the named, and no nano."""
    display = release.catalogue.display
    others = display.filter(~display["creator_id"].is_in(ids) & (display["tier"] == "micro"))
    return others["creator_id"].sort()[0]


def test_must_include_names_whom_filters_would_have_left_out(release, ids, stranger):
    asked = {"filters": {"tiers": ["nano"], "max_fee": 0.5}, "budget": 20_000.0, "platforms": ["kuaishou"]}
    case, _ = planned(release, ids, {"must_include": [stranger]}, budget=20_000.0)
    brief = parse_plan({**ASKED, **asked, "filters": {"creator_ids": ids, **asked["filters"]},
                        "plan": {"must_include": [stranger]}})  # fmt: skip
    strict = replace(case, brief=brief)
    made = outcome(case, case.offers.ids == stranger)
    note = next(note for note in notes(strict, made) if "must_include" in note)
    assert "filters would have left out" in note
    assert f"{stranger} (creator_ids, brief_platforms, tiers, max_fee)" in note
    # by the filter of the request alone
    note = next(note for note in notes(case, made) if "must_include" in note)
    assert f"{stranger} (creator_ids)" in note


def test_who_passes_the_filters_or_is_not_asked_for_by_name_is_not_named(release, ids, stranger):
    insider = str(planned(release, ids)[0].offers.ids[0])
    case, made = planned(release, ids, {"must_include": [insider]}, budget=20_000.0)
    assert insider in case.offers.ids[made.positions]
    assert "must_include" not in said(case, made)
    case, made = planned(release, ids, {"must_include": [insider, stranger]}, budget=20_000.0)
    note = next(note for note in notes(case, made) if "must_include" in note)
    assert stranger in note
    assert insider not in note


def test_the_first_of_many_are_named_and_the_others_counted(release, ids):
    display = release.catalogue.display
    others = sorted(set(display["creator_id"]) - set(ids) - {"new-1", "new-2"})
    case, _ = planned(release, ids, {"must_include": others[:5]}, budget=1e6)
    made = outcome(case, np.ones(len(case.offers), dtype=bool))
    note = next(note for note in notes(case, made) if "must_include" in note)
    assert all(name in note for name in others[:3])
    assert others[3] not in note
    assert "and 2 more" in note


def test_roi_says_little_of_what_costs_nearly_nothing(release, ids):
    case, made = planned(release, ids)
    floor = release.model.basis.cost_floor * 100
    for cost, little in ((0.0, True), (0.9 * floor, True), (floor, False)):
        gifts = replace(case, problem=replace(case.problem, cost=np.full(len(case.offers), int(cost))))
        assert ("ROI says little: a cost below 1.00 USD" in said(gifts, made)) == little
    free = replace(case, problem=replace(case.problem, cost=np.zeros(len(case.offers), dtype=np.int64)))
    assert "costs nearly nothing (0 USD)" in said(free, made)


@pytest.mark.parametrize("rank_by", ["value", "profit", "conversions"])
def test_a_configuration_that_makes_everybody_worth_nothing(release, ids, rank_by):
    every = said(*planned(release, ids, rank_by=rank_by, product_margin=0.0))
    assert "every creator is worth nothing" in every
    assert "net revenue x product margin" in every
    assert "product_margin is 0" in every


def test_a_value_of_nothing_that_is_not_of_the_margin(release, ids):
    case, made = planned(release, ids)
    found = case.offers.found
    scores = replace(found.scores, value=np.zeros(len(case.offers)))
    every = said(replace(case, offers=replace(case.offers, found=replace(found, scores=scores))), made)
    assert "every creator is worth nothing" in every
    assert "see value_basis" in every
    assert "product_margin is 0" not in every


def test_many_placements_are_much_work(release):
    names = release.catalogue.display["creator_id"].to_list()
    case, _ = planned(release, names[:80], budget=1e6)
    whole = outcome(case, np.ones(len(case.offers), dtype=bool))
    assert f"{len(case.offers)} placements are many" in said(case, whole)
    assert "placements are many" not in said(case, outcome(case, mask_of(len(case.offers), [0])))
