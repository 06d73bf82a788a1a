import errno
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.brief_columns import Vocabularies
from features.context import CreatorState
from features.country_prior import CountryPrior
from features.encoding import Vocabulary
from features.errors import DataError
from features.matrix import NAMES
from features.settings import Settings
from features.value import ValueBasis
from serving.artefact import read_json, write_json
from serving.catalogue import Catalogue, load_catalogue
from serving.interval import Interval
from serving.model import ExtraCost, Model, load_model
from serving.prepared import FOLDER
from serving.promise import Promise
from serving.release import load_pair, prepared_name
from serving.release_file import FILE, MODEL, STORE, ReleaseFile, read_release_file, store_path
from serving.stage import Scaler, Stage
from training.publish import (
    KEPT,
    promote,
    publish,
    roll_back,
    serve_catalogue,
    store_catalogue,
    store_model,
)
from training.stored import stored_versions

NOTHING = np.zeros(0)


@pytest.fixture(autouse=True)
def bento_of_its_own(monkeypatch, tmp_path):
    # set beforehand, so that what publishing sets is undone after the test
    for name in ("BENTOML_HOME", "BENTOML_DO_NOT_TRACK"):
        monkeypatch.setenv(name, str(tmp_path / STORE) if name == "BENTOML_HOME" else "True")


def a_model(version="1", catalogue=None, intercept=3.0):
    f = len(NAMES)
    stage = Stage("impressions", "one", intercept, np.linspace(-1, 1, 2 * f), (), 0.5, 100)
    return Model(
        version, Settings(), ValueBasis.from_settings(Settings().value, "USD", 1.0),
        Scaler(np.zeros(f), np.ones(f), -np.ones(f), np.ones(f)),
        {"impressions": stage}, {}, None, 100.0, {}, ExtraCost(0.0, 1.0, 0.0), None, (),
        Promise(), {"any": Interval(NOTHING, np.ones((1, 100)), 0)},
        {"version": version, "catalogue": catalogue},
    )  # fmt: skip


def a_catalogue(day=20_000, price=5.0):
    state = CreatorState(
        day, {"price": np.array([price])}, {}, {}, np.zeros((1, 2), dtype=np.float32), {}, np.zeros((1, 0)),
        np.zeros((1, 0)),
    )  # fmt: skip
    empty = Vocabulary(())
    return Catalogue(
        state, pl.DataFrame({"creator_id": ["c"]}), Vocabularies(*[empty] * 6), CountryPrior(NOTHING, 0.6, known=False),
        {}, ("nano",), "USD", (),
    )  # fmt: skip


def stock(home, *versions, day=20_000):
    """Models and one catalogue in the store; returns the catalogue's tag."""
    tag = store_catalogue(home, a_catalogue(day))
    for version in versions:
        store_model(home, a_model(version, tag), {"version": version})
    return tag


def names(home):
    release = read_release_file(home)
    return release.model, release.catalogue


# --- the store


def test_what_is_stored_is_what_is_loaded(tmp_path):
    tag = store_model(tmp_path, a_model("3"), {"version": "3"})
    assert tag == "influencer-roi-model:3"
    x = np.random.default_rng(0).normal(0, 1, (5, len(NAMES))).astype(np.float32)
    np.testing.assert_array_equal(
        load_model(store_path(tmp_path, tag)).expected(x)["impressions"], a_model("3").expected(x)["impressions"]
    )
    assert (store_path(tmp_path, tag) / "model.yaml").exists()
    assert stored_versions(tmp_path) == ["3"]


def test_a_catalogue_is_named_by_day_and_content(tmp_path):
    one = store_catalogue(tmp_path, a_catalogue())
    assert one.startswith("influencer-roi-catalogue:2024-10-04-")
    assert store_catalogue(tmp_path, a_catalogue()) == one
    other = store_catalogue(tmp_path, a_catalogue(price=6.0))
    assert other != one
    assert load_catalogue(store_path(tmp_path, other)).state.profile["price"].tolist() == [6.0]


def test_a_server_of_another_user_may_read_what_is_stored(tmp_path):
    before = os.umask(0o022)
    try:
        tags = [stock(tmp_path, "1"), "influencer-roi-model:1"]
    finally:
        os.umask(before)
    for tag in tags:
        path = store_path(tmp_path, tag)
        assert [oct(one.stat().st_mode & 0o005) for one in (path, path.parent, path.parent.parent)] == ["0o5"] * 3
        assert all(one.stat().st_mode & 0o004 for one in path.iterdir())


