"""What past picks promised: placements found again in the slate log.

The convention is that a brief's `brief_id` is the `campaign_id` under which its bookings appear in the placements.
"""

import numpy as np
import polars as pl

from features.market import Market
from serving.stage import Floats


def promised_by_slates(market: Market, picks: pl.DataFrame) -> Floats:
    """Value that each placement was promised when it was picked, base currency, NaN where no slate led to it.

    A placement was picked from the newest slate of its campaign that holds its creator and was written before the end
    of the UTC day on which it was agreed. Slates in another currency are left out.

    Args:
        market: the placements.
        picks: of the slate log, a row a pick, in the order of time.

    Returns:
        Shape (p,).
    """
    p = market.placements
    placements = pl.DataFrame(
        {
            "brief_id": market.campaign_frame["campaign_id"].gather(p.campaign),
            "creator_id": market.creators.frame["creator_id"].gather(p.creator),
            "day": p.agreed,
        }
    ).with_row_index("row")
    shown = (
        picks.filter(pl.col("currency") == market.basis.currency)
        .select("brief_id", "creator_id", "value", day=pl.col("time").dt.epoch("d").cast(pl.Int64))
        .drop_nulls()
        .join(placements, on=["brief_id", "creator_id"], how="semi")
        .unique(["brief_id", "creator_id", "day"], keep="last", maintain_order=True)
    )
    found = placements.sort("day").join_asof(
        shown.sort("day"), on="day", by=["brief_id", "creator_id"], strategy="backward", check_sortedness=False
    )
    return np.asarray(found.sort("row")["value"].fill_null(np.nan).to_numpy())
