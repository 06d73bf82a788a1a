"""Processes at work on one home at the same time: two trainings from the very first use on, prune, a server."""

import subprocess
import time

from serving.release import load_release, read_release_file, store_path
from tests.end_to_end.conftest import BRIEF, SCRIPTS
from training import tracking


def test_two_trainings_at_once_and_prune_meanwhile_leave_a_home_that_is_whole(place, tmp_path, monkeypatch):
    home = tmp_path / "home"
    trainings = [
        subprocess.Popen(
            [SCRIPTS / "influencer-roi", "train", place.market, "--seed", str(seed)],
            env=place.environment(home), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for seed in (1, 2)
    ]  # fmt: skip
    pruned = []
    while any(training.poll() is None for training in trainings):
        pruned.append(place.done("prune", "--keep", 1, home=home))
        time.sleep(0.5)
    said = [training.communicate() for training in trainings]
    assert [training.returncode for training in trainings] == [0, 0], said
    assert len(pruned) > 2

    registered = sorted(line.split(":")[0] for out, _ in said for line in out.splitlines() if line[:7] == "Version")
    assert registered == ["Version 1", "Version 2"]
    assert all(f"Published. Serve it: influencer-roi serve --home {home}" in out for out, _ in said)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        monkeypatch.setenv(name, "" if name == "MLFLOW_TRACKING_URI" else "true")
    listed = {version.version: version for version in tracking.versions(home)}
    assert set(listed) == {"1", "2"}

    # both trained on the same data: one catalogue, under one tag
    release = read_release_file(home)
    live, other = release.model.split(":")[1], ({"1", "2"} - {release.model.split(":")[1]}).pop()
    assert release.previous == ((f"influencer-roi-model:{other}", release.catalogue),)
    assert load_release(home).model_version == live
    assert {version: listed[version].aliases for version in listed} == {live: ("champion",), other: ()}
    assert place.done("rollback", home=home).startswith(f"Back to influencer-roi-model:{other}")
    assert load_release(home).model_version == other


def test_a_server_answers_on_while_its_home_is_pruned(place, start, home):
    place.done("promote", 2, home=home)
    server = start("influencer-roi", "serve", home=home)
    server.wait_for("/readyz")
    before = server.ask("POST", "/v1/rank", BRIEF)[1]
    assert before["model_version"] == "2"
    # the catalogue that the server holds is then neither in force nor the one before, and version 1 neither
    place.done("catalogue", place.market, "--as-of", "2026-06-01", home=home)
    place.done("catalogue", place.market, "--as-of", "2026-06-15", home=home)
    said = place.done("prune", "--keep", 1, home=home)
    assert "catalogue 2026-07-01" in said
    assert not store_path(home, read_release_file(place.home).model).exists()
    deadline = time.monotonic() + 60
    while (answer := server.ask("POST", "/v1/rank", BRIEF))[1]["data_as_of"] != "2026-06-15":
        assert answer[0] == 200
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert (answer[0], answer[1]["model_version"], len(answer[1]["picks"])) == (200, "2", 5)
    assert server.ask("GET", "/readyz")[1]["problem"] is None
