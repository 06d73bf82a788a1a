"""What a run says at the top of its page in MLflow: the answer, for whom, whether to believe it, and what changed."""

from collections.abc import Mapping, Sequence
from typing import Any

from training.card_text import believed, for_whom
from training.drift import Drift, State
from training.duel import Duel
from training.gate import Verdict

Card = Mapping[str, Any]

NAMED = 8  # columns that moved, or features that differ, named
LOOK = """- `plots/`: gain_by_slice, calibration, captured, interval_coverage, shap_summary
- `tables/`: backtest (beside every rule), slices, worst_misses, exposure, data
- `model_card.md`, `verdict.txt`, `check.txt`, `environment.json`"""
LOOK_BESIDE = (
    "- beside the version in force: champion_by_slice in `plots/`, champion in `tables/`; drift in both, where newer "
    "placements have settled"
)


def describe(
    card: Card, verdict: Verdict, duel: Duel | str | None, champion: Card | None, drift: Sequence[Drift] | None,
    live: str,
) -> str:  # fmt: skip
    """The description of a run, Markdown.

    Args:
        card: of the model.
        verdict: of the gate.
        duel: with the version in force; why there was none in words; None for a first model.
        champion: card of the version in force, if there is one.
        drift: of the data since that version was trained, if it was looked at.
        live: what is served now and how to go back.
    """
    kind = "the SYNTHETIC sample market" if card["synthetic"] else "the team's own data"
    data, metrics = card["data"], card["metrics"]
    judged = "nothing could be judged" if metrics["judged"] is None else f"judged on {metrics['judged']}"
    parts = [
        f"**{'PROMOTE' if verdict.promote else 'DO NOT PROMOTE'}{' (SYNTHETIC data)' if card['synthetic'] else ''}: "
        f"{answer(metrics, duel)}**",
        f"Funnel of {len(card['stages'])} stages on {data['placements_settled']} settled placements of {kind}, as of "
        f"{card['as_of']}; {judged}.",
        verdict.text(),
        _section("For whom", for_whom(metrics.get("slices", ()))),
        _section("Can it be believed?", believed(card)),
        _section("What changed?", changes(card, champion, drift)),
        _section("What is live, and how to go back", [
            *([live] if live else []),
            "Serve this version: `influencer-roi promote VERSION`, with the number under Registered models; back: "
            "`influencer-roi rollback`.",
        ]),
        f"#### Where to look\n\n{LOOK}" + ("" if champion is None else f"\n{LOOK_BESIDE}"),
    ]  # fmt: skip
    return "\n\n".join(parts)


def answer(metrics: Mapping[str, Any], duel: Duel | str | None) -> str:
    """Is it better? In one sentence."""
    if isinstance(duel, Duel):
        low, high = duel.interval
        word = "Better than" if low > 0 else "Worse than" if high < 0 else "Not told apart from"
        return (
            f"{word} version {duel.champion} in force: gain {duel.gain:+.4f} in deviance (90 % interval {low:+.4f} to "
            f"{high:+.4f}) on {duel.rows} placements of {duel.campaigns} campaigns that neither had seen."
        )
    rules = _against_rules(metrics)
    if duel is None:
        return f"First model: there is no version in force to compare with. {rules}"
    return f"Not compared with the version in force: {duel}. {rules}"


def changes(card: Card, champion: Card | None, drift: Sequence[Drift] | None) -> list[str]:
    """What is different from the version in force: data, features, settings, and how far the data moved."""
    if champion is None:
        return ["Everything: there is no version in force."]
    lines = [_data_line(card, champion), *_feature_lines(card["features"], champion["features"])]
    mine, theirs = card["value_configuration"], champion["value_configuration"]
    moved = [f"{name} {theirs.get(name)} -> {mine.get(name)}" for name in {**theirs, **mine}
             if mine.get(name) != theirs.get(name)]  # fmt: skip
    lines.append(f"Value configuration: {', '.join(moved) or 'the same'}.")
    mine, theirs = card.get("options", {}), champion.get("options", {})
    moved = [f"{name} {theirs.get(name)} -> {one}" for name, one in mine.items() if one != theirs.get(name)]
    lines.append(f"Settings of the trees: {', '.join(moved) or 'the same'}.")
    stages = {name for name in {**card["stages"], **champion["stages"]}
              if card["stages"].get(name, {}).get("per") != champion["stages"].get(name, {}).get("per")}  # fmt: skip
    lines.append(f"Stages: {'differ in ' + ', '.join(sorted(stages)) if stages else 'the same'}.")
    if drift is not None:
        names = [one.column for one in drift if one.state is State.DRIFT]
        shown = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
        lines.append(f"Data that moved since: {len(names)} of {len(drift)} columns{': ' + shown if names else ''}.")
    return lines


def _against_rules(metrics: Mapping[str, Any]) -> str:
    if metrics["judged"] is None:
        return "Nothing could be judged."
    gain = metrics["gain_over_best_rule"]
    low, high = gain["low"], gain["high"]
    word = "Better than" if low > 0 else "Worse than" if high < 0 else "Not told apart from"
    return (
        f"{word} the best simple rule ({metrics['best_rule']}): gain {gain['gain']:+.4f} in deviance (90 % interval "
        f"{low:+.4f} to {high:+.4f}) on {metrics['rows']} later placements."
    )


def _data_line(card: Card, champion: Card) -> str:
    mine, theirs = card["data"], champion["data"]
    if mine["digest"] == theirs["digest"] and card["as_of"] == champion["as_of"]:
        return f"Data: the same files (digest {mine['digest']}) as of the same day."
    return (
        f"Data: {mine['placements_settled']} settled placements, {mine['agreed_from']} to {mine['agreed_to']} (digest "
        f"{mine['digest']}); version {champion['version']} had {theirs['placements_settled']}, "
        f"{theirs['agreed_from']} to {theirs['agreed_to']} (digest {theirs['digest']})."
    )


def _feature_lines(mine: Sequence[str], theirs: Sequence[str]) -> list[str]:
    new, gone = ([name for name in one if name not in other] for one, other in ((mine, theirs), (theirs, mine)))
    if not new and not gone:
        return [f"Features: the same {len(mine)}."]
    said = [f"{len(names)} {word} ({', '.join(names[:NAMED])}{', ...' if len(names) > NAMED else ''})"
            for word, names in (("new", new), ("gone", gone)) if names]  # fmt: skip
    return [f"Features: {' and '.join(said)}."]


def _section(title: str, lines: Sequence[str]) -> str:
    return f"#### {title}\n\n" + "\n".join(f"- {line}" for line in lines)
