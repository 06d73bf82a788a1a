"""Charts of a budget plan: what each creator costs and adds, the plan beside its alternatives, other budgets."""

from collections.abc import Sequence

from serving.plan_answers import CurvePoint, Plan, PlanAnswer, PlanPick
from training import svg
from training.plan_words import alternatives, synthetic
from training.rank_files import amount, percent, ratio
from training.svg import Scale

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 800.0, 200.0, 640.0, 34.0, 48.0
SHOWN_PICKS = 30
LABEL_COLUMNS = 24
VALUE, SPEND, GREY, GRID = "#1f77b4", "#ff7f0e", "#767676", "#dddddd"


def charts(answer: PlanAnswer) -> list[str]:
    """Every chart the answer has the numbers for, as HTML."""
    drawn = [spend_and_value(answer)] if answer.plan.picks else []
    drawn.append(beside_alternatives(answer))
    return [*drawn, budget_curve(answer)] if len(answer.budget_curve) > 1 else drawn


def spend_and_value(answer: PlanAnswer) -> str:
    """Two bars a pick: its spend, with the range of an estimated fee, and the value it adds to the plan."""
    picks = answer.plan.picks[:SHOWN_PICKS]
    ends = [pick.spend for pick in picks] + [pick.value_added for pick in picks]
    along = svg.scale(ends + [pick.spend_high for pick in picks if pick.spend_high is not None], LEFT, RIGHT)
    row = 34.0
    names = [_label(pick) for pick in picks]
    parts = _rows(names, row, along, f"{answer.currency} (right: value added for spend)")
    parts += _legend([(SPEND, "spend"), (VALUE, "value added")])
    for number, pick in enumerate(picks):
        y = TOP + number * row
        parts.append(_bar(along, pick.spend, y + 4, SPEND))
        parts.append(_bar(along, pick.value_added, y + 17, VALUE))
        if pick.spend_low is not None and pick.spend_high is not None:
            parts += _interval(along, pick.spend_low, pick.spend_high, y + 10, "#333333")
        parts.append(svg.words(RIGHT + 12, y + 21, f"{amount(pick.value_added)} for {amount(pick.spend)}"))
    which = (
        "" if len(picks) == len(answer.plan.picks) else f", the {len(picks)} that add most of {len(answer.plan.picks)}"
    )
    title = f"Spend and value added by creator{which}, {answer.currency}{synthetic(answer)}"
    return svg.figure(title, WIDTH, TOP + len(picks) * row + BOTTOM, parts)


def beside_alternatives(answer: PlanAnswer) -> str:
    """A dot and an 80 % interval for the value of the plan and of each alternative, and a mark for what it costs."""
    found = alternatives(answer)
    plans = [plan for _, plan, _ in found if plan is not None]
    ends = [end for plan in plans for end in (plan.value_low, plan.value_high, plan.expected_value, plan.total_cost)]
    along = svg.scale(ends, LEFT, RIGHT)
    row = 34.0
    parts = _rows(
        [name for name, _, _ in found], row, along, f"{answer.currency} (right: ROI, probability of a profit)"
    )
    parts += _legend([(VALUE, "expected value with 80 % interval"), (SPEND, "cost")])
    for number, (_, plan, reason) in enumerate(found):
        y = TOP + (number + 0.5) * row
        parts += (
            _plan_row(along, plan, y) if plan else [svg.words(LEFT + 8, y + 4, svg.shortened(reason, 80), fill=GREY)]
        )
    title = f"The plan beside other ways to spend the same budget: value, {answer.currency}{synthetic(answer)}"
    return svg.figure(title, WIDTH, TOP + len(found) * row + BOTTOM, parts)


