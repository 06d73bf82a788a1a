"""One shape for every error the service gives: `{"error": {code, message, field, request_id}}`.

BentoML 1.4 has six shapes of its own: `{"error", "detail"}` for validation (400), a list for other 4xx
(BentoML#4232), `{"error"}` for 5xx and time-outs, and Starlette's plain text for 404, 405 and probes. `ErrorEnvelope`
rewrites them on their way out, and on the way in refuses what must not reach the framework at all: bodies that are
too large, are not JSON or fail their check, and more requests than can be answered in time. A client that hangs up
has its request cancelled.
"""

import asyncio
import json
import logging
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from contextvars import ContextVar
from http import HTTPStatus
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse

from features.errors import DataError
from serving.metrics import metrics

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="-")
MAX_BODY_BYTES = 1 << 20
_REDIRECTS = (301, 302, 307, 308)
TIMEOUT_SECONDS = 60.0
# In each worker, where one thread computes: at half a second a brief, for a million creators, all are answered in time.
MAX_IN_FLIGHT = 128
RETRY_AFTER_SECONDS = 2

log = logging.getLogger("bentoml.influencer_roi")

# nginx's status for a client that hung up: nobody reads it but the access log and the metrics
_GONE = 499
_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_CODES = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    413: "body_too_large",
    422: "nothing_fits",
    429: "too_many_requests",
    _GONE: "client_gone",
    500: "internal_error",
    503: "not_ready",
    504: "timeout",
}
# BentoML's page at / embeds a third-party tracker; the policy keeps the browser to this host.
_PAGE_POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"


