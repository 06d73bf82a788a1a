"""The built bento, booted away from the source tree and asked."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
BRIEF = {"goal": "conversion", "budget": 20000, "target_countries": {"SG": 0.7, "MY": 0.3}, "top": 5}


@pytest.fixture(scope="module")
def bento(place, start, tmp_path_factory):
    """Environment whose BENTOML_HOME holds the bento, and the bento's folder."""
    store = tmp_path_factory.mktemp("bento")
    environment = {**place.environment(), "BENTOML_HOME": str(store), "BENTOML_DO_NOT_TRACK": "True"}
    ran = subprocess.run(
        [Path(os.sys.executable).with_name("bentoml"), "build", str(ROOT), "--output", "tag"],
        env=environment, cwd=place.cwd, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    name, version = ran.stdout.strip().splitlines()[-1].removeprefix("__tag__:").split(":")
    return store, store / "bentos" / name / version