def budget_curve(answer: PlanAnswer) -> str:
    """Expected value with its 80 % band over other budgets, and the cost; where value is below cost, money is lost."""
    points = sorted(answer.budget_curve, key=lambda point: point.budget)
    bottom = 320.0
    left = 90.0
    across = svg.scale([point.budget for point in points], left, RIGHT)
    ends = [
        end for point in points for end in (point.value_low, point.value_high, point.expected_value, point.total_cost)
    ]
    up = svg.scale(ends, bottom, TOP + 10)
    parts = _legend([(VALUE, "expected value with 80 % interval"), (SPEND, "cost")])
    for tick in up.ticks():
        y = up.at(tick)
        parts += [svg.line(left, y, RIGHT, y, GRID), svg.words(left - 8, y + 4, amount(tick), text_anchor="end")]
    parts += [svg.words(across.at(tick), bottom + 18, amount(tick), text_anchor="middle") for tick in across.ticks()]
    band = [*_line(points, "value_low", across, up), *reversed(_line(points, "value_high", across, up))]
    parts.append(svg.path(band, closed=True, fill=VALUE, fill_opacity="0.18"))
    parts.append(svg.path(_line(points, "total_cost", across, up), fill="none", stroke=SPEND, stroke_width=2))
    middle = _line(points, "expected_value", across, up)
    parts.append(svg.path(middle, fill="none", stroke=VALUE, stroke_width=2.5))
    for (x, y), point in zip(middle, points, strict=True):
        parts.append(svg.shape("circle", svg.shape("title", _told(point)), cx=x, cy=y, r=4, fill=VALUE))
        parts.append(svg.words(x + 7, y + 16, f"{point.creators}", fill=GREY))
    at = across.at(answer.budget)
    parts.append(svg.line(at, TOP + 10, at, bottom, GREY, stroke_dasharray="5 4"))
    parts.append(svg.words(at + 6, bottom - 8, "this budget", fill=GREY))
    parts.append(svg.words((left + RIGHT) / 2, bottom + 38, f"budget, {answer.currency}", text_anchor="middle"))
    title = f"What other budgets would bring: value by budget, {answer.currency}; numbers at the dots: creators"
    return svg.figure(title + synthetic(answer), WIDTH, bottom + BOTTOM, parts)


def _told(point: CurvePoint) -> str:
    return f"{amount(point.expected_value)} for {amount(point.total_cost)}"


def _line(points: Sequence[CurvePoint], name: str, across: Scale, up: Scale) -> list[tuple[float, float]]:
    return [(across.at(point.budget), up.at(getattr(point, name))) for point in points]


def _rows(names: Sequence[str], row: float, along: Scale, unit: str) -> list[str]:
    """Names down the left, a grid of round numbers, and what they are of."""
    bottom = TOP + len(names) * row
    parts = []
    for tick in along.ticks():
        x = along.at(tick)
        parts.append(svg.line(x, TOP, x, bottom, GREY if tick == 0 else GRID))
        parts.append(svg.words(x, bottom + 18, amount(tick), text_anchor="middle"))
    parts.append(svg.words((LEFT + RIGHT) / 2, bottom + 38, unit, text_anchor="middle"))
    for number, name in enumerate(names):
        parts.append(svg.words(LEFT - 10, TOP + (number + 0.5) * row + 4, name, text_anchor="end"))
    return parts


def _label(pick: PlanPick) -> str:
    """A creator's name, cut so that the deliverable, which tells two purchases apart, has its place."""
    what = f", {svg.shortened(pick.deliverable, 10)}" if pick.deliverable else ""
    return svg.shortened(pick.username or pick.creator_id, LABEL_COLUMNS - len(what)) + what


def _plan_row(along: Scale, plan: Plan, y: float) -> list[str]:
    cost = along.at(plan.total_cost)
    return [
        *_interval(along, plan.value_low, plan.value_high, y, VALUE),
        svg.shape("circle", cx=along.at(plan.expected_value), cy=y, r=5, fill=VALUE),
        svg.line(cost, y - 10, cost, y + 10, SPEND, stroke_width=3),
        svg.words(RIGHT + 12, y + 4, f"ROI {ratio(plan.roi)}, {percent(plan.p_profit)}"),
    ]


def _bar(along: Scale, value: float, y: float, fill: str) -> str:
    start, end = sorted((along.at(0.0), along.at(value)))
    return svg.shape("rect", x=start, y=y, width=end - start, height=12, fill=fill)


def _interval(along: Scale, low: float, high: float, y: float, stroke: str) -> list[str]:
    start, end = along.at(low), along.at(high)
    caps = [svg.line(x, y - 4, x, y + 4, stroke, stroke_width=1.5) for x in (start, end)]
    return [svg.line(start, y, end, y, stroke, stroke_width=1.5), *caps]


def _legend(items: Sequence[tuple[str, str]]) -> list[str]:
    parts, x = [], LEFT
    for fill, text in items:
        parts += [svg.shape("rect", x=x, y=8, width=12, height=12, fill=fill), svg.words(x + 18, 18, text)]
        x += 40 + 7 * len(text)
    return parts
