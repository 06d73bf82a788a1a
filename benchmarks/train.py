"""How long training takes: 20k placements x 10k creators x 36 monthly snapshots, on the SYNTHETIC sample market.

`python -m benchmarks.train`. The baseline, in the same run: one plain LightGBM regression (300 trees x 31 leaves) of
log value on the same features. Target: within 120 s and 3 GB of peak memory, MLflow included.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TARGET_SECONDS, TARGET_GB = 120, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--creators", type=int, default=10_000)
    parser.add_argument("--placements", type=int, default=20_000)
    parser.add_argument("--snapshots", type=int, default=36)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        market, home = Path(temporary) / "market", Path(temporary) / "home"
        sizes = [f"--{name}={value}" for name, value in vars(asked).items()]
        command(["sample", str(market), *sizes])
        started = time.monotonic()
        command(["train", str(market), "--home", str(home)])
        seconds = time.monotonic() - started
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        baseline = plain_lightgbm(market)
    print(f"train: {seconds:.1f} s (target {TARGET_SECONDS}), peak memory {peak:.2f} GB (target {TARGET_GB})")
    print(f"baseline, one plain LightGBM on the same features (features not counted): {baseline:.1f} s")
    print(f"ratio: {seconds / baseline:.1f}")
    missed = seconds > TARGET_SECONDS or peak > TARGET_GB
    print("target missed" if missed else "target met")


def command(arguments: list[str]) -> None:
    script = Path(sys.executable).with_name("influencer-roi")
    subprocess.run([str(script), *arguments], check=True, stdout=subprocess.DEVNULL)


def plain_lightgbm(market: Path) -> float:
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import lightgbm as lgb
    import numpy as np

    from features.settings import Settings
    from training.dataset import build_dataset
    from training.source import load

    data = build_dataset(load(market, Settings(), None).market)
    value = data.market.placements.outcomes["value"]
    known = np.isfinite(value)
    dataset = lgb.Dataset(data.x[known], label=np.log1p(np.maximum(value[known], 0.0)))
    started = time.monotonic()
    lgb.train({"num_leaves": 31, "num_threads": 2, "verbosity": -1}, dataset, num_boost_round=300)
    return time.monotonic() - started


if __name__ == "__main__":
    main()
