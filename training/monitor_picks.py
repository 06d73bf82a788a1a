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
    placements = _bookings(market).with_row_index("row")
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


def why_none(market: Market, picks: pl.DataFrame) -> str:
    """Why a slate log that is not empty promised nothing of any placement, with what to do, in a sentence."""
    bookings = _bookings(market)
    ours = picks.join(bookings, on="brief_id", how="semi")
    if ours.is_empty():
        return (
            "No brief_id in the slate log is a campaign_id of the placements: give briefs the campaign_id of their "
            "bookings as brief_id."
        )
    booked = ours.join(bookings, on=["brief_id", "creator_id"], how="semi")
    if booked.is_empty():
        return "Slates in the log are of campaigns of the placements, but nobody they showed was booked for them."
    currency = market.basis.currency
    if booked.filter(pl.col("currency") == currency).is_empty():
        given = ", ".join(booked["currency"].drop_nulls().unique().sort())
        return f"Slates in the log are of bookings, but their amounts are in {given}, the data in {currency}."
    return (
        "Slates in the log are of bookings, but every one was written later than the UTC day its booking was agreed "
        "on: ask before booking, and see that agreed_on is right."
    )


def _bookings(market: Market) -> pl.DataFrame:
    """Campaign (as brief_id), creator and UTC day of every placement, in their order."""
    p = market.placements
    return pl.DataFrame(
        {
            "brief_id": market.campaign_frame["campaign_id"].gather(p.campaign),
            "creator_id": market.creators.frame["creator_id"].gather(p.creator),
            "day": p.agreed,
        }
    )
