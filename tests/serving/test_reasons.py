import re
from dataclasses import replace

import numpy as np
import pytest

from features.brief import parse_brief
from features.declare import Family
from features.matrix import FEATURES, NAMES
from serving import ranking
from serving.reasons import Factors, explain
from serving.release import Release
from serving.shortlist import sample_of

WORDS = {
    "engagement": "Engagement", "cost": "Cost", "geography": "Geography", "niche": "Niche fit",
    "content_style": "Content style", "goal_fit": "Goal fit", "track_record": "Track record",
}  # fmt: skip


@pytest.fixture
def asked(world, monkeypatch):
    """An answer, and the scores of all candidates and the rows that were picked."""

    def ask(goal, top=1000, release=world.release, **changes):
        seen = []
        found = ranking.shortlist

        def spy(*args):
            seen.append(found(*args))
            return seen[-1]

        monkeypatch.setattr(ranking, "shortlist", spy)
        brief = {"goal": goal, "budget": 1e6, "top": top, "target_countries": {"SG": 1.0, "CN": 0.5}, **changes}
        answer = ranking.rank(release, parse_brief(brief), request_id="r")
        return answer, seen[-1].found.scores, seen[-1].picks, seen[-1].found.x

    return ask


@pytest.mark.parametrize("goal", ["conversion", "local", "engagement", "awareness"])
def test_effects_add_up_to_the_log_of_value_over_cost(asked, goal):
    answer, scores, picks, _ = asked(goal)
    log_return = np.log(np.maximum(scores.value, 1e-300)) - np.log(np.maximum(scores.cost, 1.0))
    # sure delivery is capped at 1, and shares below a thousandth are shown as one: neither is in the contributions
    fair = scores.expected["delivery"] < 1
    if goal == "awareness":
        fair &= scores.value / scores.expected["impressions"] > 2e-5
    sums = np.array([sum(reason.effect for reason in pick.reasons) for pick in answer.picks])
    difference = sums - log_return[picks]
    kept = fair[picks]
    assert kept.sum() > 200
    np.testing.assert_allclose(difference[kept], np.median(difference[kept]), atol=1e-3)
    if goal != "awareness":
        average = log_return[sample_of(len(log_return))].mean()
        assert np.median(difference) == pytest.approx(-average, abs=2e-3)
    assert np.std(sums) > 0.1


def test_a_launch_is_explained_by_both_of_its_parts(asked):
    """The log of a sum is only about additive; the effects must still follow the log of value over cost closely."""
    answer, scores, picks, _ = asked("launch")
    log_return = np.log(np.maximum(scores.value, 1e-300)) - np.log(np.maximum(scores.cost, 1.0))
    sums = np.array([sum(reason.effect for reason in pick.reasons) for pick in answer.picks])
    assert np.corrcoef(sums, log_return[picks])[0, 1] > 0.9


def test_effects_add_up_when_the_data_give_the_value(world, asked):
    model = replace(
        world.model,
        stages={**world.model.stages, "value": replace(world.model.stages["impressions"], quantity="value",
                                                       exposure="one")},
        overridden_goals=("awareness",),
    )  # fmt: skip
    answer, scores, picks, _ = asked("awareness", release=Release(model, world.catalogue))
    log_return = np.log(scores.value) - np.log(np.maximum(scores.cost, 1.0))
    sums = np.array([sum(reason.effect for reason in pick.reasons) for pick in answer.picks])
    np.testing.assert_allclose(
        sums, log_return[picks] - log_return[sample_of(len(log_return))].mean(), atol=1e-3
    )  # fmt: skip


@pytest.mark.parametrize("goal", ["awareness", "engagement", "conversion", "launch", "local"])
def test_every_factor_gives_one_reason_in_words(asked, goal):
    answer, *_ = asked(goal)
    for pick in answer.picks:
        assert sorted(reason.factor for reason in pick.reasons) == sorted(family.value for family in Family)
        sizes = [abs(reason.effect) for reason in pick.reasons]
        assert sizes == sorted(sizes, reverse=True)
        for reason in pick.reasons:
            verb = r"makes little difference|(multiplies|raises|lowers) expected return"
            assert re.match(rf"{WORDS[reason.factor]} ({verb})", reason.text), reason.text
            assert reason.text.endswith(".")
            assert not re.search(r"\b(nan|inf|None)\b", reason.text), reason.text


