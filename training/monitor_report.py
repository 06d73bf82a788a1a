"""What the monitor found, for the terminal and for MLflow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.table import Table

from training import report
from training.card import folder_digest
from training.drift import State
from training.monitor_rows import ALPHA, Row
from training.plots_drift import Bar, apart_words, drift_bars, furthest
from training.run_record import datasets
from training.split import iso
from training.tracking import RunRecord

SHOWN = {"features": 5, "snapshots": 1}  # columns without drift in the table, most moved first, of parts of many
PLOTTED = 25


@dataclass(frozen=True)
class Monitored:
    """What a look at new data came to.

    Attributes:
        folder: the data.
        version: of the served model.
        learnt_before, as_of: UTC days: the model knew what settled before the one, the look what did before the other.
        synthetic: whether the model was taught the sample market.
        rows: everything that is watched.
        notes: what else a reader should know.
    """

    folder: Path
    version: str
    learnt_before: int
    as_of: int
    synthetic: bool
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    @property
    def alarm(self) -> bool:
        """Whether anything drifted."""
        return any(row.state is State.DRIFT for row in self.rows)

    @property
    def verdict(self) -> str:
        """In a sentence or two, with what to do."""
        known = f"Version {self.version}, trained as of {iso(self.learnt_before)}, on data before {iso(self.as_of)}: "
        if self.alarm:
            found = [f"{row.what} ({row.part})" for row in self.rows if row.state is State.DRIFT]
            more = f" and {len(found) - 6} more" if len(found) > 6 else ""
            return (
                f"ALARM. {known}{', '.join(found[:6])}{more} drifted. See whether the data are right (`influencer-roi "
                "check`); if they are, train again."
            )
        tested = [row for row in self.rows if row.state is not State.NOT_TESTED]
        few = sum(row.state is State.TOO_FEW for row in tested)
        if few == len(tested):
            return f"TOO FEW. {known}too little is newer than the model to say anything."
        waiting = f"; {few} of {len(tested)} figures rest on too few campaigns yet" if few else ""
        return f"NO ALARM. {known}nothing drifted{waiting}."

    def parts(self) -> list[str | Table]:
        """For the terminal: a table, what it leaves out, notes and the verdict."""
        shown, left = _shown(self.rows)
        out: list[str | Table] = [_table(shown, synthetic=self.synthetic)]
        if left:
            out.append(f"{left} more columns of features and snapshots moved less; all are in MLflow.")
        return [*out, *self.notes, self.verdict]


def frame(rows: Sequence[Row]) -> pl.DataFrame:
    """A row of a table for each that is watched."""
    return pl.DataFrame(
        [{**vars(row), "state": row.state.value} for row in rows],
        schema={"part": pl.String, "what": pl.String, "state": pl.String, "figure": pl.Float64, "limit": pl.String,
                "note": pl.String, "rows": pl.Int64, "campaigns": pl.Int64, "missing": pl.Float64,
                "missing_before": pl.Float64, "new": pl.Float64},
    ).with_columns(pl.col(pl.Float64).fill_nan(None))  # fmt: skip


def monitor_record(found: Monitored, recorded: Mapping[str, pl.DataFrame]) -> RunRecord:
    """The record of a look; it registers no model."""
    folder = found.folder.resolve().name
    counts = {state: sum(row.state is state for row in found.rows) for state in State}
    kind = "the SYNTHETIC sample market" if found.synthetic else "the team's own data"
    return RunRecord(
        name=f"monitor {iso(found.as_of)} {folder}",
        description=f"Monitoring on {kind}.\n\n{found.verdict}",
        params={"as_of": iso(found.as_of), "model_as_of": iso(found.learnt_before), "false_alarm_rate": ALPHA},
        metrics={
            **_metrics(found.rows),
            **{f"count/{report.plain(state.value.lower())}": float(count) for state, count in counts.items()},
        },
        tags={
            "kind": "monitor", "model_version": found.version, "alarm": str(found.alarm).lower(),
            "synthetic": str(found.synthetic).lower(), "data_digest": folder_digest(found.folder),
        },
        texts={"monitor.txt": "\n".join([*found.notes, found.verdict]) + "\n"},
        dicts={},
        tables={"monitor": frame(found.rows)},
        figures={"drift": drift_figure(found)},
        datasets=datasets(recorded, folder),
    )  # fmt: skip


def drift_figure(found: Monitored) -> Any:
    """The columns that moved most, by PSI or by what is missing or new, and what drifted otherwise too."""
    title = f"Drift against the training data of version {found.version},\nbefore {iso(found.as_of)}"
    bars = [
        Bar(f"{row.what} ({row.part})", row.state, row.figure if _by_psi(row) else np.nan,
            apart_words(row.missing, row.missing_before, row.new))
        for row in found.rows if _of_column(row)
    ]  # fmt: skip
    return drift_bars(title + (" (SYNTHETIC)" if found.synthetic else ""), furthest(bars, PLOTTED))


def _of_column(row: Row) -> bool:
    return not np.isnan(row.missing_before)


def _by_psi(row: Row) -> bool:
    return row.limit.startswith("PSI")


def _metrics(rows: Sequence[Row]) -> dict[str, float]:
    """What is known of each row: its figure, what is missing, and what is new of names."""
    out: dict[str, float] = {}
    for row in rows:
        name = f"{report.plain(row.part)}/{report.plain(row.what)}"
        if _of_column(row):
            psi = row.figure if _by_psi(row) else np.nan
            out |= {f"psi/{name}": psi, f"missing/{name}": row.missing, f"never_seen/{name}": row.new}
        else:
            out[name] = row.figure
    return {name: figure for name, figure in out.items() if not np.isnan(figure)}


def _shown(rows: Sequence[Row]) -> tuple[list[Row], int]:
    """Everything, but of the columns in parts of SHOWN that are well only the most moved; and how many are left out."""
    out, left = list(rows), 0
    for part, most in SHOWN.items():
        well = [row for row in rows if row.part == part and row.state is not State.DRIFT]
        shown = sorted(well, key=_how_far, reverse=True)[:most]
        out = [row for row in out if row not in well or row in shown]
        left += len(well) - len(shown)
    return out, left


def _how_far(row: Row) -> float:
    return float(np.nan_to_num(row.figure if _by_psi(row) else row.missing - row.missing_before))


def _table(rows: Sequence[Row], *, synthetic: bool) -> Table:
    out = Table("part", "what", "state", title="SYNTHETIC sample market" if synthetic else None)
    for column in ("figure", "drift from"):
        out.add_column(column, justify="right")
    out.add_column("placements", justify="right")
    out.add_column("campaigns", justify="right")
    out.add_column("note")
    for row in rows:
        figure = "" if np.isnan(row.figure) else f"{row.figure:.2f}"
        out.add_row(row.part, row.what, row.state.value, figure, row.limit, str(row.rows), str(row.campaigns), row.note)
    return out
