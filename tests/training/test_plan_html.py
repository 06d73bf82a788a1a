"""Plans as sentences, tables, charts and one page."""

import re
from html.parser import HTMLParser

import pytest

from serving.plan_answers import PlanAnswer
from tests.serving.hand_made_plan import SCRIPT, plan_answer
from training import plan_words, svg
from training.plan_charts import SHOWN_PICKS, beside_alternatives, budget_curve, charts, spend_and_value
from training.plan_html import page

VOID = {"meta"}


class Reader(HTMLParser):
    """Refuses tags that are not closed in order; keeps what is inside each kind of tag, and every attribute."""

    def __init__(self, html):
        super().__init__()
        self.open, self.texts, self.attributes, self.seen = [], {}, [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        for tag in set(self.open):
            self.texts.setdefault(tag, []).append(data)

    def said(self, tag):
        return self.texts.get(tag, [])


@pytest.fixture(scope="module")
def answer():
    return plan_answer()


@pytest.fixture(scope="module")
def read(answer):
    return Reader(page([answer]))


def with_plan(answer, **changes):
    return answer.model_copy(update={"plan": answer.plan.model_copy(update=changes)})


# --- the page


def test_the_page_is_whole_and_loads_nothing(answer):
    html = page([answer])
    read = Reader(html)
    assert html.startswith("<!DOCTYPE html>")
    assert not re.search(r"(https?:)?//\w", html)
    assert not {"script", "link", "img", "iframe", "style"} & set(read.seen) - {"style"}
    assert not [name for name, _ in read.attributes if name.startswith("on") or name in ("href", "src")]
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in read.attributes


def test_names_are_text_whatever_they_hold(answer, read):
    assert f"{SCRIPT} (c1)" in read.said("td")
    assert SCRIPT in read.said("text")
    assert "<script" not in page([answer])
    hostile = answer.model_copy(update={"brief_id": SCRIPT, "notes": (SCRIPT,), "posting_rule": SCRIPT})
    assert "<script" not in page([hostile])


def test_names_in_any_script_are_text_and_not_drawn(read):
    assert "小红书美妆达人分享每日护肤心得体会 (c2)" in read.said("td")
    assert "مؤثرة الجمال" in read.said("text")
    assert any(text.startswith("小红书美妆") and text.endswith("…") for text in read.said("text"))
    assert read.seen.count("bdi") == read.seen.count("td") + read.seen.count("th")


def test_every_part_of_the_plan_is_on_the_page(answer, read):
    assert [title.split(",")[0] for title in read.said("figcaption")] == [
        "Spend and value added by creator",
        "The plan beside other ways to spend the same budget: value",
        "What other budgets would bring: value by budget",
    ]
    said = read.said("li")
    for conclusion in answer.conclusions:
        assert conclusion.text in said
    assert answer.notes[0] in said
    assert "value = revenue x margin" in said
    assert any(text.startswith("Posting order: 小红书") and "big creators first" in text for text in said)
    assert "fees 20 % higher" in read.said("td")


def test_synthetic_data_are_called_so_in_the_title_the_text_and_every_chart(answer, read):
    for tag, count in (("title", 1), ("h1", 1), ("h2", 1), ("p", 1), ("figcaption", 3)):
        assert len([text for text in read.said(tag) if "SYNTHETIC DATA" in text]) == count, tag
    real = answer.model_copy(update={"value_basis": {**answer.value_basis, "synthetic": False}})
    assert "synthetic" not in page([real]).split("</style>")[1].lower()


def test_many_plans_share_a_page(answer):
    read = Reader(page([answer, answer.model_copy(update={"brief_id": "autumn"})]))
    assert [title.split(":")[0] for title in read.said("h2")] == ["Brief spring", "Brief autumn"]
    assert read.said("h1") == ["2 budget plans - SYNTHETIC DATA"]


# --- charts


def numbers(drawn, tag, name):
    return [float(value) for value in re.findall(rf"<{tag} [^>]*?\b{name}=\"([-0-9.]+)\"", drawn)]


def test_bars_are_as_long_as_what_they_stand_for(answer):
    drawn = spend_and_value(answer)
    assert "USD" in Reader(drawn).said("figcaption")[0]
    widths = numbers(drawn, "rect", "width")[2:]  # after the legend
    amounts = [value for pick in answer.plan.picks for value in (pick.spend, pick.value_added)]
    assert widths == pytest.approx([value * widths[1] / amounts[1] for value in amounts], abs=0.1)


def test_the_chart_of_many_picks_shows_those_that_add_most(answer):
    many = with_plan(answer, picks=answer.plan.picks * 10)
    drawn = spend_and_value(many)
    assert "the 30 that add most of 60" in drawn
    assert drawn.count("<rect") == 2 + 2 * SHOWN_PICKS


def test_two_purchases_of_one_creator_are_told_apart(answer):
    both = [answer.plan.picks[5].model_copy(update={"deliverable": name}) for name in ("video", "story")]
    labels = Reader(spend_and_value(with_plan(answer, picks=tuple(both)))).said("text")
    assert [text for text in labels if text.endswith((", video", ", story"))] == [
        "a_name_that_goes…, video",
        "a_name_that_goes…, story",
    ]


def test_alternatives_show_interval_cost_and_why_one_is_missing(answer):
    drawn = beside_alternatives(answer)
    said = Reader(drawn).said("text")
    assert [name for name in said if name.startswith(("this", "micro", "macro", "best", "cheapest"))] == [
        "this plan", "micro only", "macro only", "best single tier (micro)", "cheapest per engagement",
    ]  # fmt: skip
    assert "not possible: no macro creator is below max_fee" in said
    assert "ROI +0.56, 81%" in said
    dots = numbers(drawn, "circle", "cx")
    assert len(dots) == 4
    assert dots[0] == max(dots)
    assert dots[3] == min(dots[2:])


def test_the_curve_rises_and_names_the_budget(answer):
    drawn = budget_curve(answer)
    assert "this budget" in Reader(drawn).said("text")
    across, down = numbers(drawn, "circle", "cx"), numbers(drawn, "circle", "cy")
    assert across == sorted(across)
    assert down == sorted(down, reverse=True)
    assert len(across) == len(answer.budget_curve)


def test_a_chart_without_numbers_is_left_out(answer):
    assert len(charts(answer)) == 3
    assert len(charts(answer.model_copy(update={"budget_curve": ()}))) == 2
    assert len(charts(with_plan(answer.model_copy(update={"budget_curve": ()}), picks=()))) == 1


def test_charts_stay_in_their_frame_also_with_losses_and_tiny_amounts(answer):
    shrunk = {name: getattr(answer.plan, name) * 1e-5 for name in ("total_cost", "expected_value", "value_high")}
    odd = with_plan(answer, **shrunk, value_low=-0.3)
    picks = tuple(pick.model_copy(update={"value_added": -pick.value_added}) for pick in answer.plan.picks)
    for drawn in [*charts(odd), *charts(with_plan(answer, picks=picks))]:
        width, height = numbers(drawn, "svg", "width")[0], numbers(drawn, "svg", "height")[0]
        for name, most in (("x", width), ("cx", width), ("x1", width), ("x2", width), ("y", height), ("y2", height)):
            found = numbers(drawn, r"\w+", name)
            assert all(0 <= place <= most for place in found), name
        assert all(wide >= 0 for wide in numbers(drawn, "rect", "width"))


@pytest.mark.parametrize(
    ("values", "low", "high", "ticks"),
    [
        ([130.0, 870.0], 0.0, 1000.0, 6),
        ([0.0], 0.0, 1.0, 6),
        ([-20.0, 70.0], -20.0, 80.0, 6),
        ([0.03], 0.0, 0.03, 4),
        ([2e9], 0.0, 2e9, 5),
        ([-5.0, -1.0], -5.0, 0.0, 6),
    ],
)
def test_an_axis_holds_zero_and_every_number_between_round_ends(values, low, high, ticks):
    found = svg.scale(values, 0.0, 100.0)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert len(found.ticks()) == ticks
    assert [found.at(end) for end in (found.ticks()[0], found.ticks()[-1])] == pytest.approx([0.0, 100.0])


def test_what_is_written_into_a_drawing_is_escaped():
    assert svg.words(0, 0, "<b>&") == '<text x="0.0" y="0.0">&lt;b&gt;&amp;</text>'
    assert svg.shape("g", aria_label='a"b') == '<g aria-label="a&quot;b"></g>'
    assert "<script" not in svg.figure(SCRIPT, 1, 1, [])


# --- words


def test_the_sentences_say_the_figures(answer):
    text = " ".join(plan_words.summary(answer))
    for words in (
        "Spend 9,000 of 10,000 USD (90 % chance to stay below 9,900)", "expected value 14,000 (80 %: 8,400 to 21,000)",
        "ROI +0.56 (80 %: -0.07 to +1.33), P(profit) 81%", "123,456 people, each counted once",
        "take off a value of 300", "3,100 offers of 2,988 creators: no better set exists", "Tiers: micro 9,000.",
    ):  # fmt: skip
        assert words in text
    late = {"method": "time_limit", "gap": 0.013, "candidates": 1, "offers": 1, "solved_over": 1}
    payload = answer.model_dump()
    payload["plan"]["solved"] = late
    slow = PlanAnswer.model_validate(payload)
    assert "when the time was up, at most 1.3% from the best." in " ".join(plan_words.summary(slow))


def test_tables_have_a_cell_a_column_and_say_what_is_not_known(answer):
    tables = [
        plan_words.pick_table(answer),
        plan_words.alternatives_table(answer),
        plan_words.sensitivity_table(answer),
    ]
    for table in tables:
        assert {len(row) for row in table.rows} == {len(table.columns)}
    picks, beside, sensitivity = tables
    assert [row[1] for row in picks.rows][2:4] == ["مؤثرة الجمال (c3) - asked for", "c4"]
    assert [row[-2] for row in picks.rows][:2] == ["c9 for 900", "nobody"]
    assert "not possible: no macro creator is below max_fee" in beside.rows[2]
    # creators, not purchases: the last two are of one creator
    assert [row[1] for row in beside.rows] == ["5", "2", "-", "3", "4"]
    assert [row[-2] for row in sensitivity.rows] == ["c5", "-", "-", "nothing can be planned"]
