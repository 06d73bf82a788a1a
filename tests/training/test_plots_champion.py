"""Plots and tables beside the version in force."""

import math
from dataclasses import replace

import pytest

from training.drift import PSI_LIMIT, Drift, State
from training.duel import Duel, SliceGain
from training.gate import _floors
from training.plots_champion import drift_by_column, drift_frame, duel_by_slice, duel_frame, strongest
from training.plots_intervals import COLOURS

SLICES = (SliceGain("goal", "launch", 80, 0.4, 4.0), SliceGain("tier", "micro", 90, -0.1, -0.5),
          SliceGain("tier", "nano", 70, 0.0, 0.0))  # fmt: skip
DUEL = Duel("7", "as served", 200, 30, 1.0, 1.2, 0.2, (0.1, 0.3), 1.0, 1.1, SLICES, -2.4)


def drift(column, state, psi, new_names=()):
    return Drift(column, state, psi, 0.1, 0.0, 0.0, new_names, 100, 20)


MOVED = [
    drift("log_price", State.OK, 0.5), drift("country", State.DRIFT, 0.3, ("XX", "YY")),
    drift("niche", State.TOO_FEW, math.nan), drift("tier", State.DRIFT, 0.9),
]  # fmt: skip


def test_the_duel_is_drawn_in_all_and_by_slice():
    axes = duel_by_slice(DUEL).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "all (200)", "goal: launch (80)", "tier: micro (90)", "tier: nano (70)"
    ]  # fmt: skip
    assert "version 7" in axes.get_title()
    bars = {line.get_ydata()[0]: list(line.get_xdata()) for line in axes.get_lines() if len(line.get_xdata()) == 2}
    assert bars[0] == [0.1, 0.3]
    # z 4 of a gain of 0.4: a standard error of 0.1
    assert bars[1] == pytest.approx([0.4 - 0.1645, 0.4 + 0.1645])
    assert bars[2] == pytest.approx([-0.1 - 0.329, -0.1 + 0.329])


@pytest.mark.parametrize(("z", "colour"), [(-2.0, "level"), (-2.5, "worse"), (2.0, "level"), (2.5, "better")])
def test_a_slice_is_painted_as_the_gate_judges_it(z, colour):
    # at 90 % by itself every one of these would be beyond chance
    one = replace(DUEL, slices=(SliceGain("tier", "nano", 99, z / 9, z),))
    axes = duel_by_slice(one).axes[0]
    assert {line.get_color() for line in axes.get_lines() if line.get_ydata()[0] == 1} == {COLOURS[colour]}
    assert _floors(one).passed is (colour != "worse")
    assert axes.get_title().splitlines()[1] == "(slices coloured beyond 2.4 standard errors: 5 % for all together)"


def test_the_duel_as_a_table():
    frame = duel_frame(DUEL)
    assert frame["member"].to_list() == ["all", "launch", "micro", "nano"]
    assert frame["gain"].to_list() == [0.2, 0.4, -0.1, 0.0]
    assert frame.row(0, named=True)["low"] == 0.1


def test_what_drifted_stands_first_and_red():
    assert [one.column for one in strongest(MOVED)] == ["tier", "country", "log_price", "niche"]
    axes = drift_by_column(MOVED, "7").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["tier", "country", "log price"]
    assert [bar.get_width() for bar in axes.patches] == [0.9, 0.3, 0.5]
    red, blue = axes.patches[0].get_facecolor(), axes.patches[2].get_facecolor()
    assert axes.patches[1].get_facecolor() == red != blue
    assert "2 of 4 columns" in axes.get_title()
    assert axes.get_xlim()[1] > PSI_LIMIT


def test_drift_as_a_table_has_no_nan():
    frame = drift_frame(MOVED)
    assert frame["column"].to_list() == ["tier", "country", "log_price", "niche"]
    assert frame["psi"].to_list() == [0.9, 0.3, 0.5, None]
    assert frame["new_names"].to_list()[1] == "XX, YY"
    assert frame["state"].to_list()[-1] == "TOO FEW"


def test_nothing_comparable_still_draws():
    axes = drift_by_column([drift("niche", State.TOO_FEW, math.nan)], "7").axes[0]
    assert len(axes.patches) == 0  # too few campaigns and nothing amiss
    assert "0 of 1" in axes.get_title()
