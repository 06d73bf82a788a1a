"""Cost: the fee of the placement, against what it buys and what others are paid.

Offline it is the fee agreed; online the fee the answer shows: known beforehand, else estimated. A commission is known
only with the sale, so it is never the price.
"""

import numpy as np

from features.declare import Context, Definition, Family, Feature, Floats, Scope, Show, log_positive, ratio
from features.engagement import engagements


def _against(c: Context, entity: str) -> Floats:
    """Log fee per follower minus the mean of the peers' settled placements; NaN where either is unknown."""
    own = log_positive(ratio(c.profile["price"], c.profile["follower_count"]))
    peers = c.records[entity]
    return own - ratio(peers["log_fee_per_follower"], peers["sized_fees"])


def _price_per_target_view(c: Context) -> Floats:
    share = c.dot("country", "targets")
    share = np.where(c.number("target_count") > 0, share, 1.0)
    return log_positive(ratio(c.profile["price"], c.profile["median_views"] * share))


def _feature(
    name: str, define: Definition, phrase: str, show: Show = "exp", beside_price: Scope = "creator"
) -> Feature:
    return Feature(name, Family.COST, "pair", define, phrase, show, beside_price=beside_price)


# each is the log of the price plus something that the price has no part in
FEATURES = (
    _feature("log_price", lambda c: log_positive(c.profile["price"]), "price"),
    _feature("log_price_per_follower",
             lambda c: log_positive(ratio(c.profile["price"], c.profile["follower_count"])), "price per follower"),
    _feature("log_price_per_view",
             lambda c: log_positive(ratio(c.profile["price"], c.profile["median_views"])), "price per usual view"),
    _feature("log_price_per_engagement",
             lambda c: log_positive(ratio(c.profile["price"], engagements(c))), "price per engagement"),
    _feature("price_against_tier", lambda c: _against(c, "tier"), "price per follower against its tier", "exp_percent"),
    _feature("price_against_peers", lambda c: _against(c, "peers"),
             "price per follower against its tier on the platform", "exp_percent"),
    _feature("log_price_per_target_view", _price_per_target_view, "price per view in the target", beside_price="pair"),
    _feature("log_price_to_budget",
             lambda c: log_positive(ratio(c.profile["price"], c.number("budget"))),
             "price against the budget", "exp_percent", "brief"),
)  # fmt: skip