def test_a_version_that_is_there_whole_is_left_as_it_is(tmp_path):
    tag = store_model(tmp_path, a_model("1"), {})
    before = (store_path(tmp_path, tag) / "model.json").read_bytes()
    store_model(tmp_path, a_model("1", intercept=9.0), {})
    assert (store_path(tmp_path, tag) / "model.json").read_bytes() == before


def test_a_half_written_version_is_replaced(tmp_path):
    folder = store_path(tmp_path, "influencer-roi-model:1")
    folder.mkdir(parents=True)
    (folder / "model.json").write_text('{"half')
    (folder / "junk.txt").write_text("x")
    store_model(tmp_path, a_model("1"), {})
    assert load_model(folder).version == "1"
    assert not (folder / "junk.txt").exists()
    assert (folder / "model.yaml").exists()


@pytest.mark.parametrize("ending", [KeyboardInterrupt(), SystemExit(143), OSError(errno.ENOSPC, "No space left")])
def test_storing_that_is_interrupted_leaves_nothing(tmp_path, monkeypatch, ending):
    tag = stock(tmp_path, "1")
    before = sorted(tmp_path.rglob("*"))

    def interrupted(source, target, **_):
        shutil.copy2(Path(source) / "model.yaml", target)
        raise ending

    monkeypatch.setattr("shutil.copytree", interrupted)  # as BentoML copies into a store
    with pytest.raises((DataError, KeyboardInterrupt, SystemExit)):
        store_model(tmp_path, a_model("2", tag), {})
    assert sorted(tmp_path.rglob("*")) == before


def test_a_version_that_is_damaged_is_replaced(tmp_path):
    catalogue = stock(tmp_path, "1")
    for tag, name in ((f"{MODEL}:1", "model.json"), (catalogue, "static.npy")):
        path = store_path(tmp_path, tag) / name
        path.write_bytes(path.read_bytes()[:-5])
    stock(tmp_path, "1")
    assert load_pair(tmp_path, f"{MODEL}:1", catalogue).model_version == "1"
    assert [path.name for path in tmp_path.iterdir()] == [STORE]


def test_a_number_of_another_run_is_refused(tmp_path):
    store_model(tmp_path, a_model("1"), {"run_id": "aaa"})
    store_model(tmp_path, a_model("1"), {"run_id": "aaa"})
    with pytest.raises(DataError, match=r"version 1 .* another run \(aaa\).*Train again") as error:
        store_model(tmp_path, a_model("1", intercept=9.0), {"run_id": "bbb"})
    assert error.value.field == "version"


def test_a_full_disk_is_named_with_what_frees_space(tmp_path, monkeypatch):
    def full(*_):
        raise shutil.Error([("from", "to", "[Errno 28] No space left on device: '/from' -> '/to'")])

    monkeypatch.setattr("training.publish.save_model", full)
    with pytest.raises(DataError, match=r"could not be stored in .* \(\[Errno 28\] No space left on device\).*prune"):
        store_model(tmp_path, a_model("1"), {})
    assert stored_versions(tmp_path) == []


def test_versions_are_listed_in_the_order_of_their_numbers(tmp_path):
    assert stored_versions(tmp_path) == []
    stock(tmp_path, "2", "10", "1")
    assert stored_versions(tmp_path) == ["1", "2", "10"]


# --- publishing


def test_publishing_keeps_what_was_served_before(tmp_path):
    publish(tmp_path, "m:1", "c:1")
    publish(tmp_path, "m:2", "c:1")
    assert read_release_file(tmp_path) == ReleaseFile("m:2", "c:1", (("m:1", "c:1"),))


def test_publishing_what_is_served_changes_nothing(tmp_path):
    publish(tmp_path, "m:1", "c:1")
    publish(tmp_path, "m:2", "c:2")
    before = (tmp_path / FILE).stat().st_mtime_ns
    publish(tmp_path, "m:2", "c:2")
    assert read_release_file(tmp_path).previous == (("m:1", "c:1"),)
    assert (tmp_path / FILE).stat().st_mtime_ns == before


def test_only_so_many_earlier_releases_are_kept(tmp_path):
    for number in range(KEPT + 5):
        publish(tmp_path, f"m:{number}", "c:1")
    previous = read_release_file(tmp_path).previous
    assert len(previous) == KEPT
    assert previous[0] == (f"m:{KEPT + 3}", "c:1")


