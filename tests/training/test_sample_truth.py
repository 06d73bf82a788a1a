import itertools
import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

from features.brief import parse_brief
from features.check import load_checked
from features.errors import DataError
from features.settings import Settings
from training.cli import app
from training.sample import TABLES, write_sample
from training.sample_campaigns import coming_campaigns, shortlists
from training.sample_expected import capped_mean
from training.sample_held_out import held_out, make_truth, take, true_means, true_value
from training.sample_hidden import TODAY, make_hidden
from training.sample_outcomes import deliverable_shares, draw_costs, draw_counts, draw_revenue, expected_rates
from training.sample_truth import Truth, joint_value, read_truth, write_truth
from training.sample_world import pick_index
from training.sample_worlds import world_named

SMALL = {"creators": 400, "placements": 800, "snapshots": 3}
DRAWS = 2000


@pytest.fixture(scope="module")
def truth() -> Truth:
    return make_truth(make_hidden(**SMALL), "balanced", briefs=40, pool=60)


@pytest.mark.parametrize("name", ["balanced", "fraud-heavy", "null", "cliffs"])
def test_means_are_those_of_the_generators_own_draws(name: str) -> None:
    hidden = make_hidden(placements=3000, snapshots=1, world=world_named(name))
    world, rng = hidden.world, np.random.default_rng(5)
    campaigns = coming_campaigns(world, hidden.creators, hidden.campaigns.brands, 30, rng)
    candidate, real = shortlists(10, hidden.creators, campaigns.platforms, rng)
    which, column = np.nonzero(real)
    open_ones = held_out(hidden, campaigns, which, candidate[which, column])
    n, means = len(which), true_means(hidden, campaigns, open_ones)
    assert n == 300
    many = take(open_ones, np.tile(np.arange(n), DRAWS), np.zeros(n * DRAWS, dtype=np.int64))
    kinds = np.cumsum(deliverable_shares(), axis=1)[hidden.creators.platform[many.creator]]
    many = replace(many, deliverable=pick_index(rng, kinds))
    rate = expected_rates(world, hidden.creators, campaigns, many, hidden.today)
    costs = draw_costs(world, hidden.creators, many, rng)
    counts = draw_counts(world, campaigns, many, rate, rng)
    sold, returned = draw_revenue(world, campaigns.price[many.campaign], counts["conversions"], rng)
    net = sold * (1 - returned)
    delivered = rng.random(n * DRAWS) < hidden.creators.delivery[many.creator]
    seen = (counts["impressions"].astype(float), counts["engagements"].astype(float), net)
    drawn = {
        "fee": costs[0], "cost": sum(costs), "net_revenue": net,
        **{name: counts[name] for name in ("impressions", "engagements", "clicks", "conversions")},
        "value": np.where(delivered, true_value(hidden, campaigns, many, seen), 0.0),
    }  # fmt: skip
    worth = true_value(hidden, campaigns, open_ones, (means.impressions, means.engagements, means.net_revenue))
    expected = {**vars(means), "value": hidden.creators.delivery[open_ones.creator] * worth}
    for field, values in drawn.items():
        table = np.asarray(values, dtype=float).reshape(DRAWS, n)
        error = np.maximum(table.std(axis=0) / np.sqrt(DRAWS), 1e-9)
        score = (table.mean(axis=0) - expected[field]) / error
        # skewed draws: the mean lies a little below more often, and its error is underestimated then
        assert abs(score.mean()) < 0.25, (field, score.mean())
        assert 0.8 < score.std() < 1.3, (field, score.std())
        assert np.abs(score).max() < 6, field
        ratio = np.log(table.sum() / (expected[field].sum() * DRAWS))
        assert abs(ratio) < 4 * np.sqrt((error**2).sum()) / expected[field].sum() + 1e-4, field


def test_a_mean_far_from_its_cap_is_a_log_normals_and_a_level_far_above_gives_the_cap() -> None:
    assert capped_mean(np.array([-6.0, 9.0]), 0.3, 0.3) == pytest.approx([np.exp(-6.0 + 0.045), 0.3])
    assert capped_mean(np.array([-6.0, 9.0]), 0.0, 0.3) == pytest.approx([np.exp(-6.0), 0.3])


