"""The error middleware alone, around small apps that fail in every way the framework can."""

import asyncio
import json
import logging

import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from features.brief import parse_brief_json
from serving.http_errors import REQUEST_ID, ErrorEnvelope, error_response

BRIEF = b'{"goal": "local", "budget": 5}'
JSON = {"content-type": "application/json"}
# Shapes of BentoML 1.4.39 and of Starlette, as they come: status, response, words the caller must read, field.
SHAPES = [
    (JSONResponse([{"error": "Traceback: boom"}], 400), "could not be read", None),
    (
        JSONResponse({"error": "1 validation error", "detail": [{"loc": ["filters", "x"], "msg": "wrong"}]}, 400),
        "filters.x: wrong",
        "filters.x",
    ),
    (JSONResponse({"error": "Authorization error"}, 403), "forbidden", None),
    (PlainTextResponse("Not Found", 404), "nothing at /any; ask /v1/rank", None),
    (PlainTextResponse("Method Not Allowed", 405, {"Allow": "POST"}), "GET is not allowed on /any; use POST", None),
    (JSONResponse({"error": "Too many requests"}, 429), "retry later", None),
    (JSONResponse({"error": "An unexpected error, KeyError: 'x'"}, 500), "the log has the cause", None),
    (PlainTextResponse("Service is dead because .__is_alive__()", 503), "not ready", None),
    (JSONResponse({"error": "Not able to process the request in 60 seconds"}, 504), "no answer in time", None),
    (PlainTextResponse("teapot", 418), "teapot", None),
]


def client_for(app, **options):
    options.setdefault("guide", "ask /v1/rank")
    return TestClient(ErrorEnvelope(app, **options), raise_server_exceptions=False)


def assert_envelope(response, status):
    assert response.status_code == status
    body = response.json()
    assert list(body) == ["error"]
    assert list(body["error"]) == ["code", "message", "field", "request_id"]
    assert body["error"]["request_id"] == response.headers["x-request-id"]
    assert len(response.headers.get_list("content-length")) == 1
    return body["error"]


@pytest.mark.parametrize(("shape", "words", "field"), SHAPES, ids=[str(s[0].status_code) + s[1] for s in SHAPES])
def test_every_shape_of_the_framework_is_rewritten(shape, words, field):
    error = assert_envelope(client_for(shape).get("/any"), shape.status_code)
    assert words in error["message"]
    assert error["field"] == field
    assert "KeyError" not in error["message"]


def test_a_405_says_what_is_allowed_and_a_429_when_to_come_back():
    assert client_for(SHAPES[4][0]).get("/any").headers["allow"] == "POST"
    assert int(client_for(SHAPES[5][0]).get("/any").headers["retry-after"]) > 0


def test_our_own_envelope_passes_through_with_field_and_message():
    async def app(scope, receive, send):
        await error_response(422, "nobody under max_fee 5", field="filters.max_fee")(scope, receive, send)

    error = assert_envelope(client_for(app).get("/"), 422)
    assert (error["code"], error["message"], error["field"]) == (
        "nothing_fits",
        "nobody under max_fee 5",
        "filters.max_fee",
    )


def test_an_exception_is_a_500_without_detail_and_its_traceback_is_in_the_log_under_the_id(caplog, monkeypatch):
    async def app(*_):
        raise RuntimeError("secret of the house")

    # A server started earlier in this process may have cut BentoML's logger off from the root, where caplog listens.
    monkeypatch.setattr(logging.getLogger("bentoml"), "propagate", True)
    response = client_for(app).get("/", headers={"x-request-id": "find-me"})
    assert "secret" not in response.text
    assert "find-me" in assert_envelope(response, 500)["message"]
    record = next(record for record in caplog.records if "find-me" in record.getMessage())
    assert "secret of the house" in str(record.exc_info[1])


def test_an_answer_that_breaks_off_is_not_patched_into_a_second_one():
    async def app(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise RuntimeError("broke off")

    with pytest.raises(RuntimeError, match="broke off"):
        TestClient(ErrorEnvelope(app)).get("/")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("abc-1.2_X", True),
        ("a" * 64, True),
        ("a" * 65, False),
        ("", False),
        ("two words", False),
        ("<script>", False),
        ("émile", False),
    ],
)
def test_a_request_id_is_taken_over_only_if_sane(given, kept):
    async def app(scope, receive, send):
        await PlainTextResponse(REQUEST_ID.get())(scope, receive, send)

    response = client_for(app).get("/", headers={"x-request-id": given.encode()})
    assert response.headers["x-request-id"] == response.text
    assert (response.text == given) is kept
    assert len(response.text) <= 64


