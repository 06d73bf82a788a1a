"""A small version of the benchmark of quality: a guard against a model that picks worse."""

import pytest

from benchmarks.quality import of_market
from benchmarks.quality_tables import tables

RULES = (
    "random", "followers", "engagement rate", "engagement per cost", "geo-adjusted views per cost",
    "creator's past mean",
)  # fmt: skip


@pytest.fixture(scope="module")
def run():
    return {"run": ["balanced", 2_000, 0, 80], **of_market("balanced", 2_000, 0, 80, peers=True)}


def test_the_model_picks_better_than_every_rule_and_peer(run):
    share = {name: figures["oracle_share"] for name, figures in run["figures"].items()}
    assert set(RULES) < set(share)
    assert share["model"] > max(share[name] for name in RULES) + 0.05
    assert share["model"] > share["ridge on logs"] + 0.02
    assert share["model"] > share["LightGBM Tweedie, same features"] + 0.02
    assert 0.5 < share["model"] < 0.95
    assert abs(share["random"]) < 0.15


def test_it_promises_about_what_it_delivers_and_knows_how_sure_it_is(run):
    model = run["figures"]["model"]
    assert 0.7 < model["promise"] < 1.4
    assert model["decile_error"] < 0.3 < run["figures"]["random"]["decile_error"]
    assert 0.65 < model["coverage"] < 0.92
    assert 0.65 < model["coverage_picks"] < 0.95


def test_creators_without_history_are_picked_as_well(run):
    cold, known = (run["slices"][f"creator: {kind}"] for kind in ("without history", "known"))
    assert cold["lift"] > 0.85 * known["lift"]


def test_the_tables_hold_every_recommender_world_and_size(run):
    shown = tables([run, {**run, "run": ["balanced", 2_000, 1, 80]}])
    for name in run["figures"]:
        assert name in shown
    assert "| balanced | 2,000 | 2 |" in shown
    losing = {**run, "slices": {**run["slices"], "tier: mega": {"briefs": 9.0}}}
    assert "tier: mega" in tables([losing])
    assert f"{run['figures']['model']['oracle_share']:.3f}" in shown