def test_promoting_serves_a_stored_version(tmp_path):
    catalogue = stock(tmp_path, "1", "2")
    assert promote(tmp_path, "1") == "influencer-roi-model:1"
    assert promote(tmp_path, "2") == "influencer-roi-model:2"
    assert names(tmp_path) == ("influencer-roi-model:2", catalogue)
    promote(tmp_path, "2")
    assert len(read_release_file(tmp_path).previous) == 1


def test_promoting_an_older_model_keeps_the_newer_catalogue(tmp_path):
    old, new = stock(tmp_path, "1"), stock(tmp_path, "2", day=20_050)
    promote(tmp_path, "1")
    assert names(tmp_path)[1] == old
    promote(tmp_path, "2")
    assert names(tmp_path)[1] == new
    promote(tmp_path, "1")
    assert names(tmp_path) == ("influencer-roi-model:1", new)


@pytest.mark.parametrize("version", ["9", "../1", "", "latest", "1:2"])
def test_an_unknown_version_is_refused_with_those_there_are(tmp_path, version):
    stock(tmp_path, "1", "2")
    with pytest.raises(DataError, match=r"is not in .*stored versions: 1, 2") as error:
        promote(tmp_path, version)
    assert error.value.field == "version"
    assert read_release_file(tmp_path) is None


def test_promoting_from_an_empty_store_names_the_command(tmp_path):
    with pytest.raises(DataError, match="none; run `influencer-roi train DIR`"):
        promote(tmp_path, "1")


@pytest.mark.parametrize("catalogue", [None, "influencer-roi-catalogue:2024-01-01-gone"])
def test_promoting_without_a_catalogue_names_the_command(tmp_path, catalogue):
    store_model(tmp_path, a_model("1", catalogue), {})
    with pytest.raises(DataError, match="no catalogue is stored for version 1: run `influencer-roi catalogue DIR`"):
        promote(tmp_path, "1")
    assert read_release_file(tmp_path) is None


def test_promoting_a_broken_version_changes_nothing(tmp_path):
    stock(tmp_path, "1", "2")
    promote(tmp_path, "1")
    path = store_path(tmp_path, "influencer-roi-model:2") / "model.json"
    path.write_text(path.read_text()[:100])
    with pytest.raises(DataError, match="cannot be read"):
        promote(tmp_path, "2")
    assert names(tmp_path)[0] == "influencer-roi-model:1"


@pytest.mark.parametrize(
    "text", ['{"mod', '{"model": 5, "catalogue": "x"}', '{"model": "nocolon", "catalogue": "neither"}']
)
def test_promoting_mends_a_broken_release_and_says_what_is_lost(tmp_path, caplog, text):
    catalogue = stock(tmp_path, "1", "2")
    promote(tmp_path, "1")
    assert "release.json" not in caplog.text
    (tmp_path / FILE).write_text(text)
    promote(tmp_path, "2")
    assert read_release_file(tmp_path) == ReleaseFile(f"{MODEL}:2", catalogue)
    assert caplog.text.count("release.json could not be read and is written anew") == 1
    assert "`rollback` does not reach it" in caplog.text


# --- rolling back


def test_rolling_back_serves_what_was_served_before(tmp_path):
    catalogue = stock(tmp_path, "1", "2", "3")
    for version in "123":
        promote(tmp_path, version)
    for version in "21":
        assert roll_back(tmp_path).model == f"influencer-roi-model:{version}"
        assert names(tmp_path) == (f"influencer-roi-model:{version}", catalogue)
    with pytest.raises(DataError, match="no earlier release to go back to; `influencer-roi models`"):
        roll_back(tmp_path)
    assert names(tmp_path)[0] == "influencer-roi-model:1"


def test_nothing_served_cannot_be_rolled_back(tmp_path):
    with pytest.raises(DataError, match="no earlier release"):
        roll_back(tmp_path)


def test_an_artefact_that_is_gone_is_not_gone_back_to(tmp_path):
    catalogue = stock(tmp_path, "2")
    publish(tmp_path, "influencer-roi-model:1", catalogue)
    publish(tmp_path, "influencer-roi-model:2", catalogue)
    with pytest.raises(DataError, match="influencer-roi-model:1 was served before but is no longer in the store"):
        roll_back(tmp_path)
    assert names(tmp_path)[0] == "influencer-roi-model:2"


