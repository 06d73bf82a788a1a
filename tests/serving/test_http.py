"""The service over HTTP, in process, with a small engine in the place of the real one."""

import asyncio
import json
import threading
from dataclasses import replace

import bentoml
import pytest
from starlette.testclient import TestClient

from features.brief import parse_brief
from serving import holder, ranking
from serving.answers import RankAnswer
from serving.http_errors import MAX_IN_FLIGHT
from serving.plan_answers import PlanAnswer
from tests.serving.over_http import BRIEF, JSON, app, assert_envelope, client, empty, engine

__all__ = ["app", "client", "empty", "engine"]  # fixtures


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


def test_a_budget_is_planned_and_the_answer_is_the_contract(client):
    asked = {"tier_limits": {"mega": 0, "micro": 0.5}, "per_creator_cap": {"spend": 900}, "must_include": ["c1"]}
    sent = {**BRIEF, "brief_id": "b7", "plan": asked}
    response = client.post("/v1/plan", json=sent, headers={"x-request-id": "r-1"})
    assert response.status_code == 200, response.text
    answer = PlanAnswer.model_validate(response.json())
    assert (answer.request_id, answer.brief_id, answer.model_version, answer.budget) == ("r-1", "b7", "v1", 5000)
    assert response.headers["x-request-id"] == "r-1"
    assert answer.plan.picks[0].replacement.creator_id == "c9"
    # what the engine was asked, in its normal form
    assert json.loads(answer.notes[0]) == {**asked, "tier_limits": {"mega": {"max": 0}, "micro": {"max_share": 0.5}}}


def test_a_brief_alone_is_planned_without_limits(client):
    assert client.post("/v1/plan", json=BRIEF).json()["notes"] == ["{}"]


def test_a_plan_is_no_slate(client, tmp_path):
    assert client.post("/v1/plan", json=BRIEF).status_code == 200
    assert bentoml.get_current_service()._slates.written == 0
    assert client.post("/v1/rank", json=BRIEF).status_code == 200
    assert bentoml.get_current_service()._slates.written == 1


@pytest.mark.parametrize(
    ("extra", "status", "code", "field", "words"),
    [
        ({"plan": 5}, 400, "bad_request", "plan", "an object"),
        ({"plan": {"max_creator": 5}}, 400, "bad_request", "plan.max_creator", "did you mean plan.max_creators?"),
        ({"plan": {"tier_limits": {"micro": "3"}}}, 400, "bad_request", "plan.tier_limits.micro", "min_share"),
        ({"plan": {"per_creator_cap": 0}}, 400, "bad_request", "plan.per_creator_cap", "most placements"),
        ({"budget": 0}, 400, "bad_request", "budget", "above 0"),
        ({"max_creators": 5}, 400, "bad_request", "max_creators", "inside plan"),
        ({"brief_id": "stranger"}, 400, "bad_request", "plan.must_include", "c77 is not in the catalogue"),
        ({"brief_id": "infeasible"}, 422, "nothing_fits", "plan.tier_limits", "lower plan.tier_limits.mega.min"),
        ({"brief_id": "crash"}, 500, "internal_error", None, "request_id"),
    ],
)
def test_a_plan_that_cannot_be_made_says_what_and_where(client, extra, status, code, field, words):
    error = assert_envelope(client.post("/v1/plan", json={**BRIEF, **extra}), status)
    assert (error["code"], error["field"]) == (code, field)
    assert words in error["message"]
    assert "inner matter" not in error["message"]


def test_plans_are_counted_as_other_requests_are(client):
    from prometheus_client import REGISTRY  # noqa: PLC0415 - after PROMETHEUS_MULTIPROC_DIR is set

    def counted():
        outcomes = ("answered", "nothing_fits")
        names = [("influencer_roi_requests_total", {"outcome": outcome}) for outcome in outcomes]
        names.append(("influencer_roi_step_seconds_count", {"step": "plan"}))
        return [REGISTRY.get_sample_value(*name) or 0 for name in names]

    before = counted()
    client.post("/v1/plan", json=BRIEF)
    client.post("/v1/plan", json={**BRIEF, "brief_id": "infeasible"})
    assert [after - was for was, after in zip(before, counted(), strict=True)] == [1, 1, 2]