def test_held_out_briefs_are_readable_later_and_have_their_candidates(truth: Truth) -> None:
    assert len(truth.briefs) == 40
    for payload in truth.briefs:
        brief = parse_brief(payload)
        assert brief.starts_on > TODAY
        rows = truth.outcomes.filter(pl.col("brief_id") == brief.brief_id)
        assert rows["creator_id"].to_list() == list(brief.filters.creator_ids)
        assert set(rows["platform"]) <= set(brief.platforms)
        assert set(rows["goal"]) == {brief.goal}
    assert {payload["goal"] for payload in truth.briefs} == {
        "awareness", "engagement", "conversion", "launch", "local"
    }  # fmt: skip
    assert truth.outcomes.select("brief_id", "creator_id").is_duplicated().sum() == 0
    assert truth.outcomes.null_count().sum_horizontal().item() == 0


def test_roi_is_expected_value_by_expected_cost_and_draws_scatter_about_it(truth: Truth) -> None:
    outcomes = truth.outcomes
    again = outcomes["value"] / outcomes["cost"].clip(lower_bound=1.0) - 1
    assert outcomes["roi"].to_numpy() == pytest.approx(again.to_numpy())
    engaged = outcomes.filter(pl.col("goal") == "engagement")
    assert engaged["value"].to_numpy() == pytest.approx(
        (0.10 * engaged["engagements"] * engaged["delivery"]).to_numpy()
    )
    assert (outcomes["drawn_value"] == 0).mean() > 1 - outcomes["delivery"].mean() - 0.03
    assert outcomes["drawn_cost"].sum() == pytest.approx(outcomes["cost"].sum(), rel=0.05)
    assert outcomes["drawn_roi"].std() > 1.3 * outcomes["roi"].std()


def test_the_same_seed_gives_the_same_truth_and_another_seed_another(truth: Truth) -> None:
    hidden = make_hidden(**SMALL)
    for again in (make_truth(hidden, "balanced", briefs=40, pool=60) for _ in range(2)):
        assert_frame_equal(truth.outcomes, again.outcomes)
        assert_frame_equal(truth.overlap, again.overlap)
        assert (truth.briefs, truth.facts) == (again.briefs, again.facts)
    other = make_truth(make_hidden(**SMALL, seed=1), "balanced", briefs=40, pool=60)
    assert not truth.outcomes.equals(other.outcomes)


def test_the_truth_comes_back_from_its_files(truth: Truth, tmp_path: Path) -> None:
    write_truth(truth, tmp_path)
    again = read_truth(tmp_path)
    assert_frame_equal(truth.outcomes, again.outcomes)
    assert_frame_equal(truth.overlap, again.overlap)
    assert truth.briefs == again.briefs
    assert "SYNTHETIC" in again.facts["warning"]
    assert again.facts["parameters"]["fatigue"] == 0.08
    with pytest.raises(DataError, match="no truth that can be read"):
        read_truth(tmp_path / "elsewhere")


def test_truth_stays_out_of_the_tables_and_of_check(tmp_path: Path) -> None:
    with_it, without = tmp_path / "with", tmp_path / "without"
    write_sample(with_it, **SMALL, truth=(5, 20))
    write_sample(without, **SMALL)
    assert sorted(p.name for p in with_it.iterdir()) == sorted([*(f"{name}.csv" for name in TABLES), "truth"])
    for name in TABLES:
        assert (with_it / f"{name}.csv").read_bytes() == (without / f"{name}.csv").read_bytes()
    settings = Settings()
    assert load_checked(with_it, settings)[1] == load_checked(without, settings)[1]
    campaigns = pl.read_csv(with_it / "campaigns.csv", try_parse_dates=True)
    briefs = [json.loads(line) for line in (with_it / "truth" / "briefs.jsonl").read_text().splitlines()]
    assert min(date.fromisoformat(brief["starts_on"]) for brief in briefs) > campaigns["starts_on"].max()


def test_an_earlier_truth_is_not_left_beside_another_market(tmp_path: Path) -> None:
    write_sample(tmp_path, **SMALL, truth=(2, 5))
    with pytest.raises(DataError, match=r"truth of an earlier market.*--truth"):
        write_sample(tmp_path, **SMALL, seed=1)
    write_sample(tmp_path, **SMALL, seed=1, truth=(2, 5))
    assert read_truth(tmp_path / "truth").facts["seed"] == 1


