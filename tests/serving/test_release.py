import errno
import json
import re
from dataclasses import replace

import pytest

from features.errors import DataError
from serving.catalogue import save_catalogue
from serving.model import save_model
from serving.release import NoRelease, Release, load_release
from serving.release_file import FILE, ReleaseFile, read_release_file, release_stamp, store_path, write_release_file

MODEL, CATALOGUE = "influencer-roi-model:7", "influencer-roi-catalogue:2026-07-01-abc"


@pytest.fixture
def stored(world, tmp_path):
    """A home with artefacts in its store and no release yet."""

    def put(model=world.model, catalogue=world.catalogue):
        for tag, save, part in ((MODEL, save_model, model), (CATALOGUE, save_catalogue, catalogue)):
            folder = store_path(tmp_path, tag)
            folder.mkdir(parents=True)
            save(part, folder)
        return tmp_path

    return put


def test_without_a_release_the_command_is_named(tmp_path):
    assert read_release_file(tmp_path) is None
    assert release_stamp(tmp_path) is None
    with pytest.raises(NoRelease, match=r"influencer-roi train DIR --home .*INFLUENCER_ROI_HOME"):
        load_release(tmp_path)


def test_the_file_round_trips_and_leaves_nothing_beside(tmp_path):
    names = ReleaseFile(MODEL, CATALOGUE, (("a:1", "b:1"), ("a:0", "b:0")))
    write_release_file(tmp_path, names)
    assert read_release_file(tmp_path) == names
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_writing_that_fails_leaves_the_old_release(tmp_path, monkeypatch):
    old = ReleaseFile("a:1", "b:1")
    write_release_file(tmp_path, old)

    def full(_file):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("serving.release_file.os.fsync", full)
    with pytest.raises(DataError, match=r"release.json could not be written \(No space left.*`influencer-roi prune`"):
        write_release_file(tmp_path, ReleaseFile("a:2", "b:2"))
    assert read_release_file(tmp_path) == old
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_the_stamp_changes_with_every_release(tmp_path):
    stamps = set()
    for version in range(3):
        write_release_file(tmp_path, ReleaseFile(f"a:{version}", "b:1"))
        stamps.add(release_stamp(tmp_path))
    assert len(stamps) == 3
    assert release_stamp(tmp_path) in stamps


NAMED = '{"model": "a:1", "catalogue": "b:1", "previous": %s}'


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", ""),
        ("{", ""),
        ("[" * 100_000, ""),
        ("[]", "it is not a JSON object"),
        ("null", "it is not a JSON object"),
        ('{"model": "a:1"}', "catalogue is null"),
        ('{"model": 5, "catalogue": "x"}', "model is 5, not a tag such as influencer-roi-model:1"),
        ('{"model": "nocolon", "catalogue": "alsonot"}', 'model is "nocolon"'),
        ('{"model": "a:1:2", "catalogue": "b:1"}', 'model is "a:1:2"'),
        ('{"model": "a:1", "catalogue": ["b:1"]}', "catalogue is "),
        (NAMED % '[["a"]]', "previous is not a list of pairs"),
        (NAMED % '["ab"]', "previous is not a list of pairs"),
        (NAMED % "7", "previous is not a list of pairs"),
        (NAMED % '[["a:1", 2]]', "previous is 2"),
    ],
)
def test_an_unreadable_file_names_the_remedy(tmp_path, text, why):
    (tmp_path / FILE).write_text(text)
    remedy = r".*\): run `influencer-roi promote VERSION`; `influencer-roi models` lists"
    with pytest.raises(DataError, match=rf"release.json cannot be read \({re.escape(why)}{remedy}"):
        load_release(tmp_path)


def test_a_release_is_the_pair_that_is_named(world, stored):
    home = stored()
    write_release_file(home, ReleaseFile(MODEL, CATALOGUE))
    release = load_release(home)
    assert (release.model_version, release.data_as_of) == ("7", world.catalogue.data_as_of)
    assert release.card == {"version": "7", "synthetic": True, "data_as_of": world.catalogue.data_as_of}


def test_an_artefact_that_is_gone_is_named(stored):
    home = stored()
    write_release_file(home, ReleaseFile("influencer-roi-model:8", CATALOGUE))
    with pytest.raises(DataError, match="influencer-roi-model:8 is named by release.json but not in"):
        load_release(home)


def test_a_catalogue_in_another_currency_is_refused(world, stored):
    home = stored(catalogue=replace(world.catalogue, currency="SGD"))
    write_release_file(home, ReleaseFile(MODEL, CATALOGUE))
    with pytest.raises(DataError, match="different currencies: run `influencer-roi catalogue DIR`"):
        load_release(home)


def test_sample_briefs_are_of_goals_the_model_can_answer(world):
    goals = [payload["goal"] for payload in world.catalogue.sample_briefs]
    assert [brief.goal for brief in world.release.sample_briefs] == goals
    unsold = {name: s for name, s in world.model.stages.items() if name != "net_revenue"}
    release = Release(replace(world.model, stages=unsold), world.catalogue)
    left = [goal for goal in goals if goal in ("awareness", "engagement")]
    assert [brief.goal for brief in release.sample_briefs] == left
    assert len(left) < len(goals)


def test_the_file_is_json_a_person_can_read(tmp_path):
    write_release_file(tmp_path, ReleaseFile(MODEL, CATALOGUE))
    assert json.loads((tmp_path / FILE).read_text()) == {"model": MODEL, "catalogue": CATALOGUE, "previous": []}
