"""A team's own MLflow: a server with a PostgreSQL store on loopback, which goes down in the end."""

import subprocess
import time
from dataclasses import dataclass

import pytest

from serving.release_file import read_release_file
from tests.end_to_end.conftest import SCRIPTS, Place, Server, free_port
from tests.end_to_end.servers import postgres
from training import publish
from training.sample import write_sample

API = "/api/2.0/mlflow"


@dataclass(frozen=True)
class Remote(Place):
    """A place whose runs are recorded on a server."""

    server: Server

    def environment(self, home=None):
        return {**super().environment(home), "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{self.server.port}"}

    def asked(self, path):
        status, answer = self.server.ask("GET", f"{API}/{path}")
        assert status == 200, answer
        return answer

    def aliases(self):
        registered = self.asked("registered-models/get?name=influencer-roi")["registered_model"]
        return {alias["alias"]: alias["version"] for alias in registered["aliases"]}


@pytest.fixture(scope="module")
def tracking_server(tmp_path_factory):
    root, port = tmp_path_factory.mktemp("tracking"), free_port()
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with postgres() as database:
        words = [
            SCRIPTS / "mlflow", "server", "--backend-store-uri", database, "--serve-artifacts",
            "--artifacts-destination", root / "artifacts", "--host", "127.0.0.1", "--port", port, "--workers", 1,
        ]  # fmt: skip
        path = f"{SCRIPTS}:/usr/bin:/bin"
        server = Server(words, port, root / "log", {"PATH": path, "HOME": str(root), **quiet}, root)
        try:
            print(f"MLflow on PostgreSQL answers after {server.wait_for('/health', seconds=180):.1f} s")
            yield server
        finally:
            server.kill()


@pytest.fixture(scope="module")
def place(tracking_server, tmp_path_factory):
    """In place of the shared home: one whose first two trainings ran at once, and that served both versions."""
    root = tmp_path_factory.mktemp("remote")
    made = Remote(root / "market", root / "home", root / "user", root / "cwd", {}, tracking_server)
    for folder in (made.user, made.cwd):
        folder.mkdir()
    write_sample(made.market, creators=150, placements=500, snapshots=6)
    began = time.monotonic()
    trainings = [
        subprocess.Popen(
            [SCRIPTS / "influencer-roi", "train", made.market, "--seed", str(seed)],
            env=made.environment(), cwd=made.cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for seed in (1, 2)
    ]  # fmt: skip
    said = [training.communicate(timeout=300) for training in trainings]
    print(f"two trainings at once took {time.monotonic() - began:.1f} s")
    assert [training.returncode for training in trainings] == [0, 0], [err for _, err in said]
    # whatever the gate said of so small a market
    for version in "12":
        publish.promote(made.home, version)
    return made


def test_two_trainings_at_once_are_two_versions_on_the_server(place):
    versions = place.asked("model-versions/search?filter=name%3D%27influencer-roi%27")["model_versions"]
    assert sorted(version["version"] for version in versions) == ["1", "2"]
    runs = [place.asked(f"runs/get?run_id={version['run_id']}")["run"] for version in versions]
    assert {run["info"]["status"] for run in runs} == {"FINISHED"}
    assert {param["value"] for run in runs for param in run["data"]["params"] if param["key"] == "seed"} == {"1", "2"}
    assert not (place.home / "mlflow" / "mlflow.db").exists()
    assert list(place.cwd.iterdir()) == []


def test_plots_and_models_are_kept_where_the_server_keeps_them(place):
    version = place.asked("model-versions/get?name=influencer-roi&version=1")["model_version"]
    plots = place.asked(f"artifacts/list?run_id={version['run_id']}&path=plots")
    assert plots["root_uri"].startswith("mlflow-artifacts:")
    assert "plots/calibration.png" in {file["path"] for file in plots["files"]}
    assert not (place.home / "mlflow" / "artifacts").exists()
    kept = place.server.log.parent / "artifacts"
    assert len(list(kept.rglob("calibration.png"))) == 2
    assert len(list(kept.rglob("model.json"))) == 2


def test_a_promotion_moves_the_alias_and_is_listed(place, command):
    for version in ("1", "2"):
        code, out, err = command("promote", version)
        assert (code, err) == (0, "")
        assert out.startswith(f"Serving influencer-roi-model:{version} ")
        assert place.aliases()["champion"] == version
    assert place.aliases() == {"champion": "2", "challenger": "1"}
    code, out, _ = command("models")
    second, first = [line.split("│")[1:-1] for line in out.splitlines() if line.startswith(("│ 1 ", "│ 2 "))]
    assert [cell.strip() for cell in second[2:4]] == ["live", "champion"]
    assert [cell.strip() for cell in first[2:4]] == ["", "challenger"]
    assert all("promote" in line[4] and "synthetic" in line[-1] for line in (first, second))


@pytest.fixture(scope="module")
def down(place):
    """The same when its server was killed; tests that need it stand above."""
    place.server.kill()
    return place


def test_without_the_server_a_rollback_serves_and_says_that_the_alias_stays(down):
    before = read_release_file(down.home).previous[0][0]
    began = time.monotonic()
    ran = down.run("rollback")
    print(f"rollback without MLflow took {time.monotonic() - began:.1f} s")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(f"Back to {before} ")
    assert ran.stderr.startswith("warning: the aliases were not moved: MLflow at http://127.0.0.1:")
    assert "Traceback" not in ran.stderr
    assert read_release_file(down.home).model == before


@pytest.mark.parametrize("words", [["train", "MARKET"], ["backtest", "MARKET"], ["models"], ["prune"]], ids=" ".join)
def test_without_the_server_it_is_named_and_what_is_served_stays(down, command, brief, words):
    def state():
        return (down.home / "release.json").read_bytes(), sorted((down.home / "bentoml").rglob("model.yaml"))

    before = state()
    code, out, err = command(*(down.market if word == "MARKET" else word for word in words))
    assert code == 1
    last = err.splitlines()[-1]
    assert last.startswith(f"error: MLflow at http://127.0.0.1:{down.server.port} failed: ")
    assert last.endswith("Check that it is reachable, then run again")
    assert "Traceback" not in out + err
    assert (state()[0], set(state()[1]) >= set(before[1])) == (before[0], True)
    assert command("rank", brief())[0] == 0
