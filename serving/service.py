"""The BentoML service: `POST /v1/rank`, `POST /v1/plan`, `GET /v1/model`, probes and metrics.

What a request may look like is settled in `serving.http_errors`, which model answers in `serving.holder`; here is
the wiring. The home whose release is served is INFLUENCER_ROI_HOME (default `.influencer-roi`).
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any

import bentoml
from bentoml._internal.server.http.traffic import TimeoutMiddleware
from bentoml._internal.service.openapi.specification import Info, PathItem
from bentoml._internal.utils.analytics import usage_stats
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from features.brief import Brief, parse_brief_json
from features.errors import DataError
from features.plan_options import PlanBrief, parse_plan_json
from serving import holder
from serving.answers import RankAnswer
from serving.compute import OneThread
from serving.http_errors import REQUEST_ID, App, ErrorEnvelope, Receive, Scope, Send, error_response, log
from serving.metrics import forget_dead_workers, metrics
from serving.plan_answers import PlanAnswer
from serving.slates import FOLDER as SLATES
from serving.slates import SlateLog
from serving.steps import noted, step

HOME_VARIABLE = "INFLUENCER_ROI_HOME"
DEFAULT_HOME = ".influencer-roi"
GUIDE = (
    "there are POST /v1/rank, POST /v1/plan, GET /v1/model, GET /livez, GET /readyz, GET /metrics and GET /docs.json"
)
CHECKS = {"/v1/rank": parse_brief_json, "/v1/plan": parse_plan_json}
SLATES_COUNTED_SECONDS = 1.0
# For the workers, set before they start: LightGBM and numpy read them when they load, and two libraries' threads
# that spin on the same cores run many times slower than one thread each.
WORKER_ENVIRONMENT = [
    {"name": "OMP_WAIT_POLICY", "value": "passive"},
    {"name": "OMP_NUM_THREADS", "value": "1"},
    {"name": "OPENBLAS_NUM_THREADS", "value": "1"},
    {"name": usage_stats.BENTOML_DO_NOT_TRACK, "value": "True"},
]


def no_telemetry() -> None:
    """Keep BentoML from reporting use to its makers, in this process and those it starts.

    The variable alone comes too late here: the `bentoml` command has asked, and cached the answer, before it
    imports any service.
    """
    os.environ[usage_stats.BENTOML_DO_NOT_TRACK] = "True"
    usage_stats.do_not_track.cache_clear()


# The one effect of this import: it is all of ours that a plain `bentoml serve` or `bentoml build` runs.
no_telemetry()


def home() -> Path:
    """The home to serve from, absolute."""
    return Path(os.environ.get(HOME_VARIABLE) or DEFAULT_HOME).resolve()


def _held() -> holder.Held:
    return bentoml.get_current_service().holder.held  # type: ignore[no-any-return]


async def model_card(_: Request) -> Response:
    """`GET /v1/model`: the card of the model that answers now."""
    held = _held()
    if held.release is None:
        return error_response(503, held.problem or "")
    return JSONResponse(held.release.card)


class Readiness:
    """ASGI middleware that answers `/readyz`: BentoML's own can say neither which model is served nor why not."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer `/readyz`, pass on the rest."""
        if scope["type"] != "http" or scope["path"] != "/readyz" or scope["method"] not in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        held = _held()
        if held.release is None:
            response = error_response(503, held.problem or "")
        else:
            served = {"model_version": held.release.model_version, "data_as_of": held.release.data_as_of}
            response = JSONResponse({"status": "ready", **served, "problem": held.problem})
        await response(scope, receive, send)


class _Service(bentoml.Service):  # type: ignore[misc] # bentoml ships no types mypy may follow here
    """BentoML's service, but for its time-out and for an OpenAPI that names the mounted route and our error shape."""

    def to_asgi(self, is_main: bool = True) -> Any:
        app = super().to_asgi(is_main=is_main)
        # Ours (ErrorEnvelope) answers in our shape. Theirs would hold about 7 kB of every request until its time is up,
        # long after the answer: 100 MB at 250 requests a second.
        app.user_middleware = [one for one in app.user_middleware if one.cls is not TimeoutMiddleware]
        return app

    @property
    def openapi_spec(self) -> Any:
        spec = super().openapi_spec
        # BentoML would introduce itself here, with badges loaded from elsewhere
        words = "Ranks creators for a campaign brief by predicted ROI, and plans how to spend its budget."
        info = Info(title="influencer-roi", version="v1", description=words)
        spec = type(spec)(spec.openapi, info, spec.paths, spec.servers, spec.tags, spec.components)
        errors = {str(status): _error_schema(words) for status, words in _ERRORS.items()}
        for path in spec.paths.values():
            if path.post:
                answered = {code: said for code, said in path.post["responses"].items() if int(code) < 400}
                path.post["responses"] = {**answered, **errors}
        card = {"application/json": {"schema": {"type": "object", "title": "ModelCard"}}}
        spec.paths["/v1/model"] = PathItem(
            get={
                "responses": {"200": {"description": "The model card", "content": card}, "503": errors["503"]},
                "tags": ["Service APIs"],
                "description": "The card of the model that answers now: data, metrics beside baselines, settings.",
                "operationId": f"{self.name}__model",
            }
        )
        return spec


