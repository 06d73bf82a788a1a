"""Exchange rates of the synthetic market: weekly rates to the US dollar on a slow random walk."""

from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from training.sample_world import CURRENCIES, USD_FOR_ONE, Floats, Ints

_STEP = 7  # the contract allows a rate to be 7 days old; between two weekly rates it is at most 6


@dataclass(frozen=True)
class Rates:
    """US dollars for one unit, (currencies, weeks); `first` is the first week's day number (today is 0)."""

    today: date
    first: int
    table: Floats

    def usd(self, currency: Ints, day: Ints) -> Floats:
        """Dollars for one unit of each row's currency on its day: the last rate on or before it."""
        return np.asarray(self.table[currency, (day - self.first) // _STEP])


def make_rates(today: date, days: int, rng: np.random.Generator) -> Rates:
    """Rates that cover today and at least so many days before it, in whole weeks.

    >>> rates = make_rates(date(2026, 6, 30), 10, np.random.default_rng(0))
    >>> rates.first, rates.table.shape[1]
    (-14, 3)
    """
    weeks = -(-days // _STEP)
    walk = np.cumsum(rng.normal(0.0, 0.004, (len(CURRENCIES), weeks + 1)), axis=1)
    level = np.array([USD_FOR_ONE[c] for c in CURRENCIES])
    walk[level == 1.0] = 0.0
    return Rates(today=today, first=-weeks * _STEP, table=np.round(level[:, None] * np.exp(walk), 6))


def fx_table(rates: Rates) -> pl.DataFrame:
    """The contract's `fx`: a row a week and foreign currency, the base being USD."""
    weeks = rates.table.shape[1]
    day = rates.first + _STEP * np.arange(weeks)
    dates = pl.Series(np.datetime64(rates.today, "D") + day.astype("timedelta64[D]"))
    return pl.concat(
        pl.DataFrame({"date": dates, "currency": [code] * weeks, "rate": rates.table[k]})
        for k, code in enumerate(CURRENCIES)
        if code != "USD"
    )