def test_words_agree_with_the_effect(asked):
    verbs = set()
    for pick in asked("conversion")[0].picks:
        for reason in pick.reasons:
            percent = np.expm1(reason.effect) * 100
            if abs(reason.effect) < 0.0099:
                assert "makes little difference" in reason.text
            elif reason.effect < -0.0101:
                assert f"lowers expected return by {abs(percent):.0f} %" in reason.text or abs(percent % 1 - 0.5) < 0.1
            elif reason.effect > 0.0101 and percent < 99:
                assert f"raises expected return by {abs(percent):.0f} %" in reason.text or abs(percent % 1 - 0.5) < 0.1
            elif percent > 101:
                times = float(re.search(r"multiplies expected return ([\d.]+) times", reason.text)[1])
                assert times == pytest.approx(np.exp(reason.effect), abs=0.051)
            verbs.update(word for word in ("little", "lowers", "raises", "multiplies") if word in reason.text)
    assert verbs == {"little", "lowers", "raises", "multiplies"}


def test_a_signal_that_is_named_differs_from_the_usual_candidate(asked):
    named = 0
    for pick in asked("conversion", top=60)[0].picks:
        for reason in pick.reasons:
            found = re.search(r": (.*) (\S+(?: %)?) \(usual candidate (.+)\)\.$", reason.text)
            if found:
                named += 1
                assert found[2] != found[3], reason.text
    assert named > 100


def test_reasons_are_given_only_when_asked_for(asked, world):
    brief = {"goal": "conversion", "budget": 1e6, "explain": False}
    assert {pick.reasons for pick in ranking.rank(world.release, parse_brief(brief), request_id="r").picks} == {()}


def test_an_effect_does_not_depend_on_who_else_is_picked(asked):
    many = {pick.creator_id: pick.reasons for pick in asked("conversion", top=50)[0].picks}
    for pick in asked("conversion", top=3)[0].picks:
        for one, other in zip(pick.reasons, many[pick.creator_id], strict=True):
            assert one.effect == pytest.approx(other.effect, abs=2e-4)


def test_one_feature_moves_only_its_own_factor(world):
    x = np.repeat(np.nan_to_num(world.data.x[:1]), 4, axis=0)
    column = NAMES.index("log_price")
    x[2:, column] += 2
    flat = np.zeros(4)
    # trees share an effect out between features that interact
    stages = {name: replace(stage, trees=()) for name, stage in world.model.stages.items()}
    reasons = explain(
        replace(world.model, stages=stages),
        "engagement",
        x,
        Factors(flat, flat, flat, 0.0),
        np.array([0, 2]),
        np.arange(4),
    )
    first, second = ({reason.factor: reason.effect for reason in one} for one in reasons)
    assert {factor for factor in first if first[factor] != second[factor]} == {FEATURES[column].family.value}


def test_a_factor_of_the_formula_moves_its_own_factor(world):
    x = np.repeat(world.data.x[:1], 4, axis=0)
    flat, step = np.zeros(4), np.array([0.0, 0.0, 1.0, 1.0])
    for factors, name, sign in (
        (Factors(step, flat, flat, 1.0), "cost", -1),
        (Factors(flat, step, flat, 1.0), "geography", 1),
        (Factors(flat, flat, step, 1.0), "engagement", 1),
    ):
        (reasons,) = explain(world.model, "conversion", x, factors, np.array([2]), np.arange(4))
        effects = {reason.factor: reason.effect for reason in reasons}
        assert effects.pop(name) == pytest.approx(0.5 * sign)
        assert set(effects.values()) == {0.0}


def test_nothing_known_of_a_creator_still_gives_sentences(world):
    x = np.full((3, len(NAMES)), np.nan, dtype=np.float32)
    flat = np.zeros(3)
    for reasons in explain(world.model, "conversion", x, Factors(flat, flat, flat, 0.0), np.arange(3), np.arange(3)):
        assert [reason.effect for reason in reasons] == [0.0] * 7
        assert {reason.text for reason in reasons} == {f"{word} makes little difference." for word in WORDS.values()}
