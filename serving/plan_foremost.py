"""Who could matter to a plan among very many: by fast scores, and with a bound on what anybody left out could add."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from serving.candidates import QUANTITIES, Asked
from serving.filters import Removed
from serving.plan_bound import bound
from serving.plan_problem import CENT, Problem
from serving.prepared import Prepared
from serving.screen import screen

Ints = NDArray[np.int64]

MOST = 1_500  # of each size of account, and of all
NEAR = 0.03  # of the bound: who lies further below their price than this is in no good plan
SIZES: Mapping[str, tuple[str, ...]] = {"nano": ("nano",), "micro": ("micro",), "macro": ("macro", "mega")}
ALL = "all"


def foremost(
    asked: Asked, prepared: Prepared, rows: Ints, removed: Removed, rank_by: str
) -> tuple[Ints, dict[str, float]]:
    """Rows of the creators to score exactly, ascending, and by size the most that a set with another can be worth.

    Args:
        asked: the brief, ranked by ROI, so that value and cost are screened.
        prepared: of its release.
        rows: of the catalogue, ascending.
        removed: takes whom the fee filters remove.
        rank_by: what the brief wants most of; a quantity is not screened, its value stands for it.
    """
    found, _ = screen(asked, prepared, rows, removed)
    known = np.flatnonzero(np.isfinite(found.value) & np.isfinite(found.cost))
    found = found.part(known)
    catalogue = asked.release.catalogue
    names = np.array(catalogue.tier_names)[catalogue.state.codes["tier"][found.rows]]
    # at the best it could be, so that the bound holds of the exact figures too
    worth = np.maximum(found.value, 0.0) * (1.0 + found.relative)
    cost = np.floor(np.maximum(found.cost, 0.0) * CENT * (1.0 - found.relative)).astype(np.int64)
    budget = int(asked.brief.budget * CENT)
    keep, outside = [], {}
    for size, tiers in {ALL: tuple(catalogue.tier_names), **SIZES}.items():
        own = np.flatnonzero(np.isin(names, tiers))
        if not len(own):
            continue
        upper = bound(Problem(worth[own], np.zeros(len(own)), cost[own], np.arange(len(own)), budget))
        order = np.argsort(-upper.reduced, kind="stable")
        wanted = int((upper.reduced >= -NEAR * upper.value).sum())
        taken = order[: min(max(wanted, MOST // 10), MOST)]
        keep.append(own[taken])
        left = order[len(taken) :]
        # a quantity other than value was not bounded
        sure = rank_by not in QUANTITIES
        outside[size] = (
            -np.inf if not len(left) else float(upper.value + min(upper.reduced[left[0]], 0.0)) if sure else np.inf
        )
    return found.rows[np.unique(np.concatenate(keep))], outside
