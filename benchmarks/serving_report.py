"""Figures beside their baselines and targets, printed as they are found."""

import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np

WIDTHS = (54, 27, 27, 7, 7)
HEADINGS = ("", "ours", "baseline", "ratio", "target")


class Report:
    """Prints lines of a table, and counts the targets that were missed."""

    def __init__(self) -> None:
        self.met, self.missed, self._section = 0, [], ""

    def heading(self, words: str) -> None:
        self._section = words.split(" (", maxsplit=1)[0]
        print(f"\n{words}", flush=True)
        self._row(HEADINGS, "")

    def line(self, what: str, ours: str, baseline: str = "", ratio: float | None = None, *, least: float | None = None,
             most: float | None = None, judged: float | None = None) -> None:  # fmt: skip
        """A figure; `judged` (default: the ratio) has to be at least or at most something, if asked."""
        judged = ratio if judged is None else judged
        target, verdict = "", ""
        if judged is not None and (least is not None or most is not None):
            target = f">= {least:g}" if least is not None else f"<= {most:g}"
            good = judged >= least if least is not None else judged <= most
            verdict = "met" if good else "MISSED"
            self.met += good
            if not good:
                self.missed.append(f"{self._section}: {what.strip()}")
        self._row((what, ours, baseline, "" if ratio is None else f"{ratio:.2f}", target), verdict)

    def summary(self) -> None:
        print(f"\ntargets met: {self.met}, missed: {len(self.missed)}")
        for what in self.missed:
            print(f"  missed: {what}")

    def _row(self, cells: Sequence[str], verdict: str) -> None:
        first, *rest = zip(cells, WIDTHS, strict=True)
        line = first[0].ljust(first[1]) + "".join(f" {cell:>{width}}" for cell, width in rest)
        print(f"{line} {verdict}".rstrip(), flush=True)


def interleaved(calls: dict[str, Callable[[], object]], times: dict[str, int], clock=time.process_time):
    """Seconds of each call, shape (times,) each, taken in turns; those asked more often are spread evenly."""
    rounds = max(times.values())
    found: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds):
        for name, call in calls.items():
            due = (turn + 1) * times[name] // rounds
            while len(found[name]) < due:
                started = clock()
                call()
                found[name].append(clock() - started)
    return found


def median(seconds: Sequence[float]) -> float:
    return statistics.median(seconds)


def ms(seconds: float) -> str:
    return f"{seconds * 1000:,.1f} ms" if seconds < 10 else f"{seconds:,.1f} s"


def spread(seconds: Sequence[float]) -> str:
    """p50 / p95 / p99 in milliseconds."""
    return " / ".join(f"{1000 * q:,.1f}" for q in np.percentile(seconds, [50, 95, 99]))
