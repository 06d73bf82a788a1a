"""Point-in-time truth of small random markets, against SQL (`slow_oracle`), and that later facts change no bit."""

import math
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from features.build_market import build_market
from features.context import placement_context
from features.matrix import matrix
from features.money import in_base_currency
from features.reading import typed
from features.settings import Settings
from features.tables import build
from serving.catalogue import build_catalogue
from tests.features import slow_oracle as oracle

START = datetime(2026, 1, 1)
# few days and few numbers, so that ties, repeated rows and the edges of the windows of 30 and 90 days are common
DAYS = (0, 1, 2, 30, 31, 32, 60, 90, 91, 92, 121)
HOURS = (timedelta(0), timedelta(hours=9), timedelta(hours=23, minutes=59, seconds=59, microseconds=999_999))
CREATORS = pl.DataFrame(
    {"creator_id": ["a", "b", "c", "d"], "platform": ["x", "y", "x", "x"], "person_id": ["p", "p", None, "q"]}
)
CAMPAIGNS = pl.DataFrame(
    {"campaign_id": ["k1", "k2", "k3"], "brand_id": ["b1", "b2", "b1"], "goal": ["conversion", "awareness", "local"],
     "starts_on": [START + timedelta(days=day) for day in (31, 60, 91)]}
)  # fmt: skip
SETTINGS = Settings()
small = settings(max_examples=40, deadline=None, derandomize=True)
few = settings(max_examples=25, deadline=None, derandomize=True)


def moments(hours=HOURS, days=DAYS):
    return st.builds(
        lambda day, hour: START + timedelta(days=day) + hour, st.sampled_from(days), st.sampled_from(hours)
    )


def maybe(*values):
    return st.sampled_from([None, *values])


def facts(schema, hours=HOURS, days=DAYS, delays=(None, None, 0, 1, 30), **columns):
    """Rows about creators, some undated, some given twice; `known_at` is so many days after `snapshot_at`."""

    def row(taken, delay, undated, **rest):
        known = None if delay is None else taken + timedelta(days=delay)
        return {"snapshot_at": None if undated else taken, "known_at": None if undated else known, **rest}

    rows = st.builds(
        row, moments(hours, days), st.sampled_from(delays), st.sampled_from([False] * 7 + [True]),
        creator_id=st.sampled_from("abc"), **columns,
    )  # fmt: skip
    wanted = {"snapshot_at": pl.Datetime("us"), "known_at": pl.Datetime("us"), "creator_id": pl.String, **schema}
    return st.tuples(st.lists(rows, min_size=1, max_size=12), st.integers(0, 3)).map(
        lambda drawn: pl.DataFrame(drawn[0] + drawn[0][: drawn[1]], schema=wanted)
    )


def encoded(**frames):
    read = {
        name: typed(name, frame)[0] for name, frame in ({"creators": CREATORS, "campaigns": CAMPAIGNS} | frames).items()
    }
    return build_market(in_base_currency(build(read, SETTINGS), SETTINGS), SETTINGS, oracle.day_number(START.date()))


def decisions():
    """Every creator on the days of facts and on the days after, at any hour."""
    days = sorted({day + later for day in DAYS for later in (0, 1)})
    rows = [
        {"row": row, "creator_id": who, "day": (START + timedelta(days=day)).date(), "deliverable": "reel",
         "agreed_on": START + timedelta(days=day) + HOURS[row % 3]}
        for row, (who, day) in enumerate((who, day) for who in "abcd" for day in days)
    ]  # fmt: skip
    return pl.DataFrame(rows)


ASKED = decisions()
BOOKED = ASKED.select(
    pl.format("p{}", "row").alias("placement_id"), pl.lit("k1").alias("campaign_id"), "creator_id", "agreed_on",
    pl.lit(None, dtype=pl.Float64).alias("fee"),
)  # fmt: skip
NUMBERS = {name: pl.Float64() for name in oracle.LEVELS[:-1]}
READINGS = facts(
    {**NUMBERS, "last_post_at": pl.Datetime("us")},
    follower_count=maybe(100.0, 200.0, 300.0), following_count=maybe(0.0, 7.0), content_count=maybe(1.0, 2.0, 3.0),
    posts_per_week=maybe(0.5, 4.0), last_post_at=st.one_of(st.none(), moments((HOURS[0],))),
)  # fmt: skip


def floats(values):
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


def day_numbers(stamps):
    return floats([None if stamp is None else oracle.day_number(stamp.date()) for stamp in stamps])