async def call(app, chunks, headers=()):
    """One POST with a body of chunks; what was sent, and how many chunks were taken."""
    sent, taken = [], 0

    async def receive():
        nonlocal taken
        taken += 1
        try:
            return {"type": "http.request", "body": next(chunks), "more_body": True}
        except StopIteration:
            return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/rank", "headers": list(headers), "query_string": b""}
    await app(scope, receive, send)
    return sent, taken


async def never(*_):
    raise AssertionError("the app must not be reached")


def test_fifty_megabytes_in_chunks_are_refused_after_the_first_one():
    chunks = (bytes(64 * 1024) for _ in range(800))
    sent, taken = asyncio.run(call(ErrorEnvelope(never, max_body=1 << 20), chunks))
    assert sent[0]["status"] == 413
    assert "1,048,576 bytes" in json.loads(sent[1]["body"])["error"]["message"]
    assert taken == 17  # 16 chunks are the limit exactly, one more is over it


def test_a_declared_length_over_the_limit_is_refused_unread():
    chunks = iter([b"x"])
    sent, taken = asyncio.run(call(ErrorEnvelope(never), chunks, [(b"content-length", b"50000000")]))
    assert (sent[0]["status"], taken) == (413, 0)


def test_a_client_that_hangs_up_while_sending_is_let_go():
    sent, taken = asyncio.run(call(ErrorEnvelope(never), iter([b"x"])))
    # nobody reads it but the access log
    assert (sent[0]["status"], taken) == (499, 2)


def test_a_body_of_exactly_the_limit_arrives_whole():
    async def app(scope, receive, send):
        body = b""
        while True:
            message = await receive()
            body += message["body"]
            if not message.get("more_body"):
                break
        await PlainTextResponse(str(len(body)))(scope, receive, send)

    client = client_for(app, max_body=1000)
    assert client.post("/", content=bytes(1000)).text == "1000"
    assert_envelope(client.post("/", content=bytes(1001)), 413)


@pytest.mark.parametrize(
    ("headers", "body", "words"),
    [
        ({"content-type": "text/plain"}, BRIEF, "Content-Type: application/json"),
        ({"content-type": "multipart/form-data; boundary=x"}, BRIEF, "not multipart/form-data"),
        ({"content-type": "application/vnd.bentoml+pickle"}, BRIEF, "not application/vnd.bentoml+pickle"),
        ({**JSON, "content-encoding": "gzip"}, BRIEF, "compressed"),
        (JSON, b"", "empty"),
        (JSON, b"{", "not valid JSON"),
    ],
)
def test_a_checked_path_takes_plain_json_only(headers, body, words):
    response = client_for(never, checks={"/v1/rank": parse_brief_json}).post("/v1/rank", content=body, headers=headers)
    assert words in assert_envelope(response, 400)["message"]


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8", None])
def test_json_goes_by_any_spelling_of_its_type(kind):
    client = client_for(PlainTextResponse("in"), checks={"/v1/rank": parse_brief_json})
    headers = {"content-type": kind} if kind else {}
    assert client.post("/v1/rank", content=BRIEF, headers=headers).text == "in"


def test_no_answer_in_time_is_a_504_and_a_late_answer_is_dropped():
    async def app(scope, receive, send):
        try:
            await asyncio.sleep(30)
        finally:
            await PlainTextResponse("late")(scope, receive, send)

    error = assert_envelope(client_for(app, timeout=0.05).get("/"), 504)
    assert error["code"] == "timeout"
    assert "0.05 seconds" in error["message"]


def test_a_body_that_never_ends_is_a_504():
    async def scene():
        sent = []

        async def receive():
            await asyncio.sleep(30)

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b""}
        await ErrorEnvelope(never, timeout=0.05)(scope, receive, send)
        return sent

    assert asyncio.run(scene())[0]["status"] == 504


class Caller:
    """One who asks `/v1/rank`, and may hang up."""

    def __init__(self, app, body=BRIEF):
        self.sent, self.gone = [], asyncio.Event()
        self._pending = [{"type": "http.request", "body": body, "more_body": False}]
        scope = {"type": "http", "method": "POST", "path": "/v1/rank", "headers": [], "query_string": b""}
        self.answered = asyncio.create_task(app(scope, self._receive, self._send))

    async def _receive(self):
        if self._pending:
            return self._pending.pop()
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message):
        self.sent.append(message)

    async def status(self):
        await self.answered
        return self.sent[0]["status"]


