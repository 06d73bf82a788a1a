"""A synthetic market in the contract's tables. Everything in it is invented: no creator, brand or number is real.

It is there to try the program and to test it. Effects follow published findings where there are any (see
`training.sample_world`), and the files show only what a team could know: no hidden truth.
"""

from datetime import date
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from features.errors import DataError
from training.sample_campaigns import campaigns_table, choose, make_campaigns
from training.sample_creators import creators_table, make_creators
from training.sample_fx import fx_table, make_rates
from training.sample_outcomes import expected_rates, make_bookings, placements_table
from training.sample_profiles import audience_table, overlap_table, snapshots_table
from training.sample_world import MONTH_DAYS, World

TODAY = date(2026, 6, 30)
_LEAST_MONTHS = 6  # of campaigns, however few snapshots there are


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
    for name, number in (("creators", creators), ("placements", placements), ("snapshots", snapshots)):
        if number < 1:
            raise DataError(f"{name} must be at least 1, not {number}.", field=name)
    world = world or World()
    months = max(snapshots, _LEAST_MONTHS)
    # a stream of its own for each step: more placements do not change the creators
    streams = [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(10)]
    rates = make_rates(today, int(months * MONTH_DAYS) + 14, streams[0])
    hidden = make_creators(world, creators, months, streams[1])
    campaigns = make_campaigns(world, hidden, placements, streams[2])
    bookings = make_bookings(hidden, campaigns, choose(world, hidden, campaigns, streams[3]), streams[4])
    rate = expected_rates(world, hidden, campaigns, bookings, (today - date(1970, 1, 1)).days)
    table, spent = placements_table(world, (hidden, campaigns, bookings, rates), rate, streams[5])
    readings = snapshots_table(world, hidden, snapshots, rates, streams[6])
    return {
        "creators": creators_table(hidden, streams[7]),
        "creator_snapshots": readings,
        "creator_audience": audience_table(hidden, readings, streams[8]),
        "audience_overlap": overlap_table(hidden, streams[9]),
        "campaigns": campaigns_table(campaigns, spent, rates, streams[2]),
        "placements": table,
        "fx": fx_table(rates),
    }


def write_sample(
    folder: Path,
    *,
    creators: int = 3000,
    placements: int = 8000,
    snapshots: int = 12,
    seed: int = 0,
    fmt: Literal["csv", "parquet"] = "csv",
    today: date = TODAY,
) -> None:
    """Write a synthetic market into a folder, one file a table; earlier files of the same name are replaced.

    Raises:
        DataError: see `make_market`; or the folder holds the same table in the other format.
    """
    market = make_market(creators=creators, placements=placements, snapshots=snapshots, seed=seed, today=today)
    other = "parquet" if fmt == "csv" else "csv"
    twins = [f"{name}.{other}" for name in market if (folder / f"{name}.{other}").exists()]
    if twins:
        raise DataError(f"{folder} already holds {', '.join(twins)}: choose an empty folder or remove them.")
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in market.items():
        path = folder / f"{name}.{fmt}"
        if fmt == "csv":
            table.write_csv(path)
        else:
            table.write_parquet(path)