def older(home, tag, name):
    """Make an artefact one of an earlier format."""
    folder = store_path(home, tag)
    data, _ = read_json(folder, name)
    write_json(folder, name, {**data, "format": data["format"] - 1})


@pytest.mark.parametrize("name", ["model.json", "catalogue.json"])
def test_what_an_earlier_program_made_is_not_gone_back_to(tmp_path, name):
    old, new = stock(tmp_path, "1"), stock(tmp_path, "2", day=20_050)
    promote(tmp_path, "1")
    publish(tmp_path, f"{MODEL}:2", new)
    older(tmp_path, f"{MODEL}:1" if name == "model.json" else old, name)
    with pytest.raises(DataError, match=r"cannot be served: .*format.* What is served stays; where an earlier"):
        roll_back(tmp_path)
    assert names(tmp_path) == (f"{MODEL}:2", new)


def test_a_new_catalogue_mends_one_that_cannot_be_read(tmp_path):
    old = stock(tmp_path, "1")
    promote(tmp_path, "1")
    older(tmp_path, old, "catalogue.json")
    new = serve_catalogue(tmp_path, a_catalogue(20_050))
    assert names(tmp_path) == (f"{MODEL}:1", new)
    older(tmp_path, f"{MODEL}:1", "model.json")
    with pytest.raises(DataError, match="train again with this version"):
        serve_catalogue(tmp_path, a_catalogue(20_060))
    shutil.rmtree(store_path(tmp_path, f"{MODEL}:1"))
    with pytest.raises(DataError, match=f"{MODEL}:1 is named by release.json but not in"):
        serve_catalogue(tmp_path, a_catalogue(20_070))
    assert names(tmp_path) == (f"{MODEL}:1", new)


def test_a_model_is_not_changed_by_being_stored(tmp_path):
    model = a_model("1")
    kept = replace(model)
    store_model(tmp_path, model, {})
    assert model == kept


# --- what fast scoring needs


@pytest.fixture
def making(monkeypatch):
    """Stands in for making it: notes what is asked for and what is in force meanwhile; publishing makes folders."""
    noted = []

    class Pair:
        def __init__(self, home, *tags):
            self.home, self.tags = home, tags

        @property
        def prepared(self):
            in_force = read_release_file(self.home)
            noted.append((self.tags, in_force and (in_force.model, in_force.catalogue)))
            (self.home / FOLDER / prepared_name(self.home, *self.tags)).mkdir(parents=True, exist_ok=True)

    monkeypatch.setattr("training.publish.load_pair", Pair)
    return noted


def kept(home):
    return {path.name for path in (home / FOLDER).iterdir()}


def test_what_fast_scoring_needs_is_made_before_a_release_is_in_force(tmp_path, making):
    catalogue = stock(tmp_path, "1", "2")
    one, two = ((f"{MODEL}:{version}", catalogue) for version in "12")
    promote(tmp_path, "1")
    promote(tmp_path, "2")
    roll_back(tmp_path)
    assert making == [(one, None), (two, one), (one, two)]


def test_what_no_server_may_still_need_is_dropped(tmp_path, making):
    catalogue = stock(tmp_path, "1", "2", "3")
    name = {version: prepared_name(tmp_path, f"{MODEL}:{version}", catalogue) for version in "123"}
    assert len(set(name.values())) == 3
    (tmp_path / FOLDER / ".making-left").mkdir(parents=True)
    promote(tmp_path, "1")
    assert kept(tmp_path) == {name["1"]}
    promote(tmp_path, "2")
    assert kept(tmp_path) == {name["1"], name["2"]}  # a server has not looked yet
    promote(tmp_path, "3")
    assert kept(tmp_path) == {name["2"], name["3"]}
    roll_back(tmp_path)
    assert kept(tmp_path) == {name["2"]}  # the one before it is made again where it is gone back to


def test_what_cannot_be_made_keeps_nothing_from_being_published(tmp_path, monkeypatch, caplog):
    def broken(*_):
        raise ValueError("an array of another shape")

    catalogue = stock(tmp_path, "1")
    monkeypatch.setattr("training.publish.load_pair", broken)
    promote(tmp_path, "1")
    assert names(tmp_path) == (f"{MODEL}:1", catalogue)
    assert "an array of another shape" in caplog.text
