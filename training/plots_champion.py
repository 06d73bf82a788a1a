"""What changed against the version in force: plots of the duel and of drift."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from training.drift import PSI_LIMIT, Drift, State
from training.duel import Duel
from training.plots import new_figure, row_height
from training.plots_intervals import forest, state_of

SHOWN = 20
Z90 = 1.645  # standard errors on either side of a 90 % interval
COLOURS = {State.OK: "tab:blue", State.DRIFT: "tab:red", State.TOO_FEW: "lightgrey"}


def duel_by_slice(duel: Duel) -> Any:
    """The challenger's gain over the version in force, in all and in each slice."""
    rows = [(f"all ({duel.rows})", duel.gain, *duel.interval, state_of(*duel.interval))]
    for one in duel.slices:
        # z is the gain in standard errors
        error = one.gain / one.z if one.z else 0.0
        low, high = one.gain - Z90 * error, one.gain + Z90 * error
        rows.append((f"{one.kind}: {one.member} ({one.rows})", one.gain, low, high, state_of(low, high)))
    return forest(f"Is it better than version {duel.champion} in force?", rows)


def duel_frame(duel: Duel) -> pl.DataFrame:
    """The duel as a table: in all, then by slice."""
    first = {
        "slice": "all", "member": "all", "rows": duel.rows, "gain": duel.gain,
        "z": None, "low": duel.interval[0], "high": duel.interval[1],
    }  # fmt: skip
    rows = [{"slice": one.kind, "member": one.member, "rows": one.rows, "gain": one.gain, "z": one.z,
             "low": None, "high": None} for one in duel.slices]  # fmt: skip
    return pl.DataFrame([first, *rows], infer_schema_length=None)


def drift_by_column(drift: Sequence[Drift], champion: str) -> Any:
    """How far the columns have moved since the version in force was trained, the furthest first."""
    known = [one for one in strongest(drift) if np.isfinite(one.psi)][:SHOWN]
    moved = sum(one.state is State.DRIFT for one in drift)
    title = f"Have the data changed since version {champion}? {moved} of {len(drift)} columns drifted"
    figure, axes = new_figure(title, height=row_height(max(len(known), 4)))
    position = np.arange(len(known))
    axes.barh(position, [one.psi for one in known], color=[COLOURS[one.state] for one in known])
    axes.axvline(PSI_LIMIT, color="black", linestyle="--", linewidth=1, label=f"limit {PSI_LIMIT}")
    axes.set_yticks(position, [one.column.replace("_", " ") for one in known], fontsize=8)
    axes.set_ylim(max(len(known), 1) - 0.4, -0.6)
    axes.set(xlabel="population stability index (PSI) less what chance gives\n(red: beyond the limit, and surely)")
    axes.legend(loc="lower right", fontsize=8)
    axes.set_xlim(0, max([PSI_LIMIT * 1.3, *(one.psi * 1.05 for one in known)]))
    return figure


def drift_frame(drift: Sequence[Drift]) -> pl.DataFrame:
    """Drift as a table, the furthest first."""
    return pl.DataFrame(
        [
            {
                "column": one.column, "state": one.state.value,
                "psi": one.psi if np.isfinite(one.psi) else None,
                "missing": one.missing if np.isfinite(one.missing) else None,
                "missing_before": one.missing_before, "new": one.new, "new_names": ", ".join(one.new_names[:5]),
                "rows": one.rows, "campaigns": one.campaigns,
            }
            for one in strongest(drift)
        ],
        infer_schema_length=None,
    )  # fmt: skip


def strongest(drift: Sequence[Drift]) -> list[Drift]:
    """Those that drifted first, then by how far; unknown last."""
    return sorted(drift, key=lambda one: (one.state is not State.DRIFT, -one.psi if np.isfinite(one.psi) else np.inf))
