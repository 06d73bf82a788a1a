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
from training.drift import PSI_LIMIT, State
from training.monitor_rows import ALPHA, PARTS, Row
from training.plots import new_figure
from training.run_record import datasets
from training.split import iso
from training.tracking import RunRecord

SHOWN = 5  # features without drift in the table, most moved first
PLOTTED = 25
COLOURS = {State.DRIFT: "#c0392b", State.OK: "#2e7d32", State.TOO_FEW: "#9e9e9e"}


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
        few = sum(row.state is State.TOO_FEW for row in self.rows)
        if few == len(self.rows):
            return f"TOO FEW. {known}too little is newer than the model to say anything."
        waiting = f"; {few} of {len(self.rows)} figures rest on too few campaigns yet" if few else ""
        return f"NO ALARM. {known}nothing drifted{waiting}."

    def parts(self) -> list[str | Table]:
        """For the terminal: a table, what it leaves out, notes and the verdict."""
        shown, left = _shown(self.rows)
        out: list[str | Table] = [_table(shown, synthetic=self.synthetic)]
        if left:
            out.append(f"{left} more features moved less; all are in MLflow.")
        return [*out, *self.notes, self.verdict]


def frame(rows: Sequence[Row]) -> pl.DataFrame:
    """A row of a table for each that is watched."""
    return pl.DataFrame(
        [{**vars(row), "state": row.state.value, "figure": None if np.isnan(row.figure) else row.figure}
         for row in rows],
        schema={"part": pl.String, "what": pl.String, "state": pl.String, "figure": pl.Float64, "limit": pl.String,
                "note": pl.String, "rows": pl.Int64, "campaigns": pl.Int64},
    )  # fmt: skip


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
            **{_metric(row): row.figure for row in found.rows if not np.isnan(row.figure)},
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
    """PSI of the columns that moved most, by state."""
    watched = [row for row in found.rows if row.limit.startswith("PSI") and not np.isnan(row.figure)]
    most = sorted(watched, key=lambda row: (row.state is State.DRIFT, row.figure))[-PLOTTED:]
    title = f"Drift against the training data of version {found.version}, before {iso(found.as_of)}"
    figure, axes = new_figure(title + (" (SYNTHETIC)" if found.synthetic else ""), max(3.0, 0.3 * len(most) + 1.5))
    axes.barh([f"{row.what} ({row.part})" for row in most], [row.figure for row in most],
              color=[COLOURS[row.state] for row in most])  # fmt: skip
    axes.axvline(PSI_LIMIT, color="grey", linestyle="--", label="from here on it matters")
    axes.set(xlabel="PSI beyond chance; red: drift")
    axes.legend(fontsize=8)
    return figure


def _metric(row: Row) -> str:
    part = report.plain(row.part)
    return f"psi/{part}/{report.plain(row.what)}" if row.limit.startswith("PSI") else f"{part}/{report.plain(row.what)}"


def _shown(rows: Sequence[Row]) -> tuple[list[Row], int]:
    """Everything but features that are well, and the most moved of these; and how many are left out."""
    well = [row for row in rows if row.part == PARTS[0] and row.state is not State.DRIFT]
    most = sorted(well, key=lambda row: -np.nan_to_num(row.figure))[:SHOWN]
    return [row for row in rows if row not in well or row in most], len(well) - len(most)


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
