"""Two BentoML services to compare ours with, with the same imports: one that answers the plain way, one with nothing.

Served by `benchmarks.serving_http`: `bentoml serve benchmarks.naive_service:Naive`, the home in INFLUENCER_ROI_HOME.
"""

from typing import Any

import bentoml

from features.brief import Brief
from serving import holder
from serving.service import WORKER_ENVIRONMENT, home

SETTINGS = {"envs": WORKER_ENVIRONMENT, "workers": 1, "traffic": {"timeout": 3600}}


@bentoml.service(name="noop", **SETTINGS)
class NoOp:
    """Reads a brief and answers at once."""

    def __init__(self):
        self._engine = holder.default_engine()

    @bentoml.api(route="/v1/rank")
    async def rank(self, brief: Brief, /) -> dict[str, Any]:
        return {"goal": brief.goal}


@bentoml.service(name="naive", **SETTINGS)
class Naive:
    """Answers as `benchmarks.serving_naive` does."""

    def __init__(self):
        self._release = holder.default_engine().load(home())

    @bentoml.api(route="/v1/rank")
    def rank(self, brief: Brief, /) -> dict[str, Any]:
        from benchmarks.serving_naive import naive_rank

        return {"picks": naive_rank(self._release, brief)}
