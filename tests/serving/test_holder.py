"""Which release is served: taken up, refused, tried again."""

import gc
import weakref
from types import SimpleNamespace

import bentoml
import pytest
from starlette.testclient import TestClient

from serving import holder
from tests.serving.over_http import (
    BRIEF,
    NoReleaseError,
    NothingFitsError,
    app,
    assert_envelope,
    client,
    empty,
    engine,
    refresh,
)

__all__ = ["app", "client", "empty", "engine"]  # fixtures


def test_a_release_that_appears_is_warmed_then_served(engine, empty):
    engine.published = "v1"
    refresh()
    assert engine.ranked == [("v1", "sample")]
    assert empty.get("/readyz").json()["model_version"] == "v1"
    assert empty.post("/v1/rank", json=BRIEF).json()["model_version"] == "v1"


def test_another_release_replaces_the_one_that_is_served(engine, client):
    engine.published = "v2"
    assert client.post("/v1/rank", json=BRIEF).json()["model_version"] == "v1"
    refresh()
    assert client.post("/v1/rank", json=BRIEF).json()["model_version"] == "v2"
    assert client.get("/v1/model").json()["version"] == "v2"


@pytest.mark.parametrize(
    ("published", "words"),
    [
        ("broken-v2", "misses stage.txt: run `influencer-roi rollback`"),
        ("crash-v2", "KeyError"),
        ("v2-sick", "RuntimeError"),
        (None, "influencer-roi train DIR"),
    ],
)
def test_a_release_that_cannot_be_served_leaves_the_old_one_and_readyz_says_why(engine, client, published, words):
    engine.published = published
    refresh()
    assert client.post("/v1/rank", json=BRIEF).json()["model_version"] == "v1"
    ready = client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["model_version"] == "v1"
    assert "still serving v1" in ready.json()["problem"]
    assert words in ready.json()["problem"]
    assert "inner matter" not in ready.text
    engine.published = "v3"
    refresh()
    assert (client.get("/readyz").json()["model_version"], client.get("/readyz").json()["problem"]) == ("v3", None)


@pytest.mark.parametrize(("published", "dropped"), [("v2", "v1"), ("v2-sick", "v2-sick")])
def test_nothing_holds_on_to_a_release_that_is_not_served(engine, client, monkeypatch, published, dropped):
    loaded, inner = {}, engine.load

    def load(home):
        release = inner(home)
        loaded[release.model_version] = weakref.ref(release)
        return release

    monkeypatch.setattr(holder.log, "disabled", True)  # pytest keeps what is logged, tracebacks and all
    monkeypatch.setattr(engine, "load", load)
    served = bentoml.get_current_service()
    served.holder._engine = served._engine = engine.as_engine()
    loaded["v1"] = weakref.ref(served.holder.held.release)
    client.post("/v1/rank", json=BRIEF)
    engine.published = published
    refresh()
    client.post("/v1/rank", json=BRIEF)
    gc.collect()
    assert [version for version, release in loaded.items() if release() is None] == [dropped]


def test_what_has_not_changed_is_not_loaded_again(engine, client):
    assert client.get("/livez").status_code == 200
    refresh()
    assert engine.ranked == [("v1", "sample")]  # once, at the start


def test_a_failure_is_tried_again_only_when_it_is_due(engine, empty, monkeypatch):
    real, tries = engine.load, []

    def failing(home):
        tries.append(home)
        raise MemoryError("no room now")

    served = bentoml.get_current_service().holder
    served._engine = holder.Engine(failing, engine.stamp, engine.rank, engine.plan, NoReleaseError, NothingFitsError)
    engine.published = "v1"
    refresh()
    refresh()
    assert len(tries) == 1
    assert "MemoryError" in assert_envelope(empty.get("/readyz"), 503)["message"]
    served._engine = holder.Engine(real, engine.stamp, engine.rank, engine.plan, NoReleaseError, NothingFitsError)
    later = holder.time.monotonic() + holder.RETRY_SECONDS
    monkeypatch.setattr(holder, "time", SimpleNamespace(monotonic=lambda: later))
    refresh()
    assert empty.get("/readyz").json()["model_version"] == "v1"


def test_the_home_is_watched_without_being_asked(app, engine, monkeypatch):
    monkeypatch.setattr(holder, "POLL_SECONDS", 0.01)
    with TestClient(app) as client:
        assert client.get("/readyz").status_code == 503
        engine.published = "v1"
        for _ in range(200):
            if client.get("/readyz").status_code == 200:
                break
        assert client.get("/readyz").json()["model_version"] == "v1"


def test_a_request_keeps_the_release_it_started_with(engine, client):
    inner = engine.rank

    def swapping(release, brief, *, request_id):
        engine.rank_hook()
        return inner(release, brief, request_id=request_id)

    service = bentoml.get_current_service()
    service._engine = holder.Engine(engine.load, engine.stamp, swapping, engine.plan, NoReleaseError, NothingFitsError)

    def swap():
        engine.published = "v2"
        refresh()

    engine.rank_hook = swap
    assert client.post("/v1/rank", json=BRIEF).json()["model_version"] == "v1"
    assert client.get("/readyz").json()["model_version"] == "v2"
