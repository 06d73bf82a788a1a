"""Over HTTP: how long an answer takes, how many at once, how soon a server is ready and what memory it takes."""

import json
import time
from pathlib import Path

from benchmarks.serving_cpu import alone, starting
from benchmarks.serving_models import BRIEF, FEW, WHAT, publish
from benchmarks.serving_report import Report, interleaved, median, spread
from benchmarks.serving_servers import NAIVE, NOOP, OURS, Client, Server, at_once, serving

ANSWER_RATIO, OVERHEAD, LATER_SECONDS = 25.0, 1.3, 2.0
FROM = 100_000  # creators from which the targets hold
CLIENTS, WORKERS = (1, 8, 64), (1, 2)


def latency(report: Report, work: Path, sizes: list[int], models: list[str], quick: bool) -> None:
    """One client: ours with and without a filter, naive, a no-op service, and the same answer in process."""
    from features.brief import parse_brief
    from serving.ranking import rank
    from serving.release import load_release

    report.heading("over HTTP, one client, p50 / p95 / p99 in ms (baseline: naive)")
    brief, bodies = parse_brief(BRIEF), [json.dumps(asked).encode() for asked in (BRIEF, FEW)]
    for model in models:
        for n in sizes:
            home = publish(work, model, n)
            release = load_release(home)
            with serving((OURS, home, 1), (NAIVE, home, 1), (NOOP, home, 1)) as servers:
                ours, naive, noop = (Client(server.port) for server in servers)
                same = sum(a == b for a, b in zip(ours.picks(BRIEF), naive.picks(BRIEF), strict=True))
                if not ours.picks(FEW):
                    raise SystemExit("the filter leaves nobody")
                rank(release, brief, request_id="warm-up")
                noop.ask(bodies[0])
                calls = {
                    "ours": lambda ours=ours: ours.ask(bodies[0]),
                    "few": lambda ours=ours: ours.ask(bodies[1]),
                    "noop": lambda noop=noop: noop.ask(bodies[0]),
                    "process": lambda release=release: rank(release, brief, request_id="timed"),
                    "naive": lambda naive=naive: naive.ask(bodies[0]),
                }
                many = 10 if quick else 200 if n <= 200_000 else 60
                few = 2 if quick else 20 if n <= 200_000 else 5
                times = {**dict.fromkeys(calls, many), "naive": few}
                seconds = interleaved(calls, times, time.perf_counter)
            p50 = {name: median(found) for name, found in seconds.items()}
            holds = n >= FROM
            name = f"{WHAT[model]}, {n:,} creators"
            report.line(name, spread(seconds["ours"]), spread(seconds["naive"]), p50["naive"] / p50["ours"],
                        least=ANSWER_RATIO if holds else None)  # fmt: skip
            report.line("  the same picks as naive, of 20", str(same))
            report.line("  beside a no-op plus the same in process", f"{1000 * p50['ours']:.1f}",
                        f"{1000 * p50['noop']:.1f} + {1000 * p50['process']:.1f}",
                        p50["ours"] / (p50["noop"] + p50["process"]), most=OVERHEAD if holds else None)  # fmt: skip
            report.line("  filtered to a tier and a country, beside no filter", spread(seconds["few"]),
                        spread(seconds["ours"]), p50["few"] / p50["ours"], most=1.0 if holds else None)  # fmt: skip


def load(report: Report, work: Path, n: int, model: str, quick: bool) -> None:
    """Many clients who ask without a pause, on one worker and two; the clients share the machine."""
    report.heading(f"many clients, {WHAT[model]}, {n:,} creators: requests a second (baseline: no-op, one worker)")
    home, seconds = publish(work, model, n), 2.0 if quick else 10.0
    for workers in WORKERS:
        with serving((OURS, home, workers), (NOOP, home, 1)) as (ours, noop):
            for server in (ours, noop):
                server.settle()
                at_once(server.port, 4 * workers, 1.0, BRIEF)
            for clients in CLIENTS:
                theirs, _, took = at_once(noop.port, clients, seconds / 2, BRIEF)
                rate = len(theirs) / took
                times, refused, took = at_once(ours.port, clients, seconds, BRIEF)
                what = f"{clients} client{'s' * (clients > 1)}, {workers} worker{'s' * (workers > 1)}"
                report.line(what, f"{len(times) / took:.1f}", f"{rate:,.0f}")
                report.line("  p50 / p95 / p99 in ms", spread(times), spread(theirs))
                if refused:
                    report.line("  refused (429)", str(refused))


def start(report: Report, work: Path, sizes: list[int], model: str, quick: bool) -> None:
    """Seconds from the command to ready, and memory."""
    report.heading(f"start and memory, {WHAT[model]} (baseline: no-op service with the same imports)")
    for n in sizes:
        home, found = publish(work, model, n), {OURS: [], NOOP: []}
        first = ready(OURS, home)[0]  # prepares what is not there yet
        for _ in range(1 if quick else 3):
            for what, held in found.items():
                held.append(ready(what, home))
        seconds = {what: median([one for one, _ in held]) for what, held in found.items()}
        name, later = f"{n:,} creators: seconds to ready", seconds[OURS] - seconds[NOOP]
        report.line(name, f"{seconds[OURS]:.1f}", f"{seconds[NOOP]:.1f}", seconds[OURS] / seconds[NOOP])
        report.line("  later than the no-op, s", f"{later:.2f}", most=LATER_SECONDS, judged=later)
        report.line("  the first time, nothing prepared unless it was before", f"{first:.1f}")
        for step, took in alone(starting, home).items():
            report.line(f"  {step}, s", f"{took:.2f}")
        for kind in ("RSS", "PSS", "own, not of files"):
            ours, noop = (held[-1][1][kind] for held in (found[OURS], found[NOOP]))
            report.line(f"  {kind} of a worker after an answer, MB", f"{ours:,.0f}", f"{noop:,.0f}", ours / noop)
        for what, size in sizes_of(home).items():
            report.line(f"  {what}, bytes a creator", f"{size / n:,.0f}")


def ready(what: str, home: Path) -> tuple[float, dict[str, float]]:
    """Seconds to ready of a server, and the memory of its worker after an answer."""
    server = Server(what, home)
    try:
        Client(server.port).ask(json.dumps(BRIEF).encode())
        return server.ready, server.memory()
    finally:
        server.stop()


def sizes_of(home: Path) -> dict[str, int]:
    """Bytes of the catalogue in force, in its folder, and of what was prepared for it."""
    from serving.release import load_release
    from serving.release_file import read_release_file, store_path

    folder = store_path(home, read_release_file(home).catalogue)
    prepared = vars(load_release(home).prepared).values()
    return {
        "catalogue": sum(path.stat().st_size for path in folder.iterdir()),
        "prepared": sum(getattr(array, "nbytes", 0) for array in prepared),
    }