def gated():
    """An app that waits for a gate to open, those that began, and those that were cancelled."""
    gate, began, cancelled = asyncio.Event(), [], []

    async def app(scope, receive, send):
        began.append(scope)
        try:
            await gate.wait()
        except asyncio.CancelledError:
            cancelled.append(scope)
            raise
        await PlainTextResponse("done")(scope, receive, send)

    return app, gate, began, cancelled


def test_more_at_a_time_than_can_be_answered_is_a_429_and_room_comes_back():
    async def scene():
        app, gate, began, _ = gated()
        guarded = ErrorEnvelope(app, checks={"/v1/rank": lambda _: None}, max_in_flight=128)
        first = [Caller(guarded) for _ in range(128)]
        refused = Caller(guarded)
        assert await refused.status() == 429
        assert len(began) == 128
        gate.set()
        return [await caller.status() for caller in first], refused.sent[0], await Caller(guarded).status()

    first, refused, after = asyncio.run(scene())
    assert first == [200] * 128
    assert (b"retry-after", b"2") in refused["headers"]
    assert after == 200


def test_bodies_that_end_at_the_same_time_do_not_get_past_the_limit():
    async def scene():
        app, gate, began, _ = gated()
        together = asyncio.Barrier(4)

        class Slow(Caller):
            async def _receive(self):
                if self._pending:
                    await together.wait()
                return await super()._receive()

        guarded = ErrorEnvelope(app, checks={"/v1/rank": lambda _: None}, max_in_flight=2)
        callers = [Slow(guarded) for _ in range(4)]
        refused = asyncio.gather(*(caller.answered for caller in callers[2:]))
        await asyncio.wait({caller.answered for caller in callers}, return_when=asyncio.FIRST_COMPLETED)
        gate.set()
        await refused
        return sorted([await caller.status() for caller in callers]), len(began)

    assert asyncio.run(scene()) == ([200, 200, 429, 429], 2)


def test_a_client_that_hangs_up_has_its_request_cancelled_and_its_slot_freed():
    async def scene():
        app, gate, began, cancelled = gated()
        guarded = ErrorEnvelope(app, checks={"/v1/rank": lambda _: None}, max_in_flight=1)
        leaving = Caller(guarded)
        while not began:
            await asyncio.sleep(0)
        assert await Caller(guarded).status() == 429
        leaving.gone.set()
        status = await leaving.status()
        while not cancelled:
            await asyncio.sleep(0)
        gate.set()
        return status, cancelled == began, await Caller(guarded).status()

    assert asyncio.run(scene()) == (499, True, 200)


def test_what_cannot_be_stopped_keeps_its_slot_until_it_ends():
    async def scene():
        gate, began = asyncio.Event(), asyncio.Event()

        async def app(scope, receive, send):
            began.set()
            try:
                await asyncio.shield(asyncio.ensure_future(gate.wait()))
            except asyncio.CancelledError:
                await gate.wait()
                raise
            await PlainTextResponse("done")(scope, receive, send)

        guarded = ErrorEnvelope(app, checks={"/v1/rank": lambda _: None}, max_in_flight=1)
        leaving = Caller(guarded)
        await began.wait()
        leaving.gone.set()
        assert await leaving.status() == 499
        meanwhile = await Caller(guarded).status()
        gate.set()
        while guarded._in_flight:
            await asyncio.sleep(0)
        return meanwhile, await Caller(guarded).status()

    assert asyncio.run(scene()) == (429, 200)


def test_http_exceptions_of_a_mounted_app_get_the_envelope_too():
    async def refuse(_):
        raise HTTPException(409, "Traceback (most recent call last)")

    error = assert_envelope(client_for(Starlette(routes=[Route("/", refuse)])).get("/"), 409)
    assert (error["code"], error["message"]) == ("conflict", "conflict")


def test_pages_may_load_nothing_from_elsewhere_and_other_answers_are_left_alone():
    page = client_for(HTMLResponse("<script src='https://elsewhere.example/x.js'></script>")).get("/")
    assert page.headers["content-security-policy"].startswith("default-src 'self';")
    data = client_for(JSONResponse({"picks": []}, headers={"x-own": "1"})).get("/")
    assert data.json() == {"picks": []}
    assert data.headers["x-own"] == "1"
    assert "content-security-policy" not in data.headers
