"""What fast scoring keeps: the same read again as made anew, and nothing broken is ever read."""

import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace

import numpy as np
import pytest

from features.matrix import FEATURES
from serving import prepared as module
from serving.artefact import checksum, read_json, write_json
from serving.catalogue import save_catalogue
from serving.layout import lay_out
from serving.model import save_model
from serving.prepared import BESIDE_PRICE, FILES, FOLDER, FORMAT, forget_prepared, open_prepared, prepare
from serving.release import Release
from tests.serving.fast_scoring import drawn, same_answer, with_profile, with_trees
from tests.serving.test_layout import given as with_one_stage

STATIC = [i for i, f in enumerate(FEATURES) if f.scope == "creator"]
ARRAYS = ("bytes_", "base", "beside_price", "kind", "kinds")


@pytest.fixture(scope="module")
def model(world, seen):
    return with_trees(world.model, np.random.default_rng(0), seen)


@pytest.fixture(scope="module")
def layout(model):
    return lay_out(model)


@pytest.fixture(scope="module")
def fresh(layout, model, world):
    return prepare(layout, model, world.catalogue)


@pytest.fixture
def opened(layout, model, world, tmp_path):
    def again(digest="a-b", catalogue=world.catalogue):
        return open_prepared(tmp_path, digest, layout, model, catalogue)

    return again


def same(one, other):
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
        assert getattr(one, name).dtype == getattr(other, name).dtype


# --- what is kept


def test_bytes_are_those_of_the_columns(world, layout, fresh):
    static = world.catalogue.state.static
    assert fresh.bytes_.shape == (layout.creator_columns, len(static)) != (0, len(static))
    for row, column in enumerate(layout.columns[: layout.creator_columns]):
        np.testing.assert_array_equal(fresh.bytes_[row], column.bytes_of(static[:, STATIC.index(column.feature)]))


def test_the_base_is_the_linear_part_of_the_creators_own_features(world, layout, model, fresh):
    x = np.full((len(world.catalogue.state), len(FEATURES)), np.nan, dtype=np.float32)
    x[:, STATIC] = world.catalogue.state.static
    design = model.scaler.design(x).astype(np.float64)
    both = [*STATIC, *(len(FEATURES) + f for f in STATIC)]
    for row, stage in enumerate(layout.stages):
        exact = design[:, both] @ stage.coef[both] + stage.intercept
        assert (np.abs(fresh.base[row] - exact * layout.scale[row]) <= 0.5 + 1e-6).all()


def test_what_is_beside_a_price_is_the_log_of_what_it_is_divided_by(world, fresh):
    profile = world.catalogue.state.profile
    for row, feature in enumerate(BESIDE_PRICE):
        if FEATURES[feature].name == "log_price":
            np.testing.assert_array_equal(fresh.beside_price[row], 0.0)
        if FEATURES[feature].name == "log_price_per_follower":
            followers = np.where(profile["follower_count"] > 0, profile["follower_count"], np.nan)
            np.testing.assert_allclose(fresh.beside_price[row], -np.log(followers), rtol=1e-6)
    exact = np.abs(fresh.beside_price[np.isfinite(fresh.beside_price)]).max()
    assert fresh.beside_error >= 0.5 * np.spacing(np.float32(exact))


def test_kinds_are_creators_alike_in_all_codes(world, fresh):
    codes = world.catalogue.state.codes
    keys = list(zip(*(np.asarray(codes[name]).tolist() for name in module.PAIR_CODES), strict=True))
    assert len(set(keys)) == len(fresh.kinds) == fresh.kind.max() + 1
    assert [keys[fresh.kinds[kind]] for kind in fresh.kind] == keys


def test_some_creators_at_a_time_give_the_same(world, layout, model, fresh, monkeypatch):
    for rows in (1, 100, 401, 402):
        monkeypatch.setattr(module, "ROWS_AT_ONCE", rows)
        same(prepare(layout, model, world.catalogue), fresh)


def test_nothing_known_beside_any_price_is_no_error(world, layout, model):
    unknown = with_profile(world.catalogue, follower_count=np.nan, median_views=np.nan, avg_likes=np.nan)
    found = prepare(layout, model, unknown)
    assert found.beside_error <= 2.0**-20


# --- kept on disk


