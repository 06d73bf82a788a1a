"""`prune` on real stores: what stays, what goes, and that nothing needed is missing wherever it is cut short."""

import os
import shutil
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from features.errors import DataError
from serving.release import load_release
from serving.release_file import FILE, STORE, read_release_file, store_path
from tests.training.test_publish import a_catalogue, a_model, bento_of_its_own
from training.prune import Pruned, prune, size
from training.publish import promote, publish, roll_back, store_catalogue, store_model
from training.stored import stored_versions

__all__ = ["bento_of_its_own"]
DAY = 86_400


def store(home, number, day=None, run_id="none"):
    """A version with a catalogue of its own; returns their tags."""
    catalogue = store_catalogue(home, a_catalogue(day or 20_000 + number))
    labels = {"version": str(number), "run_id": run_id, "catalogue": catalogue}
    return store_model(home, a_model(str(number), catalogue), labels), catalogue


def fill(home, count):
    """Versions published one after the other; returns the tags of each."""
    pairs = [store(home, number) for number in range(1, count + 1)]
    for pair in pairs:
        publish(home, *pair)
    return pairs


def stored_catalogues(home):
    return {path.name for path in (home / STORE / "models" / "influencer-roi-catalogue").iterdir() if path.is_dir()}


def tree(folder):
    """Every file with what is in it, except locks."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith("lock")
    }


def age(path, seconds):
    for one in [*path.rglob("*"), path]:
        os.utime(one, (time.time() - seconds,) * 2)


def what(pruned):
    return [removal.what for removal in pruned.removals]


def test_the_release_those_before_it_and_the_newest_stay(tmp_path):
    pairs = fill(tmp_path, 6)
    pruned = prune(tmp_path, 2)
    assert stored_versions(tmp_path) == ["4", "5", "6"]
    assert stored_catalogues(tmp_path) == {catalogue.split(":")[1] for _, catalogue in pairs[3:]}
    release = read_release_file(tmp_path)
    assert ((release.model, release.catalogue), release.previous) == (pairs[5], (pairs[4], pairs[3]))
    gone = [f"model version {number}" for number in (1, 2, 3)]
    gone += [f"catalogue {catalogue.split(':')[1]}" for _, catalogue in pairs[:3]]
    assert what(pruned) == gone
    assert pruned.reachable == 2


def test_an_old_version_in_force_stays_with_its_catalogue_and_so_does_the_newest(tmp_path):
    pairs = fill(tmp_path, 5)
    publish(tmp_path, *pairs[0])
    prune(tmp_path, 1)
    assert stored_versions(tmp_path) == ["1", "5"]
    assert stored_catalogues(tmp_path) == {pairs[0][1].split(":")[1], pairs[4][1].split(":")[1]}
    assert read_release_file(tmp_path).previous == (pairs[4],)


def test_newest_versions_stay_though_none_was_ever_served(tmp_path):
    for number in (9, 10, 11):
        store(tmp_path, number)
    prune(tmp_path, 2)
    assert stored_versions(tmp_path) == ["10", "11"]
    assert not (tmp_path / FILE).exists()
    assert promote(tmp_path, "10") == "influencer-roi-model:10"


def test_a_version_that_stays_keeps_its_catalogue_though_newer_ones_were_made(tmp_path):
    _, own = store(tmp_path, 1)
    for day in (20_050, 20_040, 20_030):
        last = store_catalogue(tmp_path, a_catalogue(day))
    prune(tmp_path, 1)
    # the newest is the one made last, whatever day it is of
    assert stored_catalogues(tmp_path) == {own.split(":")[1], last.split(":")[1]}


def test_rolling_back_works_as_far_as_prune_says_and_then_says_so(tmp_path):
    fill(tmp_path, 6)
    reachable = prune(tmp_path, 2).reachable
    for version in "54":
        assert roll_back(tmp_path).model == f"influencer-roi-model:{version}"
        assert load_release(tmp_path).model_version == version
        reachable -= 1
    assert reachable == 0
    with pytest.raises(DataError, match="no earlier release"):
        roll_back(tmp_path)


def test_an_earlier_release_whose_artefact_was_lost_is_forgotten(tmp_path):
    pairs = fill(tmp_path, 4)
    shutil.rmtree(store_path(tmp_path, pairs[2][0]))
    prune(tmp_path, 2)
    assert read_release_file(tmp_path).previous == (pairs[1], pairs[0])
    assert stored_versions(tmp_path) == ["1", "2", "4"]


def test_the_bytes_are_those_that_the_disk_gets_back(tmp_path):
    fill(tmp_path, 4)
    (store_path(tmp_path, "influencer-roi-model:2") / "more").write_bytes(b"x" * 54_321)
    before = size(tmp_path / STORE / "models")
    pruned = prune(tmp_path, 1)
    assert pruned.bytes == before - size(tmp_path / STORE / "models") > 54_321
    assert pruned.lines()[-1] == (
        f"Removed {len(pruned.removals)} things, {pruned.bytes:,} bytes, from {tmp_path}. "
        "A rollback reaches 1 earlier release."
    )
    assert not any((tmp_path / STORE / "pruned").iterdir())


def test_a_dry_run_says_the_same_and_changes_nothing(tmp_path):
    fill(tmp_path, 5)
    (tmp_path / "work" / "tmp1").mkdir(parents=True)
    (tmp_path / "work" / "tmp1" / "part").write_text("x")
    age(tmp_path / "work", 2 * DAY)
    before = tree(tmp_path)
    would = prune(tmp_path, 1, dry_run=True)
    assert tree(tmp_path) == before
    assert would.lines()[-1].startswith(f"Would remove 7 things, {would.bytes:,} bytes")
    did = prune(tmp_path, 1)
    assert did == replace(would, dry_run=False)
    assert len(tree(tmp_path)) < len(before)


def test_pruning_again_finds_nothing(tmp_path):
    fill(tmp_path, 4)
    prune(tmp_path, 1)
    before, stamp = tree(tmp_path), (tmp_path / FILE).stat().st_mtime_ns
    assert prune(tmp_path, 1).lines() == [f"Nothing to remove in {tmp_path}. A rollback reaches 1 earlier release."]
    # a server would load the release again if the file were written again
    assert (tree(tmp_path), (tmp_path / FILE).stat().st_mtime_ns) == (before, stamp)


def test_a_home_that_is_not_there_is_not_made(tmp_path):
    assert prune(tmp_path / "none", 1) == Pruned(tmp_path / "none", (), None, (), False)
    assert not (tmp_path / "none").exists()


def test_unfinished_artefacts_go_and_those_of_others_stay(tmp_path):
    fill(tmp_path, 1)
    models = tmp_path / STORE / "models"
    for name in ("influencer-roi-model/2", "influencer-roi-catalogue/2026-01-01-abc", "theirs/1"):
        (models / name).mkdir(parents=True)
        (models / name / "half").write_text("x" * 10)
    pruned = prune(tmp_path, 5)
    assert what(pruned) == ["unfinished influencer-roi-model:2", "unfinished influencer-roi-catalogue:2026-01-01-abc"]
    assert pruned.bytes == 20
    assert (models / "theirs" / "1" / "half").exists()
    assert not (models / "influencer-roi-model" / "2").exists()


def test_half_an_artefact_that_is_in_force_stays(tmp_path):
    ((model, _),) = fill(tmp_path, 1)
    (store_path(tmp_path, model) / "model.yaml").unlink()
    assert what(prune(tmp_path, 1)) == []
    assert (store_path(tmp_path, model) / "model.json").exists()


@pytest.mark.parametrize(
    ("name", "days", "goes"),
    [
        ("work/tmpabc", 1.1, True),
        ("work/tmpabc", 0.9, False),
        (".market-partial-0a1b2c3d", 1.1, True),
        (".market-partial-0a1b2c3d", 0.9, False),
        (".release.json.4711", 1.1, True),
        (".release.json.4711", 0.9, False),
        ("my-market", 9, False),
        ("config.toml", 9, False),
    ],
)
def test_what_killed_processes_left_goes_after_a_day(tmp_path, name, days, goes):
    path = tmp_path / name
    if name.endswith((".4711", ".toml")):
        path.write_text("x" * 7)
    else:
        (path / "deep").mkdir(parents=True)
        (path / "deep" / "part.parquet").write_text("x" * 7)
    age(path, days * DAY)
    pruned = prune(tmp_path, 1)
    assert (what(pruned), pruned.bytes) == ([f"leftover {name}"] if goes else [], 7 if goes else 0)
    assert path.exists() is not goes


def test_work_stays_while_anything_deep_in_it_is_new(tmp_path):
    path = tmp_path / "work" / "tmpabc"
    (path / "deep").mkdir(parents=True)
    (path / "deep" / "part").write_text("x")
    age(path, 3 * DAY)
    os.utime(path / "deep" / "part")
    assert what(prune(tmp_path, 1)) == []
    assert (path / "deep" / "part").exists()


def test_a_link_in_the_work_folder_goes_and_not_what_it_leads_to(tmp_path):
    home, theirs = tmp_path / "home", tmp_path / "theirs"
    (home / "work").mkdir(parents=True)
    theirs.mkdir()
    (theirs / "precious").write_text("x")
    (home / "work" / "link").symlink_to(theirs)
    os.utime(home / "work" / "link", (time.time() - 2 * DAY,) * 2, follow_symlinks=False)
    assert what(prune(home, 1)) == ["leftover work/link"]
    assert (theirs / "precious").exists()
    assert not (home / "work" / "link").is_symlink()


def test_a_broken_release_file_stops_it_before_anything_goes(tmp_path):
    fill(tmp_path, 4)
    (tmp_path / FILE).write_text('{"model": ')
    before = tree(tmp_path)
    with pytest.raises(DataError, match="cannot be read.*promote VERSION"):
        prune(tmp_path, 1)
    assert tree(tmp_path) == before


def test_what_a_server_has_mapped_stays_readable(tmp_path):
    fill(tmp_path, 4)
    publish(tmp_path, "influencer-roi-model:1", read_release_file(tmp_path).previous[-1][1])
    held = load_release(tmp_path)
    for number in (2, 3, 4):
        promote(tmp_path, str(number))
    assert isinstance(held.catalogue.state.static.base, np.memmap)
    prune(tmp_path, 1)
    assert "1" not in stored_versions(tmp_path)
    assert held.catalogue.state.static.sum() == 0
    assert held.catalogue.state.profile["price"].tolist() == [5.0]
    assert load_release(tmp_path).model_version == "4"


def killed_at(home, step):
    """Prune in a process that ends without warning at its nth change to the disk; True if it was not that long."""
    child = os.fork()
    if child == 0:
        left = [step]

        def count(event, args):
            if event in ("os.rename", "os.remove", "os.rmdir", "os.mkdir"):
                left[0] -= 1
                if left[0] < 0:
                    os._exit(9)

        sys.addaudithook(count)
        prune(home, 1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_killed_anywhere_nothing_of_the_release_is_missing_and_the_next_prune_ends_it(tmp_path):
    whole = tmp_path / "whole"
    fill(whole, 4)
    done = shutil.copytree(whole, tmp_path / "done")
    prune(done, 1)
    step = 0
    while True:
        home = shutil.copytree(whole, tmp_path / f"home-{step}")
        ended = killed_at(home, step)
        release = read_release_file(home)
        for tag in {tag for pair in ((release.model, release.catalogue), *release.previous) for tag in pair}:
            assert (store_path(home, tag) / "model.yaml").exists(), (step, tag)
        assert load_release(home).model_version == "4"
        assert roll_back(home).model == "influencer-roi-model:3"
        publish(home, release.model, release.catalogue)
        # no listing of the store is broken by a piece of an artefact
        assert all((path / "model.yaml").exists() for path in (home / STORE / "models").glob("*/*") if path.is_dir())
        prune(home, 1)
        assert {name for name in tree(home) if FILE not in name} == {name for name in tree(done) if FILE not in name}
        shutil.rmtree(home)
        if ended:
            break
        step += 1
    assert step > 20
