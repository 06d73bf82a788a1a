"""How good picks truly are, on a synthetic market whose expected ROI is known: figures for the model and each rule."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from features.value import GOALS
from serving.stage import Floats
from training.truth_pool import Pool

Ints = NDArray[np.int64]

PICKS = 10
DECILES = 10
MIN_POOL = 2 * PICKS  # candidates from which picking ten of them means anything
DRAWS = 400


@dataclass(frozen=True)
class Advice:
    """What one recommender says of the n candidates of a pool.

    Attributes:
        order: highest picked first, -inf or NaN never before others; shape (n,).
        value, roi: what it expects, or None where it only orders; NaN where it says nothing.
        inside: share of each drawn ROI inside its 80 % interval, or None without intervals.
    """

    order: Floats
    value: Floats | None = None
    roi: Floats | None = None
    inside: Floats | None = None


@dataclass(frozen=True)
class PickFigures:
    """Figures of one recommender over b briefs; NaN where it does not say what the figure needs.

    Attributes:
        briefs: with enough candidates.
        oracle_share: true ROI of the ten picks / that of the truly best ten, both summed over briefs; NaN where even
            the best lose money.
        oracle_low, oracle_high: 90 % interval of it, bootstrap over briefs.
        lift: true return per cost (1 + ROI) of the picks / that of the average candidate.
        ndcg: mean NDCG@10, gain 1 + true ROI (Jarvelin & Kekalainen 2002).
        regret: mean loss of true profit a brief, in its currency, when the brief's budget is spent in order of the
            ranking, on those expected to pay, instead of the true ROI, on those that do; an audience that several
            share is not taken off.
        promise: expected ROI of the picks / their true ROI.
        decile_error: mean absolute log of true / expected value over deciles of the expected value.
        coverage, coverage_picks: share of drawn ROIs inside the 80 % interval, of all candidates and of the picks.
    """

    briefs: int
    oracle_share: float
    oracle_low: float
    oracle_high: float
    lift: float
    ndcg: float
    regret: float
    promise: float
    decile_error: float
    coverage: float
    coverage_picks: float

    def as_dict(self) -> dict[str, float]:
        """Finite figures by name, for logging."""
        return {name: float(value) for name, value in asdict(self).items() if np.isfinite(value)}


def judge_picks(pool: Pool, advice: Advice, keep: NDArray[np.bool_] | None = None) -> PickFigures:
    """Figures of a recommender, of all candidates or of those to `keep`, shape (n,).

    A brief with fewer than MIN_POOL candidates is left out.
    """
    keep = np.ones(len(advice.order), dtype=bool) if keep is None else keep
    roi, value, cost = (pool.truth[name].to_numpy() for name in ("roi", "value", "cost"))
    by_brief: list[tuple[float, ...]] = []
    picked: list[Ints] = []
    for begin, end, budget in zip(pool.starts[:-1], pool.starts[1:], pool.budget, strict=True):
        rows = np.arange(begin, end)[keep[begin:end]]
        if len(rows) < MIN_POOL:
            continue
        order, ideal = rows[_best_first(advice.order[rows])], rows[_best_first(roi[rows])]
        picks = order[:PICKS]
        picked.append(picks)
        bought = order if advice.roi is None else order[np.nan_to_num(advice.roi[order], nan=-1.0) > 0]
        paying = ideal[roi[ideal] > 0]
        profit, most = (_profit(cost[ranked], value[ranked], budget) for ranked in (bought, paying))
        by_brief.append(
            (roi[picks].mean(), roi[ideal[:PICKS]].mean(), roi[rows].mean(), _dcg(1 + roi[picks]),
             _dcg(1 + roi[ideal[:PICKS]]), most - profit)
        )  # fmt: skip
    if not by_brief:
        return PickFigures(0, *[np.nan] * 10)
    found, best, average, gain, ideal_gain, regret = np.array(by_brief).T
    picks = np.concatenate(picked)
    low, high = _ratio_interval(found, best)
    return PickFigures(
        briefs=len(by_brief),
        oracle_share=float(found.sum() / best.sum()) if best.sum() > 0 else np.nan,
        oracle_low=low,
        oracle_high=high,
        lift=float((1 + found).sum() / (1 + average).sum()),
        ndcg=float((gain[ideal_gain > 0] / ideal_gain[ideal_gain > 0]).mean()) if (ideal_gain > 0).any() else np.nan,
        regret=float(regret.mean()),
        promise=np.nan if advice.roi is None else _ratio(advice.roi[picks], roi[picks]),
        decile_error=np.nan if advice.value is None else decile_error(*deciles(advice.value[keep], value[keep])),
        coverage=np.nan if advice.inside is None else _mean(advice.inside[keep]),
        coverage_picks=np.nan if advice.inside is None else _mean(advice.inside[picks]),
    )


def slice_figures(pool: Pool, advice: Mapping[str, Advice]) -> dict[str, dict[str, dict[str, PickFigures]]]:
    """By kind and member, the figures of every recommender: goals are slices of briefs, the rest of candidates."""
    goal = np.repeat(np.array(GOALS)[pool.goal], np.diff(pool.starts))
    out: dict[str, dict[str, dict[str, PickFigures]]] = {}
    for kind, members in {"goal": goal, **pool.members()}.items():
        for member in np.unique(members):
            figures = {name: judge_picks(pool, one, members == member) for name, one in advice.items()}
            if all(one.briefs for one in figures.values()):
                out.setdefault(kind, {})[str(member)] = figures
    return out


def deciles(expected: Floats, true: Floats) -> tuple[Floats, Floats]:
    """Mean expected and mean true value by decile of the expected one; rows without an expectation are left out."""
    rows = np.flatnonzero(np.isfinite(expected))
    parts = np.array_split(rows[np.argsort(expected[rows], kind="stable")], DECILES)
    return (
        np.array([expected[part].mean() for part in parts if len(part)]),
        np.array([true[part].mean() for part in parts if len(part)]),
    )


def decile_error(expected: Floats, true: Floats) -> float:
    """Mean absolute log of true / expected over deciles.

    >>> round(decile_error(np.array([1.0, 2.0]), np.array([1.0, 4.0])), 3)
    0.347
    """
    return _mean(np.abs(np.log(np.maximum(true, 1e-9) / np.maximum(expected, 1e-9))))


def _mean(values: Floats) -> float:
    """Mean of what is known; NaN where nothing is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else np.nan


