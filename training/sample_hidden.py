"""The hidden state of a synthetic market: everything that is drawn before anything is read, measured or written."""

from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from features.errors import DataError
from training.sample_campaigns import Campaigns, choose, make_campaigns
from training.sample_creators import Creators, make_creators
from training.sample_fx import Rates, make_rates
from training.sample_outcomes import Bookings, make_bookings
from training.sample_profiles import overlap_table
from training.sample_world import MONTH_DAYS, World

TODAY = date(2026, 6, 30)
_LEAST_MONTHS = 6  # of campaigns, however few snapshots there are
_STREAMS = 11


@dataclass(frozen=True)
class Hidden:
    """The hidden state from which the tables are drawn; `streams` are the random streams of the steps still to come."""

    world: World
    seed: int
    snapshots: int
    creators: Creators
    campaigns: Campaigns
    bookings: Bookings
    rates: Rates
    overlap: pl.DataFrame
    streams: tuple[np.random.Generator, ...]

    @property
    def today(self) -> int:
        """The last day on which anything is known, in days since 1970-01-01."""
        return (self.rates.today - date(1970, 1, 1)).days


def make_hidden(
    *,
    creators: int = 3000,
    placements: int = 8000,
    snapshots: int = 12,
    seed: int = 0,
    today: date = TODAY,
    world: World | None = None,
) -> Hidden:
    """The hidden state of a synthetic market; arguments and errors as in `make_market`."""
    for name, number in (("creators", creators), ("placements", placements), ("snapshots", snapshots)):
        if number < 1:
            raise DataError(f"{name} must be at least 1, not {number}.", field=name)
    world = world or World()
    months = max(snapshots, _LEAST_MONTHS)
    # a stream of its own for each step: more placements do not change the creators
    streams = tuple(np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(_STREAMS))
    rates = make_rates(today, int(months * MONTH_DAYS) + 14, streams[0])
    hidden = make_creators(world, creators, months, streams[1])
    campaigns = make_campaigns(world, hidden, placements, streams[2])
    bookings = make_bookings(hidden, campaigns, choose(world, hidden, campaigns, streams[3]), streams[4])
    overlap = overlap_table(hidden, streams[9])
    return Hidden(world, seed, snapshots, hidden, campaigns, bookings, rates, overlap, streams)
