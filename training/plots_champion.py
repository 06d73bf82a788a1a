"""What changed against the version in force: plots of the duel and of drift."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from training.drift import Drift, State
from training.duel import ALPHA, Duel
from training.plots_drift import Bar, apart_words, drift_bars, furthest
from training.plots_intervals import forest, state_of

SHOWN = 20
Z90 = 1.645  # standard errors on either side of a 90 % interval


def duel_by_slice(duel: Duel) -> Any:
    """The challenger's gain over the version in force, in all and in each slice.

    A slice is coloured as the gate judges it: by the bar of all slices together, not by its own interval.
    """
    rows = [(f"all ({duel.rows})", duel.gain, *duel.interval, state_of(*duel.interval))]
    for one in duel.slices:
        # z is the gain in standard errors
        error = one.gain / one.z if one.z else 0.0
        low, high = one.gain - Z90 * error, one.gain + Z90 * error
        state = "worse" if one.z < duel.slice_bar else "better" if one.z > -duel.slice_bar else "level"
        rows.append((f"{one.kind}: {one.member} ({one.rows})", one.gain, low, high, state))
    title = f"Is it better than version {duel.champion} in force?"
    bar = f"slices coloured beyond {-duel.slice_bar:.1f} standard errors: {ALPHA * 100:.0f} % for all together"
    return forest(f"{title}\n({bar})" if duel.slices else title, rows)


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
    moved = sum(one.state is State.DRIFT for one in drift)
    title = f"Have the data changed since version {champion}? {moved} of {len(drift)} columns drifted"
    bars = [
        Bar(one.column.replace("_", " "), one.state, one.psi, apart_words(one.missing, one.missing_before, one.new))
        for one in drift
    ]
    return drift_bars(title, furthest(bars, SHOWN))


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