class RefusedError(Exception):
    """A request that is answered with an error, decided before the framework saw it."""

    def __init__(self, status: int, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.field = field


def error_response(status: int, message: str, *, field: str | None = None) -> JSONResponse:
    """The envelope as a response, with the id of the request being answered. A 500 never carries `message`.

    >>> error_response(404, "no such path").body
    b'{"error":{"code":"not_found","message":"no such path","field":null,"request_id":"-"}}'
    """
    message = _INTERNAL.format(id=REQUEST_ID.get()) if status == 500 else message
    error = {"code": _code(status), "message": message, "field": field, "request_id": REQUEST_ID.get()}
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if status == 429 else None
    return JSONResponse({"error": error}, status_code=status, headers=headers)


class ErrorEnvelope:
    """ASGI middleware: see the module.

    Args:
        app: what it wraps.
        checks: path -> check of a POST body, which must be JSON; the check raises DataError (400).
        guide: what a 404 names as the paths there are.
        max_body: bytes.
        timeout: seconds from the first byte to the answer.
        max_in_flight: requests to `checks` that are queued or being answered at a time.
    """

    def __init__(
        self,
        app: App,
        *,
        checks: Mapping[str, Callable[[bytes], object]] | None = None,
        guide: str = "",
        max_body: int = MAX_BODY_BYTES,
        timeout: float = TIMEOUT_SECONDS,
        max_in_flight: int = MAX_IN_FLIGHT,
    ) -> None:
        self._app = app
        self._checks = dict(checks or {})
        self._guide = guide
        self._max_body = max_body
        self._timeout = timeout
        self._max_in_flight = max_in_flight
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        asked = headers.get("x-request-id", "")
        REQUEST_ID.set(asked if _SANE_ID.fullmatch(asked) else uuid.uuid4().hex)
        reply = _Reply(scope, receive, send, self._guide)
        try:
            await self._handle(scope, headers, receive, reply)
        finally:
            if scope["path"] in self._checks:
                metrics().request("answered" if reply.status == 200 else _code(reply.status))

    async def _handle(self, scope: Scope, headers: Headers, receive: Receive, reply: "_Reply") -> None:
        deadline = asyncio.get_running_loop().time() + self._timeout
        try:
            async with asyncio.timeout_at(deadline):
                body = await self._read(scope, headers, receive)
        except RefusedError as refusal:
            await reply.error(refusal.status, str(refusal), field=refusal.field)
        except TimeoutError:
            await reply.error(504, f"the request was not received whole within {self._timeout:g} seconds")
        except _GoneError:
            await reply.error(_GONE, "the client hung up while sending")
        else:
            await self._answer(scope, body, receive, reply, deadline)

    async def _read(self, scope: Scope, headers: Headers, receive: Receive) -> bytes:
        """The body, never holding more than `max_body` bytes of it, checked where its path has a check."""
        check = self._checks.get(scope["path"]) if scope["method"] == "POST" else None
        if check:
            self._require_room()
        too_large = RefusedError(
            413, f"the body is over {self._max_body:,} bytes; send less, for example fewer creator_ids"
        )
        declared = headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self._max_body:
            raise too_large
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _GoneError
            body += message.get("body", b"")
            if len(body) > self._max_body:
                raise too_large
            more = message.get("more_body", False)
        if check:
            _check_json_headers(headers)
            try:
                check(bytes(body))
            except DataError as error:
                raise RefusedError(400, str(error), field=error.field) from None
            self._require_room()  # others may have been read whole meanwhile
        return bytes(body)

    def _require_room(self) -> None:
        if self._in_flight >= self._max_in_flight:
            raise RefusedError(429, f"{self._in_flight} requests are being answered already; retry later")

    async def _answer(self, scope: Scope, body: bytes, receive: Receive, reply: "_Reply", deadline: float) -> None:
        task = asyncio.ensure_future(self._app(scope, _replayed(body, receive), reply.send))
        ends = {task}
        if scope["path"] in self._checks:
            # Until it really ends: what is being computed goes on after its client has gone or its time was up.
            self._count(1)
            task.add_done_callback(self._ended)
            ends |= {asyncio.ensure_future(_hung_up(receive))}
        try:
            left = max(0.0, deadline - asyncio.get_running_loop().time())
            done, _ = await asyncio.wait(ends, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if not task.done() and reply.start():
                if done:
                    await reply.error(_GONE, "the client hung up")
                    return
                log.warning("request %s timed out: %s %s", REQUEST_ID.get(), scope["method"], scope["path"])
                await reply.error(504, f"no answer within {self._timeout:g} seconds; ask for less or retry later")
                return
            await task
        except Exception:
            log.exception("request %s failed: %s %s", REQUEST_ID.get(), scope["method"], scope["path"])
            if not reply.start():
                raise
            await reply.error(500, "")
        finally:
            for end in ends:
                end.cancel()

    def _count(self, more: int) -> None:
        self._in_flight += more
        metrics().in_flight(self._in_flight)

    def _ended(self, task: "asyncio.Future[None]") -> None:
        self._count(-1)
        if not task.cancelled():
            task.exception()  # seen: it has been logged, or came after its request had timed out


class _GoneError(Exception):
    """The client hung up while sending."""


class _Reply:
    """Passes the framework's answer on, or rewrites it when it is an error."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, guide: str) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._guide = guide
        self.status = 500  # what an answer that never started counts as
        self._started = False
        self._held: Message | None = None
        self._body = bytearray()
        self._closed = False

    def start(self) -> bool:
        """Claim the right to answer; False when an answer is already under way. What comes later is dropped."""
        if self._started:
            return False
        self._closed = True
        return True

    async def error(self, status: int, message: str, *, field: str | None = None) -> None:
        """Send the envelope."""
        await error_response(status, message, field=field)(self._scope, self._receive, self._out)

    async def send(self, message: Message) -> None:
        """The `send` given to the wrapped app."""
        if self._closed:
            return
        if message["type"] == "http.response.start" and (message["status"] >= 400 or message["status"] in _REDIRECTS):
            self._held = message
        elif self._held is None:
            await self._out(message)
        elif message["type"] == "http.response.body":
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                self._closed = True
                await self._rewrite(self._held)

    async def _out(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._started = True
            self.status = message["status"]
            headers = MutableHeaders(raw=list(message.get("headers", ())))
            headers["X-Request-ID"] = REQUEST_ID.get()
            if headers.get("content-type", "").startswith("text/html"):
                headers["Content-Security-Policy"] = _PAGE_POLICY
            message = {**message, "headers": headers.raw}
        await self._send(message)

    async def _rewrite(self, start: Message) -> None:
        # a slash too many is another route, and there is none
        status = 404 if start["status"] in _REDIRECTS else start["status"]
        said = _json_or_none(bytes(self._body))
        if isinstance(said, dict) and isinstance(said.get("error"), dict):  # ours already
            await self._out(start)
            await self._out({"type": "http.response.body", "body": bytes(self._body)})
            return
        kept = Headers(raw=list(start.get("headers", ())))
        message, field = self._explain(status, said, kept.get("allow"))
        if status == 500:
            path = self._scope["path"]
            log.error("request %s failed on %s: the cause was logged just before this line", REQUEST_ID.get(), path)
        response = error_response(status, message, field=field)
        for name, value in kept.items():
            if name not in ("content-type", "content-length", "location"):
                response.headers[name] = value
        await response(self._scope, self._receive, self._out)

    def _explain(self, status: int, said: Any, allowed: str | None) -> tuple[str, str | None]:
        path, method = self._scope["path"], self._scope["method"]
        if status == 400 and isinstance(said, dict) and said.get("detail"):
            first = said["detail"][0]
            field = ".".join(str(part) for part in first["loc"]) or None
            return f"{field}: {first['msg']}" if field else str(first["msg"]), field
        if status == 404:
            return f"there is nothing at {path}; {self._guide}", None
        if status == 405:
            use = f"; use {allowed}" if allowed else ""
            return f"{method} is not allowed on {path}{use}", None
        return _PLAIN.get(status, HTTPStatus(status).phrase.lower()), None


_INTERNAL = "something went wrong on our side; the log has the cause under request_id {id}"
_PLAIN = {
    400: "the request could not be read",
    413: "the body is too large",
    429: "too many requests at a time; retry later",
    503: "the service is not ready; GET /readyz says why",
    504: "no answer in time; ask for less or retry later",
}


def _code(status: int) -> str:
    return _CODES.get(status) or HTTPStatus(status).phrase.lower().replace(" ", "_")


def _check_json_headers(headers: Headers) -> None:
    kind = headers.get("content-type", "application/json").split(";")[0].strip().lower()
    if kind != "application/json":
        raise RefusedError(
            400, f"the body must be JSON: send Content-Type: application/json, not {kind or 'an empty one'}"
        )
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise RefusedError(400, "compressed bodies are not read; send the brief as plain JSON")


def _json_or_none(body: bytes) -> Any:
    with suppress(ValueError):
        return json.loads(body)
    return None


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body already read, then whatever comes (a disconnect)."""
    pending = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return pending.pop() if pending else await receive()

    return replay


async def _hung_up(receive: Receive) -> None:
    """Return when the client has gone: once the body has been read, nothing else is left to receive."""
    await receive()
