"""Whether profiles still come with what they came with: columns of the snapshots themselves.

Features carry the last known reading forward, so a feed that stops delivering a column would not show in them for long.
"""

import numpy as np
import polars as pl

from features import asof
from features.profile import LEVELS, NOISY, NOISY_LOGS
from training.drift import Columns, Drift, drift_of, reference_of

# the day of the last post is read off `last_post_at`
WATCHED = tuple("last_post_at" if name == "last_post_day" else name for name in (*LEVELS, *NOISY_LOGS, *NOISY))


def snapshot_drifts(snapshots: pl.DataFrame, learnt_before: int, as_of: int, alpha: float) -> list[Drift]:
    """Shares of missing values since a model was trained beside those before, by column.

    A creator is an observation, as a campaign is elsewhere: each counts once, whatever its number of snapshots. Columns
    that were never delivered before are left out.

    Args:
        snapshots: `creator_snapshots` (canonical frame); undated ones count as taken before.
        learnt_before: UTC day as of which the model was trained; `since` is what was taken from it on.
        as_of: UTC day of the look; what became known on it or later is not seen.
        alpha: as of `drift_of`.

    Returns:
        Of each column; `rows` are snapshots, `campaigns` creators.
    """
    seen, taken = asof.days(snapshots["known_at"]) < as_of, asof.days(snapshots["snapshot_at"])
    creator = snapshots["creator_id"].rank("dense").to_numpy().astype(np.int64)
    before, since = seen & (taken < learnt_before), seen & (taken >= learnt_before)
    given = {name: snapshots[name].is_not_null().to_numpy() for name in WATCHED}
    delivered = [name for name, there in given.items() if there[before].any()]
    # a value or none is all that is asked, so PSI has nothing to say
    every = Columns({name: np.where(given[name], 1.0, np.nan) for name in delivered}, {}, creator)
    return drift_of(reference_of(every.part(delivered, before)), every.part(delivered, since), alpha)
