"""Which placements may teach, and which judge: split by time with the gap of the attribution window."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.asof import NEVER, days
from features.errors import DataError
from features.market import Placements
from features.tables import SETTLED_GIVEN, Tables

Ints = NDArray[np.int64]

TEST_SHARES = (0.2, 0.15, 0.1, 0.3)  # tried in this order
MIN_TRAIN_SHARE = 0.3
EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class Split:
    """A test window [opens, as_of) and the rows that had settled before it opened.

    A placement agreed before the window but settled inside it is in neither: that is the gap.
    """

    opens: int
    train: Ints
    test: Ints


def labelled(placements: Placements, as_of: int) -> Ints:
    """Placements agreed and settled before day `as_of`: the only ones that may be labels."""
    return np.flatnonzero((placements.agreed < as_of) & (placements.settled < as_of))


def time_split(placements: Placements, as_of: int) -> Split:
    """The latest fifth of the labelled placements as test window; a smaller one where too little settled before.

    Raises:
        DataError: nothing settled before the as-of day.
    """
    rows = labelled(placements, as_of)
    if len(rows) == 0:
        raise DataError(f"no placement was agreed and settled before {iso(as_of)}: nothing to learn from")
    best: Split | None = None
    for share in TEST_SHARES:
        opens = int(np.quantile(placements.agreed[rows], 1 - share, method="lower")) + 1
        split = Split(
            opens=opens,
            train=rows[placements.settled[rows] < opens],
            test=rows[placements.agreed[rows] >= opens],
        )
        if len(split.test) and len(split.train) >= MIN_TRAIN_SHARE * len(rows):
            return split
        if len(split.test) and (best is None or len(split.train) > len(best.train)):
            best = split
    if best is None:
        return Split(opens=as_of, train=rows, test=rows[:0])
    return best


def newest_fact(tables: Tables) -> int:
    """UTC day of the newest fact about creators and placements; the default as-of day is the day after.

    A settling day counts where the data give it and an outcome with it: one that is only assumed says nothing about
    when the data end.
    """
    return max(_fact_days(tables, "max"))


def oldest_fact(tables: Tables) -> int:
    """UTC day of the oldest fact in the data: nothing is known on it or before."""
    return min(_fact_days(tables, "min"))


def _fact_days(tables: Tables, end: Literal["min", "max"]) -> list[int]:
    """The first or the last day of every dated column."""
    columns = [
        tables.creator_snapshots["known_at"],
        tables.creator_audience["snapshot_at"],
        tables.creator_prices["known_at"],
        tables.placements["agreed_on"],
        tables.placements["posted_at"],
        *(_settled_with_outcome(tables.placements),),
    ]
    dated = [days(column.drop_nulls()) for column in columns]
    # "not yet", often written as the year 9999, is no day on which anything became known
    dated = [known[known < NEVER] for known in dated]
    found = [int(getattr(known, end)()) for known in dated if len(known)]
    if not found:
        raise DataError("the data hold no date at all: give campaigns a starts_on, or placements an agreed_on")
    return found


def day_number(day: date) -> int:
    """Days since 1970-01-01."""
    return (day - EPOCH).days


def day_of(text: str) -> int:
    """The day number of an ISO 8601 date.

    >>> day_of("1970-01-02")
    1
    """
    return day_number(date.fromisoformat(text))


def iso(day: int) -> str:
    """A day number as an ISO 8601 date."""
    return (EPOCH + timedelta(days=day)).isoformat()


def _settled_with_outcome(placements: pl.DataFrame) -> pl.Series:
    outcome = pl.any_horizontal(
        pl.col("impressions", "engagements", "clicks", "conversions", "revenue", "value").is_not_null()
    )
    return placements.filter(outcome & pl.col(SETTLED_GIVEN))["settled_at"]
