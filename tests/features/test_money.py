from datetime import date, datetime

import polars as pl
import pytest

from features.errors import DataError
from features.money import base_currency, in_base_currency, missing_rates, rate
from features.settings import Settings
from features.tables import build

DAY = datetime(2025, 1, 10)


def market(fx=(), campaign_currency=None, placement_currency=None, agreed=DAY, **amounts):
    return build(
        {
            "campaigns": pl.DataFrame(
                {"campaign_id": ["k"], "starts_on": [DAY], "currency": [campaign_currency], "budget": [1000.0]},
                schema_overrides={"currency": pl.String},
            ),
            "placements": pl.DataFrame(
                {
                    "placement_id": ["p1"],
                    "campaign_id": ["k"],
                    "agreed_on": [agreed],
                    "currency": [placement_currency],
                    **{name: [amount] for name, amount in (amounts or {"fee": 100.0}).items()},
                },
                schema_overrides={"currency": pl.String},
            ),
            "fx": pl.DataFrame(
                fx, schema={"date": pl.Datetime("us"), "currency": pl.String, "rate": pl.Float64}, orient="row"
            ),
        },
        Settings(),
    )


@pytest.mark.parametrize(
    ("campaign", "placement", "base"),
    [(None, None, "USD"), ("VND", None, "VND"), (None, "SGD", "SGD"), ("SGD", "VND", "USD"), ("SGD", "SGD", "SGD")],
)
def test_base_is_the_only_currency_named_else_the_configured_one(campaign, placement, base):
    tables = market(campaign_currency=campaign, placement_currency=placement)
    assert base_currency(tables, Settings()) == base


def test_one_currency_needs_no_rates():
    tables = market(campaign_currency="VND")
    converted = in_base_currency(tables, Settings())
    assert converted.placements["fee"].item() == 100.0
    assert converted.placements["currency"].item() == "VND"


def test_every_amount_is_converted_and_counts_are_not():
    amounts = dict.fromkeys(("fee", "product_cost", "other_cost", "revenue", "refunds", "value"), 10.0)
    tables = market(
        [(DAY, "SGD", 0.75)], campaign_currency="USD", placement_currency="SGD", **amounts, impressions=10.0
    )
    converted = in_base_currency(tables, Settings())
    row = converted.placements.row(0, named=True)
    assert {row[name] for name in amounts} == {7.5}
    assert (row["impressions"], row["currency"]) == (10.0, "USD")
    assert converted.campaigns["budget"].item() == 1000.0
    assert tables.placements["fee"].item() == 10.0, "inputs are not mutated"


def test_a_placement_without_a_currency_takes_its_campaigns():
    tables = market([(DAY, "SGD", 0.75)], campaign_currency="SGD")
    other = tables.campaigns.with_columns(campaign_id=pl.lit("other"), currency=pl.lit("USD"))
    tables = build({**tables.by_name(), "campaigns": pl.concat([tables.campaigns, other])}, Settings())
    converted = in_base_currency(tables, Settings())
    assert converted.placements["fee"].item() == 75.0
    assert converted.campaigns["budget"].to_list() == [750.0, 1000.0]


@pytest.mark.parametrize(
    ("dated", "expected"),
    [
        ([(datetime(2025, 1, 10), 2.0)], 200.0),
        ([(datetime(2025, 1, 10, 23), 2.0)], 200.0),
        ([(datetime(2025, 1, 3), 2.0)], 200.0),
        ([(datetime(2025, 1, 3), 2.0), (datetime(2025, 1, 9), 3.0), (datetime(2025, 1, 11), 9.0)], 300.0),
        ([(datetime(2025, 1, 11), 9.0), (datetime(2025, 1, 9), 3.0)], 300.0),
        ([(datetime(2025, 1, 2), 2.0)], None),
        ([(datetime(2025, 1, 11), 2.0)], None),
        ([], None),
    ],
    ids=["same day", "same day, later hour", "7 days old", "last on or before", "unsorted", "8 days", "after", "none"],
)
def test_the_rate_is_the_last_on_or_before_the_day_and_at_most_a_week_old(dated, expected):
    fx = [(day, "SGD", units) for day, units in dated]
    tables = market(fx, campaign_currency="USD", placement_currency="SGD")
    if expected is not None:
        assert in_base_currency(tables, Settings()).placements["fee"].item() == expected
        assert missing_rates(tables, Settings()) == []
        return
    with pytest.raises(DataError) as caught:
        in_base_currency(tables, Settings())
    for word in ("placements", "p1", "SGD", "USD", "2025-01-10", "fx", "7 days"):
        assert word in str(caught.value)
    assert caught.value.field == "placements.currency"


def test_no_money_needs_no_rate():
    tables = market(campaign_currency="USD", placement_currency="SGD", impressions=5.0)
    assert in_base_currency(tables, Settings()).placements["fee"].item() is None


def test_prices_are_dated_by_their_snapshot_and_undated_ones_take_the_newest_rate():
    fx = pl.DataFrame(
        {"date": [datetime(2024, 1, 1), datetime(2025, 1, 1)], "currency": ["SGD"] * 2, "rate": [2.0, 3.0]}
    )
    snapshots = pl.DataFrame(
        {"creator_id": ["a", "b"], "snapshot_at": [datetime(2024, 1, 2), None], "price": 10.0, "price_currency": "SGD"}
    )
    prices = snapshots.with_columns(deliverable=pl.lit("video"), price_currency=pl.Series(["USD", "SGD"]))
    tables = build({"creator_snapshots": snapshots, "creator_prices": prices, "fx": fx}, Settings())
    converted = in_base_currency(tables, Settings())
    assert converted.creator_snapshots["price"].to_list() == [20.0, 30.0]
    assert converted.creator_prices["price"].to_list() == [10.0, 30.0]
    assert converted.creator_prices["price_currency"].to_list() == ["USD", "USD"]


@pytest.mark.parametrize(
    ("currency", "day", "expected"),
    [
        ("USD", None, 1.0),
        ("SGD", None, 0.8),
        ("SGD", date(2025, 1, 5), 0.7),
        ("SGD", date(2025, 1, 1), 0.7),
        ("SGD", date(2024, 12, 31), None),
        ("SGD", date(2025, 3, 1), None),
        ("VND", None, None),
    ],
)
def test_rate(currency, day, expected):
    fx = [(datetime(2025, 2, 1), "SGD", 0.8), (datetime(2025, 1, 1), "SGD", 0.7)]
    assert rate(market(fx), currency, "USD", settings=Settings(), day=day) == expected


def test_rows_keep_their_order_and_number():
    days = [datetime(2025, 1, 1 + i % 7) for i in range(60)]
    fx = pl.DataFrame({"date": days[:7], "currency": ["SGD"] * 7, "rate": [float(i + 1) for i in range(7)]})
    placements = pl.DataFrame(
        {
            "placement_id": [f"p{i}" for i in range(60)],
            "agreed_on": days,
            "fee": [float(i) for i in range(60)],
            "currency": ["SGD" if i % 2 else "USD" for i in range(60)],
        }
    )
    converted = in_base_currency(build({"placements": placements, "fx": fx}, Settings()), Settings()).placements
    assert converted["placement_id"].to_list() == placements["placement_id"].to_list()
    assert converted["fee"].to_list() == [float(i) * ((i % 7 + 1) if i % 2 else 1) for i in range(60)]
