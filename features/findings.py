"""What reading and checking have to say: findings with a count and the first ids."""

from dataclasses import dataclass
from typing import Literal

import polars as pl

FIRST = 5
Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One thing wrong (error) or worth knowing (warning).

    Args:
        severity: errors stop training, warnings do not.
        table: the contract table or the file it concerns.
        column: the column, where there is one.
        message: what it is and what to do next.
        count: how many rows; 0 where it is not about rows.
        ids: the first ids of those rows, at most five.
    """

    severity: Severity
    table: str
    column: str | None
    message: str
    count: int = 0
    ids: tuple[str, ...] = ()

    def __str__(self) -> str:
        """One line: place, message, count and first ids.

        >>> print(Finding("error", "placements", "fee", "negative amount: mend it", 2, ("p1", "p2")))
        placements.fee: negative amount: mend it (2 rows: p1, p2)
        """
        place = self.table if self.column is None else f"{self.table}.{self.column}"
        return f"{place}: {self.message}{self.where}"

    @property
    def where(self) -> str:
        """The count and first ids in brackets, or nothing."""
        if not self.count:
            return ""
        more = ", ..." if self.count > len(self.ids) else ""
        ids = f": {', '.join(self.ids)}{more}" if self.ids else ""
        return f" ({self.count:,} row{'' if self.count == 1 else 's'}{ids})"


def error(table: str, column: str | None, message: str, count: int = 0, ids: tuple[str, ...] = ()) -> Finding:
    """A finding that stops training."""
    return Finding("error", table, column, message, count, ids)


def warning(table: str, column: str | None, message: str, count: int = 0, ids: tuple[str, ...] = ()) -> Finding:
    """A finding worth knowing that stops nothing."""
    return Finding("warning", table, column, message, count, ids)


def first_ids(labels: pl.Series, bad: pl.Series) -> tuple[str, ...]:
    """The first distinct labels where `bad`; a row without a label is named by its number (1 = first data row).

    >>> first_ids(pl.Series(["a", None, "c"]), pl.Series([False, True, True]))
    ('row 2', 'c')
    """
    found: dict[str, None] = {}
    for row in bad.fill_null(value=False).arg_true():
        found.setdefault(_label(labels[row], row))
        if len(found) == FIRST:
            break
    return tuple(found)


def _label(label: object, row: int) -> str:
    return f"row {row + 1}" if label is None else str(label).removesuffix(" 00:00:00")


def quoted(values: pl.Series, most: int = 3) -> str:
    """A few distinct values for a message, cut short.

    >>> quoted(pl.Series(["12k", "12k", "n/a"]))
    "'12k', 'n/a'"
    """
    seen = values.drop_nulls().cast(pl.String).unique(maintain_order=True).head(most).to_list()
    return ", ".join(repr(text if len(text) <= 30 else text[:29] + "…") for text in seen)
