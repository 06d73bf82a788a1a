"""Fitting what becomes of a price: by its source, how far the fee agreed follows it and how far the fees of others."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from features.profile import PRICE_SOURCES
from serving.price import PriceLine
from serving.stage import Floats

Ints = NDArray[np.int64]

MIN_ROWS = 100
EXACT = 0.02  # spread of log fee / price below which a price is what is paid
FOLDS = 2
MOST_ROWS = 20_000  # latest placements from which the fees of alike creators are learnt, for the lines only


def fit_price_lines(
    fee: Floats, price: Floats, source: Floats, creator: Ints, peer_fees: Callable[[Ints, Ints], Floats]
) -> dict[str, PriceLine]:
    """How fees follow prices known beforehand.

    Args:
        fee: agreed, in time order, NaN where unknown; shape (n,).
        price: known beforehand, NaN where none was; shape (n,).
        source: of the price, a code into PRICE_SOURCES, NaN where unknown; shape (n,).
        creator: codes, shape (n,).
        peer_fees: given rows to learn from and rows to predict, the fees of alike creators for the latter.

    Returns:
        By source of the price; one with fewer than MIN_ROWS placements, or whose prices are what is paid, is left out.
    """
    usable = np.flatnonzero((fee > 0) & (price > 0) & np.isfinite(source))
    enough = [code for code in range(len(PRICE_SOURCES)) if (source[usable] == code).sum() >= MIN_ROWS]
    off = np.log(fee[usable] / price[usable])
    enough = [code for code in enough if np.abs(off[source[usable] == code]).mean() > EXACT]
    if not enough:
        return {}
    # alike creators must not include the creator at hand, or its own fees would stand for its peers'
    learnable, peers = np.flatnonzero(fee > 0)[-MOST_ROWS:], np.full(len(fee), np.nan)
    for fold in range(FOLDS):
        asked = usable[creator[usable] % FOLDS == fold]
        if len(asked):
            peers[asked] = peer_fees(learnable[creator[learnable] % FOLDS != fold], asked)
    out = {}
    for code in enough:
        rows = usable[(source[usable] == code) & (np.nan_to_num(peers[usable]) > 0)]
        if len(rows) >= MIN_ROWS:
            out[PRICE_SOURCES[code]] = _line(np.log(fee[rows]), np.log(price[rows]), np.log(peers[rows]))
    return out


def _line(log_fee: Floats, log_price: Floats, log_peers: Floats) -> PriceLine:
    design = np.column_stack([np.ones(len(log_fee)), log_price, log_peers])
    coef = np.linalg.lstsq(design, log_fee, rcond=None)[0]
    residual = log_fee - design @ coef
    # the mean of the fees, not that of their logs
    level = float(np.log(np.exp(log_fee).sum() / np.exp(design @ coef).sum()))
    return PriceLine(float(coef[0]) + level, float(coef[1]), float(coef[2]), float(residual.std()), len(log_fee))
