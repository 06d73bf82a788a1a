"""The service over HTTP, in process, with a small engine in the place of the real one."""

import json
import os
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

# BentoML's metrics read it when they are first used.
os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", tempfile.mkdtemp(prefix="influencer-roi-metrics-"))

import bentoml
import pytest
import yaml
from bentoml._internal.utils.analytics import usage_stats
from starlette.testclient import TestClient

from features.brief import parse_brief
from features.errors import DataError
from serving import holder, ranking
from serving.answers import RankAnswer
from serving.service import HOME_VARIABLE, WORKER_ENVIRONMENT, InfluencerROI, no_telemetry

ROOT = Path(__file__).parents[2]
BRIEF = {"goal": "awareness", "budget": 5000}
JSON = {"content-type": "application/json"}


class NothingFitsError(DataError):
    pass


class NoReleaseError(DataError):
    pass


class FakeEngine:
    """Loads what `published` says, and answers by `brief_id`: a way to make each thing happen."""

    def __init__(self):
        self.published = None
        self.ranked = []

    def stamp(self, _home):
        return self.published

    def load(self, home):
        if self.published is None:
            raise NoReleaseError(f"no model in {home.name} yet: run `influencer-roi train DIR`")
        if self.published.startswith("broken"):
            raise DataError(f"model {self.published} misses stage.txt: run `influencer-roi rollback`")
        if self.published.startswith("crash"):
            raise KeyError("an inner matter")
        return SimpleNamespace(
            model_version=self.published,
            data_as_of="2026-03-01",
            card={"version": self.published, "metrics": {"deviance": 1.0, "baseline": 1.2}},
            sample_briefs=[parse_brief({**BRIEF, "brief_id": "sick" if "sick" in self.published else "sample"})],
        )

    def rank(self, release, brief, *, request_id):
        self.ranked.append((release.model_version, brief.brief_id))
        if brief.brief_id in ("crash", "sick"):
            raise RuntimeError("an inner matter")
        if brief.brief_id == "nobody":
            raise NothingFitsError("nobody is left: relax max_fee", field="filters.max_fee")
        if brief.brief_id == "no-rate":
            raise DataError("currency: no rate from SGD", field="currency")
        return RankAnswer(
            request_id=request_id,
            brief_id=brief.brief_id,
            model_version=release.model_version,
            feature_schema="f1",
            data_as_of=release.data_as_of,
            currency="USD",
            value_basis={"cpm": 12.0},
            considered=3,
            filtered_out={"over_budget": 1},
            picks=[a_pick(place + 1) for place in range(brief.top)],
        )

    def as_engine(self):
        return holder.Engine(self.load, self.stamp, self.rank, NoReleaseError, NothingFitsError)


def a_pick(place):
    return {
        "rank": place,
        "creator_id": f"c{place}",
        "platform": "tiktok",
        "tier": "micro",
        "tier_local": "micro",
        "fee": 100.0,
        "fee_source": "quoted",
        "expected": {"impressions": 1000.0, "value": 150.0},
        "roi": 0.5,
        "roi_low": -0.2,
        "roi_high": 1.4,
        "p_profit": 0.8,
        "confidence": "high",
        "reasons": [{"factor": "cost", "effect": 0.1, "text": "cheap per view"}],
    }


@pytest.fixture(scope="module")
def app():
    # Once: its metrics register themselves for the whole process. Each TestClient starts a service of its own.
    return InfluencerROI.to_asgi()


@pytest.fixture
def engine(monkeypatch, tmp_path):
    fake = FakeEngine()
    monkeypatch.setattr(holder, "default_engine", fake.as_engine)
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    # Nothing is found by chance: tests refresh by hand.
    monkeypatch.setattr(holder, "POLL_SECONDS", 3600)
    return fake


@pytest.fixture
def client(app, engine):
    engine.published = "v1"
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def empty(app, engine):
    assert engine.published is None
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def assert_envelope(response, status):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert list(body) == ["error"]
    assert list(body["error"]) == ["code", "message", "field", "request_id"]
    assert body["error"]["request_id"] == response.headers["x-request-id"]
    assert "Traceback" not in response.text
    return body["error"]


def refresh():
    bentoml.get_current_service().holder.refresh()


