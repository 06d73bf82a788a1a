from datetime import date

import numpy as np
import polars as pl
import pytest

from features.context import creator_view
from features.profile import PRICE_SOURCES

DAY = (date(2026, 3, 1) - date(1970, 1, 1)).days


@pytest.fixture
def price(encode):
    """The price and its source of the only creator, from its readings, prices by deliverable and own settled fees."""

    def of(readings=(), deliverables=(), fees=()):
        frames = {
            "creators": pl.DataFrame({"creator_id": ["c"], "platform": ["x"]}),
            "campaigns": pl.DataFrame(
                {"campaign_id": ["k"], "brand_id": ["b"], "goal": ["awareness"], "starts_on": ["2025-01-01"]}
            ),
            "placements": pl.DataFrame(
                {
                    "placement_id": [f"p{i}" for i in range(len(fees))], "campaign_id": ["k"] * len(fees),
                    "creator_id": ["c"] * len(fees), "fee": list(fees), "settled_at": ["2025-03-01"] * len(fees),
                },
                schema_overrides=dict.fromkeys(("placement_id", "campaign_id", "creator_id", "settled_at"), pl.String)
                | {"fee": pl.Float64},
            ),
        }  # fmt: skip
        if readings:
            frames["creator_snapshots"] = pl.DataFrame(
                [
                    {
                        "creator_id": "c",
                        "snapshot_at": day,
                        "price": amount,
                        "price_currency": "USD",
                        "price_source": source,
                    }
                    for day, amount, source in readings
                ]
            )
        if deliverables:
            frames["creator_prices"] = pl.DataFrame(
                [
                    {"creator_id": "c", "deliverable": name, "price": amount, "price_currency": "USD",
                     "price_source": "quoted"}
                    for name, amount in deliverables
                ]
            )  # fmt: skip
        view = creator_view(encode(frames, date(2026, 3, 1)), np.array([0]), np.array([DAY]))
        return view.profile["price"].item(), PRICE_SOURCES[int(view.profile["price_source"].item())]

    return of


BOTH = (("reel", 500.0), ("story", 100.0))


@pytest.mark.parametrize(
    ("known", "amount", "source"),
    [
        ({"readings": [("2025-01-01", 1000.0, "quoted"), ("2025-11-30", 100.0, "quoted")]}, 100.0, "quoted"),
        ({"readings": [("2025-01-01", 1000.0, "estimated"), ("2025-11-30", 100.0, "quoted")]}, 100.0, "quoted"),
        ({"readings": [("2025-01-01", 70.0, "paid"), ("2025-11-30", None, None)]}, 70.0, "paid"),
        ({"fees": [100.0, 400.0]}, 200.0, "paid"),
        ({"deliverables": BOTH, "fees": [100.0, 400.0]}, 200.0, "paid"),
        ({"deliverables": BOTH}, np.sqrt(500.0 * 100.0), "estimated"),
        ({"deliverables": BOTH, "readings": [("2025-01-01", 90.0, "quoted")]}, 90.0, "quoted"),
    ],
)  # fmt: skip
def test_a_price_is_one_that_was_named_or_is_called_an_estimate(price, known, amount, source):
    assert price(**known) == (pytest.approx(amount), source)