@small
@given(READINGS)
def test_readings_are_those_known_before_the_day(readings):
    market = encoded(creator_snapshots=readings, placements=BOOKED)
    profile = placement_context(market, np.arange(ASKED.height)).profile
    asked = ASKED.select("row", "creator_id", "day")
    expected = oracle.levels(readings, asked)
    for name in NUMBERS:
        np.testing.assert_array_equal(profile[name], floats(expected[name]), err_msg=name)
    day = day_numbers(datetime.combine(day, datetime.min.time()) for day in asked["day"])
    np.testing.assert_array_equal(profile["snapshot_age"], day - day_numbers(expected["snapshot_at"]))
    posted = np.maximum(day - day_numbers(expected["last_post_at"]), 0)
    np.testing.assert_array_equal(profile["last_post_age"], posted)
    earlier = oracle.levels(readings, asked.with_columns(pl.col("day") - pl.duration(days=90)))["follower_count"]
    growth = np.log(floats(expected["follower_count"]) / floats(earlier))
    np.testing.assert_allclose(profile["follower_growth"], growth, rtol=1e-12, atol=1e-12)


AUDIENCES = facts(
    {"dimension": pl.String, "code": pl.String, "weight": pl.Float64},
    days=(30, 31),  # several rows of one breakdown are to be common
    dimension=st.sampled_from(["country", "interest"]),
    code=st.sampled_from(["SG", "VN", "MY"]),
    weight=st.sampled_from([0.0, 0.25, 0.5, 0.75]),
)


@small
@given(AUDIENCES)
def test_audiences_are_the_newest_known_before_the_day(audience):
    # the contract gives audiences one clock: they are known when they are taken
    audience = audience.drop("known_at")
    market = encoded(creator_audience=audience, placements=BOOKED)
    lists = placement_context(market, np.arange(ASKED.height)).lists
    for dimension, words in (("country", market.words.country), ("interest", market.words.niche)):
        got, expected = lists[dimension], oracle.audiences(audience, ASKED, dimension)
        for row, want in enumerate(expected):
            part = slice(got.offsets[row], got.offsets[row + 1])
            shares = {words.values[c]: w for c, w in zip(got.codes[part], got.weights[part], strict=True)}
            assert shares == pytest.approx(want), (dimension, ASKED.row(row))


def offers(**options):
    return facts(
        {"deliverable": pl.String, "price": pl.Float64}, deliverable=st.sampled_from(["reel", "story"]),
        price=maybe(50.0, 80.0, 120.0), **options,
    )  # fmt: skip


def check_prices(rows):
    market = encoded(creator_prices=rows, placements=BOOKED)
    priced = market.words.deliverable.values
    wanted = {name: oracle.prices(rows, ASKED.with_columns(pl.lit(name).alias("deliverable"))) for name in priced}
    for day in ASKED["day"].unique():
        prices = build_catalogue(market, oracle.day_number(day), SETTINGS).state.deliverable_prices
        for code, name in enumerate(priced):
            want = [price for price, same in zip(wanted[name], ASKED["day"] == day, strict=True) if same]
            got = prices[:, code] if prices.shape[1] else np.full(len(want), np.nan)
            np.testing.assert_array_equal(got, floats(want), err_msg=f"{name} on {day}")


@few
@given(st.sampled_from([None, 0, 1, 30]).flatmap(lambda delay: offers(hours=HOURS[:1], delays=(delay,))))
def test_prices_of_deliverables_are_the_newest_known_before_the_day(rows):
    """All of them as late as each other: none overtakes another."""
    check_prices(rows)


@settings(few, phases=[Phase.generate])
@given(offers())
def test_prices_of_deliverables_that_arrive_late(rows):
    check_prices(rows)


BOOKING = st.fixed_dictionaries(
    {
        "campaign_id": st.sampled_from(["k1", "k2", "k3"]), "creator_id": st.sampled_from("abcd"),
        "agreed_on": st.one_of(st.none(), moments()), "posted_at": st.one_of(st.none(), moments()),
        "settled_at": st.one_of(st.none(), moments()), "deliverable": maybe("reel", "story"),
        "delivered": st.sampled_from([None, True, True, False]), "fee": maybe(0.0, 10.0),
        "impressions": maybe(0.0, 100.0, 900.0), "engagements": maybe(3.0), "clicks": maybe(0.0, 5.0),
        "conversions": maybe(0.0, 2.0), "revenue": maybe(0.0, 30.25), "refunds": maybe(10.0),
    }
)  # fmt: skip
STAMPS = dict.fromkeys(("agreed_on", "posted_at", "settled_at"), pl.Datetime("us"))
COUNTS = dict.fromkeys(("fee", "impressions", "engagements", "clicks", "conversions", "revenue", "refunds"), pl.Float64)


