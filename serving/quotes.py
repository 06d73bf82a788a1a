"""Which fees would be most worth asking for before the picks are booked.

The value of perfect information about one fee (Howard 1966, "Information value theory"), all else as answered; the
one-step knowledge gradient (Frazier et al. 2008) of a question whose answer is exact. With x(F) the ROI, or the profit,
of a creator whose fee turns out to be F:

- not picked: E[max(0, x(F) - x of the last pick)], for it would take that place if it is cheap enough;
- picked: E[max(0, x of the best one left out - x(F))], for it would make room if it is too dear.

F is log-normal with the expected fee as its median, which is how `serving.interval` spreads costs; extra cost moves
with it, the value does not. The comparison is with the picks as answered, which are ordered at expected fees. As 1 / F
is convex, a ROI is on average above that at the expected fee; the gain of somebody not picked holds this difference
too, which Howard would subtract as far as it could be had without asking.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from features.value import roi
from serving.candidates import Candidates, Ints
from serving.interval import LEVELS
from serving.model import Model
from serving.screen import Screened
from serving.stage import Floats

MOST = 5
LEAST = 0.01  # of what the last pick returns: a smaller expected change of one place is not worth a question
# Equally likely scores of a standard normal, best news first. Finer than interval.NORMAL_SCORES, of the same law:
# whether a question pays is decided in the tail. Fixed numbers, so that answers are the same every time.
SCORES = -np.array([NormalDist().inv_cdf(level) for level in LEVELS])
STEP = 10
_EDGES = np.append(SCORES[::STEP], SCORES[-1])


@dataclass(frozen=True)
class _Terms:
    """What n creators are judged by: fee, the spread of its log, value and cost."""

    fee: Floats
    spread: Floats
    value: Floats
    cost: Floats

    def part(self, rows: Ints) -> "_Terms":
        return _Terms(self.fee[rows], self.spread[rows], self.value[rows], self.cost[rows])


def worth_asking(model: Model, rank_by: str, found: Candidates, picks: Ints) -> tuple[Ints, Floats]:
    """The creators whose fee is most worth knowing exactly, best first, the first row among equals.

    Args:
        model: the funnel.
        rank_by: order of the picks; only roi and profit depend on fees.
        found: the n candidates, or those of them that `askable` names, the picks and the best one left out.
        picks: positions of the picks among them, best first, shape (k,).

    Returns:
        Positions among the candidates and gains, shape (m,) each with m <= MOST. A gain is the expected rise of the
        picks' mean ROI, or mean profit in base currency, over k places, if this fee alone is asked and one place
        changed where that pays. Nobody where fees are commissions, where nobody is left out, or for another order.
    """
    nobody = np.zeros(0, dtype=np.int64), np.zeros(0)
    if rank_by not in ("roi", "profit") or model.commission_rate is not None or not len(picks):
        return nobody
    others = np.array(found.order)
    others[picks] = np.nan
    last, left_out = float(found.order[picks[-1]]), float(np.fmax.reduce(others))
    if not np.isfinite([last, left_out]).all():
        return nobody
    terms = _Terms(found.fee, found.fee_spread, found.scores.value, found.scores.cost)
    least = LEAST * (last + 1.0 if rank_by == "roi" else float(found.scores.value[picks[-1]]))
    unsettled = picks[found.fee_spread[picks] > 0]
    asked = np.concatenate([unsettled, _within_reach(model, rank_by, terms, others, last + least)])
    # for a pick good news is a fee that is too high
    sign = np.repeat([-1.0, 1.0], [len(unsettled), len(asked) - len(unsettled)])
    bar = np.where(sign > 0, last, left_out)
    keep = np.flatnonzero(_promising(_changes(model, rank_by, terms.part(asked), sign, bar, _EDGES)))
    gains = _changes(model, rank_by, terms.part(asked[keep]), sign[keep], bar[keep], SCORES).mean(axis=1)
    best = np.lexsort((asked[keep], -gains))[:MOST]
    best = best[gains[best] > max(least, 0.0)]
    return asked[keep][best], gains[best] / len(picks)


def askable(model: Model, rank_by: str, screened: Screened, at_least: float, at_most: float) -> Ints:
    """Positions of those surely left out who may be among the MOST whose fee is worth asking for, by the margins.

    Args:
        model: the funnel.
        rank_by: order of the picks.
        screened: the n candidates.
        at_least, at_most: bounds of what the last pick returns.
    """
    nobody, order, margin = np.zeros(0, dtype=np.int64), screened.order, screened.margin
    if rank_by not in ("roi", "profit") or not np.isfinite([at_least, at_most]).all():
        return nobody
    terms = _Terms(screened.fee, screened.fee_spread, screened.value, screened.cost)
    # who may be among the picks is looked at anyway
    asked = within_reach(model, rank_by, screened, at_least)
    asked = asked[(order + margin)[asked] < at_least]
    if not len(asked):
        return nobody
    ones, bar = np.ones(len(asked)), np.full(len(asked), at_least)
    part = terms.part(asked)
    at_edges = _changes(model, rank_by, part, ones, bar, _EDGES)
    # what a draw at the lowest fee returns is off by as much, in proportion, as what is expected
    factor = np.exp(-SCORES[0] * max(1.0, model.extra_cost.elasticity) * part.spread) if rank_by == "roi" else 1.0
    off = margin[asked] * factor + (at_most - at_least)
    gains_most, gains_least = at_edges[:, :-1].mean(axis=1) + off, at_edges[:, 1:].mean(axis=1) - off
    keep = np.flatnonzero((gains_most >= _mth_largest(gains_least)) & (gains_most > 0))
    asked, off = asked[keep], off[keep]
    gains = _changes(model, rank_by, terms.part(asked), ones[keep], bar[keep], SCORES).mean(axis=1)
    return np.asarray(asked[(gains + off >= _mth_largest(gains - off)) & (gains + off > 0)])


def within_reach(model: Model, rank_by: str, screened: Screened, bar: float) -> Ints:
    """Positions of all who may return more than a bar at some fee that is asked for; nobody for another order."""
    if rank_by not in ("roi", "profit"):
        return np.zeros(0, dtype=np.int64)
    terms = _Terms(screened.fee, screened.fee_spread, screened.value, screened.cost)
    return _within_reach(model, rank_by, terms, screened.order + screened.margin, bar)


def _mth_largest(gains: Floats) -> float:
    """The MOSTth largest gain, 0 where there are no more."""
    return float(np.partition(gains, len(gains) - MOST)[len(gains) - MOST]) if len(gains) > MOST else 0.0


def _within_reach(model: Model, rank_by: str, terms: _Terms, others: Floats, bar: float) -> Ints:
    """Those left out who would pass a bar at the lowest fee drawn; exact, and cheap for a million.

    A fee u times as high, u <= 1, makes the whole cost no less than u times as high, as extra cost grows by a power of
    the fee: at most 1 / u times the return.
    """

    def needed(cost: Floats, spread: Floats) -> Floats:
        least = np.exp(-SCORES[0] * max(1.0, model.extra_cost.elasticity) * spread)
        return np.asarray((bar + 1.0) * least - 1.0 if rank_by == "roi" else bar - (1.0 - least) * cost)

    # first with the widest spread, which needs no array of its own
    rows = np.flatnonzero(others > needed(terms.cost, terms.spread.max(keepdims=True)))
    return rows[others[rows] > needed(terms.cost[rows], terms.spread[rows])]


def _changes(model: Model, rank_by: str, terms: _Terms, sign: Floats, bar: Floats, scores: Floats) -> Floats:
    """What one place gains at each fee drawn, not rising along the scores, shape (m, scores)."""
    fee = terms.fee[:, None] * np.exp(-(sign * terms.spread)[:, None] * scores)
    value, cost = terms.value[:, None], fee + model.extra_cost.at(fee)
    order = roi(value, cost, model.basis.cost_floor) if rank_by == "roi" else value - cost
    return np.asarray(np.maximum(sign[:, None] * (order - bar[:, None]), 0.0))


def _promising(at_edges: Floats) -> Floats:
    """Whose gain may be among the MOST highest, by bounds: each STEP draws count as the best, or as the worst of them.

    Args:
        at_edges: changes at the edges of the steps, shape (m, steps + 1).
    """
    high, low = at_edges[:, :-1].mean(axis=1), at_edges[:, 1:].mean(axis=1)
    return np.asarray(high >= _mth_largest(low))
