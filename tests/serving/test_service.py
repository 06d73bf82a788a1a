"""What importing, packing and starting the service brings with it, and what not."""

import subprocess
import sys
import tomllib
from pathlib import Path

import yaml
from bentoml._internal.server.http.traffic import TimeoutMiddleware
from bentoml._internal.utils.analytics import usage_stats

from serving.http_errors import ErrorEnvelope
from serving.service import WORKER_ENVIRONMENT, no_telemetry
from tests.serving.over_http import app

__all__ = ["app"]  # a fixture

ROOT = Path(__file__).parents[2]


def test_importing_the_service_loads_no_training_and_no_engine():
    code = "import sys, serving.service; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    unwanted = {"mlflow", "sklearn", "training", "lightgbm", "highspy", "matplotlib", "pandas"}
    assert unwanted & set(ran.stdout.split()) == set()


def test_importing_the_engine_loads_no_training_either():
    code = "import sys; from serving.holder import default_engine; default_engine(); print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    # LightGBM imports sklearn by itself where it is installed; a bento does not install it.
    assert {"mlflow", "training"} & {name.split(".")[0] for name in ran.stdout.split()} == set()


def test_the_one_time_out_is_ours(app):
    used = [one.cls for one in app.user_middleware]
    assert ErrorEnvelope in used
    assert TimeoutMiddleware not in used


def test_telemetry_is_off_even_where_the_command_has_already_asked(monkeypatch):
    monkeypatch.delenv("BENTOML_DO_NOT_TRACK", raising=False)
    usage_stats.do_not_track.cache_clear()
    assert usage_stats.do_not_track() is False  # as the `bentoml` command asks before it imports a service
    no_telemetry()
    assert usage_stats.do_not_track() is True
    assert {"name": "BENTOML_DO_NOT_TRACK", "value": "True"} in WORKER_ENVIRONMENT


def test_the_bento_installs_the_versions_of_the_lock_and_packs_no_training():
    bento = yaml.safe_load((ROOT / "bentofile.yaml").read_text())
    locked = {line.split(" ;")[0].strip() for line in (ROOT / "requirements.lock").read_text().splitlines()}
    assert [package for package in bento["python"]["packages"] if package not in locked] == []
    assert not any("training" in pattern for pattern in bento["include"])
    direct = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    known = {name.split(">")[0].split("=")[0] for name in direct} | {"prometheus-client", "starlette"}  # of bentoml
    assert {package.split("==")[0] for package in bento["python"]["packages"]} <= known
