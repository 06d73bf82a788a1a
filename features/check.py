"""The check report: what was found in a data folder, what is wrong, what is missing, and what to do next."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from features.check_cells import cell_findings
from features.check_market import commission_only_rate, market_findings, missing
from features.check_rows import date_range, row_findings
from features.contract import TABLES
from features.errors import DataError
from features.findings import Finding
from features.money import base_currency
from features.reading import read_folder
from features.settings import Settings
from features.tables import Tables

__all__ = ["CheckFailed", "Report", "check", "commission_only_rate", "load_checked", "render"]


@dataclass(frozen=True)
class Report:
    """What a check found.

    Args:
        findings: errors before warnings.
        rows: rows by table.
        dates: first and last day by table, where rows are dated.
        base_currency: the currency that money is converted to.
        missing: what the data lack that decides what they can answer.
    """

    findings: tuple[Finding, ...]
    rows: dict[str, int]
    dates: dict[str, tuple[date, date]]
    base_currency: str
    missing: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing stops training."""
        return not self.errors

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Findings that stop training."""
        return tuple(finding for finding in self.findings if finding.severity == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Findings worth knowing."""
        return tuple(finding for finding in self.findings if finding.severity == "warning")


class CheckFailed(DataError):
    """The data have errors; the report says which."""

    def __init__(self, found: Report) -> None:
        super().__init__("the data have errors (above); mend them and run again")
        self.report = found


def check(tables: Tables, findings_from_reading: Sequence[Finding], settings: Settings) -> Report:
    """Every rule on `tables`, after what reading already found.

    >>> from features.tables import build
    >>> check(build({}, Settings()), [], Settings()).ok
    True
    """
    findings = [
        *findings_from_reading,
        *cell_findings(tables),
        *row_findings(tables, settings),
        *market_findings(tables),
    ]
    ranges = {name: date_range(tables, name) for name in TABLES}
    return Report(
        findings=tuple(sorted(findings, key=lambda finding: finding.severity != "error")),
        rows={name: frame.height for name, frame in tables.by_name().items()},
        dates={name: days for name, days in ranges.items() if days is not None},
        base_currency=base_currency(tables, settings),
        missing=missing(tables),
    )


def load_checked(path: Path, settings: Settings) -> tuple[Tables, Report]:
    """Read a data folder and check it.

    Raises:
        DataError: the folder is not there, or holds no table at all.
    """
    tables, findings = read_folder(path, settings)
    return tables, check(tables, findings, settings)


def render(report: Report) -> RenderableType:
    """The report as readable text: tables found, then errors, then warnings, then the verdict."""
    found = RichTable(box=None, pad_edge=False)
    found.add_column("table")
    found.add_column("rows", justify="right")
    found.add_column("from")
    found.add_column("to")
    for name, rows in report.rows.items():
        first, last = report.dates.get(name, ("", ""))
        found.add_row(name, f"{rows:,}" if rows else "none", str(first), str(last))
    parts: list[RenderableType] = [found, Text(f"\nBase currency {report.base_currency}.")]
    for title, findings in (("Errors", report.errors), ("Warnings", report.warnings)):
        if findings:
            parts.append(Text(f"\n{title} ({len(findings)})"))
            # Text, not markup: ids and values may hold square brackets.
            parts += [Text(f"- {finding}") for finding in findings]
    if report.missing:
        parts.append(Text("\nMissing"))
        parts += [Text(f"- {line}") for line in report.missing]
    parts.append(Text(f"\n{_verdict(report)}"))
    return Group(*parts)


def _verdict(report: Report) -> str:
    if report.errors:
        return f"Not usable yet: mend the {_counted(len(report.errors), 'error')} above, then check again."
    if report.warnings:
        return f"Usable, with {_counted(len(report.warnings), 'warning')} to know about."
    return "Usable: nothing wrong was found."


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
