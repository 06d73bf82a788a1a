from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from features.build_market import build_market
from features.money import in_base_currency
from features.reading import typed
from features.settings import Settings
from features.tables import build
from serving.model import load_model, save_model
from serving.release_file import ReleaseFile, store_path, write_release_file
from training.backtest import backtest
from training.dataset import build_dataset
from training.drift import State, read_reference
from training.duel import OPENS, TWIN
from training.in_force import drift_since, in_force, keep_beside, what_is_live
from training.sample import make_market
from training.split import iso, labelled, newest_fact, time_split
from training.stage_fit import FitOptions


@pytest.fixture(scope="module")
def data():
    raw = make_market(creators=300, placements=2000, snapshots=9, seed=1)
    frames = {name: typed(name, table)[0] for name, table in raw.items()}
    tables = in_base_currency(build(frames, Settings()), Settings())
    return build_dataset(build_market(tables, Settings(), newest_fact(tables) + 1))


@pytest.fixture(scope="module")
def result(data):
    return backtest(data, time_split(data.market.placements, data.market.as_of), FitOptions(trees=10, threads=1))


@pytest.fixture
def home(tmp_path, data, result):
    """A home that serves a model trained when the window of the backtest opened."""
    folder = store_path(tmp_path, "influencer-roi-model:7")
    folder.mkdir(parents=True)
    model = replace(result.model, card={**result.model.card, "as_of": iso(result.split.opens)})
    save_model(model, folder)
    keep_beside(folder, data, model, result.split.train, result)
    write_release_file(tmp_path, ReleaseFile("influencer-roi-model:7", "influencer-roi-catalogue:1", ()))
    return tmp_path


def test_a_new_home_has_none(tmp_path):
    assert in_force(tmp_path) is None


def test_what_is_kept_beside_a_model(home, data, result):
    champion = in_force(home)
    assert champion.version == "7"
    assert champion.card["as_of"] == iso(result.split.opens)
    twin = load_model(champion.folder / TWIN)
    assert twin.card[OPENS] == iso(result.split.opens)
    rows = result.judged[:50]
    assert np.array_equal(
        twin.expected(data.x[rows])["impressions"], result.model.expected(data.x[rows])["impressions"]
    )
    assert "log_followers" in read_reference(champion.folder).columns


def test_a_model_that_cannot_be_read_is_still_in_force(home):
    champion = in_force(home)
    (champion.folder / "model.json").write_text("{}")
    again = in_force(home)
    assert (again.version, again.card) == ("7", None)


def test_a_broken_release_is_none(home):
    (home / "release.json").write_text("{")
    assert in_force(home) is None


def test_drift_is_of_placements_since_then(home, data, result):
    champion, rows = in_force(home), labelled(data.market.placements, data.market.as_of)
    found = drift_since(champion, data, result.model, rows)
    fresh = (data.market.placements.agreed[rows] >= result.split.opens).sum()
    assert 0 < max(one.rows for one in found) <= fresh
    found.sort(key=lambda one: one.column != "log_followers")
    assert found[0].state is State.OK
    moved = replace(data, x=np.where(np.isnan(data.x), data.x, data.x + np.float32(20.0)))
    shifted = {one.column: one for one in drift_since(champion, moved, result.model, rows)}
    assert shifted["log_followers"].psi > max(5 * abs(found[0].psi), 1.0)
    assert shifted["log_followers"].state is State.DRIFT


def test_no_reference_and_nothing_newer_are_no_drift(home, data, result):
    champion, rows = in_force(home), labelled(data.market.placements, data.market.as_of)
    assert drift_since(replace(champion, card={"as_of": "2999-01-01"}), data, result.model, rows) is None
    assert drift_since(replace(champion, card=None), data, result.model, rows) is None
    Path(champion.folder / "reference.json").unlink()
    assert drift_since(champion, data, result.model, rows) is None


def test_what_is_live_in_words(home):
    champion = in_force(home)
    assert "before, version 7 was: `influencer-roi rollback`" in what_is_live(champion, promoted=True)
    assert what_is_live(champion, promoted=False) == "Version 7 is still served."
    assert what_is_live(None, promoted=True) == "This version was published when the run ended."
