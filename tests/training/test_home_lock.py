"""Several real processes on one home at the same moment."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from serving.catalogue import save_catalogue
from serving.release_file import read_release_file, store_path
from tests.training.test_publish import a_catalogue, a_model, bento_of_its_own, stock
from training.home_lock import home_lock, locked
from training.publish import keep_version, promote

__all__ = ["bento_of_its_own"]
ROOT = Path(__file__).parents[2]
GO = """
import sys, time
from pathlib import Path
home, go = Path(sys.argv[1]), Path(sys.argv[2])
from training import publish
from training.home_lock import home_lock
from serving.catalogue import load_catalogue
(go.parent / f"ready-{sys.argv[3]}").touch()
while not go.exists():
    time.sleep(0.001)
"""


def at_once(home, folder, script, count):
    """What `count` processes say that run a script on the home from the same moment on."""
    folder.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", GO + script, home, folder / "go", str(number)],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in range(count)
    ]  # fmt: skip
    wait_for(lambda: len(list(folder.glob("ready-*"))) == count)
    (folder / "go").touch()
    said = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * count, said
    return [out for out, _ in said]


def wait_for(done, seconds=120):
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_free(path):
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def test_a_lock_ends_with_the_process_that_holds_it(tmp_path):
    path = tmp_path / "some" / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", f"""
import time
from pathlib import Path
from training.home_lock import locked
with locked(Path({str(path)!r})):
    print("held", flush=True)
    time.sleep(600)
"""], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert holder.stdout.readline() == "held\n"
    assert not is_free(path)
    holder.send_signal(signal.SIGKILL)
    holder.wait(timeout=60)
    with locked(path):
        assert not is_free(path)
    assert is_free(path)


def test_processes_that_store_the_same_catalogue_do_not_trip_over_each_other(tmp_path):
    saved, home = tmp_path / "saved", tmp_path / "home"
    saved.mkdir()
    save_catalogue(a_catalogue(), saved)
    script = f"print(publish.store_catalogue(home, load_catalogue(Path({str(saved)!r}))))"
    (tag,) = {said.strip() for said in at_once(home, tmp_path / "race", script, 3)}
    assert sorted(path.name for path in store_path(home, tag).iterdir()) == sorted(
        [*(path.name for path in saved.iterdir()), "model.yaml"]
    )


def test_no_release_is_lost_when_processes_publish_at_once(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    script = "for i in range(5): publish.publish(home, f'm:{sys.argv[3]}-{i}', 'c:1')"
    at_once(home, tmp_path / "race", script, 4)
    release = read_release_file(home)
    published = [release.model, *(model for model, _ in release.previous)]
    assert sorted(published) == sorted(f"m:{number}-{i}" for number in range(4) for i in range(5))
    for number in range(4):
        own = [model for model in published if model.startswith(f"m:{number}-")]
        assert own == [f"m:{number}-{i}" for i in reversed(range(5))]


@pytest.mark.parametrize("step", ["publish.promote(home, '2')", "publish.roll_back(home)"], ids=["promote", "rollback"])
def test_what_changes_the_release_waits_for_the_lock(tmp_path, step):
    stock(tmp_path, "1", "2", "3")
    for version in "13":
        promote(tmp_path, version)
    before = read_release_file(tmp_path)
    folder, environment = tmp_path / "race", {**os.environ, "PYTHONPATH": str(ROOT)}
    folder.mkdir()
    with home_lock(tmp_path):
        command = [sys.executable, "-c", GO + step, tmp_path, folder / "go", "0"]
        child = subprocess.Popen(command, env=environment)
        wait_for((folder / "ready-0").exists)
        (folder / "go").touch()
        time.sleep(0.5)
        assert read_release_file(tmp_path) == before
    assert child.wait(120) == 0
    assert read_release_file(tmp_path) != before


def test_a_catalogue_pruned_while_its_model_was_logged_is_stored_again(tmp_path):
    """Between the two a training logs to MLflow, which can take minutes."""
    catalogue = a_catalogue()
    model = a_model("1", "influencer-roi-catalogue:2024-10-04-gone")
    assert keep_version(tmp_path, model, {}, catalogue, serve=True) == "influencer-roi-model:1"
    release = read_release_file(tmp_path)
    assert release.catalogue.startswith("influencer-roi-catalogue:2024-10-04-")
    assert (store_path(tmp_path, release.catalogue) / "model.yaml").exists()