def test_what_is_kept_is_read_again_without_being_made(opened, fresh, tmp_path, monkeypatch):
    same(opened(), fresh)
    folder = tmp_path / FOLDER / "a-b"
    assert {p.name for p in folder.iterdir()} == {*FILES, "prepared.json", "prepared.json.sha256"}
    assert [p.name for p in folder.parent.iterdir()] == ["a-b"]
    assert folder.stat().st_mode & 0o005 == 0o005
    monkeypatch.setattr(module, "prepare", None)
    again = opened()
    same(again, fresh)
    for name in ARRAYS:
        array = getattr(again, name)
        assert isinstance(array.base, np.memmap) or isinstance(array, np.memmap)
        assert not array.flags.writeable


def changed(name):
    def spoil(folder):
        data = bytearray((folder / name).read_bytes())
        data[-1] ^= 1
        (folder / name).write_bytes(data)

    return spoil


def cut(name):
    def spoil(folder):
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) // 2])

    return spoil


def said(**changes):
    def spoil(folder):
        data, _ = read_json(folder, "prepared.json")
        write_json(folder, "prepared.json", {**data, **changes})

    return spoil


def shorter(folder):
    """Whole files of another catalogue."""
    for name in FILES:
        np.save(folder / name, np.load(folder / name)[..., :-1])
    said(checksums={name: checksum(folder / name) for name in FILES})(folder)


SPOILT = {
    **{f"changed {name}": changed(name) for name in FILES},
    **{f"cut {name}": cut(name) for name in FILES},
    "emptied": lambda f: (f / "kind.npy").write_bytes(b""),
    "gone": lambda f: (f / "base.npy").unlink(),
    "cut description": cut("prepared.json"),
    "no description": lambda f: (f / "prepared.json").unlink(),
    "no digest": lambda f: (f / "prepared.json.sha256").unlink(),
    "another format": said(format=FORMAT + 1),
    "no format": lambda f: write_json(f, "prepared.json", {"checksums": {}}),
    "not json": lambda f: (f / "prepared.json").write_text("x"),
    "another size": shorter,
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_what_is_broken_is_made_anew(opened, fresh, tmp_path, spoil):
    opened()
    folder = tmp_path / FOLDER / "a-b"
    before = (folder / "bytes.npy").stat().st_ino
    spoil(folder)
    same(opened(), fresh)
    assert (folder / "bytes.npy").stat().st_ino != before
    assert read_json(folder, "prepared.json")[0]["format"] == FORMAT
    assert [p.name for p in folder.parent.iterdir()] == ["a-b"]


def test_nothing_is_unpickled(opened, fresh, tmp_path):
    opened()
    folder = tmp_path / FOLDER / "a-b"
    np.save(folder / "kind.npy", np.array([{"a": 1}] * len(fresh.kind), dtype=object), allow_pickle=True)
    said(checksums={name: checksum(folder / name) for name in FILES})(folder)
    same(opened(), fresh)


def test_a_home_that_cannot_be_written_to_costs_memory_and_a_warning(opened, fresh, tmp_path, caplog):
    (tmp_path / FOLDER).write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING, "bentoml.influencer_roi"):
        same(opened(), fresh)
    (message,) = [record.getMessage() for record in caplog.records]
    assert "kept in memory" in message
    assert (tmp_path / FOLDER).read_text() == "a file where the folder should be"


def test_a_disk_that_is_full_half_way_leaves_nothing(opened, fresh, tmp_path, monkeypatch, caplog):
    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_json", full)
    same(opened(), fresh)
    assert list((tmp_path / FOLDER).iterdir()) == []
    assert "No space left" in caplog.text


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot reserve room on a disk")
def test_room_for_every_array_is_reserved_before_it_is_written(opened, fresh, tmp_path, monkeypatch):
    """Writing to a mapped file that has no room on the disk would end the process with a signal."""
    reserved = []

    def full(_file, offset, length):
        reserved.append((offset, length))
        if len(reserved) == 3:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "posix_fallocate", full)
    same(opened(), fresh)
    assert list((tmp_path / FOLDER).iterdir()) == []
    assert [offset for offset, _ in reserved] == [0, 0, 0]
    assert all(length > array.nbytes for (_, length), array in zip(
        reserved, (fresh.bytes_, fresh.base, fresh.beside_price), strict=True))  # fmt: skip


def test_a_model_without_trees_is_kept_too(world, tmp_path, monkeypatch):
    bare = with_one_stage(world.model, "none")
    first = open_prepared(tmp_path, "a-b", lay_out(bare), bare, world.catalogue)
    assert first.bytes_.shape == (0, len(world.catalogue.state))
    monkeypatch.setattr(module, "prepare", None)
    same(open_prepared(tmp_path, "a-b", lay_out(bare), bare, world.catalogue), first)


