import math
from dataclasses import replace
from types import SimpleNamespace

import pytest

from training.duel import Duel, SliceGain
from training.gate import COVERAGE, LEVEL, judge_promotion


def result(
    model,
    *rules,
    target="value",
    missing=None,
    coverage=0.8,
    rows=400,
    calibration=1.0,
    interval=(0.9, 1.1),
    noise=0.02,
):
    deviances = {"model": model, **{f"rule {i}": deviance for i, deviance in enumerate(rules)}}
    best = min(list(deviances)[1:], key=deviances.__getitem__)
    return SimpleNamespace(
        metrics={name: SimpleNamespace(deviance=d, rows=321, calibration=calibration) for name, d in deviances.items()},
        best_rule=best,
        target=target,
        missing=missing,
        gain=(0.01, 0.3),
        coverage=coverage,
        covered_rows=rows,
        calibration_interval=interval,
        coverage_interval=(None, None) if coverage is None else (coverage - noise, coverage + noise),
    )


GOOD = result(1.0, 1.5)
LEVEL_DUEL = Duel(
    champion="3", basis="as served", rows=500, campaigns=60, challenger_deviance=1.0, champion_deviance=1.0, gain=0.0,
    interval=(-0.1, 0.1), challenger_calibration=1.0, champion_calibration=1.1, slices=(), slice_bar=-2.0,
)  # fmt: skip


def slices(*z):
    return tuple(SliceGain("goal", f"g{k}", 99, 0.01 * one, one) for k, one in enumerate(z))


@pytest.mark.parametrize(
    ("passed", "judged", "promote", "words"),
    [
        (True, result(1.0, 1.5, 1.2), True,
         ["checks passed", "value on 321 later", "1.0000, below 1.2000", "(rule 1)", "gain +0.2000", "+0.0100"]),
        (True, result(1.3, 1.5, 1.2), False, ["1.3000, not below 1.2000", "gain -0.1000"]),
        (True, result(1.2, 1.2), False, ["not below"]),
        (False, GOOD, False, ["checks failed", "1.0000, below 1.5000"]),
        (True, None, False, ["nothing could be backtested", "at least 50 of each", "promote by hand"]),
        (False, None, False, ["checks failed", "nothing could be backtested"]),
        (True, result(1.0, 1.5, target="impressions", missing="no sale was known"), True,
         ["deviance of impressions", "no sale was known; the verdict rests on impressions alone"]),
        (True, result(float("nan"), 1.5), False, ["not below"]),
        (True, result(1.0, 1.5, coverage=COVERAGE[0]), True, ["hold 0.70 of 400", "reaches into 0.70 to 0.90"]),
        (True, result(1.0, 1.5, coverage=0.67), False,
         ["hold 0.67 of 400", "of that share, 0.65 to 0.69, lies outside of 0.70 to 0.90"]),
        (True, result(1.0, 1.5, coverage=0.67, noise=0.04), True, ["0.63 to 0.71, reaches into 0.70"]),
        (True, result(1.0, 1.5, coverage=0.93), False, ["0.95, lies outside of 0.70 to 0.90"]),
        (True, result(1.0, 1.5, coverage=0.93, noise=0.04), True, ["0.97, reaches into 0.70 to 0.90"]),
        (True, result(1.0, 1.5, coverage=0.5, rows=99), True, ["hold 0.50 of 99", "too few to judge"]),
        (True, result(1.0, 1.5, coverage=None), True, ["reaches into 0.67 to 1.50"]),
        (True, result(1.0, 1.5, calibration=2.0, interval=(1.51, 2.4)), False,
         ["2.00", "1.51 to 2.40, lies outside of 0.67 to 1.50"]),
        # the window's luck may be all of it
        (True, result(1.0, 1.5, calibration=2.0, interval=(1.4, 2.4)), True,
         ["value 2.00; its 90 % interval, 1.40 to 2.40, reaches into 0.67 to 1.50"]),
        (True, result(1.0, 1.5, calibration=0.5, interval=(0.4, 0.66)), False, ["lies outside of"]),
        (True, result(1.0, 1.5, calibration=float("nan")), False, ["value cannot be told"]),
    ],
)  # fmt: skip
def test_first_model(passed, judged, promote, words):
    verdict = judge_promotion(passed, judged)
    assert verdict.promote is promote
    text = verdict.text()
    assert text.splitlines()[0] == ("PROMOTE" if promote else "DO NOT PROMOTE")
    assert len(text.splitlines()) == len(verdict.lines) + 1
    for word in words:
        assert word in text


