"""The model card in words, as Markdown: for who decides what to book, and for who must answer for the model."""

from collections.abc import Mapping, Sequence
from typing import Any

from features.value import GOALS, ValueBasis

Card = Mapping[str, Any]

HEADS = ("deviance", "calibration", "spearman", "captured", "top_roi")
WORDS = {
    "deviance": "deviance (less is better)",
    "calibration": "predicted / actual",
    "spearman": "rank correlation",
    "captured": "captured by best tenth",
    "top_roi": "realised ROI of best tenth",
}
FOR = (
    "Ranking creators for a campaign brief by expected ROI, and planning a budget, beside the judgement of people who "
    "know the brand.",
)
NOT_FOR = (
    "Judging a creator as a person, setting a fee without asking, or anything about individuals of an audience.",
    "Goals, countries or platforms that the data below do not hold: what is missing is estimated from what is alike.",
    "Claims of cause: revenue is attributed, not proven to be incremental.",
)
LIMITS = (
    "It learns from creators who were booked. How those never booked would have done is not in the data.",
    "Realised ROI is heavy-tailed: one placement is mostly luck. Believe a set, and the interval, before one figure.",
    "A market that changes makes it stale: watch `influencer-roi monitor`, and train again.",
    "Exposure follows past outcomes. It is reported here, not corrected.",
)


def card_text(card: Card, live: str = "") -> str:
    """The card as Markdown; every figure in it is the card's.

    Args:
        card: from `training.card.model_card`, with `exposure` of `training.exposure` where there is one.
        live: what is served now and how to go back, a sentence; left out where empty.
    """
    parts = [
        _head(card),
        _section("What it is for", [*FOR]),
        _section("What it is not for", [*NOT_FOR]),
        _section("Data", _data(card)),
        _section("How good it is", _figures(card["metrics"])),
        _section("For whom", for_whom(card["metrics"].get("slices", ()))),
        _section("Can it be believed", believed(card)),
        _section("Verdict", _verdict(card["verdict"])),
        _section("What value means here", _value(card)),
        _section("What placements of one campaign share", card["together"]["text"]),
        _section("Which tier returned more per cost", [one["text"] for one in card["tiers"].values()]),
        _section("Who is picked, and where the money goes", _exposure(card.get("exposure"))),
        _section("Limits", [*LIMITS]),
        _section("What it is made of", _made_of(card)),
        *([_section("What is live, and how to go back", [live])] if live else []),
    ]
    return "\n\n".join(parts) + "\n"


def for_whom(slices: Sequence[Mapping[str, Any]]) -> list[str]:
    """Slices of the backtest that the model is better, worse or level in, beside the best rule."""
    lines = []
    for state, words in (
        ("better", "Better than the best rule"),
        ("worse", "WORSE than the best rule"),
        ("level", "Not told apart from it"),
        ("few", "Too few campaigns to tell"),
    ):
        found = [f"{one['kind']} {one['member']} ({_signed(one['gain'])}, {one['rows']} placements)"
                 for one in slices if one["state"] == state]  # fmt: skip
        lines.append(f"{words}: {', '.join(found) or 'none'}.")
    if not slices:
        return ["Too few judged placements to tell goals, tiers, platforms or countries apart."]
    # each is held to its own 90 % interval
    return [*lines, "In brackets the gain in deviance. Where nothing differs, about one in ten looks as if by luck."]


def believed(card: Card) -> list[str]:
    """Calibration, coverage of intervals and findings of the data checks, a sentence each."""
    metrics, warnings = card["metrics"], card["data"]["warnings"]
    lines = []
    if metrics["judged"] is not None:
        low, high = metrics["calibration_interval"]
        lines.append(
            f"Predicted / actual {metrics['judged']}, in sum: {_number(metrics['model']['calibration'])}; 1 is right; "
            f"90 % interval {_number(low)} to {_number(high)}."
        )
        covered = metrics["coverage_80"]
        lines.append(
            "The 80 % intervals could not be tried on placements not used to set them."
            if covered is None
            else f"The 80 % intervals held {covered:.1%} of {metrics['coverage_80_rows']} later placements that were "
            "not used to set them."
        )
    lines.append(f"Intervals are measured on: {card['interval_basis']}.")
    lines.append(
        f"The data checks had {len(warnings)} warning{'' if len(warnings) == 1 else 's'}"
        + (": see check.txt." if warnings else ".")
    )
    return lines


def _head(card: Card) -> str:
    data = card["data"]
    first = (
        "**SYNTHETIC data: a made-up market. Nothing here says anything about real creators.**"
        if card["synthetic"]
        else "**Real data: the team's own past placements.**"
    )
    # before it is registered a model has no number
    title = f"# {card['name']}" + (f", version {card['version']}" if str(card["version"]).isdigit() else "")
    return (
        f"{first}\n\n{title}\n\nTrained {card['trained_at']} on the data of `{data['folder']}`, as if deciding on "
        f"{card['as_of']}."
    )


