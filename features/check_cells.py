"""Checks of single columns, derived from their declaration: range, choice and code list."""

from difflib import get_close_matches

import polars as pl

from features.codes import countries, country_hint, currencies
from features.contract import TABLES, Column, columns
from features.findings import Finding, error, first_ids, quoted, warning
from features.tables import Tables

# What people write for a currency where the code is another.
_CURRENCY_HINTS = {"RMB": "CNY", "YUAN": "CNY", "NTD": "TWD", "VNĐ": "VND", "DONG": "VND", "UKP": "GBP"}

LARGEST = 1e12  # of any count or amount: beyond it sums would not be exact


def cell_findings(tables: Tables) -> list[Finding]:
    """Values out of range, unknown choices and codes, in every table."""
    findings: list[Finding] = []
    for table in TABLES:
        frame = tables.by_name()[table]
        labels = frame[next(iter(columns(table)))]
        for name, column in columns(table).items():
            if name not in frame.columns:
                continue  # folded into another, as likes are into engagements
            place = _place(tables, table, name)
            findings += out_of_range(place, column, frame[name], labels)
            if column.choices:
                findings += _choices(place, column, frame[name], labels)
            if column.kind.codes is not None:
                findings += _codes(place, name, column.kind.codes, frame[name], labels)
    return findings + _unsplit_lists(tables) + _audience_countries(tables)


def _unsplit_lists(tables: Tables) -> list[Finding]:
    """List elements that look like several: exported with another separator."""
    found = []
    for table, column in (("creators", "niches"), ("campaigns", "niches")):
        frame = tables.by_name()[table]
        odd = frame[column].list.eval(pl.element().str.contains("[,;，、；]")).list.any().fill_null(value=False)
        if odd.any():
            message = (
                f"lists are separated by |, and {quoted(frame[column].filter(odd).list.join('|'))} is read as one."
            )
            found.append(warning(table, column, message, int(odd.sum()), first_ids(frame[frame.columns[0]], odd)))
    return found


def out_of_range(table: str, column: Column, values: pl.Series, labels: pl.Series) -> list[Finding]:
    """Numbers below or above what the column's declaration allows.

    >>> shares = pl.Series([40.0, 55.0, 0.5])
    >>> labels = pl.Series(["a", "b", "c"])
    >>> for finding in out_of_range("creators", columns("creator_snapshots")["sponsored_share"], shares, labels):
    ...     print(finding)
    creators.sponsored_share: looks like percent: divide by 100, a fraction 0-1 belongs here. (2 rows: a, b)
    """
    found = []
    if column.low is not None and column.high is None:
        huge = values > LARGEST
        if huge.any():
            message = f"is implausibly large: {quoted(values.filter(huge))}. Mend the values or leave them empty."
            found.append(error(table, column.name, message, int(huge.sum()), first_ids(labels, huge)))
    if column.low is not None:
        low = (values <= column.low) if column.low_open else (values < column.low)
        if low.any():
            rule = "must be above 0" if column.low_open else "negative; must be 0 or more"
            message = f"{rule}: {quoted(values.filter(low))}. Mend the values or leave them empty."
            found.append(error(table, column.name, message, int(low.sum()), first_ids(labels, low)))
    if column.high is not None:
        high = values > column.high
        if high.any():
            message = f"is over {column.high:g}: {quoted(values.filter(high))}. A fraction 0-1 belongs here."
            if float(values.drop_nulls().median() or 0) > 1:  # type: ignore[arg-type]
                message = "looks like percent: divide by 100, a fraction 0-1 belongs here."
            found.append(error(table, column.name, message, int(high.sum()), first_ids(labels, high)))
    return found


def _place(tables: Tables, table: str, column: str) -> str:
    """The table people know a value from: undated snapshots are columns of creators."""
    if table == "creator_snapshots" and column != "creator_id" and tables.creator_snapshots["known_at"].is_null().all():
        return "creators"
    return table


def _choices(table: str, column: Column, values: pl.Series, labels: pl.Series) -> list[Finding]:
    bad = values.is_not_null() & ~values.is_in(list(column.choices))
    if not bad.any():
        return []
    close = get_close_matches(str(values.filter(bad)[0]), column.choices, n=1)
    meant = f" Did you mean {close[0]}?" if close else ""
    message = f"unknown {column.name} {quoted(values.filter(bad))}: use one of {', '.join(column.choices)}.{meant}"
    return [error(table, column.name, message, int(bad.sum()), first_ids(labels, bad))]


def _codes(table: str, column: str, codes: str, values: pl.Series, labels: pl.Series) -> list[Finding]:
    if isinstance(values.dtype, pl.List):
        exploded = pl.DataFrame({"label": labels, "value": values}).explode("value").drop_nulls("value")
        values, labels = exploded["value"].struct.field("code"), exploded["label"]
    known = countries() if codes == "country" else currencies()
    bad = values.is_not_null() & ~values.is_in(list(known))
    if not bad.any():
        return []
    standard = "an ISO 3166-1 alpha-2 country" if codes == "country" else "an ISO 4217 currency"
    message = f"not {standard} code: {_hints(values.filter(bad), codes)} Use the code or leave it empty."
    return [error(table, column, message, int(bad.sum()), first_ids(labels, bad))]


def _hints(values: pl.Series, codes: str) -> str:
    """Up to three wrong codes, each with what was probably meant."""
    parts = []
    for value in values.unique(maintain_order=True).head(3).to_list():
        hint = country_hint(value) if codes == "country" else _CURRENCY_HINTS.get(value)
        parts.append(f"{value!r} (did you mean {hint}?)" if hint else repr(value))
    return ", ".join(parts) + "."


def _audience_countries(tables: Tables) -> list[Finding]:
    """A country's name in place of its code would never match a brief; "OTHER" and the like do no harm."""
    rows = tables.creator_audience.filter(
        (pl.col("dimension") == "country") & pl.col("code").is_not_null() & ~pl.col("code").is_in(list(countries()))
    )
    found = []
    named = rows["code"].unique(maintain_order=True)
    for is_name in (True, False):
        codes = [code for code in named.to_list() if (country_hint(code) is not None) == is_name]
        bad = rows["code"].is_in(codes)
        if not codes:
            continue
        hints = _hints(pl.Series(codes), "country")
        count, ids = int(bad.sum()), first_ids(rows["creator_id"], bad)
        if is_name:
            message = f"not an ISO 3166-1 alpha-2 country code: {hints} Use the code."
            found.append(error("creator_audience", "code", message, count, ids))
        else:
            message = f"unknown country code: {hints} Counted as the rest of the world."
            found.append(warning("creator_audience", "code", message, count, ids))
    return found
