"""The description of a run: the answer first."""

import math

import pytest

from tests.training.made_card import made_card
from training.drift import Drift, State
from training.duel import Duel
from training.gate import Check, Verdict
from training.run_text import answer, changes, describe

VERDICT = Verdict(False, (Check("data_checks", True, math.nan, math.nan, "data checks passed"),))
LIVE = "Version 40 is served; `influencer-roi rollback` goes back to version 39."


def duel(gain, low, high):
    return Duel("40", "as served", 200, 30, 1.0, 1.0 + gain, gain, (low, high), 1.0, 1.1, (), -1.6)


def moved(column, state):
    return Drift(column, state, 0.3, 0.1, 0.0, 0.0, (), 100, 20)


@pytest.mark.parametrize(
    ("met", "first"),
    [
        (duel(0.2, 0.1, 0.3), "Better than version 40 in force: gain +0.2000"),
        (duel(-0.2, -0.3, -0.1), "Worse than version 40 in force: gain -0.2000"),
        (duel(0.1, -0.1, 0.3), "Not told apart from version 40 in force: gain +0.1000"),
        (
            None,
            "First model: there is no version in force to compare with. Better than the best simple rule (followers)",
        ),
        ("only 3 placements are new", "Not compared with the version in force: only 3 placements are new. Better than"),
    ],
)
def test_the_first_line_is_the_answer(met, first):
    text = describe(made_card(), VERDICT, met, made_card(), None, LIVE)
    assert text.splitlines()[0].startswith(f"**DO NOT PROMOTE (SYNTHETIC data): {first}")
    assert text.splitlines()[0].endswith("**")


@pytest.mark.parametrize(("low", "high", "word"), [(-0.2, -0.1, "Worse than"), (-0.1, 0.2, "Not told apart from")])
def test_a_first_model_is_held_to_the_rules(low, high, word):
    metrics = made_card()["metrics"] | {"gain_over_best_rule": {"gain": (low + high) / 2, "low": low, "high": high}}
    assert f"{word} the best simple rule" in answer(metrics, None)


def test_nothing_judged_is_no_answer():
    assert answer({"judged": None, "why": "too few"}, None).endswith("Nothing could be judged.")


def test_it_says_for_whom_whether_to_believe_it_and_how_to_go_back():
    text = describe(made_card(), VERDICT, None, None, None, LIVE)
    for said in (
        "SYNTHETIC sample market", "DO NOT PROMOTE", "- data checks passed", "goal launch (+0.610, 71 placements)",
        "held 78.9% of 155", LIVE, "influencer-roi promote VERSION", "influencer-roi rollback", "gain_by_slice",
    ):  # fmt: skip
        assert said in text
    assert "champion_by_slice" not in text
    assert "champion_by_slice" in describe(made_card(), VERDICT, None, made_card(), None, LIVE)
    assert "team's own data" in describe({**made_card(), "synthetic": False}, VERDICT, None, None, None, "")


def test_a_first_model_changed_everything():
    assert changes(made_card(), None, None) == ["Everything: there is no version in force."]


def test_the_same_is_said_to_be_the_same():
    same = made_card()
    assert changes(made_card(), same, []) == [
        "Data: the same files (digest abc123abc123abc1) as of the same day.",
        "Features: the same 2.",
        "Value configuration: the same.",
        "Settings of the trees: the same.",
        "Stages: the same.",
        "Data that moved since: 0 of 0 columns.",
    ]


def test_what_changed_is_named():
    before = made_card()
    before["version"] = "40"
    before["data"] |= {"digest": "0000", "placements_settled": 1500}
    before["features"] = ["log_followers", "old_one"]
    before["value_configuration"] |= {"cpm": 10.0}
    before["options"] = {"trees": 20, "seed": 0}
    before["stages"] = {"impressions": {"per": "delivery", "rows": 1}}
    drift = [moved("tier", State.DRIFT), moved("niche", State.OK)]
    lines = changes(made_card(), before, drift)
    assert "1931 settled placements" in lines[0]
    assert "version 40 had 1500" in lines[0]
    assert lines[1] == "Features: 1 new (log_price) and 1 gone (old_one)."
    assert lines[2] == "Value configuration: cpm 10.0 -> 12.5."
    assert lines[3] == "Settings of the trees: trees 20 -> 40."
    assert lines[4] == "Stages: differ in clicks, impressions."
    assert lines[5] == "Data that moved since: 1 of 2 columns: tier."


def test_other_days_of_the_same_files_are_other_data():
    before = {**made_card(), "as_of": "2026-02-02"}
    assert "the same files" not in changes(made_card(), before, None)[0]
