"""A small engine in the place of the real one, and the service around it over HTTP, in process."""

import os
import tempfile
from functools import cache
from types import SimpleNamespace

# BentoML's metrics read it when they are first used.
os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", tempfile.mkdtemp(prefix="influencer-roi-metrics-"))

import bentoml
import pytest
from starlette.testclient import TestClient

from features.brief import parse_brief
from features.errors import DataError
from serving import holder
from serving.answers import RankAnswer
from serving.service import HOME_VARIABLE, InfluencerROI
from tests.serving.hand_made_plan import plan_answer

BRIEF = {"goal": "awareness", "budget": 5000}
JSON = {"content-type": "application/json"}


class NothingFitsError(DataError):
    pass


class InfeasibleError(NothingFitsError):
    pass


class NoReleaseError(DataError):
    pass


class FakeRelease(SimpleNamespace):
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
        return FakeRelease(
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

    def plan(self, release, brief, *, request_id):
        if brief.brief_id == "crash":
            raise RuntimeError("an inner matter")
        if brief.brief_id == "infeasible":
            raise InfeasibleError("no 3 mega creators fit: lower plan.tier_limits.mega.min", field="plan.tier_limits")
        if brief.brief_id == "stranger":
            raise DataError("plan.must_include: c77 is not in the catalogue", field="plan.must_include")
        head = {"request_id": request_id, "brief_id": brief.brief_id, "model_version": release.model_version}
        return plan_answer(**head, budget=brief.budget, notes=[brief.plan.model_dump_json(exclude_unset=True)])

    def as_engine(self):
        return holder.Engine(self.load, self.stamp, self.rank, self.plan, NoReleaseError, NothingFitsError)


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


@cache
def _app():
    # once: BentoML's metrics register themselves for the whole process
    return InfluencerROI.to_asgi()


@pytest.fixture
def app():
    """The service; each TestClient starts one of its own."""
    return _app()


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
