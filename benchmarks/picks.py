"""How good the picks truly are: share of oracle on a SYNTHETIC market whose expected ROI is known.

`python -m benchmarks.picks [--world NAME --placements N --seeds N --briefs N]`. Share of oracle = true expected ROI of
the ten picks / that of the best ten of the candidate pool, both summed over the held-out briefs. The rules pick from
the same pools with what the catalogue knows.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

PICKS = 10
# feature of the catalogue and its direction
RULES = {
    "geo-adjusted views per cost": ("log_price_per_target_view", -1),
    "engagement per cost": ("log_price_per_engagement", -1),
    "creator's past return": ("creator_return", 1),
    "followers": ("log_followers", 1),
}


def main() -> None:
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--world", default="balanced")
    parser.add_argument("--placements", type=int, default=8000)
    parser.add_argument("--creators", type=int, default=3000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--briefs", type=int, default=100)
    asked = parser.parse_args()
    found = [of_seed(asked, seed) for seed in range(asked.seeds)]
    print(f"SYNTHETIC world {asked.world}, {asked.placements} placements, {asked.creators} creators, "
          f"{asked.briefs} briefs, {asked.seeds} seeds: share of oracle, mean (least to most)")  # fmt: skip
    for name in found[0]:
        shares = [one[name] for one in found]
        print(f"  {name:32s} {sum(shares) / len(shares):+.3f} ({min(shares):+.3f} to {max(shares):+.3f})")


def of_seed(asked: argparse.Namespace, seed: int) -> dict[str, float]:
    """Share of oracle of model and rules, and what the model promised, on one market."""
    import polars as pl

    from features.brief import parse_brief
    from serving.ranking import rank
    from serving.release import load_release
    from training.publish import promote

    script = Path(sys.executable).with_name("influencer-roi")
    with tempfile.TemporaryDirectory() as temporary:
        market, home = Path(temporary) / "market", Path(temporary) / "home"
        sizes = ["--creators", asked.creators, "--placements", asked.placements, "--seed", seed, "--world", asked.world]
        for words in (
            ["sample", market, *sizes, "--truth", "--truth-briefs", asked.briefs],
            ["train", market, "--home", home, "--promote", "never"],
        ):
            subprocess.run([str(script), *map(str, words)], check=True, stdout=subprocess.DEVNULL)
        promote(home, "1")
        release = load_release(home)
        truth = pl.read_parquet(market / "truth" / "outcomes.parquet")
        totals = dict.fromkeys(("model", *RULES, "random", "best", "promise"), 0.0)
        for line in (market / "truth" / "briefs.jsonl").read_text(encoding="utf-8").splitlines():
            payload = json.loads(line)
            brief = parse_brief({**payload, "top": PICKS, "rank_by": "roi", "explain": False, "budget": 1e9})
            pool = truth.filter(pl.col("brief_id") == payload["brief_id"]).select("creator_id", "roi")
            roi = dict(pool.iter_rows())
            picks = rank(release, brief, request_id="bench").picks
            totals["model"] += mean([roi[pick.creator_id] for pick in picks])
            totals["promise"] += mean([pick.roi or 0.0 for pick in picks])
            totals["best"] += mean(sorted(roi.values(), reverse=True)[:PICKS])
            totals["random"] += mean(list(roi.values()))
            for rule, score in rule_scores(release, brief).items():
                best = sorted(roi, key=lambda creator, by=score: -by.get(creator, float("-inf")))[:PICKS]
                totals[rule] += mean([roi[creator] for creator in best])
    return {name: total / totals["best"] for name, total in totals.items() if name != "best"}


def rule_scores(release, brief) -> dict[str, dict[str, float]]:
    """Score of every creator by rule, from the features the catalogue gives for the brief."""
    import numpy as np

    from features.brief_columns import encode_briefs
    from features.context import brief_context
    from features.matrix import NAMES, brief_matrix

    catalogue = release.catalogue
    context = brief_context(
        catalogue.state, encode_briefs([brief.model_dump()], catalogue.words), -1, catalogue.words,
        len(catalogue.tier_names),
    )  # fmt: skip
    x = brief_matrix(catalogue.state, context)
    ids = catalogue.display["creator_id"].to_list()
    scores = {}
    for rule, (feature, sign) in RULES.items():
        column = np.nan_to_num(sign * x[:, NAMES.index(feature)], nan=-np.inf)
        scores[rule] = dict(zip(ids, column.tolist(), strict=True))
    return scores


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


if __name__ == "__main__":
    main()