@pytest.mark.parametrize(
    ("met", "promote", "words"),
    [
        (replace(LEVEL_DUEL, gain=0.1), True,
         ["ahead of version 3 (as served)", "same 500 placements of 60 campaigns"]),
        (LEVEL_DUEL, True, ["level with version 3"]),
        (replace(LEVEL_DUEL, gain=-LEVEL), True, ["level with version 3", "at least -0.0020"]),
        (replace(LEVEL_DUEL, gain=-1.01 * LEVEL), False, ["behind version 3"]),
        (replace(LEVEL_DUEL, gain=-0.01, champion_deviance=6.0), True, ["level with"]),
        (replace(LEVEL_DUEL, gain=math.nan), False, ["behind"]),
        (replace(LEVEL_DUEL, gain=0.1, slices=slices(3.0, -2.0)), True, ["least good of 2 is goal g1", "z -2.0"]),
        (replace(LEVEL_DUEL, gain=0.1, slices=slices(3.0, -2.1, -4.0)), False,
         ["significantly worse than the version in force for goal g1", "goal g2 (gain -0.0400, z -4.0)"]),
        (LEVEL_DUEL, True, ["no goal, tier or platform has enough"]),
        ("it has no twin", True, ["not compared with the version in force: it has no twin"]),
    ],
)  # fmt: skip
def test_against_the_version_in_force(met, promote, words):
    verdict = judge_promotion(True, GOOD, duel=met)
    assert verdict.promote is promote
    for word in words:
        assert word in verdict.text()


def test_a_good_duel_saves_no_model_that_loses_to_a_rule():
    assert not judge_promotion(True, result(1.6, 1.5), duel=replace(LEVEL_DUEL, gain=0.5)).promote


@pytest.mark.parametrize(
    ("judged", "name", "tag"),
    [
        (result(1.0, 1.5, calibration=0.4, interval=(0.3, 0.5)), "calibration", "failed: 0.4000 against 0.6667"),
        (result(1.0, 1.5, calibration=2.0, interval=(1.6, 2.4)), "calibration", "failed: 2.0000 against 1.5000"),
        (result(1.0, 1.5, calibration=0.63, interval=(0.43, 1.07)), "calibration", "passed: 0.6300 against 0.6667"),
        (result(1.0, 1.5, calibration=math.nan), "calibration", "failed"),
        (result(1.0, 1.5, coverage=0.6), "coverage", "failed: 0.6000 against 0.7000"),
        (result(1.0, 1.5, coverage=0.95), "coverage", "failed: 0.9500 against 0.9000"),
    ],
)
def test_a_figure_is_held_against_the_bound_on_its_side(judged, name, tag):
    assert judge_promotion(True, judged).tags()[f"gate.{name}"] == tag


def test_no_figure_outside_of_the_bounds_is_said_to_be_within():
    for low in (0.3, 0.43, 0.9, 1.6):
        text = judge_promotion(True, result(1.0, 1.5, calibration=low + 0.05, interval=(low, low + 0.3))).text()
        assert "within" not in text


def test_tags_hold_each_figure_beside_its_threshold():
    tags = judge_promotion(True, GOOD, duel=replace(LEVEL_DUEL, gain=-0.5)).tags()
    assert tags["gate.beats_rules"] == "passed: 1.0000 against 1.5000"
    assert tags["gate.champion"] == "failed: -0.5000 against -0.0020"
    assert tags["gate.slices"] == "not judged"
    assert tags["gate.data_checks"] == "passed"