def test_a_ranking_refuses_a_plan_and_names_its_route(client):
    error = assert_envelope(client.post("/v1/rank", json={**BRIEF, "plan": {"max_creators": 3}}), 400)
    assert error["field"] == "plan"
    assert "POST /v1/plan" in error["message"]


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
    ({**BRIEF, "explore_share": 0.6}, "explore_share", ["at most 0.5"]),
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
        ("GET", "/nowhere", 404, "POST /v1/plan"),
        ("GET", "/v1/rank", 405, "use POST"),
        ("GET", "/v1/plan", 405, "use POST"),
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


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v1/rank"), ("POST", "/v1/plan"), ("GET", "/v1/model"), ("GET", "/readyz")]
)
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


def test_openapi_names_the_routes_their_fields_and_every_error(client):
    spec = client.get("/docs.json").json()
    rank, model = spec["paths"]["/v1/rank"]["post"], spec["paths"]["/v1/model"]["get"]
    assert set(rank["responses"]) == {"200", "400", "413", "422", "429", "500", "503", "504"}
    answer = rank["responses"]["200"]["content"]["application/json"]["schema"]
    assert set(answer["properties"]) == set(RankAnswer.model_fields)
    asked = rank["requestBody"]["content"]["application/json"]["schema"]
    assert (asked["required"], asked["example"]["goal"]) == (["goal", "budget"], "conversion")
    plan = spec["paths"]["/v1/plan"]["post"]
    assert set(plan["responses"]) == set(rank["responses"])
    planned = plan["responses"]["200"]["content"]["application/json"]["schema"]
    assert set(planned["properties"]) == set(PlanAnswer.model_fields)
    asked = plan["requestBody"]["content"]["application/json"]["schema"]
    assert asked["required"] == ["goal", "budget"]
    assert "max_creators" in asked["example"]["plan"]
    assert (spec["info"]["title"], set(model["responses"])) == ("influencer-roi", {"200", "503"})


def test_the_page_may_call_nobody(client):
    assert client.get("/").headers["content-security-policy"].startswith("default-src 'self';")


class Caller:
    """One who asks for a rank by `brief_id`, on the loop that the service runs on, and may hang up."""

    def __init__(self, app, brief_id):
        self._gone = asyncio.Event()
        body = json.dumps({**BRIEF, "brief_id": brief_id}).encode()
        self._pending = [{"type": "http.request", "body": body, "more_body": False}]
        self.status, self.headers = None, []
        scope = {
            "type": "http", "method": "POST", "path": "/v1/rank", "raw_path": b"/v1/rank", "root_path": "",
            "scheme": "http", "http_version": "1.1", "query_string": b"", "headers": [],
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2),
        }  # fmt: skip
        self.task = asyncio.create_task(app(scope, self._receive, self._send))

    def hang_up(self):
        self._gone.set()

    async def _receive(self):
        if self._pending:
            return self._pending.pop()
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message):
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], message["headers"]


def in_flight():
    from prometheus_client import REGISTRY  # noqa: PLC0415 - after PROMETHEUS_MULTIPROC_DIR is set

    return REGISTRY.get_sample_value("influencer_roi_in_flight")


def test_many_at_a_time_are_answered_in_order_to_a_limit_and_who_leaves_makes_room(app, engine, client):
    gate, inner = threading.Event(), engine.rank

    def rank(release, brief, *, request_id):
        assert gate.wait(60)
        return inner(release, brief, request_id=request_id)

    bentoml.get_current_service()._engine = replace(engine.as_engine(), rank=rank)
    engine.ranked.clear()

    async def scene():
        callers = [Caller(app, str(number)) for number in range(MAX_IN_FLIGHT)]
        while in_flight() < MAX_IN_FLIGHT:
            await asyncio.sleep(0.01)
        refused = Caller(app, "refused")
        await refused.task
        queued, computed = callers[5], callers[0]
        for leaving in (queued, computed):
            leaving.hang_up()
            await leaving.task
        # the one that is being computed cannot be stopped: one slot is free, not two
        last = Caller(app, "last")
        while in_flight() < MAX_IN_FLIGHT:
            await asyncio.sleep(0.01)
        again = Caller(app, "again")
        await again.task
        gate.set()
        await asyncio.gather(*(caller.task for caller in callers), last.task)
        return callers, last, [refused, again]

    callers, last, refused = client.portal.call(scene)
    assert [caller.status for caller in refused] == [429, 429]
    assert all((b"retry-after", b"2") in caller.headers for caller in refused)
    assert [number for number, caller in enumerate(callers) if caller.status == 499] == [0, 5]
    assert [caller.status for caller in [*callers, last]].count(200) == MAX_IN_FLIGHT - 1
    ranked = [brief_id for _, brief_id in engine.ranked]
    assert ranked == [str(number) for number in range(MAX_IN_FLIGHT) if number != 5] + ["last"]
