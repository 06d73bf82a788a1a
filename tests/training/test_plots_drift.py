"""The picture of drift: also of what PSI does not tell."""

import math

import pytest

from training.drift import PSI_LIMIT, State
from training.plots_drift import Bar, apart_words, drift_bars, furthest

MISSING = Bar("log_price (features)", State.DRIFT, math.nan, "missing 100 %, was 2 %")
UNSEEN = Bar("platform (features)", State.DRIFT, 0.01, "15 % never seen")
MOVED = Bar("value (outcomes)", State.DRIFT, 0.7, "")
BOTH = Bar("fee (features)", State.DRIFT, 0.25, "missing 30 %, was 2 %")
WELL = Bar("goal (features)", State.OK, 0.1, "missing 3 %, was 1 %")
FEW = Bar("niche (features)", State.TOO_FEW, math.nan, "")
BARS = [WELL, MOVED, FEW, BOTH, UNSEEN, MISSING]


def test_what_psi_does_not_tell_stands_first_at_full_length_with_its_words():
    shown = furthest(BARS, 9)
    assert [bar.label.split()[0] for bar in shown] == ["platform", "log_price", "value", "fee", "goal"]
    axes = drift_bars("Drift", shown).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == [bar.label for bar in shown]
    end = axes.get_xlim()[1]
    assert end > 0.7
    assert [patch.get_width() for patch in axes.patches] == pytest.approx([end, end, 0.7, 0.25, 0.1])
    assert [patch.get_hatch() for patch in axes.patches] == ["//", "//", None, None, None]
    assert [text.get_text() for text in axes.texts] == [
        "15 % never seen", "missing 100 %, was 2 %", "missing 30 %, was 2 %"
    ]  # fmt: skip


def test_of_many_the_drifted_ones_stay():
    many = [Bar(f"c{k}", State.OK, 0.19, "") for k in range(30)]
    shown = furthest([*many, MISSING], 5)
    assert shown[0] == MISSING
    assert len(shown) == 5


def test_nothing_is_cut_off_at_the_edge():
    title = (
        "Drift against the training data of version 123, of a market with a long name, before 2027-04-27 (SYNTHETIC)"
    )
    long = [Bar("net_revenue per conversions (outcomes)", State.DRIFT, math.nan, "missing 100 %, was 2 %")]
    figure = drift_bars(title, long)
    figure.draw_without_rendering()
    axes = figure.axes[0]
    for text in (axes.title, axes.xaxis.label, *axes.texts, *axes.get_yticklabels()):
        box = text.get_window_extent()
        assert box.x0 >= 0, text
        assert box.x1 <= figure.bbox.width, text
    assert axes.get_title().replace("\n", " ") == title


def test_an_empty_picture_still_draws():
    axes = drift_bars("Drift", []).axes[0]
    assert len(axes.patches) == 0
    assert axes.get_xlim()[1] > PSI_LIMIT


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        ((1.0, 0.02, 0.0), "missing 100 %, was 2 %"),
        ((0.0, 0.0, 0.15), "15 % never seen"),
        ((0.5, 0.2, 0.1), "missing 50 %, was 20 %; 10 % never seen"),
        ((0.02, 0.021, 0.0), ""),
        ((math.nan, 0.1, math.nan), ""),
    ],
)
def test_words_beside_a_bar(shares, words):
    assert apart_words(*shares) == words
