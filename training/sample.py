"""A synthetic market in the contract's tables. Everything in it is invented: no creator, brand or number is real.

It is there to try the program and to test it. Effects follow published findings where there are any (see
`training.sample_world` and `training.sample_worlds`), and the tables show only what a team could know: the hidden
truth, where it is asked for, goes into a subfolder of its own (`training.sample_truth`).
"""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Literal

import polars as pl

from features.errors import DataError
from training.sample_campaigns import campaigns_table
from training.sample_creators import creators_table
from training.sample_fx import fx_table
from training.sample_held_out import make_truth
from training.sample_hidden import TODAY, Hidden, make_hidden
from training.sample_outcomes import expected_rates, placements_table
from training.sample_profiles import audience_table, reading_dates, snapshots_table
from training.sample_truth import FOLDER, write_truth
from training.sample_world import World
from training.sample_worlds import world_named

TABLES = ("creators", "creator_snapshots", "creator_audience", "audience_overlap", "campaigns", "placements", "fx")


def tables(hidden: Hidden) -> Iterator[tuple[str, pl.DataFrame]]:
    """The contract's tables with their names, one after the other: at a million creators each is large. Once only."""
    creators, campaigns, bookings, rates = hidden.creators, hidden.campaigns, hidden.bookings, hidden.rates
    streams = hidden.streams
    rate = expected_rates(hidden.world, creators, campaigns, bookings, hidden.today)
    placements, spent = placements_table(hidden.world, (creators, campaigns, bookings, rates), rate, streams[5])
    yield "creators", creators_table(creators, streams[7])
    readings = snapshots_table(hidden.world, creators, hidden.snapshots, rates, streams[6])
    dates = reading_dates(readings)
    yield "creator_snapshots", readings
    del readings
    yield "creator_audience", audience_table(creators, dates, streams[8])
    yield "audience_overlap", hidden.overlap
    yield "campaigns", campaigns_table(campaigns, spent, rates, streams[2])
    yield "placements", placements
    yield "fx", fx_table(rates)


def make_market(
    *,
    creators: int = 3000,
    placements: int = 8000,
    snapshots: int = 12,
    seed: int = 0,
    today: date = TODAY,
    world: World | None = None,
) -> dict[str, pl.DataFrame]:
    """The tables of a synthetic market, by name; the same arguments give the same tables.

    Args:
        creators: number of accounts.
        placements: number of placements, about 18 a campaign.
        snapshots: months of creator snapshots before `today`; campaigns cover the same months, but at least six.
        seed: of every draw.
        today: the last day on which anything is known.
        world: size of every effect; None means the standard one.

    Raises:
        DataError: a number is below 1, or there are too few creators for so many placements.

    >>> market = make_market(creators=50, placements=100, snapshots=3)
    >>> market["placements"].height, market["creators"].height
    (100, 50)
    """
    hidden = make_hidden(
        creators=creators, placements=placements, snapshots=snapshots, seed=seed, today=today, world=world
    )
    return dict(tables(hidden))


def write_sample(
    folder: Path,
    *,
    creators: int = 3000,
    placements: int = 8000,
    snapshots: int = 12,
    seed: int = 0,
    fmt: Literal["csv", "parquet"] = "csv",
    today: date = TODAY,
    world: str = "balanced",
    truth: tuple[int, int] | None = None,
) -> None:
    """Write a synthetic market into a folder, one file a table; earlier files of the same name are replaced.

    Args:
        folder: is made where it does not exist.
        creators: see `make_market`, as for placements, snapshots, seed and today.
        placements: number of placements.
        snapshots: months of snapshots.
        seed: of every draw.
        fmt: format of the tables.
        today: the last day on which anything is known.
        world: a name of `training.sample_worlds.WORLDS`.
        truth: how many held-out briefs, and the most candidates of each, to write the truth of; None: no truth.

    Raises:
        DataError: see `make_market`; there is no such world; or the folder holds the same table in the other format,
            or the truth of an earlier market while no new one is asked for.
    """
    chosen = world_named(world)
    other = "parquet" if fmt == "csv" else "csv"
    twins = [f"{name}.{other}" for name in TABLES if (folder / f"{name}.{other}").exists()]
    if twins:
        raise DataError(f"{folder} already holds {', '.join(twins)}: choose an empty folder or remove them.")
    if truth is None and (folder / FOLDER).exists():
        raise DataError(f"{folder / FOLDER} holds the truth of an earlier market: remove it or ask for --truth.")
    hidden = make_hidden(
        creators=creators, placements=placements, snapshots=snapshots, seed=seed, today=today, world=chosen
    )
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables(hidden):
        path = folder / f"{name}.{fmt}"
        if fmt == "csv":
            table.write_csv(path)
        else:
            table.write_parquet(path)
        del table  # before the next one is made
    if truth is not None:
        write_truth(make_truth(hidden, world, briefs=truth[0], pool=truth[1]), folder / FOLDER)
