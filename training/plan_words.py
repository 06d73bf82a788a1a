"""What a plan says, as sentences and tables of text: the same for the terminal and for the page of charts."""

from collections.abc import Callable
from dataclasses import dataclass

from serving.plan_answers import Plan, PlanAnswer, PlanPick, Scenario
from training.rank_files import amount, creator_name, head_line, percent, ratio

_METHODS = {
    "optimal": "no better set exists among the offers",
    "time_limit": "the best set found when the time was up",
    "greedy": "found by pricing budget and places, not proven best",
}
_SCENARIOS = {
    "fees_plus_20": "fees 20 % higher",
    "fees_minus_20": "fees 20 % lower",
    "delivery_minus_10": "delivery 10 % rarer",
    "engagement_minus_20": "engagement 20 % lower",
}
_ALTERNATIVES = {
    "micro_only": "micro only",
    "macro_only": "macro only",
    "best_single_tier": "best single tier",
    "greedy_cost_per_engagement": "cheapest per engagement",
}
_NUMERIC = {"rank", "spend", "value added", "value", "cost", "ROI", "P(profit)", "creators", "picks kept"}


@dataclass(frozen=True)
class TextTable:
    """A table for people, each row as long as `columns`."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def is_numeric(self, column: str) -> bool:
        """Whether a column holds numbers, which stand to the right."""
        return column in _NUMERIC


def head(answer: PlanAnswer) -> str:
    """Which brief, from how many creators, by which model."""
    return head_line(answer, f"{len(answer.plan.picks)} picks")


def summary(answer: PlanAnswer) -> list[str]:
    """The plan as a whole, in sentences."""
    plan = answer.plan
    spent = f"Spend {amount(plan.total_cost)} of {amount(answer.budget)} {answer.currency}"
    if plan.total_cost_high > plan.total_cost:
        spent += f" (90 % chance to stay below {amount(plan.total_cost_high)})"
    value, roi = _range(amount, plan.value_low, plan.value_high), _range(ratio, plan.roi_low, plan.roi_high)
    lines = [
        f"{spent}; expected value {amount(plan.expected_value)} (80 %: {value}).",
        f"ROI {ratio(plan.roi)} (80 %: {roi}), P(profit) {percent(plan.p_profit)}.",
    ]
    if plan.unique_reach is not None:
        lost = f"; shared audiences take off a value of {amount(plan.lost_to_overlap)}" if plan.lost_to_overlap else ""
        lines.append(f"Reach: {amount(round(plan.unique_reach))} people, each counted once{lost}.")
    solved = plan.solved
    gap = f", at most {solved.gap:.1%} from the best" if solved.method != "optimal" and solved.gap is not None else ""
    return [
        *lines,
        f"Chosen from {solved.offers:,} offers of {solved.candidates:,} creators: {_METHODS[solved.method]}{gap}.",
        *[f"{kind.capitalize()}: {spends}." for kind, spends in _spend_by(plan)],
    ]


def pick_table(answer: PlanAnswer) -> TextTable:
    """A row a pick."""
    columns = (
        "rank", "creator", "platform", "tier", "deliverable", "fee", "spend", "value added", "ROI", "80 % interval",
        "P(profit)", "if it declines", "why",
    )  # fmt: skip
    return TextTable("Picks, by value added", columns, tuple(_pick_row(pick) for pick in answer.plan.picks))


def alternatives(answer: PlanAnswer) -> list[tuple[str, Plan | None, str]]:
    """The plan and each alternative: its name, what it is, and where there is none the reason."""
    found: list[tuple[str, Plan | None, str]] = [("this plan", answer.plan, "")]
    for name, shown in _ALTERNATIVES.items():
        plan: Plan | None = getattr(answer.alternatives, name)
        if name == "best_single_tier" and answer.alternatives.best_single_tier is not None:
            shown = f"{shown} ({answer.alternatives.best_single_tier.tier})"  # noqa: PLW2901 - the name made fuller
        found.append((shown, plan, f"not possible: {answer.alternatives.missing.get(name, 'nobody fits')}"))
    return found


def alternatives_table(answer: PlanAnswer) -> TextTable:
    """The plan beside its alternatives, a row each."""
    columns = ("plan", "creators", "cost", "value", "80 % of value", "ROI", "80 % of ROI", "P(profit)")
    rows = []
    for name, plan, reason in alternatives(answer):
        if plan is None:
            rows.append((name, "-", "-", "-", reason, "-", "-", "-"))
            continue
        value = _range(amount, plan.value_low, plan.value_high)
        roi = _range(ratio, plan.roi_low, plan.roi_high)
        creators = f"{len({pick.creator_id for pick in plan.picks})}"
        rows.append(
            (name, creators, amount(plan.total_cost), amount(plan.expected_value), value, ratio(plan.roi), roi,
             percent(plan.p_profit))
        )  # fmt: skip
    return TextTable(f"Other ways to spend the same budget, {answer.currency}", columns, tuple(rows))


def sensitivity_table(answer: PlanAnswer) -> TextTable:
    """What would be planned under other assumptions, a row each."""
    columns = ("if", "value", "cost", "ROI", "picks kept", "out", "in")
    rows = tuple(_scenario_row(text, getattr(answer.sensitivity, name)) for name, text in _SCENARIOS.items())
    return TextTable("The plan again, if", columns, rows)


def conclusions(answer: PlanAnswer) -> list[str]:
    """The questions people ask, answered; then the order of posting."""
    texts = [conclusion.text for conclusion in answer.conclusions]
    names = {pick.creator_id: pick.username or pick.creator_id for pick in answer.plan.picks}
    order = ", ".join(names.get(creator, creator) for creator in answer.posting_order)
    return [*texts, f"Posting order: {order} ({answer.posting_rule})"] if order else texts


def basis(answer: PlanAnswer) -> list[str]:
    """What the numbers rest on, and who was not looked at."""
    removed = ", ".join(f"{reason} {count:,}" for reason, count in answer.filtered_out.items())
    return [f"value = {answer.value_basis['formula']}", *([f"filtered out: {removed}"] if removed else [])]


def synthetic(answer: PlanAnswer) -> str:
    """What a title ends with where the data are made up."""
    return " - SYNTHETIC DATA" if answer.value_basis.get("synthetic") else ""


def _pick_row(pick: PlanPick) -> tuple[str, ...]:
    other = pick.replacement
    deliverable = f" ({other.deliverable})" if other is not None and other.deliverable else ""
    return (
        str(pick.rank),
        creator_name(pick) + (" - asked for" if pick.must_include else ""),
        pick.platform,
        pick.tier,
        pick.deliverable or "usual",
        f"{amount(pick.fee)} ({pick.fee_source})",
        amount(pick.spend),
        amount(pick.value_added),
        ratio(pick.roi),
        _range(ratio, pick.roi_low, pick.roi_high),
        percent(pick.p_profit),
        "nobody" if other is None else f"{other.creator_id}{deliverable} for {amount(other.spend)}",
        pick.reasons[0].text if pick.reasons else "",
    )


def _scenario_row(text: str, scenario: Scenario | None) -> tuple[str, ...]:
    if scenario is None:
        return (text, "-", "-", "-", "-", "nothing can be planned", "-")
    return (
        text,
        amount(scenario.expected_value),
        amount(scenario.total_cost),
        ratio(scenario.roi),
        percent(scenario.picks_kept),
        ", ".join(scenario.dropped) or "-",
        ", ".join(scenario.joined) or "-",
    )


def _range(shown: Callable[[float | None], str], low: float | None, high: float | None) -> str:
    return f"{shown(low)} to {shown(high)}"


def _spend_by(plan: Plan) -> list[tuple[str, str]]:
    parts = [("tiers", plan.spend_by.tier), ("platforms", plan.spend_by.platform), ("countries", plan.spend_by.country)]
    by_size = [(kind, sorted(spends.items(), key=lambda item: -item[1])) for kind, spends in parts]
    return [(kind, ", ".join(f"{name} {amount(spend)}" for name, spend in items)) for kind, items in by_size if items]
