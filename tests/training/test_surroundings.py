"""What a run was computed with, and that nothing of the machine is in it."""

import getpass
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from training.surroundings import NO_GIT, surroundings

WHO = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org", "-c", "commit.gpgsign=false")


def git(folder, *words):
    return subprocess.run(["git", "-C", str(folder), *WHO, *words], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def checkout(tmp_path):
    git(tmp_path, "init", "--quiet")
    (tmp_path / "code.py").write_text("x = 1\n")
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    return tmp_path


def test_a_checkout_is_named_by_its_commit(checkout):
    found = surroundings(checkout)
    commit = git(checkout, "rev-parse", "HEAD").strip()
    assert (found.commit, found.changed) == (commit, False)
    assert found.code == f"git commit {commit[:12]}"
    assert found.params()["git_commit"] == commit


@pytest.mark.parametrize("name", ["code.py", "new.py"])
def test_a_file_changed_or_new_is_told(checkout, name):
    (checkout / name).write_text("x = 2\n")
    found = surroundings(checkout)
    assert found.changed is True
    assert found.code.endswith("with changes not committed")
    assert found.params()["git_changed"] == "true"


def test_code_installed_inside_somebodys_checkout_has_no_commit(checkout):
    (checkout / "env").mkdir()
    found = surroundings(checkout / "env")
    assert (found.commit, found.changed, found.code) == (NO_GIT, None, NO_GIT)
    assert found.params()["git_changed"] == ""


def test_without_git_it_says_so(checkout, monkeypatch):
    monkeypatch.setenv("PATH", str(checkout))
    assert surroundings(checkout).code == NO_GIT


def test_versions_are_those_installed():
    found = surroundings()
    assert found.python == ".".join(str(part) for part in sys.version_info[:3])
    assert found.packages["numpy"] == np.__version__
    assert {"lightgbm", "mlflow", "polars"} <= found.packages.keys()


def test_nothing_of_the_machine_is_in_it(checkout):
    text = json.dumps(surroundings(checkout).as_dict())
    names = {getpass.getuser(), os.environ.get("USER", ""), platform.node(), str(checkout), str(Path.home())}
    # a name so short that it is part of any word says nothing
    assert [name for name in names if len(name) > 3 and name in text] == []
