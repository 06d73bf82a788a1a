"""How good budget plans truly are, on SYNTHETIC markets whose truth is known, and how long a plan takes.

`python -m benchmarks.plans [--worlds balanced,cliffs --sizes 8000 --seeds 1 --briefs 100 --work DIR --results FILE]`
`python -m benchmarks.plans --speed [--candidates 1000,10000,100000 --briefs 40]`
`python -m benchmarks.plans --tiers [--seeds 20]`

Every market is generated, learnt from as `influencer-roi train` does it, and asked for plans without limits and with
`max_creators: 10`; the tables of docs/quality.md ("Plans") are what this prints. With `--results` each market's
figures are added to a file as they come, and markets that are in it already are not done again.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.plans_markets import creators, learnt, market, past_winners

KINDS = {"without limits": {}, "max_creators 10": {"max_creators": 10}}
WORLDS = "balanced,cliffs,rate-card,paid-slope,tiktok-like,local,fraud-heavy"
TIERS = "null,tiers-differ"
DRAWS = 100  # of every placement


def main() -> None:
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", help=f"default {WORLDS}; with --tiers {TIERS}")
    parser.add_argument("--sizes", default="8000", help="placements")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--briefs", type=int, help="default 100; with --speed 40, with --tiers 2")
    parser.add_argument("--work", type=Path, help="folder for the markets; default: a temporary one")
    parser.add_argument("--results", type=Path, help="file of finished markets, one JSON object a line")
    parser.add_argument("--speed", action="store_true", help="how long a plan takes")
    parser.add_argument("--candidates", default="1000,10000,100000", help="with --speed")
    parser.add_argument("--slow", type=Path, help="with --speed: file that briefs with slow answers are added to")
    parser.add_argument("--tiers", action="store_true", help="how often a better tier is announced")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = asked.work or Path(temporary)
        if asked.speed:
            from benchmarks.plans_speed import speed

            speed(work, [int(size) for size in asked.candidates.split(",")], asked.briefs or 40, asked.slow)
            return
        _markets(asked, work)


def _markets(asked: argparse.Namespace, work: Path) -> None:
    from benchmarks.plans_tables import tables, tier_lines

    briefs = asked.briefs or (2 if asked.tiers else 100)
    done = _read(asked.results)
    for size in map(int, asked.sizes.split(",")):
        for seed in range(asked.first_seed, asked.first_seed + asked.seeds):
            for world in (asked.worlds or (TIERS if asked.tiers else WORLDS)).split(","):
                key = ["tiers" if asked.tiers else "plans", world, size, seed, briefs]
                if any(one["run"] == key for one in done):
                    continue
                began = time.perf_counter()
                folder = market(work, world, size, seed)
                found = announced(folder, briefs) if asked.tiers else of_market(folder, world, size, seed, briefs)
                one = {"run": key, **found, "seconds": round(time.perf_counter() - began, 1)}
                done.append(one)
                if asked.results:
                    with asked.results.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(one) + "\n")
                print(f"{world} {size} seed {seed}: {one['seconds']} s", flush=True)
    print(tier_lines(done) if asked.tiers else tables(done))


def of_market(folder: Path, world: str, placements: int, seed: int, briefs: int) -> dict[str, Any]:
    """Figures by kind of limit, and what was claimed of each plan, on one market."""
    from dataclasses import asdict

    from benchmarks.plans_draws import MoreDraws
    from features.plan_options import parse_plan
    from serving.plan_alternatives import single_sizes
    from serving.plan_case import build_case
    from serving.plan_offers import plan_offers
    from serving.planning import plan
    from training.plan_figures import mix_claims, plan_figures, profit_claims
    from training.plan_judge import judge_plan, true_briefs
    from training.sample_truth import FOLDER, read_truth

    truth = read_truth(folder / FOLDER)
    release, true = learnt(folder), true_briefs(truth)
    draws = MoreDraws(truth, world, creators(placements), placements, seed, DRAWS)
    found: dict[str, Any] = {"figures": {}, "claims": {}, "seconds_a_plan": {}}
    for kind, limits in KINDS.items():
        judged, seconds = [], []
        for payload in truth.briefs[:briefs]:
            brief = parse_plan({**payload, "plan": limits})
            began = time.perf_counter()
            answer = plan(release, brief, request_id="judged")
            seconds.append(time.perf_counter() - began)
            # the answer shows the best single tier only
            case = build_case(release, brief, plan_offers(release, brief))
            sizes = {
                name: case.offers.ids[one.made.chosen].tolist()
                for name, one in single_sizes(case).items()
                if one.made is not None
            }
            name = str(payload["brief_id"])
            judged.append(judge_plan(true[name], answer, sizes, limits.get("max_creators"), draws))
        found["figures"][kind] = asdict(plan_figures(judged))
        found["claims"][kind] = {
            what: {name: values.round(4).tolist() for name, values in vars(claims).items()}
            for what, claims in (("mix", mix_claims(judged)), ("profit", profit_claims(judged)))
        }
        found["seconds_a_plan"][kind] = sorted(seconds)
    return found


def announced(folder: Path, briefs: int) -> dict[str, Any]:
    """What plans of one market say to "micro or macro", and the verdict of its past placements."""
    from features.plan_options import parse_plan
    from serving.planning import plan
    from training.sample_truth import FOLDER, read_truth

    past = past_winners(folder)
    if not any(past.values()):
        # a plan names a winner only where past placements do, so no model need be fitted
        return {"past": past, "announced": [None] * briefs}
    release = learnt(folder)
    said = []
    for payload in read_truth(folder / FOLDER).briefs[:briefs]:
        answer = plan(release, parse_plan(payload), request_id="announced")
        said += [one.winner for one in answer.conclusions if one.question == "micro_or_macro"]
    return {"past": past, "announced": said}


def _read(path: Path | None) -> list[dict[str, Any]]:
    if path is None or not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    main()
