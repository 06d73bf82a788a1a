"""Can it be believed, and for whom is it better: plots of intervals."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.stage import Floats
from training.backtest import Backtest
from training.gains import Gain
from training.metrics import bootstrap
from training.plots import new_figure, row_height

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
MIN_ROWS = 20  # of a goal that has a line
COLOURS = {"better": "tab:green", "worse": "tab:red", "level": "tab:grey", "few": "lightgrey"}


def share_within(below: Floats, upto: Floats, level: float) -> Floats:
    """How much of each outcome lies inside its central interval of a level; as `serving.interval.share_inside` at 0.8.

    Args:
        below: share of the draws below the outcome, shape (n,).
        upto: share of the draws not above it, shape (n,).
        level: such as 0.5.

    >>> share_within(np.array([0.5, 0.0, 0.95]), np.array([0.5, 0.5, 0.95]), 0.5).round(6).tolist()
    [1.0, 0.5, 0.0]
    """
    # counts of hundredths come with errors of rounding
    low, high = 0.5 - level / 2 - 1e-9, 0.5 + level / 2 + 1e-9
    width = np.maximum(upto - below, 1e-9)
    part = np.clip((np.minimum(high, upto) - np.maximum(low, below)) / width, 0.0, 1.0)
    return np.where(upto > below, part, (below >= low) & (below <= high)).astype(np.float64)


def interval_coverage(result: Backtest) -> Any:
    """Share of later placements inside their intervals by how many should be, of all and by goal."""
    below, upto = result.ranks
    rows = np.flatnonzero(~np.isnan(below))
    goals, campaign = result.members["goal"][rows], result.campaign[rows]
    figure, axes = new_figure(f"Do intervals hold what they say? {len(rows)} placements not used to set them")
    axes.plot([0, 1], [0, 1], color="grey", linestyle="--", label="right")
    for goal in np.unique(goals):
        own = rows[goals == goal]
        if len(own) >= MIN_ROWS:
            held = [share_within(below[own], upto[own], level).mean() for level in LEVELS]
            axes.plot(LEVELS, held, linewidth=1.2, marker=".", label=f"{goal} ({len(own)})")
    inside = [share_within(below[rows], upto[rows], level) for level in LEVELS]
    ends: NDArray[np.float64] = np.array([bootstrap(one, campaign) for one in inside])
    axes.fill_between(LEVELS, ends[:, 0], ends[:, 1], color="black", alpha=0.12, label="90 % interval of all")
    axes.plot(LEVELS, [one.mean() for one in inside], color="black", linewidth=2.5, label=f"all ({len(rows)})")
    axes.set(
        xlabel="nominal level of the interval", ylabel="share of actual values inside it", xlim=(0, 1), ylim=(0, 1)
    )
    axes.legend(fontsize=8, loc="upper left")
    return figure


def gain_by_slice(gains: Sequence[Gain], result: Backtest) -> Any:
    """The model's gain over the best rule in each slice."""
    rows = [(f"{one.kind}: {one.member} ({one.rows})", one.gain, one.low, one.high, one.state) for one in gains]
    return forest(f"For whom is it better? Gain over the best rule\n({result.best_rule})", rows)


def state_of(low: float, high: float) -> str:
    """What an interval of a gain says."""
    return "better" if low > 0 else "worse" if high < 0 else "level"


def forest(title: str, rows: Sequence[tuple[str, float, float, float, str]]) -> Any:
    """A row a slice: its name, its gain, the 90 % interval, and what it says, a key of COLOURS."""
    figure, axes = new_figure(title, height=row_height(len(rows)))
    axes.axvline(0, color="black", linewidth=0.8)
    for position, (_, gain, low, high, state) in enumerate(rows):
        axes.plot([low, high], [position, position], color=COLOURS[state], linewidth=2)
        axes.plot(gain, position, marker="o", color=COLOURS[state])
    axes.set_yticks(np.arange(len(rows)), [name for name, *_ in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(axis="x", alpha=0.3)
    axes.set(
        xlabel="gain in deviance with 90 % interval: right of 0 the model is better\n"
        "(in brackets: placements; pale: too few campaigns to tell)"
    )
    return figure
