from datetime import date

import numpy as np
import polars as pl
import pytest

from features.errors import DataError
from features.settings import Settings, ValueSettings
from features.value import GOALS, ValueBasis, placement_value, roi

AS_OF = date(2026, 7, 1)
NAN = float("nan")
USD = ValueBasis.from_settings(ValueSettings(), "USD", 1.0)


def worth(goal, basis=USD, i=1e5, e=4000.0, r=900.0, g=0.5, q=0.8, m=0.3):
    columns = (np.array([float(x)]) for x in (i, e, r, g, q, m))
    return placement_value(np.array([GOALS.index(goal)]), *columns, basis).item()


@pytest.mark.parametrize(
    ("goal", "changed", "value"),
    [
        ("awareness", {}, 480.0),  # 100,000 x .5 x .8 x 12 / 1000
        ("awareness", {"q": NAN}, 468.0),  # credibility .78
        ("awareness", {"g": 1.0}, 960.0),
        ("awareness", {"i": 0}, 0.0),
        ("awareness", {"i": NAN}, NAN),
        ("awareness", {"e": NAN, "r": NAN, "m": NAN}, 480.0),
        ("engagement", {}, 400.0),  # .10 x 4,000
        ("engagement", {"g": 0.0, "q": NAN, "i": NAN, "r": NAN}, 400.0),
        ("engagement", {"e": NAN}, NAN),
        ("conversion", {}, 270.0),  # 900 x .3
        ("conversion", {"m": NAN}, 900.0),  # margin 1
        ("conversion", {"m": 0.0}, 0.0),
        ("conversion", {"r": -100.0}, -30.0),  # refunds above revenue
        ("conversion", {"g": 0.0, "q": 0.0}, 270.0),
        ("conversion", {"r": NAN}, NAN),
        ("launch", {}, 510.0),  # .5 x 480 + 270
        ("launch", {"q": NAN, "m": NAN}, 1134.0),  # .5 x 468 + 900
        ("launch", {"i": NAN}, NAN),
        ("launch", {"r": NAN}, NAN),
        ("local", {}, 270.0),
        ("local", {"g": 0.1}, 270.0),
    ],
)
def test_value_by_goal(goal, changed, value):
    assert worth(goal, **changed) == pytest.approx(value, nan_ok=True)


@pytest.mark.parametrize(
    ("settings", "goal", "value"),
    [
        ({"cpm": 6.0}, "awareness", 240.0),
        ({"engagement_price": 0.2}, "engagement", 800.0),
        ({"launch_awareness": 0.0, "launch_conversion": 2.0}, "launch", 540.0),
        ({"unknown_credibility": 0.5}, "awareness", 300.0),
        ({"unknown_margin": 0.5}, "conversion", 450.0),
    ],
)
def test_every_number_of_the_formula_is_configurable(settings, goal, value):
    basis = ValueBasis.from_settings(ValueSettings(**settings), "USD", 1.0)
    unknown = {"q": NAN} if "unknown_credibility" in settings else {"m": NAN} if "unknown_margin" in settings else {}
    assert worth(goal, basis, **unknown) == pytest.approx(value)


@pytest.mark.parametrize(
    ("value", "cost", "floor", "expected"),
    [
        (150.0, 100.0, 1.0, 0.5), (100.0, 100.0, 1.0, 0.0), (0.0, 80.0, 1.0, -1.0), (-20.0, 80.0, 1.0, -1.25),
        (5.0, 0.0, 1.0, 4.0), (5.0, 0.5, 1.0, 4.0), (5.0, 0.0, 10.0, -0.5), (5.0, NAN, 1.0, NAN), (NAN, 5.0, 1.0, NAN),
    ],
)  # fmt: skip
def test_roi(value, cost, floor, expected):
    np.testing.assert_allclose(roi(np.array([value]), np.array([cost]), floor), [expected])


@pytest.mark.parametrize("goal", GOALS)
def test_without_a_rate_goals_priced_in_dollars_are_refused_with_the_reason(goal):
    basis = ValueBasis.from_settings(ValueSettings(), "VND", None)
    if goal in ("conversion", "local"):
        basis.require(goal)
        assert worth(goal, basis) == pytest.approx(270.0)
        return
    with pytest.raises(DataError, match=f"(?s)goal {goal} .*VND.*no exchange rate.*fx.*price_currency") as refused:
        basis.require(goal)
    assert refused.value.field == "goal"
    assert np.isnan(worth(goal, basis))


