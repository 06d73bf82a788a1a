"""Features and the catalogue of a large SYNTHETIC market out of core, beside DuckDB's ASOF JOIN of the raw columns.

`python -m benchmarks.features [--placements 1000000 --creators 833334 --snapshots 12 --engine local]`
makes the market, puts it into buckets, and prints seconds and peak memory of each step, each in a process of its own.
The join gives each placement the newest reading of its creator and nothing else; ours gives every feature.
"""

import argparse
import multiprocessing
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

GIB = 1 << 20  # of the kibibytes in which the kernel counts


def main() -> None:
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--placements", type=int, default=1_000_000)
    parser.add_argument("--creators", type=int, default=833_334)
    parser.add_argument("--snapshots", type=int, default=12)
    parser.add_argument("--buckets", type=int, help="default: as the command chooses")
    parser.add_argument("--engine", choices=("local", "dask"), default="local")
    parser.add_argument("--market", type=Path, help="folder of tables to use in place of a new market")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        folder = asked.market or work / "market"
        if asked.market is None:
            print(f"made a market in {timed(make, folder, asked)[0]:.0f} s", flush=True)
        print(f"{'step':<34}{'seconds':>9}{'peak GiB':>10}", flush=True)
        for name, step in (
            ("bucket: read, check, sort, write", into_buckets),
            ("DuckDB ASOF JOIN, raw columns", asof_join),
            ("features, all", all_features),
            ("catalogue", whole_catalogue),
        ):
            seconds, peak = timed(step, folder, work, asked)
            print(f"{name:<34}{seconds:>9.1f}{peak / GIB:>10.2f}", flush=True)
        print(agreement(work))


def timed(step: Callable[..., None], *arguments: Any) -> tuple[float, int]:
    """Seconds and peak memory (kibibytes) of a step in a new process, imports left out of the time."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_measured, args=(theirs, step, arguments))
    process.start()
    theirs.close()
    try:
        found: tuple[float, int] = ours.recv()
    except EOFError as error:
        raise SystemExit(f"{step.__name__} failed: see above") from error
    process.join()
    return found


def _measured(pipe: Any, step: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    import training.pipeline  # noqa: F401 - loaded before the clock starts

    start = time.perf_counter()
    step(*arguments)
    seconds = time.perf_counter() - start
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    pipe.send((seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss + children))


def make(folder: Path, asked: argparse.Namespace) -> None:
    from training.sample import write_sample

    write_sample(folder, creators=asked.creators, placements=asked.placements, snapshots=asked.snapshots, seed=0,
                 fmt="parquet")  # fmt: skip


def into_buckets(folder: Path, work: Path, asked: argparse.Namespace) -> None:
    from features.settings import Settings
    from training.bucket import bucket

    bucket(folder, work / "buckets", Settings(), buckets=asked.buckets)


def asof_join(_: Path, work: Path, __: argparse.Namespace) -> None:
    """The newest reading of every column, known before the day each placement was agreed."""
    import duckdb

    from features.profile import LEVELS, NOISY, NOISY_LOGS

    names = [name for name in (*LEVELS, *NOISY_LOGS, *NOISY) if name != "last_post_day"]
    columns = ", ".join(f"s.{name}" for name in (*names, "last_post_at", "price_source", "snapshot_at"))
    connection = duckdb.connect(config={"threads": 2})
    connection.execute(
        f"""
        COPY (
            SELECT p.row, {columns}
            FROM (
                SELECT row, creator_id, agreed_on::DATE AS day
                FROM read_parquet('{work}/buckets/bucket-*/placements.parquet')
            ) AS p
            ASOF LEFT JOIN (
                SELECT *, known_at::DATE AS known
                FROM read_parquet('{work}/buckets/bucket-*/creator_snapshots.parquet')
            ) AS s
            ON p.creator_id = s.creator_id AND p.day > s.known
        ) TO '{work}/joined.parquet' (FORMAT parquet)
        """
    )


def all_features(_: Path, work: Path, asked: argparse.Namespace) -> None:
    from functools import partial

    import numpy as np

    from training.bucket_tasks import finish_bucket

    def finish(run: Any, buckets: range, *common: Any) -> None:
        parts = list(run.map(partial(finish_bucket, catalogue=False), buckets, *common))
        np.save(work / "rows.npy", np.concatenate([part.rows for part in parts]))

    _third_round(work, asked, finish)


def whole_catalogue(_: Path, work: Path, asked: argparse.Namespace) -> None:
    from features.buckets import read_manifest
    from serving.catalogue import join_catalogues, load_catalogue, save_catalogue
    from training.bucket_tasks import catalogue_bucket, catalogue_folder

    def finish(run: Any, buckets: range, *common: Any) -> None:
        list(run.map(catalogue_bucket, buckets, *common))

    _third_round(work, asked, finish)
    count = read_manifest(work / "buckets").buckets
    parts = [load_catalogue(catalogue_folder(work / "out", bucket)) for bucket in range(count)]
    (work / "catalogue").mkdir()
    save_catalogue(join_catalogues(parts), work / "catalogue")


def _third_round(work: Path, asked: argparse.Namespace, finish: Callable[..., None]) -> None:
    from features.buckets import read_manifest
    from features.settings import Settings
    from training.bucketed import first_rounds
    from training.engine import engine

    folder, out = work / "buckets", work / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    manifest = read_manifest(folder)
    assert manifest.newest_fact is not None
    with engine(asked.engine, work / "home") as run:
        rounds = first_rounds(folder, manifest, Settings(), manifest.newest_fact + 1, run, lambda _: None)
        finish(run, range(manifest.buckets), folder, rounds.shared, rounds.histories, out)
    # the catalogue's step makes the folder anew: what the features are compared by stays
    if (out / "features-00000.parquet").exists():
        shutil.move(out, work / "features")


def agreement(work: Path) -> str:
    """On how many placements both see the same follower count, the one column that both take as read."""
    import numpy as np
    import polars as pl

    joined = pl.read_parquet(work / "joined.parquet", columns=["row", "follower_count"]).sort("row")
    files = sorted((work / "features").glob("features-*.parquet"))
    ours = np.concatenate([pl.read_parquet(file, columns=["log_followers"])["log_followers"].to_numpy()
                           for file in files])  # fmt: skip
    order = np.argsort(np.load(work / "rows.npy"))
    theirs = np.log(joined["follower_count"].cast(pl.Float64).to_numpy()).astype(np.float32)
    same = np.isclose(ours[order], theirs, rtol=1e-6) | (np.isnan(ours[order]) & np.isnan(theirs))
    return f"both see the same follower count on {same.mean():.4%} of {len(same):,} placements"


if __name__ == "__main__":
    main()
