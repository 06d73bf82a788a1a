"""Money into one base currency, by the rate of the day."""

from dataclasses import dataclass, replace
from datetime import date, timedelta

import polars as pl

from features.contract import columns
from features.errors import DataError
from features.settings import Settings
from features.tables import Tables

# Where each table's money is dated and which column names its currency.
_DAYS = {
    "creator_snapshots": ("snapshot_at", "price_currency"),
    "creator_prices": ("snapshot_at", "price_currency"),
    "campaigns": ("starts_on", "currency"),
    "placements": ("agreed_on", "currency"),
}


@dataclass(frozen=True)
class MissingRate:
    """Money that has no rate: where, which currency, and on which days for which rows."""

    table: str
    currency: str
    days: tuple[str, ...]
    count: int
    ids: tuple[str, ...]

    def message(self, base: str, settings: Settings) -> str:
        """What is missing and what to do next."""
        days = ", ".join(self.days) or "any day"
        return (
            f"no {self.currency} to {base} rate for {days}. Add rows to fx (date, {self.currency}, {base} for one "
            f"{self.currency}) on the day or at most {settings.fx_max_age_days} days before it."
        )


def base_currency(tables: Tables, settings: Settings) -> str:
    """The only currency named in campaigns, placements and prices, else the configured one.

    >>> from features.tables import build
    >>> base_currency(build({}, Settings()), Settings())
    'USD'
    """
    return only_currency(named_currencies(tables), settings)


def named_currencies(tables: Tables) -> set[str]:
    """Every currency named in campaigns, placements and prices."""
    return {
        str(code)
        for name, (_, currency) in _DAYS.items()
        for code in tables.by_name()[name][currency].drop_nulls().unique().to_list()
    }


def only_currency(named: set[str], settings: Settings) -> str:
    """The one currency of `named`, else the configured one."""
    return next(iter(named)) if len(named) == 1 else settings.base_currency


def in_base_currency(tables: Tables, settings: Settings) -> Tables:
    """The same tables with every amount in the base currency, and every currency column naming it.

    Rates are those of the day the money is dated (snapshot_at, starts_on, agreed_on); undated prices take the newest.

    Raises:
        DataError: a rate is missing.
    """
    base = base_currency(tables, settings)
    missing = missing_rates(tables, settings, base)
    if missing:
        first = missing[0]
        ids = ", ".join(first.ids) + (", ..." if first.count > len(first.ids) else "")
        where = f"{first.table}: {first.count} rows ({ids})"
        raise DataError(f"{where}: {first.message(base, settings)}", field=f"{first.table}.{_DAYS[first.table][1]}")
    return converted(tables, settings, base)


def converted(tables: Tables, settings: Settings, base: str) -> Tables:
    """The same tables with amounts in `base`, null where a rate is missing: ask `missing_rates` first."""
    frames = {}
    for name, (_, currency) in _DAYS.items():
        factor = _factors(tables, name, base, settings)
        frames[name] = tables.by_name()[name].with_columns(
            *(pl.col(amount) * factor for amount in _amounts(name)), pl.lit(base).alias(currency)
        )
    return replace(tables, **frames)


def missing_rates(tables: Tables, settings: Settings, base: str | None = None) -> list[MissingRate]:
    """Money that cannot be converted to `base` (None: that of these tables), by table and currency."""
    base = base_currency(tables, settings) if base is None else base
    missing = []
    for name, (day, _) in _DAYS.items():
        frame = tables.by_name()[name]
        label = next(iter(columns(name)))
        has_money = pl.any_horizontal(pl.col(_amounts(name)).is_not_null())
        rows = (
            frame.with_columns(_factors(tables, name, base, settings).alias("factor"), _currencies(tables, name, base))
            .filter(has_money & pl.col("factor").is_null())
            .select(pl.col(label).alias("id"), pl.col(day).dt.date().alias("day"), "code")
        )
        for (code,), part in rows.group_by("code", maintain_order=True):
            days = part["day"].drop_nulls().unique().sort().head(3).cast(pl.String).to_list()
            ids = part["id"].drop_nulls().head(5).to_list()
            missing.append(MissingRate(name, str(code), tuple(days), part.height, tuple(ids)))
    return missing


def rate(tables: Tables, currency: str, base: str, *, settings: Settings, day: date | None = None) -> float | None:
    """Units of `base` for one `currency`: the last rate on or before `day`, no older than the settings allow.

    Without a day, the newest rate whatever its age. None when there is no such rate; 1.0 for the base itself.
    `fx` holds units of the base currency, so `base` must be the base of these tables; no inverse is assumed.

    >>> from features.tables import build
    >>> fx = pl.DataFrame({"date": [date(2025, 1, 1)], "currency": ["USD"], "rate": [1.35]})
    >>> tables = build({"fx": fx}, Settings())
    >>> rate(tables, "USD", "SGD", settings=Settings()), rate(tables, "SGD", "SGD", settings=Settings())
    (1.35, 1.0)
    >>> rate(tables, "USD", "SGD", settings=Settings(), day=date(2025, 1, 9)) is None
    True
    """
    if currency == base:
        return 1.0
    rates = _rates(tables).filter(pl.col("code") == currency)
    if day is not None:
        oldest = day - timedelta(days=settings.fx_max_age_days)
        rates = rates.filter(pl.col("day").is_between(oldest, day))
    return float(rates["rate"][-1]) if rates.height else None


def _amounts(table: str) -> list[str]:
    return [name for name, column in columns(table).items() if column.kind.money]


def _rates(tables: Tables) -> pl.DataFrame:
    """Usable rates (code, day, rate), oldest first within a currency."""
    usable = tables.fx.select(pl.col("currency").alias("code"), pl.col("date").dt.date().alias("day"), "rate")
    return usable.drop_nulls().filter(pl.col("rate") > 0).sort("code", "day", "rate")


def _currencies(tables: Tables, table: str, base: str) -> pl.Series:
    """Each row's currency; a placement without one takes its campaign's, anything else the base."""
    frame = tables.by_name()[table]
    codes = frame[_DAYS[table][1]]
    if table == "placements":
        campaigns = tables.campaigns.select("campaign_id", pl.col("currency").alias("campaign_currency"))
        first = campaigns.unique("campaign_id", keep="first", maintain_order=True)
        joined = frame.select("campaign_id").join(first, on="campaign_id", how="left", maintain_order="left")
        codes = codes.fill_null(joined["campaign_currency"])
    return codes.fill_null(base).alias("code")


def _factors(tables: Tables, table: str, base: str, settings: Settings) -> pl.Series:
    """Units of the base currency for one of each row's, null where no rate is known."""
    rows = pl.DataFrame(
        {"code": _currencies(tables, table, base), "day": tables.by_name()[table][_DAYS[table][0]].dt.date()}
    )
    rates = _rates(tables)
    wanted = rows.unique().sort("code", "day")
    dated = wanted.drop_nulls("day").join_asof(
        rates,
        on="day",
        by="code",
        strategy="backward",
        tolerance=f"{settings.fx_max_age_days}d",
        check_sortedness=False,
    )
    newest = rates.group_by("code").agg(pl.col("rate").last())
    undated = wanted.filter(pl.col("day").is_null()).join(newest, on="code", how="left")
    by_day = pl.concat([dated.select("code", "day", "rate"), undated.select("code", "day", "rate")])
    joined = rows.join(by_day, on=["code", "day"], how="left", nulls_equal=True, maintain_order="left")
    return joined.select(pl.when(pl.col("code") == base).then(1.0).otherwise(pl.col("rate"))).to_series()