def test_a_brief_is_ranked_and_the_answer_is_the_contract(client):
    response = client.post("/v1/rank", json={**BRIEF, "brief_id": "b7", "top": 2}, headers={"x-request-id": "r-1"})
    assert response.status_code == 200
    answer = response.json()
    assert RankAnswer.model_validate(answer).picks[1].creator_id == "c2"
    assert (answer["request_id"], answer["brief_id"], answer["model_version"]) == ("r-1", "b7", "v1")
    assert response.headers["x-request-id"] == "r-1"
    assert list(answer["picks"][0]["expected"]) == ["impressions", "engagements", "clicks", "conversions", "value"]
    assert (answer["picks"][0]["explore"], answer["picks"][0]["propensity"]) == (False, 1.0)


def test_the_real_engine_names_the_quotes_worth_asking(app, engine, world, monkeypatch):
    real = replace(engine.as_engine(), stamp=lambda _: "v1", load=lambda _: world.release, rank=ranking.rank)
    monkeypatch.setattr(holder, "default_engine", lambda: real)
    brief = {"goal": "conversion", "budget": 50_000, "explain": False, "top": 5}
    with TestClient(app, raise_server_exceptions=False) as client:
        response = client.post("/v1/rank", json=brief)
    assert response.status_code == 200, response.text
    sent = response.json()["quotes_worth_asking"]
    assert list(sent[0]) == ["creator_id", "fee", "fee_source", "gain", "picked"]
    answer = ranking.rank(world.release, parse_brief(brief), request_id="r")
    assert RankAnswer.model_validate(response.json()).quotes_worth_asking == answer.quotes_worth_asking


BAD_REQUESTS = [
    ({**BRIEF, "budgt": 1}, "budgt", ["no such field", "did you mean budget"]),
    ({**BRIEF, "goal": "sales"}, "goal", ["'awareness'", "'sales'"]),
    ({**BRIEF, "target_countries": ["XX"]}, "target_countries", ["'XX'", "country code"]),
    ({**BRIEF, "currency": "ABC"}, "currency", ["'ABC'", "currency code"]),
    ({**BRIEF, "budget": 0}, "budget", ["above 0"]),
    ({**BRIEF, "budget": -5}, "budget", ["above 0"]),
    ({**BRIEF, "budget": "5000"}, "budget", ["a number"]),
    ({**BRIEF, "top": 0}, "top", ["at least 1"]),
    ({**BRIEF, "top": 10**9}, "top", ["at most 1000"]),
    ({**BRIEF, "filters": {"min_followers": 9, "max_followers": 1}}, "filters.max_followers", ["min_followers"]),
    ({**BRIEF, "explore_share": 0.1}, "explore_share", ["not available"]),
    ({**BRIEF, "brief_id": "no-rate"}, "currency", ["no rate from SGD"]),
    ('{"goal": "awareness", "budget": NaN}', None, ["JSON", "NaN"]),
    ("", None, ["empty", '"goal"']),
    ("null", None, ["object", "null"]),
    ("[]", None, ["object", "a list"]),
    ('{"goal": ', None, ["not valid JSON"]),
    ("[" * 10_000, None, ["not valid JSON"]),
    (b"\x80\x04\x95", None, ["not valid JSON"]),
]


@pytest.mark.parametrize(("body", "field", "words"), BAD_REQUESTS, ids=[str(case[0])[-40:] for case in BAD_REQUESTS])
def test_a_bad_request_is_a_400_that_says_what_and_where(client, body, field, words):
    content = json.dumps(body) if isinstance(body, dict) else body
    error = assert_envelope(client.post("/v1/rank", content=content, headers=JSON), 400)
    assert (error["code"], error["field"]) == ("bad_request", field)
    assert [word for word in words if word not in error["message"]] == []


def test_fifty_megabytes_are_a_413(client):
    chunks = (bytes(1 << 20) for _ in range(50))
    error = assert_envelope(client.post("/v1/rank", content=chunks, headers=JSON), 413)
    assert "1,048,576" in error["message"]


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/nowhere", 404, "POST /v1/rank"),
        ("POST", "/v1", 404, "POST /v1/rank"),
        ("GET", "/v1/models", 404, "GET /v1/model"),
        ("POST", "/v1/rank/", 404, "POST /v1/rank"),
        ("GET", "/v1/rank", 405, "use POST"),
        ("DELETE", "/v1/rank", 405, "use POST"),
        ("POST", "/v1/model", 405, "GET"),
        ("PUT", "/v1/model", 405, "GET"),
        ("POST", "/readyz", 405, "GET"),
    ],
)
def test_wrong_paths_and_methods_name_the_right_ones(client, method, path, status, words):
    assert words in assert_envelope(client.request(method, path), status)["message"]


