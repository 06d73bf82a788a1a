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

from statistics import NormalDist

import numpy as np

from features.value import roi
from serving.candidates import Candidates, Ints
from serving.interval import LEVELS
from serving.model import Model
from serving.stage import Floats

MOST = 5
LEAST = 0.01  # of what the last pick returns: a smaller expected change of one place is not worth a question
# Equally likely scores of a standard normal, best news first. Finer than interval.NORMAL_SCORES, of the same law:
# whether a question pays is decided in the tail. Fixed numbers, so that answers are the same every time.
SCORES = -np.array([NormalDist().inv_cdf(level) for level in LEVELS])
STEP = 10
_EDGES = np.append(SCORES[::STEP], SCORES[-1])


def worth_asking(model: Model, rank_by: str, found: Candidates, picks: Ints) -> tuple[Ints, Floats]:
    """The creators whose fee is most worth knowing exactly, best first, the first row among equals.

    Args:
        model: the funnel.
        rank_by: order of the picks; only roi and profit depend on fees.
        found: the n candidates.
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
    least = LEAST * (last + 1.0 if rank_by == "roi" else float(found.scores.value[picks[-1]]))
    unsettled = picks[found.fee_spread[picks] > 0]
    asked = np.concatenate([unsettled, _within_reach(model, rank_by, found, others, last + least)])
    # for a pick good news is a fee that is too high
    sign = np.repeat([-1.0, 1.0], [len(unsettled), len(asked) - len(unsettled)])
    bar = np.where(sign > 0, last, left_out)
    keep = np.flatnonzero(_promising(_changes(model, rank_by, found, asked, sign, bar, _EDGES)))
    gains = _changes(model, rank_by, found, asked[keep], sign[keep], bar[keep], SCORES).mean(axis=1)
    best = np.lexsort((asked[keep], -gains))[:MOST]
    best = best[gains[best] > max(least, 0.0)]
    return asked[keep][best], gains[best] / len(picks)


def _within_reach(model: Model, rank_by: str, found: Candidates, others: Floats, bar: float) -> Ints:
    """Those left out who would pass a bar at the lowest fee drawn; exact, and cheap for a million.

    A fee u times as high, u <= 1, makes the whole cost no less than u times as high, as extra cost grows by a power of
    the fee: at most 1 / u times the return.
    """

    def needed(cost: Floats, spread: Floats) -> Floats:
        least = np.exp(-SCORES[0] * max(1.0, model.extra_cost.elasticity) * spread)
        return np.asarray((bar + 1.0) * least - 1.0 if rank_by == "roi" else bar - (1.0 - least) * cost)

    # first with the widest spread, which needs no array of its own
    rows = np.flatnonzero(others > needed(found.scores.cost, found.fee_spread.max(keepdims=True)))
    return rows[others[rows] > needed(found.scores.cost[rows], found.fee_spread[rows])]


def _changes(
    model: Model, rank_by: str, found: Candidates, asked: Ints, sign: Floats, bar: Floats, scores: Floats
) -> Floats:
    """What one place gains at each fee drawn, not rising along the scores, shape (m, scores)."""
    fee = found.fee[asked, None] * np.exp(-(sign * found.fee_spread[asked])[:, None] * scores)
    value, cost = found.scores.value[asked, None], fee + model.extra_cost.at(fee)
    order = roi(value, cost, model.basis.cost_floor) if rank_by == "roi" else value - cost
    return np.asarray(np.maximum(sign[:, None] * (order - bar[:, None]), 0.0))


def _promising(at_edges: Floats) -> Floats:
    """Whose gain may be among the MOST highest, by bounds: each STEP draws count as the best, or as the worst of them.

    Args:
        at_edges: changes at the edges of the steps, shape (m, steps + 1).
    """
    high, low = at_edges[:, :-1].mean(axis=1), at_edges[:, 1:].mean(axis=1)
    enough = np.partition(low, len(low) - MOST)[len(low) - MOST] if len(low) > MOST else 0.0
    return np.asarray(high >= enough)
