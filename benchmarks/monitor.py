"""How often `monitor` cries wolf on SYNTHETIC markets where nothing changes, and how soon it sees what does.

`python -m benchmarks.monitor WORK --seeds 20` teaches a model a market as of a day, then looks every day after it, and
prints the share of markets with any alarm; then the same with changes on that day.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

OTHER_WORLD = "tiktok-like"
TAUGHT = date(2026, 3, 1)  # the market ends with June

Tables = dict[str, pl.DataFrame]


def prices(tables: Tables) -> Tables:
    """All prices and fees 40 % higher."""
    placements = tables["placements"].with_columns(_changed("fee", "agreed_on", 1.4))
    snapshots = tables["creator_snapshots"].with_columns(_changed("price", "snapshot_at", 1.4))
    return {**tables, "placements": placements, "creator_snapshots": snapshots}


def engagement(tables: Tables) -> Tables:
    """Half the engagement on paid posts, and all that follows from it."""
    names = ("engagements", "clicks", "conversions", "revenue", "refunds")
    return _outcomes(tables, dict.fromkeys(names, 0.5))


def impressions(left: float) -> Callable[[Tables], Tables]:
    """Only a part of the impressions is left, and with them of everything."""
    names = ("impressions", "reach", "engagements", "clicks", "conversions", "revenue", "refunds")
    return lambda tables: _outcomes(tables, dict.fromkeys(names, left))


def platform(tables: Tables) -> Tables:
    """A sixth of all placements go to creators of a platform that is new."""
    placements, creators = tables["placements"], tables["creators"]
    later = placements.filter(_later("agreed_on"))
    before = placements.filter(~_later("agreed_on"))["creator_id"].unique()
    moved = creators.filter(~pl.col("creator_id").is_in(before.implode()))["creator_id"].head(600)
    odd = later.with_row_index().filter(pl.col("index") % 6 == 0)["placement_id"]
    taken = pl.Series(np.resize(moved.to_numpy(), later.height), dtype=pl.String)
    swapped = later.with_columns(
        pl.when(pl.col("placement_id").is_in(odd.implode())).then(taken).otherwise("creator_id").alias("creator_id")
    )
    new = pl.concat([placements.filter(~_later("agreed_on")), swapped])
    renamed = creators.with_columns(
        pl.when(pl.col("creator_id").is_in(moved.implode())).then(pl.lit("newtok")).otherwise("platform")
        .alias("platform")
    )  # fmt: skip
    return {**tables, "placements": new, "creators": renamed}


def feed(tables: Tables) -> Tables:
    """Snapshots come without price and credibility."""
    lost = [pl.when(~_later("snapshot_at")).then(name).alias(name) for name in ("price", "audience_credibility")]
    return {**tables, "creator_snapshots": tables["creator_snapshots"].with_columns(lost)}


CHANGES: dict[str, Callable[[Tables], Tables]] = {
    "prices +40 %": prices,
    "engagement halved": engagement,
    "impressions -30 %": impressions(0.7),
    "impressions -60 %": impressions(0.4),
    "a new platform": platform,
    "no more prices in snapshots": feed,
}


def _later(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.String).str.slice(0, 10) >= TAUGHT.isoformat()


def _changed(column: str, day: str, factor: float) -> pl.Expr:
    return pl.when(_later(day)).then(pl.col(column) * factor).otherwise(column).alias(column)


def _outcomes(tables: Tables, factors: dict[str, float]) -> Tables:
    kinds = tables["placements"].schema
    changed = [_changed(name, "agreed_on", factor).round().cast(kinds[name], strict=False)
               for name, factor in factors.items()]  # fmt: skip
    return {**tables, "placements": tables["placements"].with_columns(changed)}


def written(folder: Path, seed: int, world: str = "balanced") -> Path:
    from training.sample import write_sample

    if not (folder / "placements.parquet").exists():
        write_sample(folder, seed=seed, fmt="parquet", world=world)
    return folder


def changed(source: Path, folder: Path, change: Callable[[Tables], Tables]) -> Path:
    tables = {path.stem: pl.read_parquet(path) for path in sorted(source.glob("*.parquet"))}
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in change(tables).items():
        table.write_parquet(folder / f"{name}.parquet")
    return folder


def dataset_of(folder: Path) -> tuple[Any, Any]:
    """Features and labels, and the snapshots as they came."""
    from features.settings import Settings
    from training.dataset import build_dataset
    from training.source import load

    loaded = load(folder, Settings(), None)
    return build_dataset(loaded.market), loaded.tables.creator_snapshots


def taught(data: Any) -> tuple[Any, Any]:
    """Model and reference as of TAUGHT."""
    from training.backtest import backtest
    from training.monitor_data import training_reference
    from training.pipeline import fit_served
    from training.split import day_number, labelled, time_split
    from training.stage_fit import FitOptions

    day, placements = day_number(TAUGHT), data.market.placements
    rows = labelled(placements, day)
    model = fit_served(data, rows, backtest(data, time_split(placements, day), FitOptions()), FitOptions())
    return model, training_reference(data, model, rows)


def looks(
    data: Any, snapshots: Any, model: Any, reference: Any, days: int, every: int = 1
) -> Iterator[tuple[int, list[Any]]]:
    """What each look says, by days since TAUGHT."""
    from training.monitor_rows import look, watched
    from training.split import day_number

    start = day_number(TAUGHT)
    seen = watched(data, model, np.full(len(data.market.placements), np.nan), start, snapshots)
    for later in range(1, days + 1, every):
        yield later, look(seen, reference, start + later)


def first_alarms(data: Any, snapshots: Any, model: Any, reference: Any, days: int, every: int = 1) -> dict[str, int]:
    """Day of the first alarm by part and column."""
    found: dict[str, int] = {}
    for later, rows in looks(data, snapshots, model, reference, days, every):
        for row in rows:
            if row.state == "DRIFT":
                found.setdefault(f"{row.part}: {row.what}", later)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--days", type=int, default=120)
    parser.add_argument("--changes", type=int, default=3, help="markets to change")
    asked = parser.parse_args()
    for seed in range(asked.first, asked.first + asked.seeds):
        folder = written(asked.work / f"m{seed}", seed)
        data, snapshots = dataset_of(folder)
        model, reference = taught(data)
        alarms = first_alarms(data, snapshots, model, reference, asked.days)
        print(json.dumps({"seed": seed, "change": None, "alarms": alarms}), flush=True)
        if seed - asked.first < asked.changes:
            for name, change in CHANGES.items():
                other = dataset_of(changed(folder, asked.work / "changed", change))
                alarms = first_alarms(*other, model, reference, asked.days, 2)
                print(json.dumps({"seed": seed, "change": name, "alarms": alarms}), flush=True)
            other = dataset_of(written(asked.work / f"m{seed}-{OTHER_WORLD}", seed, OTHER_WORLD))
            alarms = first_alarms(*other, model, reference, asked.days, 2)
            print(json.dumps({"seed": seed, "change": f"the world {OTHER_WORLD}", "alarms": alarms}), flush=True)


if __name__ == "__main__":
    main()
