"""Propensities that the data do not give, from the slate log: the chance with which a pick was shown.

The convention is that a brief's `brief_id` is the `campaign_id` under which its bookings appear in the placements.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.market import Market
from serving.slate_reader import Slates
from serving.stage import Floats


@dataclass(frozen=True)
class Propensities:
    """With which chance p placements were chosen, shape (p,) each.

    Attributes:
        chance: NaN where neither the data nor the slate log say.
        from_slates: where the slate log says, not the data.
        warning: what of the slate log could not be read, or None.
    """

    chance: Floats
    from_slates: NDArray[np.bool_]
    warning: str | None = None


def propensities(market: Market, slates: Slates) -> Propensities:
    """Propensities of a market's placements: as given in the data, else as the slate log has them.

    A placement's is that of the newest slate of its campaign that holds its creator and was written before the end of
    the UTC day on which it was agreed: a later slate cannot have led to it.
    """
    given = market.placements.propensity
    logged = _logged(market, slates.picks)
    from_slates = np.isnan(given) & np.isfinite(logged)
    return Propensities(np.where(from_slates, logged, given), from_slates, slates.warning)


def _logged(market: Market, picks: pl.DataFrame) -> Floats:
    """Propensity of each placement by the slates alone, NaN where there is none, shape (p,)."""
    p = market.placements
    placements = pl.DataFrame(
        {
            "brief_id": market.campaign_frame["campaign_id"].gather(p.campaign),
            "creator_id": market.creators.frame["creator_id"].gather(p.creator),
            "day": p.agreed,
        }
    ).with_row_index("row")
    shown = (
        picks.select("brief_id", "creator_id", "propensity", day=pl.col("time").dt.epoch("d").cast(pl.Int64))
        .drop_nulls()
        .join(placements, on=["brief_id", "creator_id"], how="semi")
        # picks are in order of time: what the day ended with
        .unique(["brief_id", "creator_id", "day"], keep="last", maintain_order=True)
    )
    found = placements.sort("day").join_asof(
        shown.sort("day"), on="day", by=["brief_id", "creator_id"], strategy="backward", check_sortedness=False
    )
    return found.sort("row")["propensity"].fill_null(np.nan).to_numpy()
