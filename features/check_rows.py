"""Checks between columns and tables that make data unusable (or rows ignored): keys, references, order, rates."""

from collections.abc import Sequence
from datetime import date

import polars as pl

from features.codes import currencies
from features.contract import TABLES, columns
from features.findings import Finding, error, first_ids, warning
from features.money import MissingRate, base_currency, missing_rates
from features.settings import Settings
from features.tables import Tables

# Where an unknown creator only makes a row useless.
_IGNORED = {
    "creator_snapshots": ("creator_id",),
    "creator_audience": ("creator_id",),
    "creator_prices": ("creator_id",),
    "audience_overlap": ("creator_a", "creator_b"),
}


def row_findings(tables: Tables, settings: Settings) -> list[Finding]:
    """Findings of every rule of this module."""
    return [*duplicate_keys(tables), *references(tables), *settled_early(tables), *rates(tables, settings)]


def duplicate_keys(tables: Tables) -> list[Finding]:
    """Rows whose key another row has: an error where the key is an id, else the later row counts twice."""
    found = []
    for table, declaration in TABLES.items():
        frame, key = tables.by_name()[table], list(declaration.key)
        twice = frame.select(key).is_duplicated() & frame[key[0]].is_not_null()
        if not twice.any():
            continue
        ids = frame.filter(twice)[key[0]].unique(maintain_order=True)
        what = key[0] if len(key) == 1 else f"{', '.join(key[:-1])} and {key[-1]}"
        severity = error if declaration.duplicates == "error" else warning
        message = f"more than one row has the same {what}. Keep one of each."
        found.append(severity(table, None, message, int(twice.sum()), first_ids(ids, ids.is_not_null())))
    return found


def references(tables: Tables) -> list[Finding]:
    """Ids that name no row of campaigns or creators (not asked while that table itself is missing)."""
    found = []
    placements = tables.placements
    for column, parent in (("campaign_id", tables.campaigns), ("creator_id", tables.creators)):
        bad = _unknown(placements[column], parent[column])
        if bad.any():
            names = ", ".join(placements[column].filter(bad).unique(maintain_order=True).head(3).to_list())
            table = column.removesuffix("_id") + "s"
            message = f"is not in {table}: {names}. Add it to {table} or remove the placements."
            ids = first_ids(placements["placement_id"], bad)
            found.append(error("placements", column, message, int(bad.sum()), ids))
    for table, names_of in _IGNORED.items():
        frame = tables.by_name()[table]
        for column in names_of:
            bad = _unknown(frame[column], tables.creators["creator_id"])
            if bad.any():
                message = "is not in creators: these rows are ignored. Add the creator or remove them."
                found.append(warning(table, column, message, int(bad.sum()), first_ids(frame[column], bad)))
    return found


def settled_early(tables: Tables) -> list[Finding]:
    """Outcomes final on a day before the post (or, not posted, before the agreement)."""
    days = tables.placements.select(
        pl.col("settled_at").dt.date() < pl.coalesce("posted_at", "agreed_on").dt.date()
    ).to_series()
    if not days.any():
        return []
    message = "settled before it was posted (or agreed). Mend the dates, or leave settled_at empty for the default."
    ids = first_ids(tables.placements["placement_id"], days)
    return [error("placements", "settled_at", message, int(days.sum()), ids)]


def rates(tables: Tables, settings: Settings) -> list[Finding]:
    """Money without a rate."""
    base = base_currency(tables, settings)
    return rate_findings(tables, missing_rates(tables, settings, base), settings, base)


def rate_findings(tables: Tables, gaps: Sequence[MissingRate], settings: Settings, base: str) -> list[Finding]:
    """A table `fx` of another base, else the gaps. Codes that are no currency are named by the code check alone."""
    own = tables.fx.filter((pl.col("currency") == base) & ((pl.col("rate") - 1.0).abs() > 1e-6))
    if own.height:
        message = (
            f"gives {own['rate'][0]:g} for one {base}, the base currency: these are units of another currency. Convert "
            f"the table to {base}, or set base_currency in config.toml of the home to the currency it is in."
        )
        return [error("fx", "rate", message, own.height, tuple(own["date"].dt.date().cast(pl.String).head(5)))]
    return [
        error(gap.table, _currency_column(gap.table), gap.message(base, settings), gap.count, gap.ids)
        for gap in gaps
        if gap.currency in currencies()
    ]


def date_range(tables: Tables, table: str) -> tuple[date, date] | None:
    """First and last day of a table's dating column, or None where no row is dated."""
    column = TABLES[table].day
    if column is None:
        return None
    days = tables.by_name()[table][column].dt.date().drop_nulls()
    first, last = days.min(), days.max()
    return (first, last) if isinstance(first, date) and isinstance(last, date) else None


def _unknown(ids: pl.Series, known: pl.Series) -> pl.Series:
    if known.drop_nulls().is_empty():
        return pl.repeat(value=False, n=len(ids), eager=True)
    return ids.is_not_null() & ~ids.is_in(known.drop_nulls().unique().implode())


def _currency_column(table: str) -> str:
    return next(name for name in columns(table) if name.endswith("currency"))
