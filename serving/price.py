"""What a fee will come to: the price known beforehand, weighed against what alike creators are paid."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from serving.stage import Floats


@dataclass(frozen=True)
class PriceLine:
    """log fee = intercept + own x log price + peers x log of the fee of alike creators.

    A quote is a noisy sign of the fee that is agreed: the less so, the nearer `own` is to 1 and `peers` to 0.

    Attributes:
        spread: standard deviation of the log fee about the line, on creators it was not fitted on.
        rows: placements it was fitted on.
    """

    intercept: float
    own: float
    peers: float
    spread: float
    rows: int

    def fee(self, price: Floats, peer_fee: Floats) -> Floats:
        """Expected fee, shape (n,); a price of 0 stays 0: who posts for free is not paid.

        >>> PriceLine(0.0, 1.0, 0.0, 0.1, 99).fee(np.array([100.0, 0.0]), np.array([50.0, 50.0])).round(6).tolist()
        [100.0, 0.0]
        """
        positive = price > 0
        log_price = np.log(np.where(positive, price, 1.0))
        fee = np.exp(self.intercept + self.own * log_price + self.peers * np.log(np.maximum(peer_fee, 1e-9)))
        return np.where(positive, fee, price)


def settle(lines: Mapping[str, PriceLine], source: str, price: Floats, peer_fee: Floats | None) -> Floats:
    """Expected fee of prices from one source, shape (n,); the price itself where its source taught nothing."""
    line = lines.get(source)
    if line is None or (peer_fee is None and line.peers != 0):
        return price
    return line.fee(price, np.ones(len(price)) if peer_fee is None else peer_fee)
