"""How long a plan takes: random briefs, with and without limits, beside the ranking of the same briefs."""

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.plans_markets import learnt, random_brief

PLACEMENTS = 8_000
SLOW = {1_000: 5.0, 10_000: 5.0, 100_000: 10.0}  # seconds that no answer should take, by candidates
WARM = 3


def speed(work: Path, sizes: list[int], briefs: int, slow: Path | None) -> str:
    """A Markdown table, printed line by line; briefs whose answer is slow are added to a file."""
    lines = [_row("candidates", "overlap", "limits", "briefs", "refused", "median", "p95", "worst",
                  "CPU: median", "p95", "worst", "ranking, median CPU", "median / ranking", "steps, mean s",
                  "slowest steps of the worst"),
             _row(*["---"] * 15)]  # fmt: skip
    print("\n".join(lines), flush=True)
    for size in sizes:
        for overlap, release in releases(work, size).items():
            for limited in (False, True):
                lines.append(timed(release, size, overlap, briefs, limited, slow))
                print(lines[-1], flush=True)
    return "\n".join(lines)


def releases(work: Path, size: int) -> dict[str, Any]:
    """A market of so many creators: with the overlap it measured, and as if nobody had measured any."""
    from dataclasses import replace

    from features.overlap import Overlap
    from serving.release import Release
    from training.sample import write_sample

    folder = work / f"speed-{size}"
    if not (folder / "placements.parquet").exists():
        write_sample(folder, creators=size, placements=PLACEMENTS, fmt="parquet")
    measured = learnt(folder)
    unmeasured = Release(measured.model, replace(measured.catalogue, overlap=Overlap.unmeasured()))
    return {"measured": measured, "estimated": unmeasured}


def timed(release: Any, size: int, overlap: str, briefs: int, limited: bool, slow: Path | None) -> str:
    """A line of the table."""
    from features.errors import DataError
    from features.plan_options import parse_plan
    from serving.planning import plan
    from serving.ranking import rank
    from serving.steps import noted

    rng = np.random.default_rng([size, limited])
    ids = release.catalogue.display["creator_id"]
    _ = release.prepared
    found: list[tuple[float, float, float, dict[str, float]]] = []
    refused = 0
    for k in range(-WARM, briefs):
        payload = random_brief(rng, ids, limited=limited)
        brief = parse_plan(payload)
        with noted() as steps:
            began, used = time.perf_counter(), time.process_time()
            try:
                answer = plan(release, brief, request_id="timed")
            except DataError as error:  # limits that cannot be kept together: that answer takes time too
                answer = None
                said = str(error)
            took, used = time.perf_counter() - began, time.process_time() - used
        began = time.process_time()
        rank(release, brief, request_id="timed")
        ranked = time.process_time() - began
        if k < 0:
            continue
        refused += answer is None
        found.append((took, used, ranked, dict(steps.seconds)))
        if slow is not None and took > SLOW.get(size, 10.0):
            solved = said if answer is None else answer.plan.solved.model_dump()
            told = {"seconds": round(took, 2), "cpu": round(used, 2), "candidates": size, "overlap": overlap,
                    "brief": payload, "steps": steps.seconds, "solved": solved}  # fmt: skip
            with slow.open("a", encoding="utf-8") as file:
                file.write(json.dumps(told) + "\n")
    took, used, ranked = (np.array([one[k] for one in found]) for k in range(3))
    total: Counter[str] = Counter()
    for *_, seconds in found:
        total.update(seconds)
    worst = found[int(took.argmax())][3]
    return _row(
        f"{size:,}", overlap, "yes" if limited else "no", str(briefs), str(refused), f"{np.median(took):.2f}",
        f"{np.quantile(took, 0.95):.2f}", f"{took.max():.2f}", f"{np.median(used):.2f}",
        f"{np.quantile(used, 0.95):.2f}", f"{used.max():.2f}", f"{np.median(ranked):.3f}",
        f"{np.median(used) / np.median(ranked):.0f}",
        ", ".join(f"{name} {seconds / len(found):.2f}" for name, seconds in total.most_common()),
        ", ".join(f"{name} {seconds:.1f}" for name, seconds in Counter(worst).most_common(3)),
    )  # fmt: skip


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