def _section(title: str, lines: Sequence[str]) -> str:
    # a line of a table is no item of a list
    body = "\n".join(line if not line or line.startswith("|") else f"- {line}" for line in lines)
    return f"## {title}\n\n{body}"


def _data(card: Card) -> list[str]:
    data = card["data"]
    rows = ", ".join(f"{table} {count:,}" for table, count in data["rows"].items() if count)
    return [
        f"Settled placements learnt from: {data['placements_settled']:,}, agreed from {data['agreed_from']} to "
        f"{data['agreed_to']}.",
        f"Rows: {rows}.",
        f"Digest of the files: `{data['digest']}`.",
        *(f"Warning: {warning}" for warning in data["warnings"]),
    ]


def _figures(metrics: Mapping[str, Any]) -> list[str]:
    if metrics["judged"] is None:
        return [f"Nothing could be judged: {metrics['why']}."]
    gain = metrics["gain_over_best_rule"]
    table = [
        "| prediction | placements | " + " | ".join(WORDS[head] for head in HEADS) + " |",
        "|" + " --- |" * (len(HEADS) + 2),
        *(
            f"| {name} | {figures['rows']} | " + " | ".join(_number(figures[head]) for head in HEADS) + " |"
            for name, figures in {"**model**": metrics["model"], **metrics["baselines"]}.items()
        ),
    ]
    return [
        f"Judged on {metrics['judged']} of {metrics['rows']:,} placements of {metrics['campaigns']} campaigns agreed "
        f"from {metrics['window_opens']} on, by a model that had seen nothing of them.",
        *([str(metrics["why_not_value"])] if metrics["why_not_value"] else []),
        f"Gain over the best rule ({metrics['best_rule']}): {_signed(gain['gain'])} in deviance, 90 % interval "
        f"{_signed(gain['low'])} to {_signed(gain['high'])}, resampling whole campaigns.",
        "",
        *table,
    ]


def _verdict(verdict: Mapping[str, Any]) -> list[str]:
    return [f"{'Promote' if verdict['promote'] else 'Do not promote'}.", *verdict["lines"]]


def _value(card: Card) -> list[str]:
    basis = ValueBasis(**card["value_configuration"])
    promise = card["promise"]
    kept = (
        "High expected returns are promised in full: later placements gave no reason to shrink them."
        if promise["slope"] == 0
        else f"An expected return (value / cost) above {promise['bound']:.3g} is shrunk: "
        f"return x ({promise['bound']:.3g} / return) ^ {promise['slope']:.3g}"
        + ("." if promise.get("seen") is None else f", as that of {promise['seen']:.3g} where it is higher.")
    )
    settings = (("cpm", basis.cpm), ("engagement_price", basis.engagement_price))
    prices = ", ".join(f"{name} {value:.6g} {basis.currency}" for name, value in settings if value is not None)
    return [
        *(f"{goal}: {basis.describe(goal)['formula']}" for goal in GOALS),
        f"with {prices or 'no prices of views and engagements: they cannot be had in ' + basis.currency}; "
        f"launch_awareness {basis.launch_awareness:g}, launch_conversion {basis.launch_conversion:g}; audience "
        f"credibility {basis.unknown_credibility:g} and product margin {basis.unknown_margin:g} where unknown.",
        f"ROI = (value - cost) / cost, cost = fee + product and other cost, at least {basis.cost_floor:g} "
        f"{basis.currency}.",
        kept,
    ]


def _exposure(exposure: Mapping[str, Any] | None) -> list[str]:
    if exposure is None:
        return ["Not measured: no recent campaign could be asked again as a brief."]
    lines = [
        f"{exposure['briefs']} recent campaigns asked again as briefs: {exposure['picks']} picks of "
        f"{exposure['creators']} different creators, of {exposure['catalogue']:,} in the catalogue; fees of "
        f"{exposure['spend']:,.0f} {exposure['currency']} in all.",
        "Shares of all candidates, of picks and of spend:",
    ]
    for kind, members in exposure["shares"].items():
        lines += ["", f"| {kind} | candidates | picks | spend |", "| --- | --- | --- | --- |"]
        lines += [
            f"| {member} | {_percent(of['candidates'])} | {_percent(of['picks'])} | {_percent(of['spend'])} |"
            for member, of in members.items()
        ]
    return lines


def _made_of(card: Card) -> list[str]:
    stages = [
        f"{name}{'' if stage['per'] == 'one' else ' per ' + stage['per']}, from {stage['rows']:,} placements"
        for name, stage in card["stages"].items()
    ]
    return [
        "A funnel of stages, each a linear base and trees on it: " + "; ".join(stages) + ".",
        "Settings of the trees: " + ", ".join(f"{name} {one}" for name, one in card.get("options", {}).items()) + ".",
        f"{len(card['features'])} features, schema `{card['feature_schema']}`; the whole list is in model_card.json.",
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _signed(value: float | None) -> str:
    return "unknown" if value is None else f"{value:+.3f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