@small
@given(st.lists(BOOKING, min_size=2, max_size=14))
def test_records_are_of_what_settled_before_the_day(bookings):
    """Others' and own, settled on the day of the decision or before it, agreed on one day, by default dates."""
    schema = {"campaign_id": pl.String, "creator_id": pl.String, **STAMPS, "deliverable": pl.String,
              "delivered": pl.Boolean, **COUNTS}  # fmt: skip
    placements = pl.DataFrame(bookings, schema=schema).with_row_index("row")
    placements = placements.with_columns(pl.format("p{}", "row").alias("placement_id"))
    frames = {"creators": CREATORS, "campaigns": CAMPAIGNS, "placements": placements.drop("row")}
    asked = placements.join(CAMPAIGNS, on="campaign_id").join(CREATORS, on="creator_id").select(
        "row", "creator_id", "person_id", "brand_id", "deliverable",
        pl.coalesce("agreed_on", "starts_on").dt.date().alias("day"),
    )  # fmt: skip
    market = encoded(placements=frames["placements"])
    records = placement_context(market, np.arange(len(bookings))).records
    for entity in oracle.SAME:
        for column, expected in oracle.record(frames, asked, entity).items():
            np.testing.assert_array_equal(records[entity][column], expected, err_msg=f"{entity} {column}")


# What is decided from all the data at once is left alone below: currencies are converted beforehand (budgets at the
# rate of the campaign's start, prices of the base currency at the newest), no fee is a commission of sales, and
# vocabularies may shrink, which changes codes and no feature.
@pytest.fixture(scope="module")
def sample(messy_frames):
    """A sample market with late and repeated readings, gaps and prices by deliverable; and its newest day."""
    return in_base_currency(build(messy_frames, SETTINGS), SETTINGS)


def row_of(tables, placement, day):
    """Features of one placement in a market encoded on its day."""
    market = build_market(tables, SETTINGS, oracle.day_number(day))
    assert market.commission_rate is None
    (row,) = np.flatnonzero((market.placements.ids == placement).to_numpy())
    return matrix(placement_context(market, np.array([row])), 1)


OWN = ("campaign_id", "creator_id", "deliverable", "fee")  # what a decision is about


def without(tables, day, own, rng):
    return oracle.known_before(tables, day, keep=own["placement_id"])


def changed(tables, day, own, rng):
    late = {name: ~known for name, known in oracle.early(tables, day).items()}
    out = {name: oracle.scrambled(tables.by_name()[name], rows, rng, own["creator_id"]) for name, rows in late.items()}
    mine, before = pl.col("placement_id") == own["placement_id"], tables.placements
    out["placements"] = out["placements"].with_columns(
        pl.when(mine).then(before[name]).otherwise(name).alias(name) for name in OWN
    )
    return replace(tables, **out)


def shifted(tables, day, own, rng):
    return oracle.moved(tables, {name: ~known for name, known in oracle.early(tables, day).items()}, rng)


def decision(tables, number):
    own = tables.placements.sort("agreed_on", "placement_id").row(number, named=True)
    return own, own["agreed_on"].date()


@pytest.mark.parametrize("how", [without, changed, shifted])
def test_facts_not_known_before_the_day_change_no_bit(sample, how):
    late = []

    @few
    @given(st.integers(0, sample.placements.height - 1), st.integers(0, 2**31))
    def check(number, seed):
        own, day = decision(sample, number)
        late.append(sum((~known).sum() for known in oracle.early(sample, day).values()))
        other = how(sample, day, own, np.random.default_rng(seed))
        assert oracle.unequal(row_of(sample, own["placement_id"], day), row_of(other, own["placement_id"], day)) == []

    check()
    assert np.median(late) > 100


def test_a_fact_learnt_too_late_is_as_good_as_none(sample):
    """A third of what was known is learnt on the day or later instead: the row is that of a market without it."""
    differs = []

    @few
    @given(st.integers(0, sample.placements.height - 1), st.integers(0, 2**31))
    def check(number, seed):
        rng = np.random.default_rng(seed)
        own, day = decision(sample, number)
        known = oracle.early(sample, day)
        chosen = {name: mask & pl.Series(rng.random(len(mask)) < 0.33) for name, mask in known.items()}
        late = oracle.moved(sample, chosen, rng, since=day)
        none = replace(sample, **{name: sample.by_name()[name].filter(~mask) for name, mask in chosen.items()})
        row = row_of(late, own["placement_id"], day)
        assert oracle.unequal(row, row_of(none, own["placement_id"], day)) == []
        differs.append(oracle.unequal(row, row_of(sample, own["placement_id"], day)) != [])

    check()
    assert np.mean(differs) > 0.5
