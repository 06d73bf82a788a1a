"""How far a record is to be believed: estimated from how alike successive placements of the same entity turned out.

If placements of one creator differ from the market by something of the creator's own (variance v) and by luck (variance
s), then the product of two of them is v on average, and the square of one is v + s. An entity with n placements keeps
the share n / (n + s / v) of its mean (Buhlmann 1967). Counts have a Gamma prior of shape 1 / v instead. Products are
integers that add up by the day, so the variances are those known before each decision.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from features.record import MICRO, STAGES, Totals

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# what is believed until a market has shown more: so alike are two placements of one entity, and how many pairs that is
# worth
USUAL_ALIKE, USUAL_PAIRS = 1.0 / 3.0, 50.0
LEAST_ALIKE, MOST_ALIKE, MOST_VARIED = 0.003, 0.95, 3.0
ODD = 6.0  # standard deviations, or times what was expected, beyond which a placement is no odder
# stages compared in logs: count, total and total of squares; and stages that are counts: rows, events and exposure
LOGS = {
    "views": ("compared", "log_views_beyond", "log_views_beyond_squared"),
    "engagement": ("compared_rates", "log_rate_beyond", "log_rate_beyond_squared"),
}
COUNTS = {"clicks": ("seen", "seen_clicks", "seen_views"), "sales": ("sold", "sold_orders", "sold_clicks")}
# of a placement, what its residuals are computed from
COMPARED = tuple(dict.fromkeys(name for stage in (*LOGS.values(), *COUNTS.values()) for name in stage))


def pair_residuals(own: Mapping[str, Floats], market: Totals) -> tuple[Floats, Floats]:
    """How far each placement was from what the market led one to expect, and what it weighs, shape (p, len(STAGES)).

    Args:
        own: COMPARED columns of the placements themselves, in their units; shape (p,) each.
        market: the market's totals before each placement settled, by which it is compared.
    """
    shape = (len(own[COMPARED[0]]), len(STAGES))
    residuals, weights = np.full(shape, np.nan), np.ones(shape)
    for stage, (count, total, squares) in enumerate(LOGS.values()):
        n = np.maximum(market[count], 1.0)
        mean = market[total] / n
        spread = np.sqrt(np.maximum(market[squares] / n - mean**2, 0.0))
        usable = (own[count] > 0) & (market[count] > 1) & (spread > 0)
        residuals[:, stage] = _within(usable, (own[total] - mean) / np.where(usable, spread, 1.0), ODD)
    for stage, (count, events, exposure) in enumerate(COUNTS.values(), start=len(LOGS)):
        expected = own[exposure] * market[events] / np.maximum(market[exposure], 1e-9)
        usable = (own[count] > 0) & (expected > 0)
        # a pair of many expected events counts for little more than one of some: else a few pairs would decide
        unit = 1.0 + expected * USUAL_ALIKE
        residuals[:, stage] = _within(usable, (own[events] - expected) / unit, ODD * (1.0 + expected) / unit)
        weights[:, stage] = expected / unit
    return residuals, weights


def _within(usable: NDArray[np.bool_], residual: Floats, bound: Floats | float) -> Floats:
    """A residual bounded, so that one odd placement does not decide; NaN where it is not usable."""
    return np.where(usable, np.clip(residual, -bound, bound), np.nan)


def successive_pairs(
    entity: Ints, order: tuple[Ints, ...], residuals: Floats, weights: Floats, apart: Ints | None = None
) -> Ints:
    """Products of a placement's residual and weight with those of the one before it of the same entity, in millionths.

    Args:
        entity: of one of the PAIRED kinds, -1: none; shape (p,).
        order: what sorts the placements, the last column first, as of `np.lexsort`.
        residuals, weights: from `pair_residuals`.
        apart: two that are the same by this are no pair: accounts of one person are alike by what they share, not by
            each being like itself; shape (p,).

    Returns:
        Shape (p, 2 x STAGES); 0 for the first of an entity.
    """
    out = np.zeros((len(entity), 2 * len(STAGES)), dtype=np.int64)
    for stage in range(len(STAGES)):
        rows = np.flatnonzero((entity >= 0) & ~np.isnan(residuals[:, stage]))
        rows = rows[np.lexsort((*(key[rows] for key in order), entity[rows]))]
        same = entity[rows[1:]] == entity[rows[:-1]]
        if apart is not None:
            same &= apart[rows[1:]] != apart[rows[:-1]]
        later, before = rows[1:][same], rows[:-1][same]
        for place, values in ((2 * stage, residuals), (2 * stage + 1, weights)):
            product = values[later, stage] * values[before, stage]
            out[later, place] = np.rint(product * MICRO).astype(np.int64)
    return out


def shrunk_beyond(own: Totals, market: Totals, entity: str, stage: str, others: Totals | None = None) -> Floats:
    """An entity's mean log beyond what was expected, minus the market's, shrunk; 0 without history.

    Args:
        own, market: totals as of the day.
        entity: one of PAIRED.
        stage: one of LOGS.
        others: of the person's other accounts; towards their mean, itself shrunk, an account without much history of
            its own is drawn, instead of towards 0.
    """
    count, total, _ = LOGS[stage]
    mean = market[total] / np.maximum(market[count], 1.0)
    alike = _alike(market, entity, stage, MOST_ALIKE)
    towards = 0.0 if others is None else shrunk_beyond(others, market, "person", stage)
    prior = (1.0 - alike) / alike
    return (own[total] - own[count] * mean + prior * towards) / (own[count] + prior)


def shrunk_rate(own: Totals, market: Totals, entity: str, stage: str, others: Totals | None = None) -> Floats:
    """Log of an entity's rate over the market's, shrunk; 0 without history. Arguments as of `shrunk_beyond`."""
    _, events, exposure = COUNTS[stage]
    expected = own[exposure] * market[events] / np.maximum(market[exposure], 1e-9)
    prior = 1.0 / _alike(market, entity, stage, MOST_VARIED)
    towards = 1.0 if others is None else np.exp(shrunk_rate(others, market, "person", stage))
    return np.log((own[events] + prior * towards) / (expected + prior))


def _alike(market: Totals, entity: str, stage: str, most: float) -> Floats:
    """Variance that two placements of one entity have in common, as known before the day.

    Of logs in units of the variance between placements, of counts in squares of what was expected.
    """
    products, weights = market[f"{entity}_{stage}_products"], market[f"{entity}_{stage}_weights"]
    return np.clip((products + USUAL_ALIKE * USUAL_PAIRS) / (weights + USUAL_PAIRS), LEAST_ALIKE, most)
