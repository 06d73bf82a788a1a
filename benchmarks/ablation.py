"""What each part of the model is worth: share of oracle without it, on SYNTHETIC markets whose expected ROI is known.

`python -m benchmarks.ablation [--worlds balanced,cliffs --placements 8000 --seeds 3 --briefs 300]` prints the ablation
table and the curve of quality against size of docs/quality.md. Each line is one change to the code that is served, on
the same markets and briefs.
"""

import argparse
import os
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

SIZES = ((10, 12), (20, 12), (40, 4), (40, 7), (40, 12), (40, 24), (80, 12), (160, 12), (160, 31))


def main() -> None:
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", default="balanced,cliffs")
    parser.add_argument("--placements", type=int, default=8_000)
    parser.add_argument("--creators", type=int, default=3_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--briefs", type=int, default=300)
    parser.add_argument("--only", choices=("parts", "sizes"), help="one of the two tables")
    asked = parser.parse_args()
    worlds = asked.worlds.split(",")
    shares: dict[str, dict[str, list[float]]] = {}
    for world in worlds:
        for seed in range(asked.seeds):
            for name, share in of_market(asked, world, seed).items():
                shares.setdefault(name, {}).setdefault(world, []).append(share)
            print(f"{world} seed {seed} done", flush=True)
    full = shares["the model"]
    print(f"| {asked.placements:,} placements | {' | '.join(f'{world} | points lost' for world in worlds)} |")
    print(f"|---|{'---|' * (2 * len(worlds))}")
    for name, of in shares.items():
        cells = []
        for world in worlds:
            lost = [100 * (a - b) for a, b in zip(full[world], of[world], strict=True)]
            cells += [f"{mean(of[world]):.3f}", f"{mean(lost):+.1f} ({min(lost):+.1f} to {max(lost):+.1f})"]
        print(f"| {name} | {' | '.join(cells)} |")


def of_market(asked: argparse.Namespace, world: str, seed: int) -> dict[str, float]:
    """Share of oracle of every variant on one market."""
    from features.settings import Settings
    from training.dataset import build_dataset
    from training.funnel_fit import fit_model
    from training.sample import write_sample
    from training.sample_truth import FOLDER, read_truth
    from training.source import load
    from training.split import labelled
    from training.stage_fit import FitOptions

    variants: dict[str, tuple[Any, Any]] = {
        name: (patches, FitOptions())
        for name, patches in parts().items()
        if asked.only != "sizes" or name == "the model"
    }
    if asked.only != "parts":
        variants |= {
            f"{trees} trees x {leaves} leaves": ({}, FitOptions(trees=trees, leaves=leaves)) for trees, leaves in SIZES
        }
    found = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_sample(folder, creators=asked.creators, placements=asked.placements, seed=seed, fmt="parquet",
                     world=world, truth=(asked.briefs, 600))  # fmt: skip
        truth = read_truth(folder / FOLDER)
        for name, (patches, options) in variants.items():
            with ExitStack() as stack:
                for target, replacement in patches.items():
                    stack.enter_context(patch(target, replacement))
                loaded = load(folder, Settings(), None)
                data = build_dataset(loaded.market)
                rows = labelled(loaded.market.placements, loaded.as_of)
                model = fit_model(loaded.market, data.x[rows], data.labels.part(rows), options)
                found[name] = share_of(loaded.market, model, truth)
    return found


def parts() -> dict[str, dict[str, Any]]:
    """What is replaced by what in each variant."""
    import numpy as np

    from features import shrinkage
    from features.declare import Family
    from features.local_level import Level
    from features.matrix import FEATURES
    from serving.model import ExtraCost
    from training import funnel_fit

    def last_reading(creator, _known_day, _read_day, reading, _changes, **_usual):
        rows = np.where(np.isnan(reading), -1, np.arange(len(reading)))
        last = np.maximum.accumulate(rows)
        same = (last >= 0) & (creator[np.maximum(last, 0)] == creator)
        return Level(np.where(same, reading[np.maximum(last, 0)], np.nan), np.zeros(len(reading)))

    def usual_likeness(market, _entity, _stage, _most):
        return np.full_like(market["placements"], shrinkage.USUAL_ALIKE)

    def without(*columns):
        blinded = {"delivery", "impressions", "engagements", "clicks", "conversions", "net_revenue", "value", "fee"}
        return {"training.funnel_fit.BLIND": {q: (*funnel_fit.BLIND.get(q, ()), *columns) for q in blinded}}

    def named(*words):
        return [i for i, f in enumerate(FEATURES) if any(word in f.name for word in words)]

    family = {kind: [i for i, f in enumerate(FEATURES) if f.family is kind] for kind in Family}
    return {
        "the model": {},
        "last reading instead of the level": {"features.profile.local_level": last_reading},
        "prices as they are quoted": {"training.funnel_fit.fit_price_lines": lambda *_: {}},
        "extra cost a constant": {
            "training.funnel_fit.fit_extra_cost": lambda _fee, extra: ExtraCost(float(extra.mean()), 1.0, 0.0)
        },
        "no trees": {"training.stage_fit.BLENDS": (0.0,), "training.stage_fit.DIRECT": (0.0,)},
        "no trees without a base": {"training.stage_fit.DIRECT": (0.0,)},
        "only trees without a base": {"training.stage_fit.BLENDS": (0.0,), "training.stage_fit.DIRECT": (1.0,)},
        "no declared signs": {"training.stage_fit.FEATURES": [replace(f, sign=0) for f in FEATURES]},
        "a penalty of 10 events on rare outcomes": {"training.stage_fit.PENALTY_EVENTS": 10.0},
        "no calibration slope": {"training.stage_fit.SLOPES": (1.0, 1.0)},
        "records believed as usual": {"features.shrinkage._alike": usual_likeness},
        "reach stages see target and budget": {"training.funnel_fit.BLIND": {"fee": funnel_fit.BLIND["fee"]}},
        "no records against the usual": without(*named("_against_usual")),
        "no record of niche, platform and style": without(*named("niche_style_")),
        "no record of clicks and orders": without(*named("click_rate", "sales_rate")),
        **{f"no {kind.value}": without(*family[kind]) for kind in Family},
    }


def share_of(market: Any, model: Any, truth: Any) -> float:
    """Share of oracle of a model's picks."""
    from serving.catalogue import build_catalogue
    from serving.release import Release
    from training.truth_figures import Advice, judge_picks
    from training.truth_pool import past_means, score_pool

    catalogue = build_catalogue(market, market.as_of, market.settings)
    pool = score_pool(Release(model, catalogue), truth, past_means(market, market.as_of))
    return judge_picks(pool, Advice(pool.roi)).oracle_share


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


if __name__ == "__main__":
    main()
