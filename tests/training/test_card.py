"""The model card: what past placements say of tiers, also where they say nothing."""

import json

import numpy as np
import polars as pl
import pytest
from threadpoolctl import threadpool_limits

from features.settings import Settings
from features.value import GOALS
from training.card import model_card
from training.dataset import build_dataset
from training.gate import Verdict
from training.pipeline import fit_served
from training.sample import write_sample
from training.source import load
from training.split import labelled
from training.stage_fit import FitOptions
from training.tier_table import ALL, tier_table

SIZES = {"micro": (500, 2000), "commission": (150, 900), "tiny": (60, 200)}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    with threadpool_limits(1):
        yield


def commission(_, placements):
    net = pl.col("revenue") - pl.col("refunds").fill_null(0)
    nothing = {name: pl.lit(0.0) for name in ("product_cost", "other_cost")}
    return placements.with_columns(fee=0.1 * net, currency=pl.lit("USD"), **nothing)


def micro(folder, placements):
    """A fee of 100 returns twice as much with micro creators as with others."""
    size = pl.read_csv(folder / "creator_snapshots.csv").group_by("creator_id").agg(pl.col("follower_count").median())
    named = placements.join(size, on="creator_id", how="left", maintain_order="left")
    noise = pl.Series(np.random.default_rng(0).lognormal(0.0, 0.3, named.height))
    value = pl.when(pl.col("follower_count").is_between(1e4, 1e5)).then(300.0).otherwise(150.0) * noise
    alike = {"fee": pl.lit(100.0), "product_cost": pl.lit(0.0), "other_cost": pl.lit(0.0), "currency": pl.lit("USD")}
    return named.with_columns(**alike, value=value).drop("follower_count")


CHANGED = {"micro": micro, "commission": commission}


def card_of(folder, kind):
    creators, placements = SIZES[kind]
    write_sample(folder, creators=creators, placements=placements, snapshots=5)
    if kind in CHANGED:
        path = folder / "placements.csv"
        CHANGED[kind](folder, pl.read_csv(path)).write_csv(path)
    loaded = load(folder, Settings(), None)
    data, rows = build_dataset(loaded.market), labelled(loaded.market.placements, loaded.as_of)
    model = fit_served(data, rows, None, FitOptions(trees=3, threads=1))
    tiers = tier_table(data, rows)
    nobody = Verdict(False, ())
    return model_card(model, loaded.market, loaded.report, folder, loaded.as_of, rows, None, nobody, tiers), tiers


@pytest.mark.parametrize(("kind", "reason"), [("micro", "better"), ("commission", "commission"), ("tiny", "little")])
def test_the_card_says_of_every_goal_which_tier_returned_more(tmp_path, kind, reason):
    card, tiers = card_of(tmp_path, kind)
    said = json.loads(json.dumps(card))["tiers"]
    assert list(said) == [verdict.goal for verdict in tiers.verdicts]
    assert {ALL} < said.keys() <= {ALL, *GOALS}
    for verdict in tiers.verdicts:
        assert said[verdict.goal] == {"winner": verdict.winner, "reason": verdict.reason, "text": verdict.text}
        assert verdict.text.startswith(f"{verdict.goal}: ")
    assert (said[ALL]["reason"], said[ALL]["winner"]) == (reason, "micro" if reason == "better" else None)
    assert {goal["winner"] for goal in said.values()} <= {"micro", None}