def test_a_server_that_has_it_mapped_goes_on_when_it_is_made_anew(opened, fresh, tmp_path):
    mapped = opened()
    changed("prepared.json")(tmp_path / FOLDER / "a-b")
    same(opened(), fresh)
    forget_prepared(tmp_path, [])
    same(mapped, fresh)


SCRIPT = """
    import sys, time
    from pathlib import Path
    import numpy as np
    from serving import prepared as module
    from serving.layout import lay_out
    from serving.model import load_model
    from serving.catalogue import load_catalogue
    home = Path(sys.argv[1])
    model, catalogue = load_model(home / "model"), load_catalogue(home / "catalogue")
    layout = lay_out(model)
    {before}
    print("ready", flush=True)
    sys.stdin.readline()
    found = module.open_prepared(home, "a-b", layout, model, catalogue)
    print(int(found.base.sum(dtype=np.int64)), int(found.bytes_.sum(dtype=np.int64)), flush=True)
"""


@pytest.fixture
def process(world, model, tmp_path):
    for name, save, part in (("model", save_model, model), ("catalogue", save_catalogue, world.catalogue)):
        (tmp_path / name).mkdir()
        save(part, tmp_path / name)
    started = []

    def start(before=""):
        code = textwrap.dedent(SCRIPT).format(before=before)
        running = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "OMP_WAIT_POLICY": "passive"},
        )  # fmt: skip
        started.append(running)
        return running

    yield start
    for running in started:
        running.kill()
        running.communicate()


def test_processes_that_start_at_once_read_the_same(process, fresh, tmp_path):
    running = [process(), process()]
    for one in running:
        assert one.stdout.readline() == "ready\n"
    for one in running:
        one.stdin.write("go\n")
        one.stdin.flush()
    sums = f"{fresh.base.sum(dtype=np.int64)} {fresh.bytes_.sum(dtype=np.int64)}\n"
    assert [one.stdout.readline() for one in running] == [sums, sums]
    assert [p.name for p in (tmp_path / FOLDER).iterdir()] == ["a-b"]


def test_killed_while_writing_leaves_nothing_that_is_read(process, opened, fresh, tmp_path):
    stuck = process("module.checksum = lambda path: (print('writing', flush=True), time.sleep(60))")
    assert stuck.stdout.readline() == "ready\n"
    stuck.stdin.write("go\n")
    stuck.stdin.flush()
    assert stuck.stdout.readline() == "writing\n"
    stuck.send_signal(signal.SIGKILL)
    stuck.wait()
    left = [p.name for p in (tmp_path / FOLDER).iterdir()]
    assert len(left) == 1
    assert left[0].startswith(".making-")
    same(opened(), fresh)
    forget_prepared(tmp_path, ["a-b"])
    assert [p.name for p in (tmp_path / FOLDER).iterdir()] == ["a-b"]


def test_forgetting_keeps_what_it_is_told(opened, fresh, tmp_path):
    for digest in ("a-b", "a-c", "d-b"):
        opened(digest)
    forget_prepared(tmp_path, ["a-b", "d-b", "not-there"])
    assert sorted(p.name for p in (tmp_path / FOLDER).iterdir()) == ["a-b", "d-b"]
    same(opened(), fresh)
    forget_prepared(tmp_path, [])
    assert list((tmp_path / FOLDER).iterdir()) == []
    forget_prepared(tmp_path / "nowhere", [])


# --- by a release


def test_a_release_of_a_home_keeps_it_there_by_both_digests(world, model, tmp_path):
    kept = Release(
        replace(model, digest="m" * 64), replace(world.catalogue, digest="c" * 64), tmp_path
    )  # fmt: skip
    same_answer(kept, {"goal": "awareness", "budget": 1e9})
    assert [p.name for p in (tmp_path / FOLDER).iterdir()] == ["m" * 16 + "-" + "c" * 16]
    other = Release(replace(model, digest="n" * 64), replace(drawn(world.catalogue, 99), digest="d" * 64), tmp_path)
    same_answer(other, {"goal": "awareness", "budget": 1e9})
    assert len(list((tmp_path / FOLDER).iterdir())) == 2
    made = Release(model, world.catalogue, tmp_path)
    same_answer(made, {"goal": "awareness", "budget": 1e9})
    assert len(list((tmp_path / FOLDER).iterdir())) == 2  # what is in no store is kept in memory
    description = tmp_path / FOLDER / ("m" * 16 + "-" + "c" * 16) / "prepared.json"
    assert json.loads(description.read_text())["format"] == FORMAT
