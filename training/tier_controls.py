"""What a comparison of tiers holds equal: the brief, the creator's fit to it, platform, country and deliverable."""

import numpy as np
from numpy.typing import NDArray

from features.matrix import NAMES
from training.dataset import Dataset

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Nothing here grows with an account, and nothing is a trait of the creator: how engaging, credible or often sponsored
# accounts of a size are is part of what their tier is.
CONTROLS = (
    "niche_match", "niche_similarity", "target_share", "home_in_target", "speaks_language", "audience_speaks_language",
    "is_new_product", "log_product_price", "season_sin", "season_cos",
)  # fmt: skip
LEAST_SHARE = 0.002  # of the audience in the target, so that its log stays finite
LEAST_MARGIN = 0.01
LEAST_ROWS = 20  # of a platform, country or deliverable that is told apart
MOST_MEMBERS = 30


def tier_controls(data: Dataset, rows: Ints) -> Floats:
    """Controls of some placements, standardised, shape (rows, k); unknown numbers are the mean, and said to be unknown.

    Args:
        data: placements with their features.
        rows: positions of some of them.
    """
    market, seen = data.market, data.seen
    p = market.placements
    x = data.x[rows][:, [NAMES.index(name) for name in CONTROLS]].astype(np.float64)
    unknown = np.isnan(x)
    known = np.maximum((~unknown).sum(axis=0), 1)
    x = np.where(unknown, np.where(unknown, 0.0, x).sum(axis=0) / known, x)
    margin = market.campaigns.numbers["product_margin"][p.campaign[rows]]
    margin = np.where(np.isnan(margin), market.basis.unknown_margin, margin)
    share = np.maximum(np.nan_to_num(p.value_share[rows], nan=1.0), LEAST_SHARE)
    columns = np.column_stack(
        [
            x,
            unknown,
            np.log(share),
            np.log(np.maximum(margin, LEAST_MARGIN)),
            _members(seen.platform[rows]),
            _members(seen.country[rows]),
            _members(p.deliverable[rows]),
        ]
    )
    scale = columns.std(axis=0)
    varied = scale > 1e-9
    return np.asarray((columns[:, varied] - columns[:, varied].mean(axis=0)) / scale[varied])


def _members(code: Ints) -> Floats:
    """A column for each of the commonest codes; the rest are one group."""
    _, position, count = np.unique(code, return_inverse=True, return_counts=True)
    common = np.argsort(-count, kind="stable")[:MOST_MEMBERS]
    common = common[count[common] >= LEAST_ROWS]
    return np.asarray(position[:, None] == common, dtype=np.float64)
