"""What goes wrong around the program: a locked database, a full disk, an older home, a store that was deleted.

Each time a clear message, and what is served goes on.
"""

import json
import resource
import shutil
import sqlite3
import subprocess
import time

import pytest

from serving.artefact import read_json, write_json
from serving.release import load_release
from serving.release_file import MODEL, read_release_file, store_path
from tests.end_to_end.conftest import BRIEF, EARLIER, SCRIPTS

TOO_LARGE = 20_000  # bytes of a file, from which on writing fails: as on a disk that is full


def served(home):
    """The release file, and what of the store it names, file by file."""
    names = read_release_file(home)
    files = [path for tag in (names.model, names.catalogue) for path in sorted(store_path(home, tag).glob("*"))]
    return (home / "release.json").read_bytes(), {str(path): path.read_bytes() for path in files if path.is_file()}


def refused(command, *words):
    """The last line on stderr of a command that must fail as people are told it does."""
    code, out, err = command(*words)
    assert code == 1, (out, err)
    assert "Traceback" not in out + err
    last = err.splitlines()[-1]
    assert last.startswith("error: ")
    return last


@pytest.fixture
def locked(home):
    """A home whose MLflow database another program holds and does not let go."""
    holder = sqlite3.connect(home / "mlflow" / "mlflow.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    yield home
    holder.close()


def test_a_locked_database_is_named_and_keeps_nobody_from_serving_another_release(place, command, brief, locked):
    before = served(locked)
    for words in (["models"], ["train", place.market]):
        said = refused(command, *words, "--home", locked)
        assert "mlflow.db failed" in said
        assert "database is locked. Another program holds it: wait for its end, then run again" in said
        assert served(locked) == before
    for words in (["promote", "2"], ["rollback"]):
        code, out, err = command(*words, "--home", locked)
        assert code == 0
        assert "a running server takes it up within seconds" in out
        assert err.startswith("warning: the aliases were not moved: MLflow at ")
        assert "database is locked" in err
    assert served(locked) == before
    assert command("rank", brief(), "--home", locked)[0] == 0


def listed(said):
    """States of the versions that `models` says."""
    cells = [line.split("│") for line in said.splitlines() if line.startswith("│")]
    return {row[1].strip(): row[3].strip() for row in cells}


def test_a_damaged_database_is_named_before_the_work_and_training_goes_on_without_it(place, command, home):
    database, before = home / "mlflow" / "mlflow.db", served(home)
    database.write_bytes(database.read_bytes()[:50_000])
    # in a process of its own: MLflow remembers a database as it found it
    ran = place.run("train", place.market, home=home)
    assert (ran.returncode, "backtest" in ran.stdout) == (1, False)
    assert "The file is damaged: restore it from a backup, or move it away" in ran.stderr
    database.rename(home / "damaged.db")
    code, out, _ = command("models", "--home", home)
    assert (code, listed(out)) == (0, {"2": "not in the registry", "1": "live, not in the registry"})

    code, out, err = command("train", place.market, "--as-of", EARLIER, "--promote", "never", "--home", home)
    assert code == 0, err
    assert "warning: MLflow does not know version 2 of this home" in out
    assert "Version 3: " in out
    assert served(home) == before
    for version in ("3", "1"):
        assert command("promote", version, "--home", home)[::2] == (0, "")
        assert load_release(home).model_version == version
        states = {"3": "", **dict.fromkeys("12", "not in the registry")}
        states[version] = ", ".join(filter(None, ("live", states[version])))
        assert listed(command("models", "--home", home)[1]) == states


def full_disk(place, home, *words):
    """A command that can write nothing of some size."""

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (TOO_LARGE, TOO_LARGE))

    return subprocess.run(
        [SCRIPTS / "influencer-roi", *map(str, words)], preexec_fn=limit,
        # Python does not notice when it writes but half of a .pyc, and stumbles over it ever after
        env={**place.environment(home), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=place.cwd, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("words", [["train"], ["catalogue", "--as-of", "2026-06-01"]], ids=lambda words: words[0])
def test_a_full_disk_is_named_and_the_release_stays_whole(place, home, words):
    before, there = served(home), {path for path in home.rglob("*") if path.is_dir()}
    ran = full_disk(place, home, words[0], place.market, *words[1:])
    assert ran.returncode == 1, (ran.stdout, ran.stderr)
    assert "Traceback" not in ran.stderr
    assert ran.stderr.splitlines()[-1].startswith("error: ")
    assert "What is served stays; where that disk is full, free space" in ran.stderr
    assert served(home) == before
    left = {path for path in home.rglob("*") if path.is_dir()} - there
    assert [path for path in left if path.is_relative_to(home / "bentoml")] == []
    assert [path for path in home.iterdir() if "partial" in path.name] == []


@pytest.fixture
def older(home):
    """A home as an earlier version of the program left it: its model has another format."""
    folder = store_path(home, read_release_file(home).model)
    data, _ = read_json(folder, "model.json")
    write_json(folder, "model.json", {**data, "format": data["format"] - 1})
    return home


@pytest.fixture
def storeless(home):
    """A home whose stored artefacts were deleted."""
    shutil.rmtree(home / "bentoml" / "models")
    return home


def test_a_home_of_an_older_version_says_what_to_do(place, command, brief, older):
    before = served(older)
    for words in (["rank", brief()], ["promote", "1"], ["catalogue", place.market]):
        said = refused(command, *words, "--home", older)
        assert "model format" in said
        assert "train again with this version" in said
        assert served(older) == before
    assert command("models", "--home", older)[0] == 0


def test_training_again_mends_a_home_of_an_older_version(command, older):
    """Version 2 stands in for what a training makes; going back to the older one is refused."""
    assert command("promote", "2", "--home", older)[0] == 0
    before = served(older)
    said = refused(command, "rollback", "--home", older)
    assert " cannot be served: model format " in said
    assert "What is served stays" in said
    assert served(older) == before


def test_without_its_store_a_home_says_what_to_do(place, command, brief, storeless):
    before = (storeless / "release.json").read_bytes()
    gone = f"{MODEL}:1 is named by release.json but not in"
    for words, expected in (
        (["rank", brief()], [" is named by release.json but not in ", "train again"]),
        (["promote", "1"], ["version 1 is not in", "influencer-roi train DIR"]),
        (["rollback"], ["no earlier release to go back to"]),
        (["catalogue", place.market], [gone, "train again"]),
    ):
        said = refused(command, *words, "--home", storeless)
        assert [word for word in expected if word not in said] == []
        assert (storeless / "release.json").read_bytes() == before
    code, out, _ = command("models", "--home", storeless)
    assert code == 0
    assert listed(out) == {"2": "not stored", "1": "live, not stored"}
    assert "named by release.json but not stored" in out


def test_a_running_server_answers_on_when_the_store_goes_and_a_new_one_says_why_not(start, home):
    server = start("influencer-roi", "serve", home=home)
    server.wait_for("/readyz")
    before = server.ask("POST", "/v1/rank", BRIEF)[1]["picks"]
    shutil.rmtree(home / "bentoml" / "models")
    # another release file, so that the server looks for what is gone
    (home / "release.json").write_text(json.dumps({**json.loads((home / "release.json").read_text()), "previous": []}))
    deadline = time.monotonic() + 60
    while (said := server.ask("GET", "/readyz"))[1].get("problem") is None:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert said[0] == 200
    assert "still serving 1: " in said[1]["problem"]
    assert "not in" in said[1]["problem"]
    status, answer = server.ask("POST", "/v1/rank", BRIEF)
    assert (status, answer["picks"]) == (200, before)
    server.kill()
    anew = start("influencer-roi", "serve", home=home)
    anew.wait_for("/livez")
    status, said = anew.ask("GET", "/readyz")
    assert status == 503
    assert "train again" in said["error"]["message"]
