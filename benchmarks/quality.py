"""How good the picks truly are: model, rules and peers on SYNTHETIC markets whose expected ROI is known.

`python -m benchmarks.quality [--worlds balanced,cliffs --sizes 2000,20000 --seeds 3 --briefs 300 --results FILE]`

Every market is generated, learnt from and judged as `influencer-roi backtest` does it; the tables of docs/quality.md
are what this prints. With `--results` each run's figures are added to a file as they come, and runs that are in it
already are not done again. `--peers` judges other learners too, `--ceiling` the model fitted on noise-free labels.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

CREATORS = {2_000: 3_000, 20_000: 10_000, 200_000: 30_000}


def main() -> None:
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from training.sample_worlds import WORLDS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", default=",".join(WORLDS))
    parser.add_argument("--sizes", default="2000,20000,200000")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--briefs", type=int, default=300)
    parser.add_argument("--peers", action="store_true", help="judge the other learners of benchmarks/peers.py too")
    parser.add_argument("--ceiling", action="store_true", help="fit the model on noise-free labels too")
    parser.add_argument("--results", type=Path, help="file of finished runs, one JSON object a line")
    asked = parser.parse_args()
    done = _read(asked.results)
    for line in left_out(asked, done):
        print(line, flush=True)
    for size in map(int, asked.sizes.split(",")):
        for seed in range(asked.seeds):
            for world in asked.worlds.split(","):
                key = [world, size, seed, asked.briefs]
                if any(one["run"] == key for one in done):
                    continue
                began = time.perf_counter()
                found = of_market(world, size, seed, asked.briefs, peers=asked.peers, noise_free=asked.ceiling)
                one = {"run": key, **found}
                one["seconds"] = round(time.perf_counter() - began, 1)
                done.append(one)
                if asked.results:
                    with asked.results.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(one) + "\n")
                share = one["figures"]["model"]["oracle_share"]
                print(f"{world} {size} seed {seed}: share of oracle {share:.3f}, {one['seconds']} s", flush=True)
    from benchmarks.quality_tables import tables

    print(tables(done))


def of_market(
    world: str, placements: int, seed: int, briefs: int, *, peers: bool = False, noise_free: bool = False
) -> dict[str, Any]:
    """Figures by recommender, and by slice for the model, on one market; none for a peer that is not installed."""
    from benchmarks.ceiling import ceiling
    from benchmarks.peers import PEERS, peer_advice
    from features.settings import Settings
    from training.backtest import backtest
    from training.dataset import build_dataset
    from training.pipeline import fit_served
    from training.sample import write_sample
    from training.sample_truth import FOLDER, read_truth
    from training.source import load
    from training.split import labelled, time_split
    from training.stage_fit import FitOptions
    from training.tier_table import tier_table
    from training.truth_figures import judge_picks
    from training.truth_judge import judge_by_truth

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        creators = CREATORS.get(placements, max(3_000, placements // 5))
        write_sample(folder, creators=creators, placements=placements, seed=seed, fmt="parquet", world=world,
                     truth=(briefs, 600))  # fmt: skip
        loaded = load(folder, Settings(), None)
        truth = read_truth(folder / FOLDER)
    data, options = build_dataset(loaded.market), FitOptions()
    rows = labelled(loaded.market.placements, loaded.as_of)
    history = backtest(data, time_split(loaded.market.placements, loaded.as_of), options)
    model = fit_served(data, rows, history, options)
    result = judge_by_truth(data, rows, model, truth)
    figures = {name: one.as_dict() for name, one in result.figures.items()}
    if peers:
        advice = peer_advice(data, rows, result, model, loaded.tables, truth.briefs)
        figures |= {name: judge_picks(result.pool, advice[name]).as_dict() if name in advice else {} for name in PEERS}
    best = {}
    if noise_free:
        market = (world, creators, placements, seed)
        best = {"ceiling": ceiling(data, rows, history, options, truth, market).as_dict()}
    slices = {
        f"{kind}: {member}": by_name["model"].as_dict()
        for kind, members in result.slices.items()
        for member, by_name in members.items()
    }
    covered = None if history is None else history.coverage
    deviance = {} if history is None else {name: one.deviance for name, one in history.metrics.items()}
    winner = tier_table(data, rows).overall.winner
    return {
        "figures": figures,
        "slices": slices,
        "history_coverage": covered,
        "deviance": deviance,
        "winner": winner,
        **best,
    }


def left_out(asked: argparse.Namespace, done: list[dict[str, Any]]) -> list[str]:
    """A line for everything that was asked for and will be a dash in the tables."""
    from benchmarks.peers import PEERS, absent_peers

    absent = absent_peers() if asked.peers else {}
    lines = list(absent.values())
    lacking = {
        "a peer": asked.peers and sum(not all(one["figures"].get(name) for name in PEERS if name not in absent)
                                      for one in done),
        "the ceiling": asked.ceiling and sum("ceiling" not in one for one in done),
    }  # fmt: skip
    for what, runs in lacking.items():
        if runs:
            lines.append(f"{runs} finished runs in {asked.results} lack {what}: remove their lines to do them again")
    return lines


def _read(path: Path | None) -> list[dict[str, Any]]:
    if path is None or not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    main()
