"""A small version of the benchmark of quality: a guard against a model that picks worse."""

from argparse import Namespace
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from benchmarks import peers
from benchmarks.ceiling import NOISY, noise_free
from benchmarks.last_snapshot import READ, LastSnapshot
from benchmarks.quality import left_out, of_market
from benchmarks.quality_tables import tables
from features import asof
from features.errors import DataError
from features.settings import Settings
from training.dataset import build_dataset
from training.sample import write_sample
from training.sample_truth import FOLDER, read_truth
from training.source import load

RULES = (
    "random", "followers", "engagement rate", "engagement per cost", "geo-adjusted views per cost",
    "creator's past mean",
)  # fmt: skip


@pytest.fixture(scope="module")
def run():
    return {"run": ["balanced", 2_000, 0, 80], **of_market("balanced", 2_000, 0, 80, peers=True, noise_free=True)}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    write_sample(folder, creators=300, placements=900, seed=3, fmt="parquet", truth=(4, 60))
    loaded = load(folder, Settings(), None)
    return SimpleNamespace(
        data=build_dataset(loaded.market), tables=loaded.tables, truth=read_truth(folder / FOLDER), day=loaded.as_of
    )


def test_the_model_picks_better_than_every_rule(run):
    share = {name: run["figures"][name]["oracle_share"] for name in ("model", "ridge on logs", *RULES)}
    assert share["model"] > max(share[name] for name in RULES) + 0.05
    assert share["model"] > share["ridge on logs"] + 0.02
    assert 0.5 < share["model"] < 0.95
    assert abs(share["random"]) < 0.15


@pytest.mark.parametrize("peer", peers.PEERS)
def test_the_model_picks_better_than_every_peer(run, peer):
    if peer in peers.absent_peers():
        assert run["figures"][peer] == {}
        pytest.skip(peers.absent_peers()[peer])
    share = run["figures"][peer]["oracle_share"]
    assert 0.2 < share < run["figures"]["model"]["oracle_share"] - 0.02


def test_the_last_snapshot_is_the_newest_row_known_before_the_day(small):
    last, p = LastSnapshot(small.data.market, small.tables), small.data.market.placements
    rows = np.arange(0, len(p), 23)
    x, _ = last.of_placements(rows)
    ids = small.data.market.creators.frame["creator_id"]
    read = small.tables.creator_snapshots
    read = read.with_columns(pl.Series("day", asof.days(read["known_at"])))
    found = 0
    for row, features in zip(rows, x, strict=True):
        known = read.filter(pl.col("creator_id") == ids[int(p.creator[row])], pl.col("day") < int(p.agreed[row]))
        expected = np.full(len(READ), np.nan)
        if known.height:
            newest = known.sort("day", "snapshot_at").select(pl.col(READ).cast(pl.Float64)).row(-1)
            expected = np.array([np.nan if value is None else value for value in newest])
            found += 1
        np.testing.assert_array_equal(features[: len(READ)], expected)
    assert found > 10


def test_candidates_get_the_last_snapshot_from_the_same_code(small):
    market, briefs = small.data.market, small.truth.briefs
    last = LastSnapshot(market, small.tables)
    starts = np.searchsorted(small.truth.outcomes["brief_id"].to_numpy(), [b["brief_id"] for b in briefs])
    pool = SimpleNamespace(truth=small.truth.outcomes, starts=np.append(starts, small.truth.outcomes.height))
    x, categories = last.of_pool(pool, briefs)
    assert x.shape[0] == small.truth.outcomes.height
    followers, goal = x[:, READ.index("follower_count")], x[:, categories[-2]]
    # read at most a month before the market's last day, whose true followers the truth holds
    assert np.nanmedian(np.abs(np.log(followers / small.truth.outcomes["followers"].to_numpy()))) < 0.05
    names = small.truth.outcomes["goal"].to_list()
    assert len(set(zip(goal, names, strict=True))) == len(set(names))
    creator = market.creators.frame["creator_id"].index_of(small.truth.outcomes["creator_id"][0])
    at = last.newest(np.array([creator]), np.array([small.day]))
    assert last.rows["follower_count"][int(at[0])] == followers[0]


def test_noise_free_labels_are_the_means_of_what_is_known(small):
    clean = noise_free(small.data, "balanced", 300, 900, 3)
    for name in NOISY:
        drawn, mean = small.data.labels.columns[name], clean.labels.columns[name]
        np.testing.assert_array_equal(np.isnan(drawn), np.isnan(mean))
        known = np.isfinite(drawn) & (drawn > 0)
        assert 0.5 < np.median(drawn[known] / mean[known]) < 2.0
        assert 0.7 < np.nansum(drawn) / np.nansum(mean) < 1.4
    np.testing.assert_array_equal(np.isnan(small.data.labels.fee), np.isnan(clean.labels.fee))
    assert np.nanstd(np.log(small.data.labels.fee / clean.labels.fee)) < 0.5
    assert clean.x is small.data.x
    with pytest.raises(DataError, match="not those of world balanced with seed 4"):
        noise_free(small.data, "balanced", 300, 900, 4)


def test_noise_free_labels_do_not_make_the_model_worse(run):
    assert run["ceiling"]["oracle_share"] > run["figures"]["model"]["oracle_share"] - 0.02


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
    cold, known = (run["slices"][f"creator: {kind}"]["lift"] for kind in ("without history", "known"))
    covered = next(line for line in shown.split("\n\n")[3].splitlines() if line.startswith("| balanced"))
    assert covered.endswith(f"| {cold / known:.2f} |")
    assert f"| {run['slices']['goal: awareness']['coverage_picks']:.2f} |" in covered


def test_an_absent_peer_is_a_dash_and_a_line_that_says_how_to_install_it(run, monkeypatch):
    monkeypatch.setattr(peers, "find_spec", lambda name: None if name == "catboost" else find_spec("lightgbm"))
    gone = "CatBoost Tweedie, same features"
    asked = Namespace(peers=True, ceiling=True, results="runs.jsonl")
    one = {**run, "figures": {**run["figures"], gone: {}}}
    lines = left_out(asked, [one, {key: value for key, value in one.items() if key != "ceiling"}])
    assert lines[0] == f"{gone} is left out: catboost is not installed (pip install '.[peers]')"
    assert "1 finished runs in runs.jsonl lack the ceiling" in lines[-1]
    assert left_out(Namespace(peers=False, ceiling=False, results=None), [one]) == []
    header, _, row = (line.strip("| ").split(" | ") for line in tables([one]).splitlines()[:3])
    assert row[header.index(gone)] == "-"


def test_the_ceiling_has_a_table_where_it_was_asked_for(run):
    shown = tables([run, {**run, "run": ["cliffs", 2_000, 0, 80], "ceiling": {"oracle_share": 0.75}}])
    assert "model / noise-free labels" in shown
    own = run["figures"]["model"]["oracle_share"]
    assert f"| cliffs | 2,000 | 1 | **{own:.3f}** | 0.750 | {own / 0.75:.2f} |" in shown
    assert "noise-free" not in tables([{key: value for key, value in run.items() if key != "ceiling"}])
