"""What is usual for a creator: the yardstick of records.

A record of raw views says mostly how big the booked creators were. Against each creator's own usual views and usual
engagement, as known when the placement was agreed, it says how placements of a creator, a brand, a format or a niche
differ from what their creators do anyway.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

INTERACTIONS = ("avg_likes", "avg_comments", "avg_shares", "avg_saves")


def usual_log_views(profile: Mapping[str, Floats]) -> Floats:
    """Log (1 + views) of the creator's posts, shape (n,); NaN where no profile says.

    >>> usual_log_views({"median_views": np.array([99.0, np.nan])}).round(3).tolist()
    [4.605, nan]
    """
    return np.log1p(profile["median_views"])


def usual_log_rate(profile: Mapping[str, Floats]) -> Floats:
    """Log engagement per view of the creator's posts, shape (n,); NaN where no profile says."""
    views = profile["median_views"]
    interactions = np.sum([np.nan_to_num(profile[name]) for name in INTERACTIONS], axis=0)
    known = (interactions > 0) & (views > 0)
    return np.where(known, np.log(np.where(known, interactions, 1.0)) - np.log1p(np.where(known, views, 0.0)), np.nan)
