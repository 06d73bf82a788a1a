"""Plot of drift: how far columns moved, and what was missing or never seen before, which no distance tells."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.drift import PSI_LIMIT, State
from training.plots import new_figure, row_height

COLOURS = {State.OK: "tab:blue", State.DRIFT: "tab:red", State.TOO_FEW: "lightgrey", State.NOT_TESTED: "lightgrey"}
ROOM = 1.3  # of the furthest bar or the limit, so that all can be read


@dataclass(frozen=True)
class Bar:
    """One column.

    Attributes:
        label: its name.
        state: whether it drifted.
        psi: NaN where there is none.
        apart: what is missing or new, in words; empty where there is nothing to tell.
    """

    label: str
    state: State
    psi: float
    apart: str

    @property
    def shown(self) -> bool:
        """Whether there is anything to draw."""
        return self.state is State.DRIFT or bool(np.isfinite(self.psi))

    @property
    def full(self) -> bool:
        """Drift that its PSI does not tell of: in what is missing, or in names never seen."""
        return self.state is State.DRIFT and not self.psi >= PSI_LIMIT


def apart_words(missing: float, missing_before: float, new: float) -> str:
    """What is missing or never seen, as it stands beside a bar; NaN is nothing.

    >>> apart_words(1.0, 0.02, 0.0), apart_words(0.0, 0.0, 0.15), apart_words(0.3, 0.302, 0.0)
    ('missing 100 %, was 2 %', '15 % never seen', '')
    """
    words = []
    if abs(missing - missing_before) >= 0.005:
        words.append(f"missing {missing:.0%}, was {missing_before:.0%}")
    if new > 0:
        words.append(f"{new:.0%} never seen")
    return "; ".join(words).replace("%", " %")


def furthest(bars: Sequence[Bar], most: int) -> list[Bar]:
    """Those to draw: drifted ones first, then by PSI; whole drift without one first of all."""
    order = sorted(bars, key=lambda bar: (bar.state is not State.DRIFT, not bar.full, -np.nan_to_num(bar.psi)))
    return [bar for bar in order if bar.shown][:most]


def drift_bars(title: str, bars: Sequence[Bar]) -> Any:
    """A bar a column, the first on top; one that `full` is hatched and as long as there is room."""
    figure, axes = new_figure(title, height=row_height(max(len(bars), 4)))
    position = np.arange(len(bars))
    end = ROOM * max([PSI_LIMIT, *(bar.psi for bar in bars if np.isfinite(bar.psi))])
    for at, bar in enumerate(bars):
        width = end if bar.full else bar.psi
        axes.barh(at, width, color=COLOURS[bar.state], hatch="//" if bar.full else None, edgecolor="white", linewidth=0)
        if bar.state is State.DRIFT and bar.apart:
            # on a full bar there is room, beside another one there may be none
            beside = not bar.full and width < end / 2
            axes.annotate(
                bar.apart, (width if beside else 0.0, at), xytext=(4, 0), textcoords="offset points", fontsize=8,
                va="center", bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none"},
            )  # fmt: skip
    axes.axvline(PSI_LIMIT, color="black", linestyle="--", linewidth=1, label=f"limit {PSI_LIMIT:g}")
    axes.set_yticks(position, [bar.label for bar in bars], fontsize=8)
    axes.set_ylim(max(len(bars), 1) - 0.4, -0.6)
    axes.set_xlim(0, end)
    axes.set(
        xlabel="population stability index (PSI) less what chance gives\n"
        "(red: beyond a limit, and surely; hatched: by what is missing\nor never seen, which PSI does not tell)"
    )
    axes.legend(loc="lower right", fontsize=8)
    return figure
