"""Whether the gate promotes the better model: pairs whose true difference is known, on SYNTHETIC markets.

`python -m benchmarks.gate [--worlds balanced,cliffs --placements 8000 --seeds 20 --briefs 300 --results FILE]`

On each market the model meets worse recipes (blind to a family of features, or taught by fewer placements), each as
challenger and as champion, through the code that guards publishing. A case is a pair that lies at least 5 points of
the oracle's ROI apart by the truth of held-out briefs; for pairs less apart the same is counted separately. What a gate
decides that only asks for a better point estimate of the rules' deviance stands beside it.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

APART = 0.05
FEWER = 8  # one placement in so many teaches the model of little data


def main() -> None:
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", default="balanced,cliffs")
    parser.add_argument("--placements", type=int, default=8_000)
    parser.add_argument("--creators", type=int, default=3_000)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--briefs", type=int, default=300)
    parser.add_argument("--results", type=Path, help="file of finished markets, one JSON object a line")
    asked = parser.parse_args()
    done = _read(asked.results)
    for seed in range(asked.seeds):
        for world in asked.worlds.split(","):
            key = [world, asked.placements, seed]
            if any(one["market"] == key for one in done):
                continue
            one = {"market": key, "pairs": list(pairs(asked, world, seed))}
            done.append(one)
            if asked.results:
                with asked.results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(one) + "\n")
            print(f"{world} seed {seed} done", flush=True)
    print(table([pair for one in done for pair in one["pairs"]]))


def pairs(asked: argparse.Namespace, world: str, seed: int) -> Iterator[dict[str, Any]]:
    """Every worse recipe against the model on one market, in both roles."""
    from benchmarks.ablation import share_of
    from features.settings import Settings
    from training.dataset import build_dataset
    from training.duel import Duel, meet
    from training.gate import judge_promotion
    from training.sample import write_sample
    from training.sample_truth import FOLDER, read_truth
    from training.source import load
    from training.split import time_split

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_sample(folder, creators=asked.creators, placements=asked.placements, seed=seed, fmt="parquet",
                     world=world, truth=(asked.briefs, 600))  # fmt: skip
        truth = read_truth(folder / FOLDER)
        loaded = load(folder, Settings(), None)
    data = build_dataset(loaded.market)
    split = time_split(loaded.market.placements, loaded.as_of)
    found = {}
    for name, (patches, taught) in recipes(split).items():
        result = _backtest(data, taught, patches)
        if result is not None:
            found[name] = (result, share_of(loaded.market, result.model, truth))
    best = "the model"
    for name in found:
        if name == best:
            continue
        for challenger, champion in ((best, name), (name, best)):
            (result, share), (other, other_share) = found[challenger], found[champion]
            fought = meet(data, result, other.model, _all(result), champion, "benchmark")
            verdict = judge_promotion(True, result, duel=fought)
            yield {
                "worse": name,
                "apart": share - other_share,
                "promoted": verdict.promote,
                "rules_only": judge_promotion(True, result).promote,
                "gain": fought.gain if isinstance(fought, Duel) else None,
                "failed": [check.name for check in verdict.checks if check.passed is False],
            }


def recipes(split: Any) -> dict[str, tuple[dict[str, Any], Any]]:
    """What is replaced by what, and which rows teach, in each recipe; the model first."""
    from features.declare import Family
    from features.matrix import FEATURES
    from training import funnel_fit

    stages = {"delivery", "impressions", "engagements", "clicks", "conversions", "net_revenue", "value", "fee"}

    def without(*families: Family) -> dict[str, Any]:
        columns = [i for i, feature in enumerate(FEATURES) if feature.family in families]
        return {"training.funnel_fit.BLIND": {q: (*funnel_fit.BLIND.get(q, ()), *columns) for q in stages}}

    return {
        "the model": ({}, split),
        "no geography": (without(Family.GEOGRAPHY), split),
        "no engagement, no track record": (without(Family.ENGAGEMENT, Family.TRACK_RECORD), split),
        "no niche, no style": (without(Family.NICHE, Family.CONTENT_STYLE), split),
        f"taught by 1 placement in {FEWER}": ({}, replace(split, train=split.train[::FEWER])),
    }


def table(found: list[dict[str, Any]]) -> str:
    """How often the better and the worse of two models were promoted."""
    lines = [
        "| pairs | challenger truly better: promoted | truly worse: promoted | the same by the rules alone |",
        "|---|---|---|---|",
    ]
    for name, rows in {
        f"at least {100 * APART:.0f} points apart": [one for one in found if abs(one["apart"]) >= APART],
        "less apart": [one for one in found if abs(one["apart"]) < APART],
    }.items():
        better, worse = ([one for one in rows if (one["apart"] > 0) is sign] for sign in (True, False))
        lines.append(
            f"| {name} | {_share(better, 'promoted')} | {_share(worse, 'promoted')} "
            f"| {_share(better, 'rules_only')}, {_share(worse, 'rules_only')} |"
        )
    for name in dict.fromkeys(one["worse"] for one in found):
        rows = [one for one in found if one["worse"] == name and one["apart"] > 0]
        if rows:
            mean = sum(one["apart"] for one in rows) / len(rows)
            lines.append(f"\n{name}: {100 * mean:.1f} points worse on average of {len(rows)} markets")
    return "\n".join(lines)


def _share(rows: list[dict[str, Any]], name: str) -> str:
    return f"{sum(one[name] for one in rows)} of {len(rows)}"


def _backtest(data: Any, split: Any, patches: dict[str, Any]) -> Any:
    from training.backtest import backtest
    from training.stage_fit import FitOptions

    with ExitStack() as stack:
        for target, replacement in patches.items():
            stack.enter_context(patch(target, replacement))
        return backtest(data, split, FitOptions())


def _all(result: Any) -> Any:
    import numpy as np

    return np.arange(len(result.judged))


def _read(path: Path | None) -> list[dict[str, Any]]:
    if path is None or not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    main()
