"""What an operator asks of a running service, for Prometheus at `/metrics`; docs/serving.md says what each means.

With several workers each keeps its numbers in files under PROMETHEUS_MULTIPROC_DIR, and whichever of them is asked
adds them up.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

from serving.slates import SlateLog
from serving.steps import Steps

# A no-op takes 2 ms, a brief over a million creators may take a second; a request is given up after 30.
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """The metrics of one process. A process may hold only one: use `metrics()`."""

    def __init__(self) -> None:
        # the library decides when it is imported whether it works for several processes: not in the one that supervises
        from prometheus_client import Counter, Gauge, Histogram  # noqa: PLC0415

        self._requests = Counter(
            "influencer_roi_requests",
            "Requests to POST /v1/rank and POST /v1/plan by outcome: answered, or the error's code",
            ["outcome"],
        )
        self._in_flight = Gauge(
            "influencer_roi_in_flight", "Requests queued or being computed", multiprocess_mode="livesum"
        )
        self._steps = Histogram(
            "influencer_roi_step_seconds", "Seconds of a request by step", ["step"], buckets=_BUCKETS
        )
        self._fallbacks = Counter(
            "influencer_roi_fallbacks", "Requests answered by the plain path in the place of the fast one", ["reason"]
        )
        self._scored = Counter("influencer_roi_candidates_scored", "Creators scored")
        self._filtered = Counter("influencer_roi_candidates_filtered", "Creators removed by a filter", ["reason"])
        self._served = Gauge(
            "influencer_roi_served", "1: what a worker serves; 0: what it served before",
            ["model_version", "data_as_of"], multiprocess_mode="livemax",
        )  # fmt: skip
        self._swaps = Counter("influencer_roi_swaps", "Releases taken up (success) or refused (failure)", ["result"])
        self._problem = Gauge(
            "influencer_roi_release_problem", "1: release.json names what cannot be served; /readyz says why",
            multiprocess_mode="livemax",
        )  # fmt: skip
        self._backlog = Gauge(
            "influencer_roi_slates_backlog",
            "Slates written that a power cut could still take",
            multiprocess_mode="livesum",
        )
        self._written = Counter("influencer_roi_slates_written", "Slates written")
        self._lost = Counter("influencer_roi_slates_failed", "Slates that could not be written, or made durable")
        self._named: tuple[str, str] | None = None
        self._log: SlateLog | None = None
        self._seen = (0, 0)
        for result in ("success", "failure"):  # a rate needs the zero before the first one
            self._swaps.labels(result)

    def request(self, outcome: str) -> None:
        """A request to rank or to plan has been answered, refused or given up."""
        self._requests.labels(outcome).inc()

    def in_flight(self, requests: int) -> None:
        """So many requests are queued or being computed."""
        self._in_flight.set(requests)

    def steps(self, steps: Steps) -> None:
        """One request's steps."""
        for name, seconds in steps.seconds.items():
            self._steps.labels(name).observe(seconds)
        for reason, times in steps.fallbacks.items():
            self._fallbacks.labels(reason).inc(times)

    def candidates(self, considered: int, filtered_out: Mapping[str, int]) -> None:
        """One answer's creators: of the catalogue, and removed by reason."""
        self._scored.inc(considered - sum(filtered_out.values()))
        for reason, creators in filtered_out.items():
            self._filtered.labels(reason).inc(creators)

    def swapped(self, model_version: str, data_as_of: str) -> None:
        """Another release is served from now on."""
        if self._named is not None:
            self._served.labels(*self._named).set(0)
        self._named = (model_version, data_as_of)
        self._served.labels(*self._named).set(1)
        self._problem.set(0)
        self._swaps.labels("success").inc()

    def swap_failed(self) -> None:
        """What release.json names cannot be served; the release before goes on."""
        self._problem.set(1)
        self._swaps.labels("failure").inc()

    def slates(self, log: SlateLog) -> None:
        """What the log of slates says now; called again and again."""
        if log is not self._log:
            self._log, self._seen = log, (0, 0)
        written, failed = log.written, log.failed
        self._backlog.set(log.backlog)
        self._written.inc(written - self._seen[0])
        self._lost.inc(failed - self._seen[1])
        self._seen = (written, failed)


@cache
def metrics() -> Metrics:
    """The metrics of this process, made when first asked for."""
    return Metrics()


def forget_dead_workers() -> None:
    """Take what killed workers held out of the sums (`kill -9` leaves them no moment to do so)."""
    from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415

    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    pids = {int(path.stem.rsplit("_", 1)[1]) for path in Path(folder).glob("gauge_live*.db")} if folder else set()
    for pid in pids:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            with suppress(FileNotFoundError):  # another worker that starts does the same
                mark_process_dead(pid, folder)  # type: ignore[no-untyped-call]
        except PermissionError:
            continue