def test_prices_are_converted_into_the_base_currency():
    basis = ValueBasis.from_settings(ValueSettings(), "VND", 25_000.0)
    basis.require("awareness")
    assert worth("awareness", basis) == pytest.approx(480.0 * 25_000)
    assert worth("engagement", basis) == pytest.approx(400.0 * 25_000)
    assert worth("conversion", basis) == pytest.approx(270.0)


@pytest.mark.parametrize("goal", GOALS)
def test_a_description_holds_the_formula_and_every_number_in_force(goal):
    described = USD.describe(goal)
    assert described["goal"] == goal
    assert described["formula"]
    assert (described["currency"], described["cpm"], described["engagement_price"]) == ("USD", 12.0, 0.10)
    assert (described["unknown_credibility"], described["unknown_margin"]) == (0.78, 1.0)
    assert (described["launch_awareness"], described["launch_conversion"], described["cost_floor"]) == (0.5, 1.0, 1.0)


# from tables: one placement of creator a, whose audience is SG .5, MY .2, VN .1 and credibility .8
def book(goal="awareness", targets=None, currency="USD", fx=(), campaign=None, audience=True, **placement):
    row = {"placement_id": "p", "campaign_id": "k", "creator_id": "a", "agreed_on": "2026-03-01", "fee": 100.0,
           "impressions": 1e5, "engagements": 4000.0, "revenue": 1000.0, "refunds": 100.0}  # fmt: skip
    frames = {
        "creators": pl.DataFrame({"creator_id": ["a", "b"], "platform": ["x", "x"], "country": ["SG", "VN"]}),
        "creator_snapshots": pl.DataFrame(
            {"creator_id": ["a"], "snapshot_at": ["2026-01-01"], "audience_credibility": [0.8]}
        ),
        "campaigns": pl.DataFrame(
            {"campaign_id": ["k"], "brand_id": ["z"], "goal": [goal], "starts_on": ["2026-03-01"],
             "target_countries": [targets], "currency": [currency], "product_margin": ["0.3"], **(campaign or {})}
        ),
        "placements": pl.DataFrame({name: [value] for name, value in {**row, **placement}.items()}),
    }  # fmt: skip
    if audience:
        frames["creator_audience"] = pl.DataFrame(
            {"creator_id": ["a"] * 3, "snapshot_at": ["2026-01-01"] * 3, "dimension": ["country"] * 3,
             "code": ["SG", "MY", "VN"], "weight": [0.5, 0.2, 0.1]}
        )  # fmt: skip
    if fx:
        frames["fx"] = pl.DataFrame(fx, schema=["date", "currency", "rate"], orient="row")
    return frames


def value_of(encode, frames, **value_settings):
    settings = Settings(value=ValueSettings(**value_settings))
    return encode(frames, AS_OF, settings).placements.outcomes["value"].item()


@pytest.mark.parametrize(
    ("targets", "cpm_by_country", "value"),
    [
        ("SG", {}, 480.0),  # 100,000 x .5 x .8 x 12 / 1000
        ("SG|MY", {}, 672.0),  # a list: sum of shares, .7
        ("SG:0.6|MY:0.3", {}, 576.0),  # weights: .5 + .5 x .2
        ("SG:6|MY:3", {}, 576.0),
        ("MY:0.3|SG:0.6|VN:0.6", {}, 672.0),  # .5 x .2 + .5 + .1
        ("US", {}, 0.0),
        (None, {}, 960.0),  # no target: everybody counts
        ("SG", {"SG": 24.0}, 960.0),
        ("SG|MY", {"MY": 6.0}, 576.0),  # (.5 x 12 + .2 x 6) x 80
        ("SG:1|MY:0.5", {"SG": 6.0, "MY": 24.0}, 432.0),  # (.5 x 6 + .5 x .2 x 24) x 80
    ],
)
def test_target_share_and_cpm_by_country(encode, targets, cpm_by_country, value):
    assert value_of(encode, book(targets=targets), cpm_by_country=cpm_by_country) == pytest.approx(value)


