"""The card in words: every figure in it is the card's, and it says what it must."""

import copy
import re

import pytest

from tests.training.made_card import made_card
from training.card_text import card_text, for_whom

# of the card, but not of its words: kept for programs
SILENT = {
    "tree_weights", "winner", "reason", "shared", "low of a slice", "high of a slice", "campaigns of a slice",
    "fx",
}  # fmt: skip


def leaves(value, path=()):
    if isinstance(value, dict):
        for name, part in value.items():
            yield from leaves(part, (*path, name))
    elif isinstance(value, list):
        for position, part in enumerate(value):
            yield from leaves(part, (*path, position))
    else:
        yield path, value


def name_of(path):
    name = next(part for part in reversed(path) if isinstance(part, str))
    return f"{name} of a slice" if "slices" in path and f"{name} of a slice" in SILENT else name


def changed(card, path, value):
    again = copy.deepcopy(card)
    at = again
    for part in path[:-1]:
        at = at[part]
    at[path[-1]] = value
    return again


def other(value):
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return {"better": "level", "worse": "level"}.get(value, "7" + value)
    return value + 1 if isinstance(value, int) else value + 0.25


SHOWN = [
    (path, value) for path, value in leaves(made_card())
    if value is not None and name_of(path) not in SILENT and path[0] != "features"
    and path != ("version",) and "currency" not in path
]  # fmt: skip


@pytest.mark.parametrize(("path", "value"), SHOWN, ids=[".".join(map(str, path)) for path, _ in SHOWN])
def test_a_figure_changed_in_the_card_changes_the_words(path, value):
    card = made_card()
    assert card_text(changed(card, path, other(value))) != card_text(card)


def test_no_figure_is_of_its_own():
    """Each number in the words stands in the card, but for those of the formulas and of the words themselves."""
    known = [value for _, value in leaves(made_card())]
    texts = " ".join(value for value in known if isinstance(value, str))
    numbers = [value for value in known if isinstance(value, int | float) and not isinstance(value, bool)]
    numbers += [len(made_card()["data"]["warnings"]), len(made_card()["features"])]
    own = {"80", "90", "1", "1000"}  # levels of intervals, "1 is right", ROI - 1 and cpm / 1000
    text = card_text(made_card())
    strange = []
    for found in set(re.findall(r"(?<![\w.])[+-]?\d[\d,]*\.?\d*%?", text)):
        plain = found.rstrip("%").rstrip(".,").replace(",", "")
        value = float(plain)
        close = 0.6 * 10.0 ** -len(plain.partition(".")[2])
        held = any(abs(value - n) <= close or abs(value - 100 * n) <= 0.06 for n in numbers)
        if not held and plain not in own and plain not in texts:
            strange.append(found)
    assert strange == []


def test_the_first_line_says_whether_the_data_are_real():
    card = made_card()
    assert card_text(card).splitlines()[0].startswith("**SYNTHETIC data")
    real = card_text({**card, "synthetic": False})
    assert real.splitlines()[0].startswith("**Real data")
    assert "SYNTHETIC" not in real


@pytest.mark.parametrize(
    "said",
    [
        "## What it is not for", "Settled placements learnt from: 1,931", "placements.fee: something odd",
        "| **model** | 311 | 1.111 | 1.222 | 0.333 | 0.444 | 2.555 |", "| followers | 311 | 2.111 | 0.822 | 0.133",
        "+1.000 in deviance, 90 % interval +0.701 to +1.300", "held 78.9% of 155 later placements",
        "Do not promote.", "impressions x target share", "cpm 12.5 USD", "return x (2.82 / return) ^ 0.31",
        "9% of their luck in common", "all goals: no tier is better", "| nano | 31.1% | 32.2% | 13.3% |",
        "188 different creators, of 4,321", "clicks per impressions, from 1,341 placements",
        "Better than the best rule: goal launch (+0.610, 71 placements).",
        "WORSE than the best rule: tier nano (-0.620, 72 placements).",
    ],
)  # fmt: skip
def test_it_says(said):
    assert said in card_text(made_card())


def test_what_is_live_is_said_where_it_is_known():
    live = "Version 3 is served; `influencer-roi rollback` goes back to version 2."
    assert card_text(made_card(), live).rstrip().endswith(f"- {live}")
    assert "go back" not in card_text(made_card())


def test_a_model_that_was_not_registered_has_no_number():
    assert "# influencer-roi, version 41\n" in card_text(made_card())
    assert "# influencer-roi\n" in card_text({**made_card(), "version": "unregistered"})


def test_where_nothing_was_judged_it_says_why():
    card = {**made_card(), "metrics": {"judged": None, "why": "too few settled placements"}}
    text = card_text(card)
    assert "Nothing could be judged: too few settled placements." in text
    assert "Predicted / actual" not in text
    assert "Too few judged placements to tell goals" in text


def test_what_is_missing_is_said_to_be():
    card = made_card()
    del card["exposure"]
    card["promise"] = {"bound": 1.0, "slope": 0.0, "seen": None}
    card["value_configuration"] |= {"cpm": None, "engagement_price": None}
    card["metrics"]["coverage_80"] = None
    card["metrics"]["why_not_value"] = "value could not be judged: too few"
    text = card_text(card)
    for said in ("Not measured: no recent campaign", "promised in full", "no prices of views", "could not be tried",
                 "value could not be judged: too few"):  # fmt: skip
        assert said in text
    assert "nan" not in text.lower().replace("nano", "")
    assert "None" not in text


def test_slices_are_told_apart_by_what_their_intervals_say():
    few = {"kind": "tier", "member": "mega", "rows": 30, "state": "few", "gain": 2.0}
    level = {"kind": "tier", "member": "macro", "rows": 31, "state": "level", "gain": 0.1}
    lines = for_whom([few, level])
    assert lines[0] == "Better than the best rule: none."
    assert lines[2] == "Not told apart from it: tier macro (+0.100, 31 placements)."
    assert lines[3] == "Too few campaigns to tell: tier mega (+2.000, 30 placements)."
