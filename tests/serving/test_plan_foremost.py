import numpy as np
import pytest

from features.plan_options import parse_plan
from serving import plan_foremost
from serving.candidates import ask, eligible, scored
from serving.plan_bound import bound
from serving.plan_foremost import SIZES, foremost
from serving.plan_problem import Problem
from serving.release import Release
from tests.serving.fast_scoring import drawn


@pytest.fixture(scope="module")
def release(world):
    return Release(world.model, drawn(world.catalogue, 3000, seed=2))


@pytest.mark.parametrize("budget", [500.0, 5000.0, 50_000.0])
def test_whoever_is_left_out_is_in_no_set_above_the_bound(release, monkeypatch, budget):
    """For each size of account: price the budget anew among everybody exactly scored."""
    monkeypatch.setattr(plan_foremost, "MOST", 150)
    brief = parse_plan({"goal": "conversion", "budget": budget, "product_margin": 0.4})
    asked = ask(release, brief, tell_budget=False)
    rows, removed = eligible(asked)
    kept, outside = foremost(asked, brief, release.prepared, rows, removed)
    assert (np.diff(kept) > 0).all()
    assert set(kept) < set(rows)
    found = scored(asked, rows)
    tiers = np.array(release.catalogue.display["tier"].to_list())[found.rows]
    cost = np.round(np.nan_to_num(found.scores.cost, nan=1e12) * 100).astype(np.int64)
    bounded = set()
    for size, names in {"all": set(tiers.tolist()), **SIZES}.items():
        own = np.flatnonzero(np.isin(tiers, list(names)) & (found.fee <= budget))
        out = ~np.isin(found.rows[own], kept)
        if not out.any():
            continue
        bounded.add(size)
        problem = Problem(
            found.scores.value[own], np.zeros(len(own)), cost[own], np.arange(len(own)), int(budget * 100)
        )
        upper = bound(problem)
        # with one who was left out in it, no set is worth more than this
        most = max(upper.value + min(reduced, 0.0) for reduced in upper.reduced[out])
        assert most * (1 - 0.01) <= outside[size] <= upper.value * 1.01
    assert bounded <= set(outside)
    assert "all" in bounded


def test_a_quantity_is_not_bounded(release, monkeypatch):
    monkeypatch.setattr(plan_foremost, "MOST", 150)
    brief = parse_plan({"goal": "conversion", "budget": 5000.0, "rank_by": "impressions"})
    asked = ask(release, brief.model_copy(update={"rank_by": "roi"}), tell_budget=False)
    rows, removed = eligible(asked)
    _, outside = foremost(asked, brief, release.prepared, rows, removed)
    assert outside["all"] == np.inf


def test_where_everybody_is_kept_nobody_is_outside(world):
    brief = parse_plan({"goal": "conversion", "budget": 1e9})
    asked = ask(world.release, brief, tell_budget=False)
    rows, removed = eligible(asked)
    kept, outside = foremost(asked, brief, world.release.prepared, rows, removed)
    np.testing.assert_array_equal(kept, rows)
    assert outside == {}


def test_some_of_each_limit_are_kept(release, monkeypatch):
    """However little they return: limits may ask for them."""
    monkeypatch.setattr(plan_foremost, "MOST", 20)
    monkeypatch.setattr(plan_foremost, "OF_LIMITED", 15)
    plan = {"tier_limits": {"macro": {"min": 3}}, "platform_limits": {"weibo": {"min": 2}}}
    brief = parse_plan({"goal": "conversion", "budget": 5000.0, "plan": plan})
    asked = ask(release, brief, tell_budget=False)
    rows, removed = eligible(asked)
    kept, _ = foremost(asked, brief, release.prepared, rows, removed)
    shown = release.catalogue.display[kept]
    assert (shown["tier"] == "macro").sum() >= 15
    assert (shown["platform"] == "weibo").sum() >= 15