def test_a_fault_of_ours_is_a_500_without_detail(client):
    response = client.post("/v1/rank", json={**BRIEF, "brief_id": "crash"}, headers={"x-request-id": "r-500"})
    error = assert_envelope(response, 500)
    assert "r-500" in error["message"]
    assert "inner matter" not in response.text
    assert "RuntimeError" not in response.text


def test_a_request_nothing_can_satisfy_is_a_422_that_names_the_limit(client):
    error = assert_envelope(client.post("/v1/rank", json={**BRIEF, "brief_id": "nobody"}), 422)
    assert (error["code"], error["field"]) == ("nothing_fits", "filters.max_fee")
    assert "relax max_fee" in error["message"]


@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/rank"), ("GET", "/v1/model"), ("GET", "/readyz")])
def test_without_a_release_it_boots_and_says_which_command_to_run(empty, method, path):
    error = assert_envelope(empty.request(method, path, json=BRIEF if method == "POST" else None), 503)
    assert error["code"] == "not_ready"
    assert "influencer-roi train DIR" in error["message"]
    assert empty.get("/livez").status_code == 200


def test_a_bad_brief_is_a_400_even_while_there_is_no_model(empty):
    assert_envelope(empty.post("/v1/rank", json={}), 400)


def test_probes_metrics_and_card(client):
    assert client.get("/livez").status_code == 200
    assert client.get("/readyz").json() == {
        "status": "ready",
        "model_version": "v1",
        "data_as_of": "2026-03-01",
        "problem": None,
    }
    assert client.get("/v1/model").json() == {"version": "v1", "metrics": {"deviance": 1.0, "baseline": 1.2}}
    client.post("/v1/rank", json=BRIEF)
    assert "request_total" in client.get("/metrics").text


def test_openapi_names_both_routes_their_fields_and_every_error(client):
    spec = client.get("/docs.json").json()
    rank, model = spec["paths"]["/v1/rank"]["post"], spec["paths"]["/v1/model"]["get"]
    assert set(rank["responses"]) == {"200", "400", "413", "422", "429", "500", "503", "504"}
    answer = rank["responses"]["200"]["content"]["application/json"]["schema"]
    assert set(answer["properties"]) == set(RankAnswer.model_fields)
    asked = rank["requestBody"]["content"]["application/json"]["schema"]
    assert (asked["required"], asked["example"]["goal"]) == (["goal", "budget"], "conversion")
    assert (spec["info"]["title"], set(model["responses"])) == ("influencer-roi", {"200", "503"})


def test_the_page_may_call_nobody(client):
    assert client.get("/").headers["content-security-policy"].startswith("default-src 'self';")


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
    served._engine = holder.Engine(failing, engine.stamp, engine.rank, NoReleaseError, NothingFitsError)
    engine.published = "v1"
    refresh()
    refresh()
    assert len(tries) == 1
    assert "MemoryError" in assert_envelope(empty.get("/readyz"), 503)["message"]
    served._engine = holder.Engine(real, engine.stamp, engine.rank, NoReleaseError, NothingFitsError)
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
    service._engine = holder.Engine(engine.load, engine.stamp, swapping, NoReleaseError, NothingFitsError)

    def swap():
        engine.published = "v2"
        refresh()

    engine.rank_hook = swap
    assert client.post("/v1/rank", json=BRIEF).json()["model_version"] == "v1"
    assert client.get("/readyz").json()["model_version"] == "v2"


def test_importing_the_service_loads_no_training_and_no_engine():
    code = "import sys, serving.service; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    unwanted = {"mlflow", "sklearn", "training", "lightgbm", "matplotlib", "pandas"}
    assert unwanted & set(ran.stdout.split()) == set()


def test_importing_the_engine_loads_no_training_either():
    code = "import sys; from serving.holder import default_engine; default_engine(); print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    # LightGBM imports sklearn by itself where it is installed; a bento does not install it.
    assert {"mlflow", "training"} & {name.split(".")[0] for name in ran.stdout.split()} == set()


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
    known = {name.split(">")[0].split("=")[0] for name in direct} | {"starlette"}  # starlette comes with bentoml
    assert {package.split("==")[0] for package in bento["python"]["packages"]} <= known
