"""Predictions beside simple rules on the same rows: figures, paired bootstrap intervals, tables."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.table import Table as RichTable
from scipy.stats import rankdata

from training.metrics import TOP

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Figure = Callable[[Floats, Floats], float]

DRAWS = 1000
LEVEL = 0.9
MODEL = "model"


@dataclass(frozen=True)
class Line:
    """One prediction: its figure and the model's figure minus it, each with a bootstrap interval."""

    value: float
    interval: tuple[float, float]
    gain: float
    gain_interval: tuple[float, float]


@dataclass(frozen=True)
class Comparison:
    """The model and others by one figure. `by_seed` are the model's figures, one a tree seed."""

    figure: str
    rows: int
    by_seed: tuple[float, ...]
    lines: Mapping[str, Line]

    @property
    def model(self) -> float:
        """Mean over the tree seeds."""
        return self.lines[MODEL].value

    def best(self, start: str) -> Line:
        """The line with the highest figure among those whose name starts so."""
        return max((line for name, line in self.lines.items() if name.startswith(start)), key=lambda line: line.value)


@dataclass(frozen=True)
class Table:
    """What is printed, and written as Markdown."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    def rich(self) -> RichTable:
        """For the terminal."""
        table = RichTable(title=self.title, title_justify="left", caption="\n".join(self.notes), caption_justify="left")
        for position, heading in enumerate(self.headings):
            table.add_column(heading, justify="left" if position == 0 else "right")
        for row in self.rows:
            table.add_row(*row)
        return table

    def markdown(self) -> str:
        """For a document."""
        lines = [self.headings, tuple("---" for _ in self.headings), *self.rows]
        table = "\n".join("| " + " | ".join(row) + " |" for row in lines)
        return "\n\n".join([f"**{self.title}**", table, *self.notes])


def spearman(actual: Floats, score: Floats) -> float:
    """Spearman's rank correlation; NaN where a side is constant."""
    if np.ptp(actual) == 0 or np.ptp(score) == 0:
        return np.nan
    return float(np.corrcoef(rankdata(actual), rankdata(score))[0, 1])


def auc(actual: Floats, score: Floats) -> float:
    """Chance that a row with an outcome above 0 is scored above one without; ties count half."""
    positive = actual > 0
    with_, without = int(positive.sum()), int((~positive).sum())
    if with_ == 0 or without == 0:
        return np.nan
    return float((rankdata(score)[positive].sum() - with_ * (with_ + 1) / 2) / (with_ * without))


def captured(actual: Floats, score: Floats) -> float:
    """Share of the outcome on the best-scored tenth; rows that tie for the last places share them evenly."""
    count = max(int(np.ceil(len(actual) * TOP)), 1)
    last = -np.partition(-score, count - 1)[count - 1]
    above, tied = score > last, score == last
    part = (count - above.sum()) / tied.sum()
    total = actual.sum()
    return float((actual[above].sum() + part * actual[tied].sum()) / total) if total > 0 else np.nan


def compare(
    name: str, figure: Figure, actual: Floats, scores: Mapping[str, Sequence[Floats]], *,
    groups: Ints | None = None, draws: int = DRAWS,
) -> Comparison:  # fmt: skip
    """Figures of the model and of the others, and how sure the differences are.

    Args:
        name: of the figure.
        figure: of actual and predicted, shape (n,) each.
        actual: outcomes, shape (n,).
        scores: predictions by name, `model` first; several (one a tree seed) are averaged by figure. All NaN: left out.
        groups: rows that are resampled together, shape (n,); default: each row by itself.
        draws: bootstrap draws.
    """
    known = {label: parts for label, parts in scores.items() if np.isfinite(parts[0]).all()}
    members = _members(np.arange(len(actual)) if groups is None else groups)
    rng = np.random.default_rng(0)
    drawn = {label: np.full(draws, np.nan) for label in known}
    for draw in range(draws):
        rows = np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])
        for label, parts in known.items():
            drawn[label][draw] = np.mean([figure(actual[rows], part[rows]) for part in parts])
    by_seed = tuple(figure(actual, part) for part in known[MODEL])
    model = float(np.mean(by_seed))
    lines = {}
    for label, parts in known.items():
        value = float(np.mean([figure(actual, part) for part in parts]))
        gain = interval(drawn[MODEL] - drawn[label])
        lines[label] = Line(value, interval(drawn[label]), model - value, gain)
    return Comparison(name, len(actual), by_seed, lines)


def interval(drawn: Floats) -> tuple[float, float]:
    """The middle 90 % of bootstrap draws."""
    low, high = np.nanquantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _members(groups: Ints) -> list[Ints]:
    order = np.argsort(groups, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)


def comparison_table(title: str, comparisons: Sequence[Comparison], notes: Sequence[str] = ()) -> Table:
    """Every figure of every prediction, and the model's gain over it."""
    headings = ("figure", "prediction", "value", "90 % interval", "model minus it", "90 % interval")
    rows: list[tuple[str, ...]] = []
    for comparison in comparisons:
        for position, (label, line) in enumerate(comparison.lines.items()):
            gain = (f"{line.gain:+.3f}", _range(line.gain_interval, "+.3f")) if label != MODEL else ("", "")
            figure = comparison.figure if position == 0 else ""
            rows.append((figure, label, f"{line.value:.3f}", _range(line.interval, ".3f"), *gain))
    return Table(title, headings, tuple(rows), tuple(notes))


def target_row(where: str, comparison: Comparison, target: float | None, past: str) -> tuple[str, ...]:
    """Where, figure, target, model, spread, met or not, above followers, above the best past mean."""
    verdict = "-" if target is None else "met" if comparison.model >= target else "NOT MET"
    return (
        where,
        comparison.figure,
        "-" if target is None else f"{target:.2f}",
        f"{comparison.model:.3f}",
        _range((min(comparison.by_seed), max(comparison.by_seed)), ".3f"),
        verdict,
        _above(comparison.best("followers")),
        _above(comparison.best(past)),
    )


TARGET_HEADINGS = (
    "clock", "figure", "target", "model", "over tree seeds", "target", "above followers", "above the best past mean",
)  # fmt: skip


def _above(line: Line) -> str:
    if line.gain <= 0:
        return f"NO ({line.gain:+.3f})"
    sure = line.gain_interval[0] > 0
    return f"yes ({line.gain:+.3f}{'' if sure else ', within chance'})"


def _range(pair: tuple[float, float], form: str) -> str:
    return f"{pair[0]:{form}} to {pair[1]:{form}}"