def _best_first(order: Floats) -> Ints:
    return np.argsort(-np.nan_to_num(order, nan=-np.inf, posinf=np.inf, neginf=-np.inf), kind="stable")


def _dcg(gain: Floats) -> float:
    return float((gain / np.log2(np.arange(len(gain)) + 2.0)).sum())


def _profit(cost: Floats, value: Floats, budget: float) -> float:
    """True profit of buying, in this order, whatever still fits the budget."""
    left, profit, waiting = budget, 0.0, np.arange(len(cost))
    while len(waiting := waiting[cost[waiting] <= left]):
        running = np.cumsum(cost[waiting])
        bought = waiting[: int(np.searchsorted(running, left, side="right"))]
        profit += float((value[bought] - cost[bought]).sum())
        left -= float(running[len(bought) - 1])
        waiting = waiting[len(bought) :]
    return profit


def _ratio(promised: Floats, delivered: Floats) -> float:
    known = np.isfinite(promised)
    total = delivered[known].sum()
    return float(promised[known].sum() / total) if total > 0 else np.nan


def _ratio_interval(top: Floats, bottom: Floats) -> tuple[float, float]:
    draws = np.random.default_rng(0).integers(0, len(top), (DRAWS, len(top)))
    tops, bottoms = top[draws].sum(axis=1), bottom[draws].sum(axis=1)
    if (bottoms <= 0).any():
        return np.nan, np.nan
    low, high = np.quantile(tops / bottoms, [0.05, 0.95])
    return float(low), float(high)
