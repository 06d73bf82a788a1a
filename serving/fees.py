"""The fee to expect of each creator: priced for the deliverable, known, or estimated from alike ones."""

import numpy as np

from features.context import CreatorState
from features.profile import PRICE_SOURCES
from serving.model import Model
from serving.stage import Floats, Matrix

ESTIMATED = float(PRICE_SOURCES.index("estimated"))
OF_THE_SALE = ("conversion", "local")  # goals whose value is a share of the sale, as a commission is


def moves_with_value(model: Model, goal: str) -> bool:
    """Whether fees rise and fall with the value: commissions, where the value is a share of the same sale.

    Args:
        model: the funnel.
        goal: of the brief; where past values were given, nothing ties them to the sale.
    """
    return model.commission_rate is not None and goal in OF_THE_SALE and goal not in model.overridden_goals


def one_roi(model: Model, goal: str) -> bool:
    """Whether ROI is the same whatever is sold: nothing is paid beside a commission that moves with the value."""
    return moves_with_value(model, goal) and model.extra_cost.level == 0


def expected_fee(model: Model, price: Floats, source: Floats, x: Matrix) -> tuple[Floats, Floats]:
    """Fee to expect and the spread of its log, shape (n,) each; a commission is that of the expected sales.

    Args:
        model: the funnel.
        price: known beforehand, NaN where none is.
        source: of the price, a code into PRICE_SOURCES.
        x: features, shape (n, f).
    """
    if model.commission_rate is None:
        return model.expected_fee(price, source, model.peer_fee(x) if model.needs_peers(price) else None)
    sales = model.expected(x).get("net_revenue", np.full(len(x), np.nan))
    return model.commission_rate * sales, np.zeros(len(x))


def fees(
    model: Model, state: CreatorState, peers: Floats | None, sales: Floats | None, deliverable: int
) -> tuple[Floats, Floats, Floats]:
    """Fee of each creator, the spread of its log and where it is from: priced for the deliverable, known, estimated.

    Args:
        model: the funnel.
        state: n creators.
        peers: fee of alike creators, None where it is not needed.
        sales: expected net revenue, where fees are a commission of it.
        deliverable: code, -1 for none named.
    """
    price = np.asarray(state.profile["price"])
    if model.commission_rate is not None and sales is not None:
        return model.commission_rate * sales, np.zeros(len(price)), np.full(len(price), ESTIMATED)
    source = np.where(np.isnan(price), ESTIMATED, np.nan_to_num(state.profile["price_source"]))
    fee, spread = model.expected_fee(price, source, peers)
    if 0 <= deliverable < state.deliverable_prices.shape[1]:
        # a price list says what this very deliverable costs
        listed = state.deliverable_prices[:, deliverable]
        priced = ~np.isnan(listed)
        fee, spread = np.where(priced, listed, fee), np.where(priced, 0.0, spread)
        source = np.where(priced, state.deliverable_sources[:, deliverable], source)
    return fee, spread, source
