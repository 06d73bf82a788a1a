"""Holds the one release that answers, watches the home for another, and swaps it in whole.

A request reads `ReleaseHolder.held` once and works with what it got: a swap in between does not concern it.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.errors import DataError
from serving.answers import RankAnswer
from serving.compute import OneThread
from serving.metrics import metrics
from serving.plan_answers import PlanAnswer

POLL_SECONDS = 2.0
# The same release.json that failed is tried again after this long: its cause may have been passing (memory, a disk).
RETRY_SECONDS = 60.0

# Below BentoML's logger, whose handlers and format apply in the server.
log = logging.getLogger("bentoml.influencer_roi")


@dataclass(frozen=True)
class Engine:
    """The functions the service needs of the engine, and the two errors it tells apart."""

    load: Callable[[Path], Any]
    stamp: Callable[[Path], object | None]
    rank: Callable[..., RankAnswer]
    plan: Callable[..., PlanAnswer]
    no_release: type[Exception]
    nothing_fits: type[Exception]


def default_engine() -> Engine:
    """The real engine. Imported on call: the supervising process and `bentoml build` never need it."""
    from serving import tree_shap  # noqa: PLC0415
    from serving.planning import plan  # noqa: PLC0415
    from serving.ranking import NothingFits, rank  # noqa: PLC0415
    from serving.release import NoRelease, load_served  # noqa: PLC0415
    from serving.release_file import release_stamp  # noqa: PLC0415

    # until they are compiled, once it answers, reasons take the slower way
    tree_shap.postpone()
    return Engine(load_served, release_stamp, rank, plan, NoRelease, NothingFits)


def compile_scoring() -> None:
    """Compile what every answer needs; takes seconds, a half of them beside other threads."""
    from serving.kernels import compile_loops  # noqa: PLC0415

    compile_loops()


def compile_reasons() -> None:
    """Compile what makes reasons fast."""
    from serving.tree_shap import compile_loops  # noqa: PLC0415

    compile_loops()


@dataclass(frozen=True)
class Held:
    """What is served now (None: nothing yet), and why it is not newer, where there is something to say."""

    release: Any = None
    problem: str | None = None


class ReleaseHolder:
    """Keeps `held` up to date with the home.

    Args:
        home: the folder that holds release.json.
        engine: how to load a release, and rank and plan with it.
    """

    def __init__(self, home: Path, engine: Engine) -> None:
        self.held = Held(problem="the model is still being loaded; ask again in a few seconds")
        self._home = home
        self._engine = engine
        self._tried: object = self  # equal to no stamp, so that the first refresh always loads
        self._retry_at = float("inf")
        # one and the same: each thread that loads a release would keep memory of its own for the next one
        self._thread = OneThread("release")

    def refresh(self) -> None:
        """Load the release the home names if it is not the one held; on any failure keep what is held.

        Blocks while loading: call it in a thread, one call at a time.
        """
        try:
            stamp = self._engine.stamp(self._home)
            if stamp == self._tried and time.monotonic() < self._retry_at:
                return
            # Read before loading: a release written meanwhile has another stamp and is found by the next poll.
            self._tried, self._retry_at = stamp, float("inf")
            release = self._engine.load(self._home)
            self._warm(release)
        except Exception as error:
            self._keep_old(error)
        else:
            self.held = Held(release=release)
            metrics().swapped(release.model_version, release.data_as_of)
            log.info("serving model %s, data as of %s", release.model_version, release.data_as_of)

    async def watch(self) -> None:
        """Refresh now and then for ever, in a thread, so that requests go on being answered."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await self.refresh_beside()

    async def refresh_beside(self) -> None:
        """`refresh` in a thread of its own."""
        await self._thread.run(self.refresh)

    def close(self) -> None:
        """End the thread."""
        self._thread.close()

    def _warm(self, release: Any) -> None:
        """Answer the sample briefs once: the first real request must not pay for lazy loading, or find it broken."""
        for brief in release.sample_briefs:
            try:
                self._engine.rank(release, brief, request_id="warm-up")
            except self._engine.nothing_fits as error:
                log.info("a sample brief fits nobody in %s: %s", release.model_version, error)

    def _keep_old(self, error: Exception) -> None:
        self._retry_at = time.monotonic() + RETRY_SECONDS
        old, said = self.held.release, self.held.problem
        if old is not None or not isinstance(error, self._engine.no_release):  # before the first one nothing failed
            metrics().swap_failed()
        if isinstance(error, DataError | self._engine.no_release):
            reason, trace = str(error), None
        else:
            reason = f"the release in {self._home.name} cannot be loaded ({type(error).__name__}); the log says why"
            trace = error
        self.held = Held(old, reason if old is None else f"still serving {old.model_version}: {reason}")
        if self.held.problem != said:  # a poll that finds the same trouble again does not repeat it
            log.log(logging.ERROR if trace else logging.WARNING, "no new release: %s", reason, exc_info=trace)
