"""Why a creator: contributions to the log of value, summed by factor, against the average candidate."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from features.declare import Family, Feature, Show
from features.matrix import FEATURES
from serving.answers import Reason
from serving.model import Model
from serving.stage import Floats, Matrix

SMALL = 0.01  # in logs: an effect nobody would act on

_Cause = tuple[float, Callable[[], str]]  # a contribution, and how to say it

_FACTOR_WORDS = {
    Family.ENGAGEMENT: "Engagement",
    Family.COST: "Cost",
    Family.GEOGRAPHY: "Geography",
    Family.NICHE: "Niche fit",
    Family.CONTENT_STYLE: "Content style",
    Family.GOAL_FIT: "Goal fit",
    Family.TRACK_RECORD: "Track record",
}


@dataclass(frozen=True)
class Factors:
    """Beside the model's features: what else of the formula differs between candidates, in logs, shape (n,).

    `by_reach` is the part of the value that comes from credible reach in the target: 1 for awareness, between 0 and 1
    for a launch, else 0; share and credibility of the audience count for that part.
    """

    cost: Floats
    geography: Floats
    credibility: Floats
    by_reach: float


def explain(
    model: Model, goal: str, x: Matrix, factors: Factors, picks: NDArray[np.int64], sample: NDArray[np.int64]
) -> list[tuple[Reason, ...]]:
    """Reasons of each pick, strongest first.

    Args:
        model: the funnel.
        goal: the goal, or the quantity ranked by where no value is known.
        x: features of candidates, shape (n, f).
        factors: logs of cost, target share and credibility.
        picks: rows to explain.
        sample: rows whose mean stands for the average candidate.

    The effect of a factor is the sum of its features' contributions to the log of ROI's value over cost, minus the
    mean of the sample; the effects of a pick add up to its difference from that average candidate.
    """
    rows = np.concatenate([picks, sample])
    contributions = _contributions(model, goal, x[rows], factors.by_reach)
    relative = contributions[: len(picks)] - contributions[len(picks) :].mean(axis=0)
    typical = _medians(x[sample])
    # what the formula itself adds, and how to say it: log of a pick over the mean log of the sample
    in_target = "{} of its audience is in the target (usual candidate {})"
    credible = "{} of its audience is credible (usual candidate {})"
    formula = {
        Family.COST: (1.0, -factors.cost, "costs {} against {} for a usual candidate", _number),
        Family.GEOGRAPHY: (factors.by_reach, factors.geography, in_target, _percent),
        Family.ENGAGEMENT: (factors.by_reach, factors.credibility, credible, _percent),
    }
    families = np.array([feature.family for feature in FEATURES])
    members = {family: np.flatnonzero(families == family) for family in Family}
    usual_logs = {family: float(logs[sample].mean()) for family, (_, logs, _, _) in formula.items()}
    reasons = []
    for position, row in enumerate(picks):
        found = []
        for family in Family:
            own = relative[position, members[family]].tolist()
            causes: list[_Cause] = [
                (contribution, partial(_signal, FEATURES[m], x[row, m], typical[m]))
                for contribution, m in zip(own, members[family], strict=True)
            ]
            if family in formula:
                part, logs, words, shown = formula[family]
                causes.append((
                    part * (float(logs[row]) - usual_logs[family]),
                    partial(_compared, words, shown, family, float(logs[row]), usual_logs[family]),
                ))  # fmt: skip
            effect = sum(contribution for contribution, _ in causes)
            text = _sentence(family, effect, _main_cause(effect, causes))
            found.append(Reason(factor=family.value, effect=round(effect, 4), text=text))
        reasons.append(tuple(sorted(found, key=lambda reason: -abs(reason.effect))))
    return reasons


def _compared(words: str, shown: Callable[[float], str], family: Family, log: float, usual: float) -> str:
    """A part of the formula in words, beside that of the usual candidate."""
    return words.format(*(shown(float(np.exp(-x if family is Family.COST else x))) for x in (log, usual)))


def _main_cause(effect: float, causes: Sequence[_Cause]) -> str:
    """The words of the strongest cause that has any and pulls the way the whole factor does."""
    sign = 1.0 if effect >= 0 else -1.0
    for contribution, words in sorted(causes, key=lambda cause: -sign * cause[0]):
        if sign * contribution <= 0:
            break
        if text := words():
            return text
    return ""


def _contributions(model: Model, goal: str, x: Matrix, by_reach: float) -> Floats:
    """Contributions to the log of value: those of a sum of two parts are weighted by the parts."""
    design = model.scaler.design(x)
    total = np.zeros(x.shape)
    for weight, path in ((by_reach, "awareness"), (1.0 - by_reach, goal)):
        if weight > 0:
            for stage in model.path_to(path):
                total += weight * stage.log_contributions(x, design)
    return total


def _sentence(family: Family, effect: float, why: str) -> str:
    words = _FACTOR_WORDS[family]
    if abs(effect) < SMALL:
        return f"{words} makes little difference" + (f": {why}." if why else ".")
    percent = np.expm1(effect) * 100
    size = f"{np.exp(effect):.1f} times" if percent >= 100 else f"{abs(percent):.0f} %"
    verb = "multiplies" if percent >= 100 else "raises" if effect > 0 else "lowers"
    by = f"{verb} expected return {'' if verb == 'multiplies' else 'by '}{size}"
    return f"{words} {by}" + (f": {why}." if why else ".")


def _signal(feature: Feature, value: float, typical: float) -> str:
    """A signal in words, beside that of the usual candidate; empty where it is unknown or no different."""
    if np.isnan(value):
        return ""
    shown = _shown(feature, float(value))
    usual = "" if np.isnan(typical) else _shown(feature, float(typical))
    if shown == usual:
        return ""
    return f"{feature.phrase} {shown}" + (f" (usual candidate {usual})" if usual else "")


def _medians(x: Matrix) -> Matrix:
    """Median of each feature over its known values, NaN where none is known."""
    ordered = np.sort(x, axis=0)  # NaN last
    known = np.maximum((~np.isnan(x)).sum(axis=0), 1)
    middle = (ordered[(known - 1) // 2, np.arange(x.shape[1])] + ordered[known // 2, np.arange(x.shape[1])]) / 2
    return np.asarray(middle, dtype=np.float32)


def _shown(feature: Feature, value: float) -> str:
    show: Show = feature.show
    if show == "yes_no":
        return "yes" if value > 0 else "no"
    if show == "percent":
        return _percent(value)
    if show == "exp_percent":
        return _percent(float(np.exp(value)))
    if feature.name == "follower_growth":
        return f"{np.expm1(value) * 100:+.1f} %"
    return _number({"exp": np.exp, "expm1": np.expm1}.get(show, float)(value))


def _number(value: float) -> str:
    """Four digits are plenty for people, and more than a float32 logarithm gives back."""
    return f"{float(f'{value:.4g}'):,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _percent(value: float) -> str:
    return f"{_number(value * 100)} %"
