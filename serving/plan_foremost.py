"""Who could matter to a plan among very many: by fast scores, and with a bound on what anybody left out could add."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from features.plan_options import PlanBrief
from serving.candidates import QUANTITIES, Asked, scored
from serving.filters import Removed
from serving.plan_bound import bound
from serving.plan_problem import CENT, Problem, Row, cents, costs_in_cents
from serving.prepared import Prepared
from serving.screen import Screened, screen

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MOST = 1_500  # of each size of account, and of all
OF_LIMITED = 400  # of each tier and platform that the plan limits
WIDE = 0.01  # relative error of a fast score from which it says too little
MOST_WIDE = 2_000  # creators with such a score who are scored exactly; their fees are unsettled, so they are few
SIZES: Mapping[str, tuple[str, ...]] = {"nano": ("nano",), "micro": ("micro",), "macro": ("macro", "mega")}
ALL = "all"


def foremost(
    asked: Asked, brief: PlanBrief, prepared: Prepared, rows: Ints, removed: Removed
) -> tuple[Ints, dict[str, float]]:
    """Rows of the creators to score exactly, ascending, and by size the most that a set with another can be worth.

    Args:
        asked: the brief, ranked by ROI, so that value and cost are screened.
        brief: the same with its plan. Where it wants most of a quantity, value stands for it and nothing is bounded.
        prepared: of its release.
        rows: of the catalogue, ascending.
        removed: takes whom the fee filters remove.
    """
    found, _ = screen(asked, prepared, rows, removed)
    found = found.part(np.flatnonzero(np.isfinite(found.value) & np.isfinite(found.cost)))
    catalogue = asked.release.catalogue
    tier = np.array(catalogue.tier_names)[catalogue.state.codes["tier"][found.rows]]
    platform = np.array([*catalogue.words.platform.values, ""])[catalogue.state.codes["platform"][found.rows]]
    sizes = {ALL: np.arange(len(found)), **{size: np.flatnonzero(np.isin(tier, of)) for size, of in SIZES.items()}}
    limited = [np.flatnonzero(tier == name) for name in brief.plan.tier_limits]
    limited += [np.flatnonzero(platform == name) for name in brief.plan.platform_limits]
    worth, cost = np.maximum(found.value, 0.0), costs_in_cents(found.cost)
    keep = [_wide(found)]
    for own, most in [*((own, MOST) for own in sizes.values()), *((own, OF_LIMITED) for own in limited)]:
        # by return alone too: what the number of creators makes dear depends on the other limits
        for slots in dict.fromkeys((brief.plan.max_creators, None)):
            reduced = bound(_problem(brief, worth[own], cost[own], slots)).reduced
            keep.append(own[np.argsort(-reduced, kind="stable")[:most]])
    kept = np.unique(np.concatenate(keep))
    return found.rows[kept], _outside(asked, brief, found, kept, sizes)


def _wide(found: Screened) -> Ints:
    """Positions of those whose fast score says too little, the most valuable of them."""
    wide = np.flatnonzero(found.relative > WIDE)
    return np.asarray(wide[np.argsort(-found.value[wide] * (1.0 + found.relative[wide]), kind="stable")[:MOST_WIDE]])


def _outside(
    asked: Asked, brief: PlanBrief, found: Screened, kept: Ints, sizes: Mapping[str, Ints]
) -> dict[str, float]:
    """By size, the most that a set with anybody who is not kept can be worth."""
    left = np.ones(len(found), dtype=bool)
    left[kept] = False
    if not left.any():
        return {}
    if brief.rank_by in QUANTITIES:
        return dict.fromkeys(sizes, np.inf)
    exact = scored(asked, found.rows[kept]).scores
    # those left out at the best they could be
    worth = np.maximum(found.value, 0.0) * (1.0 + found.relative)
    cost = np.floor(np.maximum(found.cost, 0.0) * CENT * (1.0 - np.minimum(found.relative, 1.0))).astype(np.int64)
    worth[kept], cost[kept] = np.maximum(np.nan_to_num(exact.value), 0.0), costs_in_cents(np.nan_to_num(exact.cost))
    outside = {}
    for size, own in sizes.items():
        if left[own].any():
            upper = bound(_problem(brief, worth[own], cost[own], brief.plan.max_creators))
            outside[size] = upper.value + min(float(upper.reduced[left[own]].max()), 0.0)
    return outside


def _problem(brief: PlanBrief, worth: Floats, cost: Ints, slots: int | None) -> Problem:
    n = len(worth)
    count = () if slots is None else (Row("", np.arange(n), np.ones(n, dtype=np.int64), True, -np.inf, slots),)
    return Problem(worth, np.zeros(n), cost, np.arange(n), cents(brief.budget), rows=count)
