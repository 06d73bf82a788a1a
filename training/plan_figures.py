"""How good budget plans truly are, on a synthetic market whose truth is known: figures of judged answers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serving.plan_draws import beats
from serving.stage import Floats
from training.plan_judge import JudgedPlan

DECILES = 10
DRAWS = 400


@dataclass(frozen=True)
class PlanFigures:
    """Figures of b plans; ratios of sums over briefs unless said otherwise, NaN where nothing could be judged.

    Attributes:
        briefs: how many.
        picks: in a plan, on average.
        best, best_low, best_high: true value of the plans / of the true optima, and its 90 % interval, bootstrap over
            briefs.
        best_mean: mean over briefs of the same ratio.
        gap: the most by which the optima themselves could be exceeded, mean over briefs.
        single, single_low, single_high, single_mean: likewise, against the best single tier as the model sees it.
        alike: share of briefs whose best plan is one of a single tier.
        true_single, true_single_mean: against the one of the model's single tiers that is truly worth most.
        greedy, greedy_low, greedy_high, greedy_mean: against the rule of least cost per engagement.
        promise, promise_low, promise_high: expected / true value.
        cost: expected / true cost.
        over, over_mean, over_most: share of plans whose true expected cost exceeds the budget, by how much of it those
            do on average, and at most.
        value_inside, value_below, value_above: share of draws of the whole plan inside, below and above its 80 %
            interval of value.
        roi_inside, roi_below, roi_above: the same of ROI.
        p_mix, p_mix_chance, p_mix_true: decile error of P(mix beats single tier); what it would be by chance of one
            draw a brief if P were right; the same error against whether the mix is truly worth more on average.
        p_profit, p_profit_chance: likewise of P(value > cost).
    """

    briefs: int
    picks: float
    best: float
    best_low: float
    best_high: float
    best_mean: float
    gap: float
    single: float
    single_low: float
    single_high: float
    single_mean: float
    alike: float
    true_single: float
    true_single_mean: float
    greedy: float
    greedy_low: float
    greedy_high: float
    greedy_mean: float
    promise: float
    promise_low: float
    promise_high: float
    cost: float
    over: float
    over_mean: float
    over_most: float
    value_inside: float
    value_below: float
    value_above: float
    roi_inside: float
    roi_below: float
    roi_above: float
    p_mix: float
    p_mix_chance: float
    p_mix_true: float
    p_profit: float
    p_profit_chance: float


@dataclass(frozen=True)
class Claim:
    """Chances that were stated, how often it came true in draws, and whether it is so on average; shape (n,) each."""

    chance: Floats
    came_true: Floats
    on_average: Floats


def mix_claims(judged: Sequence[JudgedPlan]) -> Claim:
    """That the mix beats the best single tier, of the plans that say so; where both are equal it is even."""
    rows = [
        (one.p_mix, beats(one.plan.drawn_value, one.single.drawn_value), one.plan.value > one.single.value)
        for one in judged
        if one.p_mix is not None and one.single is not None
    ]
    return Claim(*np.array(rows, dtype=np.float64).reshape(-1, 3).T)


def profit_claims(judged: Sequence[JudgedPlan]) -> Claim:
    """That a plan is worth more than it costs."""
    rows = [
        (one.said.p_profit, (one.plan.drawn_value > one.plan.drawn_cost).mean(), one.plan.value > one.plan.cost)
        for one in judged
        if one.said.p_profit is not None
    ]
    return Claim(*np.array(rows, dtype=np.float64).reshape(-1, 3).T)


def plan_figures(judged: Sequence[JudgedPlan], cost_floor: float = 1.0) -> PlanFigures:
    """Figures of answers that were judged; those that buy nobody count as worth nothing, and promise nothing."""
    plan = np.array([one.plan.value for one in judged])
    best = np.array([one.best for one in judged])
    said = np.array([one.said.expected_value for one in judged])
    cost = np.array([one.plan.cost for one in judged])
    single = np.array([np.nan if one.single is None else one.single.value for one in judged])
    most = np.array([max(one.sizes.values(), default=np.nan) for one in judged])
    greedy = np.array([np.nan if one.greedy is None else one.greedy.value for one in judged])
    excess = cost / np.array([one.budget for one in judged]) - 1.0
    over = excess[excess > 0]
    some = [one for one in judged if one.said.picks]
    value = _inside(some, [(one.said.value_low, one.said.value_high) for one in some],
                    [one.plan.drawn_value for one in some])  # fmt: skip
    rois = [one.plan.drawn_value / np.maximum(one.plan.drawn_cost, cost_floor) - 1.0 for one in some]
    roi = _inside(some, [(one.said.roi_low, one.said.roi_high) for one in some], rois)
    mix, profit = mix_claims(judged), profit_claims(judged)
    numbers = {
        "briefs": len(judged),
        "picks": float(np.mean([len(one.said.picks) for one in judged])),
        **_ratio("best", plan, best),
        "gap": float(np.mean([one.gap for one in judged])),
        **_ratio("single", plan, single),
        "alike": float(np.mean([one.p_mix is None for one in judged])),
        **_ratio("true_single", plan, most, interval=False),
        **_ratio("greedy", plan, greedy),
        **{name: value for name, value in _ratio("promise", said, plan).items() if name != "promise_mean"},
        "cost": float(sum(one.said.total_cost for one in judged) / cost.sum()) if cost.sum() > 0 else np.nan,
        "over": len(over) / len(judged),
        "over_mean": float(over.mean()) if len(over) else 0.0,
        "over_most": float(over.max(initial=0.0)),
        **dict(zip(("value_inside", "value_below", "value_above"), value, strict=True)),
        **dict(zip(("roi_inside", "roi_below", "roi_above"), roi, strict=True)),
        "p_mix": decile_error(mix.chance, mix.came_true),
        "p_mix_chance": chance_error(mix.chance),
        "p_mix_true": decile_error(mix.chance, mix.on_average),
        "p_profit": decile_error(profit.chance, profit.came_true),
        "p_profit_chance": chance_error(profit.chance),
    }
    return PlanFigures(**numbers)  # type: ignore[arg-type]  # counts beside figures


def decile_error(chance: Floats, came_true: Floats) -> float:
    """Mean absolute difference of stated chance and frequency over ten groups by chance; NaN for fewer than ten.

    >>> decile_error(np.full(20, 0.75), np.tile([1.0, 0.0], 10))
    0.25
    """
    if len(chance) < DECILES:
        return np.nan
    groups = np.array_split(np.argsort(chance, kind="stable"), DECILES)
    return float(np.mean([abs(chance[group].mean() - came_true[group].mean()) for group in groups]))


def chance_error(chance: Floats) -> float:
    """The decile error that stated chances have on average if they are right and each is put to the test once."""
    drawn = np.random.default_rng(0).random((DRAWS, len(chance))) < chance
    return float(np.mean([decile_error(chance, one.astype(np.float64)) for one in drawn]))


def _inside(
    some: Sequence[JudgedPlan], bounds: Sequence[tuple[float | None, float | None]], drawn: Sequence[Floats]
) -> tuple[float, float, float]:
    """Share of draws inside, below and above, every plan counting the same."""
    if not some:
        return np.nan, np.nan, np.nan
    below = [
        float((one < (np.nan if low is None else low)).mean()) for one, (low, _) in zip(drawn, bounds, strict=True)
    ]
    above = [
        float((one > (np.nan if high is None else high)).mean()) for one, (_, high) in zip(drawn, bounds, strict=True)
    ]
    return 1.0 - float(np.mean(below)) - float(np.mean(above)), float(np.mean(below)), float(np.mean(above))


def _ratio(name: str, top: Floats, bottom: Floats, *, interval: bool = True) -> dict[str, float]:
    """Ratio of sums, mean of ratios and 90 % interval of the first, over the briefs that have both."""
    known = np.isfinite(bottom)
    top, bottom = top[known], bottom[known]
    if not bottom.sum() > 0:
        found = dict.fromkeys((name, f"{name}_mean", f"{name}_low", f"{name}_high"), np.nan)
    else:
        draws = np.random.default_rng(0).integers(0, len(top), (DRAWS, len(top)))
        tops, bottoms = top[draws].sum(axis=1), bottom[draws].sum(axis=1)
        low, high = np.quantile(tops[bottoms > 0] / bottoms[bottoms > 0], [0.05, 0.95])
        each = top[bottom > 0] / bottom[bottom > 0]
        found = {name: float(top.sum() / bottom.sum()), f"{name}_mean": float(each.mean()),
                 f"{name}_low": float(low), f"{name}_high": float(high)}  # fmt: skip
    return found if interval else {name: found[name], f"{name}_mean": found[f"{name}_mean"]}