@pytest.mark.parametrize(
    ("goal", "value"),
    [("awareness", 480.0), ("engagement", 400.0), ("conversion", 270.0), ("launch", 510.0), ("local", 270.0)],
)
def test_value_from_tables(encode, goal, value):
    assert value_of(encode, book(goal, "SG")) == pytest.approx(value)


@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize("outcomes", [{}, {"impressions": None, "engagements": None, "revenue": None}])
def test_what_was_not_delivered_is_worth_nothing_and_costs_what_was_paid(encode, goal, outcomes):
    frames = book(goal, "SG", delivered=False, product_cost=20.0, other_cost=5.0, **outcomes)
    market = encode(frames, AS_OF)
    p = market.placements
    assert (p.outcomes["value"].item(), p.cost.item()) == (0.0, 125.0)
    assert roi(p.outcomes["value"], p.cost, market.basis.cost_floor).item() == -1.0


@pytest.mark.parametrize(
    ("costs", "cost"),
    [
        ({}, 100.0), ({"product_cost": 20.0}, 120.0), ({"other_cost": 5.0, "product_cost": 20.0}, 125.0),
        ({"fee": 0.0}, 0.0), ({"fee": None}, NAN), ({"fee": None, "other_cost": 5.0}, NAN),
    ],
)  # fmt: skip
def test_cost(encode, costs, cost):
    assert encode(book(**costs), AS_OF).placements.cost.item() == pytest.approx(cost, nan_ok=True)


@pytest.mark.parametrize("goal", GOALS)
def test_a_given_value_overrides_the_formula(encode, goal):
    market = encode(book(goal, "SG", value=-7.0), AS_OF)
    assert market.placements.outcomes["value"].item() == -7.0
    assert market.placements.overridden.tolist() == [True]
    assert encode(book(goal, "SG"), AS_OF).placements.overridden.tolist() == [False]


def test_a_reading_known_on_the_day_of_the_agreement_does_not_enter_the_value(encode):
    late = book(targets="SG")
    that_day = pl.lit("2026-03-01").alias("snapshot_at")
    late["creator_snapshots"] = late["creator_snapshots"].with_columns(that_day)
    newer = late["creator_audience"].with_columns(that_day, pl.lit(0.0).alias("weight"))
    late["creator_audience"] = pl.concat([late["creator_audience"], newer])
    assert value_of(encode, late) == pytest.approx(468.0)


@pytest.mark.parametrize(
    ("country", "targets", "value"),
    [
        ("SG", "SG", 0.6 + 0.4 * 0.3),  # .6 at home; the rest as the market: half of creators, .6 each
        ("SG", "VN", 0.4 * 0.3),
        (None, "VN", 0.6),  # the market's: the only creator with a country is Vietnamese
        ("SG", "US", 0.0),
    ],
)
def test_without_any_audience_the_home_country_is_what_to_expect(encode, country, targets, value):
    frames = book(targets=targets, audience=False)
    frames["creators"] = frames["creators"].with_columns(pl.Series("country", [country, "VN"]))
    assert value_of(encode, frames) == pytest.approx(960.0 * value)


def test_where_nothing_is_known_of_any_audience_everybody_counts(encode):
    frames = book(targets="SG", audience=False)
    frames["creators"] = frames["creators"].drop("country")
    assert value_of(encode, frames) == pytest.approx(960.0)


def test_dong_without_a_rate_knows_sales_but_no_worth_of_impressions(encode):
    market = encode(book("awareness", "SG", "VND"), AS_OF)
    assert market.basis.currency == "VND"
    assert np.isnan(market.placements.outcomes["value"]).all()
    with pytest.raises(DataError, match=r"awareness.*VND"):
        market.basis.require("awareness")
    assert value_of(encode, book("conversion", "SG", "VND")) == pytest.approx(270.0)


@pytest.mark.parametrize(
    ("setting", "fx"),
    [({"price_currency": "VND", "cpm": 300_000.0}, ()), ({}, [("2026-03-01", "USD", 25_000.0)])],
)
def test_dong_with_prices_or_a_rate(encode, setting, fx):
    frames = book("awareness", "SG", "VND", fx)
    assert value_of(encode, frames, **setting) == pytest.approx(480.0 * 25_000)