_ERRORS = {
    400: "The request is wrong: the message says how, `field` where",
    413: "The body is over 1 MiB",
    422: "Nothing can satisfy the request: the message says which limit to relax",
    429: "Too many requests at a time: retry after the seconds in Retry-After",
    500: "Our fault: the log has the cause under request_id",
    503: "No model yet: the message names the command to run",
    504: "No answer in time",
}


def _error_schema(description: str) -> Mapping[str, Any]:
    text = {"type": "string"}
    fields = {"code": text, "message": text, "field": {"type": "string", "nullable": True}, "request_id": text}
    error = {"type": "object", "properties": fields, "required": list(fields)}
    schema = {"type": "object", "properties": {"error": error}, "required": ["error"]}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


@bentoml.service(
    name="influencer_roi",
    service_class=_Service,
    envs=WORKER_ENVIRONMENT,
    workers=1,
)
class InfluencerROI:
    """Ranks creators for a campaign brief by what a placement with each would return, and plans a budget."""

    def __init__(self) -> None:
        self._compile = OneThread("compile")
        # begun before the engine is imported, which takes as long
        self._compiled = self._compile.begin(holder.compile_scoring)
        self._engine = holder.default_engine()
        self.holder = holder.ReleaseHolder(home(), self._engine)
        self._compute = OneThread("compute")
        self._slates = SlateLog(home() / SLATES)
        self._beside: list[asyncio.Task[None]] = []

    @bentoml.on_deployment  # type: ignore[untyped-decorator]
    @staticmethod
    def settle_home() -> None:
        """Fix a relative home while still in the folder the server was started in; workers run in the bento's."""
        os.environ[HOME_VARIABLE] = str(home())

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def start_beside(self) -> None:
        """Load what there is, then follow the home."""
        forget_dead_workers()
        await self.holder.refresh_beside()
        await asyncio.wrap_future(self._compiled)
        self._beside = [asyncio.create_task(self.holder.watch()), asyncio.create_task(self._count_slates())]
        self._compile.begin(holder.compile_reasons)

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def stop_beside(self) -> None:
        """Stop following the home, and put the last slates on disk."""
        for task in self._beside:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        self.holder.close()
        self._compute.close()
        self._compile.close()
        self._slates.close()
        metrics().slates(self._slates)

    @bentoml.api(route="/v1/rank", output_spec=RankAnswer)  # type: ignore[untyped-decorator]
    async def rank(self, brief: Brief, /) -> Response:
        """Rank every creator for a brief; the body is the brief, flat."""
        return await self._compute.run(self._answer, "rank", self._engine.rank, brief, perf_counter())

    @bentoml.api(route="/v1/plan", output_spec=PlanAnswer)  # type: ignore[untyped-decorator]
    async def plan(self, brief: PlanBrief, /) -> Response:
        """Plan a budget: the set of creators that brings most for it; the body is a brief, flat, with a `plan`."""
        return await self._compute.run(self._answer, "plan", self._engine.plan, brief, perf_counter())

    def _answer(self, name: str, ask: Callable[..., RankAnswer | PlanAnswer], brief: Brief, asked: float) -> Response:
        """What the engine says to a brief asked at a moment of `perf_counter`; runs in the computing thread."""
        held = self.holder.held
        if held.release is None:
            return error_response(503, held.problem or "")
        with noted() as steps:
            steps.seconds["queue"] = perf_counter() - asked
            try:
                with step(name):
                    answer = ask(held.release, brief, request_id=REQUEST_ID.get())
                # The engine's answer has been validated when it was built; BentoML would do it all again.
                with step("json"):
                    response = Response(answer.model_dump_json(), media_type="application/json")
                # A plan is no slate: its picks have no chance of their own, and may have been asked for by name.
                if isinstance(answer, RankAnswer):
                    with step("slate"):
                        self._slates.append(brief, answer)
                metrics().candidates(answer.considered, answer.filtered_out)
            except self._engine.nothing_fits as error:
                response = error_response(422, str(error), field=getattr(error, "field", None))
            except DataError as error:
                response = error_response(400, str(error), field=error.field)
            except Exception:
                log.exception("request %s failed: model %s", REQUEST_ID.get(), held.release.model_version)
                response = error_response(500, "")
        metrics().steps(steps)
        return response

    async def _count_slates(self) -> None:
        while True:
            metrics().slates(self._slates)
            await asyncio.sleep(SLATES_COUNTED_SECONDS)


def _wire(service: Any) -> None:
    service.mount_asgi_app(Starlette(routes=[Route("/model", model_card)]), path="/v1")
    service.add_asgi_middleware(ErrorEnvelope, checks=CHECKS, guide=GUIDE)
    service.add_asgi_middleware(Readiness)


_wire(InfluencerROI)
