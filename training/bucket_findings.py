"""Findings of parts of a data set, batches or buckets, as one report of the whole would have said them."""

import re
from collections.abc import Iterable
from dataclasses import replace

from features.findings import FIRST, Finding
from features.money import MissingRate

_TEXT = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")(?: \(did you mean [^)]*\?\))?"""
# What messages quote from the rows they are about, the parts of it, and how many of those a message names.
_SEEN = ((re.compile(rf"{_TEXT}(?:, {_TEXT})*"), re.compile(_TEXT), 3),)
_DIMENSIONS = ((re.compile(r"(?<=Dimensions: )[^;]*"), re.compile(r"[^, ]+"), None),)
_MEANT = re.compile(r" Did you mean [^?]*\?$")  # of the first value seen
_OVER = re.compile(r"^(looks like percent|is over )")  # which of the two depends on the median
_ROW = re.compile(r"^row (\d+)$")


def merged(findings: Iterable[Finding]) -> list[Finding]:
    """The same thing found in several parts becomes one finding: counts added, first ids and values kept.

    >>> parts = [Finding("error", "fx", "rate", f"cannot be read: {bad}. Mend it.", 1) for bad in ("'x'", "'y'", "'x'")]
    >>> [str(finding) for finding in merged(parts)]
    ["fx.rate: cannot be read: 'x', 'y'. Mend it. (3 rows)"]
    """
    groups: dict[tuple[str, str, str | None, str], list[Finding]] = {}
    for finding in findings:
        key = finding.severity, finding.table, finding.column, _template(finding.message)
        groups.setdefault(key, []).append(finding)
    return [_one(group) for group in groups.values()]


def shifted(findings: Iterable[Finding], rows: int) -> list[Finding]:
    """Findings of a batch that begins after `rows` rows: ids that are row numbers count from the table's first.

    >>> shifted([Finding("error", "fx", "rate", "is empty", 2, ("row 1", "b"))], 10)[0].ids
    ('row 11', 'b')
    """
    return [replace(finding, ids=tuple(_shifted(label, rows) for label in finding.ids)) for finding in findings]


def merged_gaps(gaps: Iterable[MissingRate]) -> list[MissingRate]:
    """Missing rates of several buckets, one a table and currency, with its first days."""
    groups: dict[tuple[str, str], list[MissingRate]] = {}
    for gap in gaps:
        groups.setdefault((gap.table, gap.currency), []).append(gap)
    return [
        MissingRate(
            table,
            currency,
            tuple(sorted({day for gap in group for day in gap.days})[:3]),
            sum(gap.count for gap in group),
            tuple(id_ for gap in group for id_ in gap.ids)[:5],
        )
        for (table, currency), group in groups.items()
    ]


def _one(group: list[Finding]) -> Finding:
    count = sum(finding.count for finding in group)
    ids = tuple(dict.fromkeys(label for finding in group for label in finding.ids))[:FIRST]
    alike: dict[str, list[Finding]] = {}
    for finding in group:
        over = _OVER.match(finding.message)
        alike.setdefault(over[0] if over else "", []).append(finding)
    # the word of most rows, where batches did not agree whether it is percent
    said = max(alike.values(), key=lambda findings: sum(finding.count for finding in findings))
    return replace(group[0], message=_message([finding.message for finding in said]), count=count, ids=ids)


def _message(messages: list[str]) -> str:
    """The first message, quoting what all of them quote."""
    first = messages[0]
    if len(set(messages)) == 1:
        return first
    for quote, part, most in (*_DIMENSIONS, *_SEEN):
        place = quote.search(first)
        if place:
            found = [value for message in messages for value in part.findall(quote.search(message)[0])]  # type: ignore[index]
            values = list(dict.fromkeys(found)) if most else sorted(set(found))
            return first[: place.start()] + ", ".join(values[:most]) + first[place.end() :]
    return first


def _template(message: str) -> str:
    """The message without what differs between parts."""
    if _OVER.match(message):
        return "over"
    for quote, _, _ in (*_DIMENSIONS, *_SEEN):
        message = quote.sub("...", message, count=1)
    return _MEANT.sub("", message)


def _shifted(label: str, rows: int) -> str:
    number = _ROW.match(label)
    return f"row {int(number[1]) + rows}" if number else label
