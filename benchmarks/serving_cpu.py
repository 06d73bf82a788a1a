"""In process: CPU seconds of an answer, of scoring alone, and of one answer among ten million creators."""

import multiprocessing
import resource
import time
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.serving_models import BRIEF, WHAT, publish
from benchmarks.serving_report import Report, interleaved, median, ms

ANSWER_RATIO, SCORING_RATIO = 30.0, 30.0
FROM = 100_000  # creators from which the targets hold
HUGE = 10_000_000
HUGE_SECONDS, HUGE_GB = 15.0, 8.0


def answers(report: Report, work: Path, sizes: list[int], models: list[str], quick: bool) -> None:
    """CPU seconds of one answer: the naive way, the plain path, ours."""
    from benchmarks.serving_naive import naive_rank
    from features.brief import parse_brief
    from serving.candidates import candidates
    from serving.ranking import rank
    from serving.release import load_release

    brief = parse_brief(BRIEF)

    def plain(release):
        return candidates(release, brief).best(brief.top)

    report.heading("CPU seconds of an answer, in process (baseline: naive, every stage predicted; then our plain path)")
    for model in models:
        for n in sizes:
            release = load_release(publish(work, model, n))
            ours = [pick.creator_id for pick in rank(release, brief, request_id="warm-up").picks]
            naive = [pick["creator_id"] for pick in naive_rank(release, brief)]
            calls = {
                "naive": partial(naive_rank, release, brief),
                "plain": partial(plain, release),
                "ours": partial(rank, release, brief, request_id="timed"),
            }
            few = 1 if quick else 5 if n <= 200_000 else 3
            seconds = interleaved(calls, {"naive": few, "plain": few, "ours": 5 * few})
            cpu = {name: median(found) for name, found in seconds.items()}
            least = ANSWER_RATIO if n >= FROM else None
            for words, other, target in (
                (f"{WHAT[model]}, {n:,} creators", "naive", least), ("  plain path, everybody exactly", "plain", None),
            ):  # fmt: skip
                report.line(words, ms(cpu["ours"]), ms(cpu[other]), cpu[other] / cpu["ours"], least=target)
            same = sum(a == b for a, b in zip(ours, naive, strict=True))
            report.line("  the same picks as naive, of 20", str(same))


def scoring(report: Report, work: Path, sizes: list[int], models: list[str], quick: bool) -> None:
    """Rows a CPU second of trees and linear sums alone, beside Booster.predict of the same stages."""
    from serving.release import load_release

    report.heading("scoring alone, rows a CPU second (baseline: Booster.predict of the same stages, one thread)")
    for model in models:
        for n in sizes:
            release = load_release(publish(work, model, n))
            walk, predict, farthest = _scoring_calls(release)
            few = 1 if quick else 3
            calls = {"predict": predict, "ours": walk}
            cpu = {name: median(s) for name, s in interleaved(calls, {"predict": few, "ours": 5 * few}).items()}
            ratio = cpu["predict"] / cpu["ours"]
            ours, theirs = (f"{n / cpu[name]:,.0f}" for name in ("ours", "predict"))
            least = SCORING_RATIO if n >= FROM else None
            report.line(f"{WHAT[model]}, {n:,} creators", ours, theirs, ratio, least=least)
            report.line("  farthest from exact, in logs", f"{farthest:.1e}")


def _scoring_calls(release) -> tuple[Any, Any, float]:
    """Our walk over everybody, the Boosters on the same rows, and how far both are apart at most where we are sure."""
    import numpy as np

    from features.brief import parse_brief
    from serving.candidates import ask, eligible, scored
    from serving.screen import _Scorer, screen

    # with room in the budget: everybody is scored
    asked = ask(release, parse_brief({**BRIEF, "budget": 1e12}))
    rows, removed = eligible(asked)
    recorded, scoring = [], _Scorer._log_rates

    def recording(scorer, stages, *values):
        recorded.append((scorer, stages, *values))
        return scoring(scorer, stages, *values)

    with patch.object(_Scorer, "_log_rates", recording):
        screen(asked, release.prepared, rows, removed)
    path = recorded[0][0]._path
    blocks = [arguments for arguments in recorded if arguments[1] == path]
    assert sum(len(block[2]) for block in blocks) == len(rows)
    x = scored(asked, rows).x
    stages = [release.prepared.layout.stages[row] for row in path]

    def walk():
        return [scoring(*block) for block in blocks]

    def predict():
        for stage in stages:
            for trees in stage.trees:
                trees.booster.predict(x, raw_score=True, num_threads=1)

    logs, unsure = scoring(*blocks[0])
    part = x[: logs.shape[1]]
    exact = np.stack([stage.log_rate(part, release.model.scaler.design(part)) for stage in stages])
    farthest = float(np.abs(logs - exact)[:, ~unsure].max())
    assert farthest < 1e-3, f"scoring is wrong by {farthest}"
    return walk, predict, farthest


def huge(report: Report, work: Path, models: list[str], n: int = HUGE) -> None:
    """One answer among ten million creators: CPU seconds and the peak memory of a process that does nothing else."""
    report.heading(f"{n:,} creators in process (no baseline is held in memory: naive at a million above)")
    for model in models:
        home = publish(work, model, n)
        before = alone(_prepare, home)
        found = alone(_answer, home)
        name = WHAT[model]
        report.line(f"{name}: CPU of an answer", ms(found["cpu"]), most=HUGE_SECONDS, judged=found["cpu"])
        report.line("  wall", ms(found["wall"]))
        report.line("  creators a CPU second", f"{n / found['cpu']:,.0f}")
        report.line("  peak RSS, GB", f"{found['peak']:.2f}", most=HUGE_GB, judged=found["peak"])
        report.line("  prepared once: CPU, peak RSS", f"{before['cpu']:.0f} s, {before['peak']:.2f}")


def alone(step, home: Path) -> dict[str, float]:
    """What a step measured in a process of its own, and the peak memory of that process in GB."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(step, (home,))


def _prepare(home: Path) -> dict[str, float]:
    from serving.release import load_release

    release, started = load_release(home), time.process_time()
    _ = release.prepared
    return {"cpu": time.process_time() - started, "peak": _peak()}


def _answer(home: Path) -> dict[str, float]:
    from features.brief import parse_brief
    from serving.ranking import rank
    from serving.release import load_release

    release, brief = load_release(home), parse_brief(BRIEF)
    rank(release, brief, request_id="warm-up")
    cpu, wall = [], []
    for _ in range(3):
        started = time.process_time(), time.perf_counter()
        rank(release, brief, request_id="timed")
        cpu.append(time.process_time() - started[0])
        wall.append(time.perf_counter() - started[1])
    return {"cpu": median(cpu), "wall": median(wall), "peak": _peak()}


def starting(home: Path) -> dict[str, float]:
    """Wall seconds of what a worker does before it is ready, imports left out, in a process where nothing is warm."""
    from features.brief import parse_brief
    from serving.ranking import rank
    from serving.release import load_release

    brief, seconds, held = parse_brief(BRIEF), {}, []
    for name, step in (
        ("load, check sums", lambda: held.append(load_release(home))),
        ("open what was prepared", lambda: held[0].prepared),
        ("first answer, loops compiled", lambda: rank(held[0], brief, request_id="first")),
        ("second answer", lambda: rank(held[0], brief, request_id="second")),
    ):
        started = time.perf_counter()
        step()
        seconds[name] = time.perf_counter() - started
    return seconds


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
