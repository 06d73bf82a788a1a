from dataclasses import replace

import numpy as np
import pytest

from features.build_market import build_market
from features.money import in_base_currency
from features.reading import typed
from features.settings import Settings
from features.tables import build
from serving.model import save_model
from training import duel as module
from training.backtest import backtest, outcome, slice_members
from training.dataset import build_dataset
from training.duel import OPENS, TWIN, Duel, clustered_mean, duel, meet, twin_of
from training.gate import judge_promotion
from training.metrics import tweedie
from training.sample import make_market
from training.split import iso, newest_fact, time_split
from training.stage_fit import FitOptions

OPTIONS = FitOptions(trees=20, threads=1)


@pytest.fixture(scope="module")
def data():
    raw = make_market(creators=400, placements=2500, snapshots=9, seed=1)
    frames = {name: typed(name, table)[0] for name, table in raw.items()}
    tables = in_base_currency(build(frames, Settings()), Settings())
    return build_dataset(build_market(tables, Settings(), newest_fact(tables) + 1))


@pytest.fixture(scope="module")
def split(data):
    return time_split(data.market.placements, data.market.as_of)


@pytest.fixture(scope="module")
def result(data, split):
    return backtest(data, split, OPTIONS)


@pytest.fixture(scope="module")
def taught_less(data, split):
    return backtest(data, replace(split, train=split.train[::8]), OPTIONS)


def every(result):
    return np.arange(len(result.judged))


def saved(folder, model, as_of, twin=None):
    """An artefact as publishing keeps it: the model, and its twin of the backtest beside it."""
    folder.mkdir()
    save_model(replace(model, card={**model.card, "as_of": as_of}), folder)
    if twin is not None:
        (folder / TWIN).mkdir()
        save_model(twin, folder / TWIN)
    return folder


def test_a_model_against_itself_is_level(data, result):
    met = meet(data, result, result.model, every(result), "1", "as served")
    assert isinstance(met, Duel)
    assert met.gain == pytest.approx(0.0, abs=1e-12)
    assert met.challenger_deviance == pytest.approx(met.champion_deviance)
    assert met.rows == len(result.judged)


def test_figures_are_those_of_the_same_placements_both_ways(data, result, taught_less):
    ahead = meet(data, result, taught_less.model, every(result), "1", "as served")
    behind = meet(data, taught_less, result.model, every(taught_less), "1", "as served")
    assert ahead.gain == pytest.approx(-behind.gain)
    assert ahead.gain > 0
    actual = outcome(data, "value")[result.judged]
    naive = tweedie(actual, taught_less.predicted["model"]) - tweedie(actual, result.predicted["model"])
    assert ahead.gain == pytest.approx(naive.mean())
    assert ahead.interval[0] <= ahead.gain <= ahead.interval[1]
    assert {one.kind for one in ahead.slices} <= {"goal", "tier", "platform"}
    assert ahead.slices
    for one in ahead.slices:
        member = slice_members(data, result.judged)[one.kind] == one.member
        assert (one.rows, one.gain) == (member.sum(), pytest.approx(naive[member].mean()))


def test_the_gate_tells_the_better_from_the_worse(data, result, taught_less):
    # the small version of benchmarks/gate.py: a model taught by one placement in eight
    ahead, behind = (
        judge_promotion(True, one, duel=meet(data, one, other.model, every(one), "1", "as served"))
        for one, other in ((result, taught_less), (taught_less, result))
    )
    assert ahead.promote
    assert not behind.promote
    assert "champion" in {check.name for check in behind.checks if check.passed is False}


def test_the_champion_itself_where_it_had_seen_nothing(tmp_path, data, split, result, taught_less):
    folder = saved(tmp_path / "7", taught_less.model, iso(split.opens), twin_of(taught_less))
    met = duel(data, result, "7", folder)
    assert (met.champion, met.basis) == ("7", "as served")


def test_its_twin_where_it_has_seen_the_window(tmp_path, data, split, result, taught_less):
    folder = saved(tmp_path / "7", result.model, iso(data.market.as_of), twin_of(taught_less))
    met = duel(data, result, "7", folder)
    assert met.basis == "its twin of the backtest"
    assert met.gain > 0  # against the twin, not against the served model, which is the challenger itself here


def test_placements_that_the_twin_had_seen_are_left_out(tmp_path, data, split, result, taught_less):
    later = int(np.quantile(data.market.placements.agreed[result.judged], 0.5))
    twin = replace(taught_less.model, card={**taught_less.model.card, OPENS: iso(later)})
    met = duel(data, result, "7", saved(tmp_path / "7", result.model, iso(data.market.as_of), twin))
    assert met.rows == (data.market.placements.agreed[result.judged] >= later).sum() < len(result.judged)


@pytest.mark.parametrize("kind", ["seen everything", "other format", "other currency"])
def test_why_they_cannot_meet(tmp_path, data, result, kind, monkeypatch):
    model, as_of = result.model, iso(data.market.as_of)
    if kind == "other currency":
        model = replace(model, basis=replace(model.basis, currency="EUR"))
    folder = saved(tmp_path / "7", model, as_of)
    if kind == "other format":
        text = (folder / "model.json").read_text()
        (folder / "model.json").write_text(text[: len(text) // 2])
    said = duel(data, result, "7", folder)
    words = {"seen everything": "only 0 placements", "other format": "cannot be read", "other currency": "is in EUR"}
    assert words[kind] in said


def test_too_few_placements_to_meet_on(data, result, monkeypatch):
    monkeypatch.setattr(module, "MIN_ROWS", len(result.judged) + 1)
    assert "are needed" in meet(data, result, result.model, every(result), "1", "as served")


def test_other_prices_of_the_champion_are_not_held_against_it(data, result):
    dearer = replace(result.model, basis=replace(result.model.basis, cpm=100.0, engagement_price=5.0))
    met = meet(data, result, dearer, every(result), "1", "as served")
    assert met.gain == pytest.approx(0.0, abs=1e-12)


def test_error_of_a_mean_over_groups_covers_it():
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(40), 25)
    found = np.array(
        [clustered_mean(rng.normal(size=40)[group] + rng.normal(size=1000), group) for _ in range(200)]
    )  # fmt: skip
    assert found[:, 1].mean() == pytest.approx(found[:, 0].std(), rel=0.15)