def hand_made(rows: list[tuple[str, float, float, float]], overlap: list[tuple[str, str, float]]) -> Truth:
    outcomes = pl.DataFrame(rows, ["creator_id", "followers", "delivery", "value"], orient="row")
    pairs = pl.DataFrame(overlap, {"creator_a": pl.String, "creator_b": pl.String, "overlap": pl.Float64}, orient="row")
    return Truth([], outcomes.with_columns(brief_id=pl.lit("h")), pairs, {})


def test_a_shared_audience_counts_once() -> None:
    # b has 200 followers and shares 0.5 x 100 of them with a, who delivers in 8 of 10 cases
    truth = hand_made([("a", 100.0, 0.8, 80.0), ("b", 200.0, 0.9, 45.0), ("c", 50.0, 1.0, 10.0)], [("a", "b", 0.5)])
    assert joint_value(truth, "h", ["a", "b"]) == pytest.approx(80.0 + 45.0 * (1 - 0.8 * 0.25))
    assert joint_value(truth, "h", ["b", "a"]) == joint_value(truth, "h", ["a", "b"])
    assert joint_value(truth, "h", ["a", "c"]) == pytest.approx(90.0)
    assert joint_value(truth, "h", ["b"]) == pytest.approx(45.0)
    assert joint_value(truth, "h", []) == 0.0


def test_joint_value_is_the_mean_over_who_delivers() -> None:
    rows = [("a", 100.0, 0.8, 80.0), ("b", 200.0, 0.9, 45.0), ("c", 50.0, 0.6, 12.0)]
    links = {("a", "b"): 0.5, ("a", "c"): 0.4, ("b", "c"): 0.3}
    truth = hand_made(rows, [(a, b, overlap) for (a, b), overlap in links.items()])
    expected = 0.0
    for there in itertools.product([0, 1], repeat=3):
        chance, total = 1.0, 0.0
        for k, (name, size, delivery, value) in enumerate(rows):  # already in order of value if delivered
            chance *= delivery if there[k] else 1 - delivery
            left = there[k] * value / delivery
            for j in range(k):
                left *= 1 - there[j] * links[rows[j][0], name] * min(rows[j][1], size) / size
            total += left
        expected += chance * total
    assert joint_value(truth, "h", ["c", "a", "b"]) == pytest.approx(expected)


@pytest.mark.parametrize("picks", [["a", "nobody"], ["a", "a"]])
def test_picks_that_are_no_candidates_are_refused(picks: list[str]) -> None:
    with pytest.raises(DataError, match=r"brief h: .*(nobody|twice)"):
        joint_value(hand_made([("a", 1.0, 1.0, 1.0)], []), "h", picks)


def test_overlapping_picks_of_the_market_are_worth_less_together(truth: Truth) -> None:
    less = 0
    for brief in truth.briefs:
        rows = truth.outcomes.filter(pl.col("brief_id") == brief["brief_id"])
        together = joint_value(truth, brief["brief_id"], rows["creator_id"].to_list())
        assert 0 < together <= rows["value"].sum() * (1 + 1e-12)
        less += together < 0.999 * rows["value"].sum()
    assert less > len(truth.briefs) / 2


@pytest.mark.parametrize(("briefs", "pool", "words"), [(0, 5, "truth-briefs"), (5, 0, "truth-pool")])
def test_impossible_truths_are_refused(briefs: int, pool: int, words: str) -> None:
    with pytest.raises(DataError, match=words):
        make_truth(make_hidden(**SMALL), "balanced", briefs=briefs, pool=pool)


def test_the_command_writes_a_world_with_its_truth_and_lists_the_worlds(tmp_path: Path) -> None:
    sizes = ["--creators", "60", "--placements", "90", "--snapshots", "2"]
    options = ["--world", "null", "--truth", "--truth-briefs", "3", "--truth-pool", "7"]
    done = CliRunner().invoke(app, ["sample", str(tmp_path), *sizes, *options])
    assert done.exit_code == 0, done.output
    truth = read_truth(tmp_path / "truth")
    assert (truth.facts["world"], len(truth.briefs)) == ("null", 3)
    assert truth.outcomes.group_by("brief_id").len()["len"].max() <= 7
    wrong = CliRunner().invoke(app, ["sample", str(tmp_path / "x"), "--world", "nul"], terminal_width=300)
    assert wrong.exit_code == 2
    assert all(name in wrong.output for name in ("balanced", "tiers-differ", "cliffs"))
    assert not (tmp_path / "x").exists()
