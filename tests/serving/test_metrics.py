"""What `/metrics` says, read over HTTP; counters never go back, so tests compare before and after."""

import os
import re
import subprocess
import sys
from collections import Counter

import bentoml
import pytest

from serving.metrics import forget_dead_workers, metrics
from serving.steps import fell_back, noted, step
from tests.serving.over_http import BRIEF, NothingFitsError, app, client, empty, engine, refresh

__all__ = ["app", "client", "empty", "engine"]  # fixtures


def read(client):
    """Every sample of ours by its name and labels, as Prometheus would read them."""
    lines = client.get("/metrics").text.splitlines()
    samples = (re.fullmatch(r"influencer_roi_(.+) (\S+)", line) for line in lines)
    return Counter({sample[1]: float(sample[2]) for sample in samples if sample})


@pytest.fixture
def more(client):
    """What has been added, by sample, since the test began."""
    before = read(client)

    def since():
        now = read(client)
        return {name: now[name] - before[name] for name in now if now[name] != before[name]}

    return since


OUTCOMES = {
    "answered": ({}, {}),
    "bad_request": ({"goal": "sales"}, {}),
    "nothing_fits": ({"brief_id": "nobody"}, {}),
    "internal_error": ({"brief_id": "crash"}, {}),
    "body_too_large": ({}, {"content-length": "9999999"}),
}


@pytest.mark.parametrize(("outcome", "brief", "headers"), [(name, *asked) for name, asked in OUTCOMES.items()])
def test_requests_are_counted_by_outcome(client, more, outcome, brief, headers):
    client.post("/v1/rank", json={**BRIEF, **brief}, headers=headers)
    counted = {name: by for name, by in more().items() if name.startswith("requests_total")}
    assert counted == {f'requests_total{{outcome="{outcome}"}}': 1.0}


def test_other_routes_are_not_counted(client, more):
    for path in ("/v1/model", "/readyz", "/nowhere"):
        client.get(path)
    assert [name for name in more() if name.startswith("requests_total")] == []


def test_an_answer_counts_its_steps_and_its_creators(client, more):
    client.post("/v1/rank", json=BRIEF)
    added = more()
    for name in ("queue", "rank", "json", "slate"):
        assert added[f'step_seconds_count{{step="{name}"}}'] == 1.0
        assert added[f'step_seconds_sum{{step="{name}"}}'] > 0
        assert added[f'step_seconds_bucket{{le="+Inf",step="{name}"}}'] == 1.0
    assert added["candidates_scored_total"] == 2.0
    assert added['candidates_filtered_total{reason="over_budget"}'] == 1.0


def test_a_request_that_fails_still_counts_its_steps(client, more):
    client.post("/v1/rank", json={**BRIEF, "brief_id": "nobody"})
    counted = [name for name in more() if name.startswith("step_seconds_count")]
    assert sorted(counted) == ['step_seconds_count{step="queue"}', 'step_seconds_count{step="rank"}']


def test_the_steps_and_fallbacks_of_the_engine_are_counted(client, engine, more, monkeypatch):
    inner = engine.rank

    def rank(release, brief, *, request_id):
        for _ in range(2):
            with step("score"):
                fell_back("too few rows")
        return inner(release, brief, request_id=request_id)

    served = bentoml.get_current_service()
    monkeypatch.setattr(engine, "rank", rank)
    served._engine = engine.as_engine()
    client.post("/v1/rank", json=BRIEF)
    added = more()
    assert added['step_seconds_count{step="score"}'] == 1.0  # one request, both times added up
    assert added['fallbacks_total{reason="too few rows"}'] == 2.0


def test_a_step_that_fails_is_timed_and_outside_of_a_request_nothing_is_noted():
    with step("load"):
        fell_back("nobody listens")
    with noted() as steps, pytest.raises(NothingFitsError), step("filter"):
        raise NothingFitsError("x")
    assert (list(steps.seconds), dict(steps.fallbacks)) == (["filter"], {})


def test_warm_ups_are_neither_counted_nor_kept(engine, empty):
    before = read(empty)
    engine.published = "v1"
    refresh()
    assert engine.ranked == [("v1", "sample")]
    served = bentoml.get_current_service()
    metrics().slates(served._slates)
    now = read(empty)
    steps = [name for name in now if name.startswith("step_seconds_count")]
    assert {name: now[name] - before[name] for name in [*steps, "candidates_scored_total"]} == dict.fromkeys(
        [*steps, "candidates_scored_total"], 0.0
    )
    assert (served._slates.written, served._slates.failed) == (0, 0)


def test_answers_are_kept_as_slates_and_counted(client, more, tmp_path):
    for brief_id in ("a", "b", "nobody"):
        client.post("/v1/rank", json={**BRIEF, "brief_id": brief_id})
    served = bentoml.get_current_service()
    served._slates.sync()
    metrics().slates(served._slates)
    assert more()["slates_written_total"] == 2.0
    assert read(client)["slates_backlog"] == 0.0
    (file,) = (tmp_path / "home" / "slates").iterdir()
    assert len(file.read_text().splitlines()) == 2


def test_slates_that_cannot_be_kept_are_counted_and_answers_go_on(client, more, tmp_path):
    (tmp_path / "home").mkdir(exist_ok=True)
    (tmp_path / "home" / "slates").write_text("in the way")
    assert client.post("/v1/rank", json=BRIEF).status_code == 200
    metrics().slates(bentoml.get_current_service()._slates)
    assert more()["slates_failed_total"] == 1.0


def test_only_what_is_served_now_is_at_one(engine, client, more):
    engine.published = "v2"
    refresh()
    now = read(client)
    assert now['served{data_as_of="2026-03-01",model_version="v2"}'] == 1.0
    assert now['served{data_as_of="2026-03-01",model_version="v1"}'] == 0.0
    assert more()['swaps_total{result="success"}'] == 1.0


def test_a_release_that_is_refused_is_counted_and_shown_until_one_is_taken_up(engine, client, more):
    engine.published = "broken-v2"
    refresh()
    now = read(client)
    assert (now["release_problem"], now['served{data_as_of="2026-03-01",model_version="v1"}']) == (1.0, 1.0)
    assert more()['swaps_total{result="failure"}'] == 1.0
    engine.published = "v3"
    refresh()
    assert read(client)["release_problem"] == 0.0


def test_a_home_without_a_release_yet_is_no_failure(empty):
    before = read(empty)
    refresh()
    now = read(empty)
    assert now['swaps_total{result="failure"}'] == before['swaps_total{result="failure"}']


def test_nothing_is_in_flight_when_all_is_answered(client, more):
    client.post("/v1/rank", json=BRIEF)
    assert read(client)["in_flight"] == 0.0


def test_what_a_killed_worker_held_leaves_the_sums(tmp_path, monkeypatch):
    code = "import os, signal, serving.metrics as m; m.metrics().in_flight(5); os.kill(os.getpid(), signal.SIGKILL)"
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    left = {path.name for path in tmp_path.glob("gauge_live*")}
    assert len(left) == 2  # livesum and livemax
    (tmp_path / f"gauge_livesum_{os.getpid()}.db").touch()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    forget_dead_workers()
    assert [path.name for path in tmp_path.glob("gauge_live*")] == [f"gauge_livesum_{os.getpid()}.db"]
