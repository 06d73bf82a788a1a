from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from features.check import load_checked
from features.contract import columns
from features.errors import DataError
from features.settings import Settings
from training.sample import make_market, write_sample
from training.sample_campaigns import inclusion
from training.sample_world import GOALS, World

TODAY = date(2026, 6, 30)
OUTCOMES = ("impressions", "reach", "engagements", "clicks", "conversions", "revenue", "refunds", "new_customers")
TABLES = ("creators", "creator_snapshots", "creator_audience", "audience_overlap", "campaigns", "placements", "fx")
KEYS = {
    "creators": ["creator_id"],
    "creator_snapshots": ["creator_id", "snapshot_at"],
    "creator_audience": ["creator_id", "snapshot_at", "dimension", "code"],
    "audience_overlap": ["creator_a", "creator_b"],
    "campaigns": ["campaign_id"],
    "placements": ["placement_id"],
    "fx": ["date", "currency"],
}
REQUIRED = {
    "creators": ["creator_id", "platform"],
    "creator_snapshots": ["creator_id", "snapshot_at"],
    "creator_audience": ["creator_id", "dimension", "code", "weight"],
    "audience_overlap": ["creator_a", "creator_b", "overlap"],
    "campaigns": ["campaign_id", "brand_id", "goal", "starts_on"],
    "placements": ["placement_id", "campaign_id", "creator_id"],
    "fx": ["date", "currency", "rate"],
}
REFERENCES = [
    ("creator_snapshots", "creator_id", "creators", "creator_id"),
    ("creator_audience", "creator_id", "creators", "creator_id"),
    ("audience_overlap", "creator_a", "creators", "creator_id"),
    ("audience_overlap", "creator_b", "creators", "creator_id"),
    ("placements", "creator_id", "creators", "creator_id"),
    ("placements", "campaign_id", "campaigns", "campaign_id"),
]


@pytest.fixture(scope="module")
def market() -> dict[str, pl.DataFrame]:
    return make_market(today=TODAY)


def booked(market: dict[str, pl.DataFrame]) -> pl.DataFrame:
    campaigns = market["campaigns"].drop("currency")
    creators = market["creators"].select("creator_id", "platform", "person_id")
    return (
        market["placements"]
        .join(campaigns, on="campaign_id", how="left", maintain_order="left")
        .join(creators, on="creator_id", how="left", maintain_order="left")
    )


def usd(market: dict[str, pl.DataFrame], rows: pl.DataFrame) -> list[float]:
    rates: dict[str, dict[date, float]] = {}
    for day, currency, rate in market["fx"].iter_rows():
        rates.setdefault(currency, {})[day] = rate
    found = []
    for day, currency in rows.select("agreed_on", "currency").iter_rows():
        ages = (day - timedelta(days=age) for age in range(8))
        found.append(1.0 if currency == "USD" else next(rates[currency][d] for d in ages if d in rates[currency]))
    return found


def target_share(market: dict[str, pl.DataFrame], rows: pl.DataFrame) -> list[float]:
    shares: dict[str, dict[str, float]] = {}
    audience = market["creator_audience"].filter(pl.col("dimension") == "country")
    for creator, code, weight in audience.select("creator_id", "code", "weight").iter_rows():
        shares.setdefault(creator, {})[code] = weight
    found = []
    for creator, targets in rows.select("creator_id", "target_countries").iter_rows():
        if targets is None:
            found.append(1.0)
            continue
        weights = {code: float(weight) for code, weight in (pair.split(":") for pair in targets.split("|"))}
        # 0.6 where nothing is known about the audience: enough for a median
        known = shares.get(creator)
        share = sum(w / max(weights.values()) * known.get(c, 0.0) for c, w in weights.items()) if known else 0.6
        found.append(share)
    return found


def realised_roi(market: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """Goal and ROI of every settled placement, by the formulas of the data contract written out once more."""
    rows = booked(market).filter(pl.col("settled_at").is_not_null() & pl.col("fee").is_not_null())
    rows = rows.with_columns(pl.Series("usd", usd(market, rows)), pl.Series("g", target_share(market, rows)))
    awareness = pl.col("impressions") * pl.col("g") * 0.78 * 12 / 1000
    sales = (pl.col("revenue") - pl.col("refunds")) * pl.col("product_margin").fill_null(1.0) * pl.col("usd")
    value = (
        pl.when(~pl.col("delivered"))
        .then(0.0)
        .when(pl.col("goal") == "awareness")
        .then(awareness)
        .when(pl.col("goal") == "engagement")
        .then(0.10 * pl.col("engagements"))
        .when(pl.col("goal") == "launch")
        .then(0.5 * awareness + sales)
        .otherwise(sales)
    )
    cost = ((pl.col("fee") + pl.col("product_cost") + pl.col("other_cost")) * pl.col("usd")).clip(lower_bound=1.0)
    return rows.select("goal", roi=(value - cost) / cost).drop_nulls()


def test_the_same_seed_gives_the_same_market_and_another_seed_another(market: dict[str, pl.DataFrame]) -> None:
    again, other = make_market(today=TODAY), make_market(today=TODAY, seed=1)
    for name in TABLES:
        assert_frame_equal(market[name], again[name])
        assert not market[name].equals(other[name]), name


def test_more_placements_leave_the_creators_as_they_were(market: dict[str, pl.DataFrame]) -> None:
    more = make_market(placements=9000, today=TODAY)
    for name in ("creators", "creator_snapshots", "creator_audience", "audience_overlap"):
        assert_frame_equal(market[name], more[name])


@pytest.mark.parametrize("name", TABLES)
def test_columns_are_the_contracts_and_keys_are_unique(market: dict[str, pl.DataFrame], name: str) -> None:
    table = market[name]
    assert set(table.columns) <= set(columns(name)), "a column the contract does not know (hidden truth?)"
    assert table.height > 0
    assert table.select(KEYS[name]).is_duplicated().sum() == 0
    assert table.select(REQUIRED[name]).null_count().sum_horizontal().item() == 0


@pytest.mark.parametrize(("table", "column", "other", "key"), REFERENCES)
def test_references_exist(market: dict[str, pl.DataFrame], table: str, column: str, other: str, key: str) -> None:
    missing = market[table].join(market[other], left_on=column, right_on=key, how="anti")
    assert missing.height == 0


def test_sizes_are_as_asked(market: dict[str, pl.DataFrame]) -> None:
    assert market["creators"].height == 3000
    assert market["placements"].height == 8000
    assert market["creator_snapshots"]["snapshot_at"].dt.truncate("1mo").n_unique() == pytest.approx(12, abs=1)


def test_an_unsettled_placement_shows_no_outcome(market: dict[str, pl.DataFrame]) -> None:
    placements = market["placements"]
    open_ones = placements.filter(pl.col("settled_at").is_null())
    assert open_ones.height > 100
    for column in OUTCOMES:
        assert open_ones[column].null_count() == open_ones.height, column
        assert placements.filter(pl.col("settled_at").is_not_null())[column].count() > 0, column


def test_an_undelivered_placement_shows_no_outcome(market: dict[str, pl.DataFrame]) -> None:
    failed = market["placements"].filter(~pl.col("delivered"))
    settled = market["placements"].filter(pl.col("delivered").is_not_null())
    assert failed.height / settled.height == pytest.approx(0.08, abs=0.02)
    assert failed.select("posted_at", *OUTCOMES).count().sum_horizontal().item() == 0


def test_days_follow_one_another_and_none_lies_ahead(market: dict[str, pl.DataFrame]) -> None:
    rows = booked(market)
    order = ("starts_on", "agreed_on", "posted_at", "settled_at")
    for earlier, later in pairwise(order):
        both = rows.drop_nulls([earlier, later])
        assert both.height > 1000
        assert both.filter(pl.col(later) < pl.col(earlier)).height == 0, (earlier, later)
    posted = rows.drop_nulls(["posted_at", "settled_at"])
    assert (posted["settled_at"] - posted["posted_at"]).dt.total_days().min() == 30
    for table in market.values():
        for column in table.select(pl.selectors.date()).columns:
            assert table[column].max() <= TODAY, column
    known = market["creator_snapshots"].drop_nulls("known_at")
    assert known.filter(pl.col("known_at") < pl.col("snapshot_at")).height == 0


def test_counts_along_the_funnel_do_not_grow(market: dict[str, pl.DataFrame]) -> None:
    rows = market["placements"].drop_nulls("conversions")
    for less, more in (
        ("conversions", "clicks"),
        ("clicks", "impressions"),
        ("reach", "impressions"),
        ("new_customers", "conversions"),
        ("refunds", "revenue"),
    ):
        assert rows.filter(pl.col(less) > pl.col(more)).height == 0, (less, more)


def test_sales_are_tracked_for_about_three_quarters(market: dict[str, pl.DataFrame]) -> None:
    seen = market["placements"].drop_nulls("impressions")
    assert 0.65 < seen["revenue"].count() / seen.height < 0.85
    assert seen.filter(pl.col("revenue").is_null() != pl.col("clicks").is_null()).height == 0


def test_creators_are_booked_once_a_campaign_on_its_platforms(market: dict[str, pl.DataFrame]) -> None:
    rows = booked(market)
    assert rows.select("campaign_id", "creator_id").is_duplicated().sum() == 0
    assert rows.filter(~pl.col("platforms").str.split("|").list.contains(pl.col("platform"))).height == 0
    assert rows["propensity"].is_between(0, 1, closed="right").all()


def test_the_choice_is_biased_to_the_target_countries(market: dict[str, pl.DataFrame]) -> None:
    rows = booked(market).drop_nulls("target_countries")
    shuffled = rows.with_columns(pl.col("creator_id").sample(fraction=1.0, shuffle=True, seed=0))
    assert np.mean(target_share(market, rows)) > np.mean(target_share(market, shuffled)) + 0.05


@pytest.mark.parametrize("size", [1, 3, 5])
def test_inclusion_chances_add_up_to_the_size(size: int) -> None:
    weight = np.exp(np.random.default_rng(0).normal(0.0, 3.0, (200, 6)))
    weight[:, 5] = 0.0
    chance = inclusion(weight, np.full(200, size))
    assert chance.sum(axis=1) == pytest.approx(size)
    assert chance.max() <= 1.0
    assert (chance[:, 5] == 0.0).all()
    assert (np.diff(np.take_along_axis(chance, np.argsort(weight, axis=1), axis=1), axis=1) >= -1e-12).all()


def test_a_share_of_creators_is_booked_as_often_as_their_propensity_says() -> None:
    # inverse propensities of one campaign estimate the length of its shortlist: all 60 creators are on it
    market = make_market(creators=60, placements=600, snapshots=2, today=TODAY)
    on = booked(market).with_columns(pl.col("platforms").str.split("|"))
    counts = market["creators"]["platform"].value_counts()
    lengths = on.group_by("campaign_id").agg(pl.col("platforms").first(), (1 / pl.col("propensity")).sum().alias("est"))
    true = lengths.explode("platforms").join(counts, left_on="platforms", right_on="platform")["count"].sum()
    assert lengths["est"].sum() == pytest.approx(true, rel=0.15)


def test_a_persons_accounts_are_on_different_platforms(market: dict[str, pl.DataFrame]) -> None:
    people = (
        market["creators"].drop_nulls("person_id").group_by("person_id").agg(pl.len(), pl.col("platform").n_unique())
    )
    assert people.filter(pl.col("len") > 1).height > 50
    assert people["len"].max() == 3
    assert (people["len"] == people["platform"]).all()


def test_audience_weights_add_up_to_one(market: dict[str, pl.DataFrame]) -> None:
    audience = market["creator_audience"]
    sums = audience.group_by("creator_id", "snapshot_at", "dimension").agg(pl.col("weight").sum())
    assert sums["weight"].to_numpy() == pytest.approx(1.0, abs=1e-9)
    assert set(audience["dimension"]) == {"country", "language", "age", "gender", "interest"}
    assert audience["creator_id"].n_unique() / 3000 == pytest.approx(0.8, abs=0.03)
    assert audience["snapshot_at"].null_count() > 0


def test_every_tier_has_creators_and_every_goal_campaigns(market: dict[str, pl.DataFrame]) -> None:
    followers = market["creator_snapshots"].group_by("creator_id").agg(pl.col("follower_count").max())["follower_count"]
    for low, high in pairwise((0, 1e4, 1e5, 1e6, 1e9)):
        assert followers.is_between(low, high, closed="left").sum() > 30, low
    assert 20_000 < followers.median() < 45_000
    assert set(market["campaigns"]["goal"]) == set(GOALS)
    assert market["creators"]["platform"].n_unique() == 8


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_typical_placement_is_near_break_even_and_a_few_do_far_better(seed: int) -> None:
    roi = (
        realised_roi(make_market(today=TODAY, seed=seed))
        .group_by("goal")
        .agg(pl.col("roi").median().alias("median"), pl.col("roi").quantile(0.99).alias("top"))
    )
    assert roi.height == 5
    medians = dict(roi.select("goal", "median").iter_rows())
    assert all(-0.6 < medians[goal] < 0.3 for goal in ("awareness", "engagement", "conversion")), medians
    assert all(-0.8 < medians[goal] < 0.5 for goal in ("launch", "local")), medians
    assert roi["top"].min() > 4.0


def test_every_amount_has_a_rate_at_most_seven_days_old(market: dict[str, pl.DataFrame]) -> None:
    quotes = market["creator_snapshots"].drop_nulls("price")
    quotes = quotes.select(agreed_on="snapshot_at", currency="price_currency")
    settled = market["placements"].drop_nulls("settled_at").select(agreed_on="settled_at", currency="currency")
    started = market["campaigns"].select(agreed_on="starts_on", currency="currency")
    for rows in (market["placements"].select("agreed_on", "currency"), quotes, settled, started):
        assert min(usd(market, rows.unique())) > 0  # usd() stops where a rate is missing
    assert {"USD", "EUR", "CNY", "SGD"} <= set(market["campaigns"]["currency"])


def test_paid_fees_follow_quotes_and_grow_slower_than_followers(market: dict[str, pl.DataFrame]) -> None:
    last = market["creator_snapshots"].group_by("creator_id", maintain_order=True).last()
    assert last["price"].count() / last.height == pytest.approx(0.5, abs=0.08)
    placements = market["placements"].drop_nulls("fee")
    placements = placements.with_columns(log_fee=(pl.col("fee") * pl.Series(usd(market, placements))).log())
    rows = placements.join(last, on="creator_id", how="inner")
    slope = np.polyfit(rows["follower_count"].log().to_numpy(), rows["log_fee"].to_numpy(), 1)[0]
    assert 0.4 < slope < 0.75
    quoted = rows.filter(pl.col("price_currency") == "USD")
    assert np.corrcoef(quoted["price"].log().to_numpy(), quoted["log_fee"].to_numpy())[0, 1] > 0.8


def persistence(world: World) -> float:
    """Correlation, between two halves of the time, of a creator's buyers against the same campaigns' usual rate."""
    placements = make_market(creators=300, placements=8000, today=TODAY, world=world)["placements"]
    rows = placements.drop_nulls("conversions").with_columns(early=pl.col("agreed_on") < date(2025, 12, 31))
    rows = rows.with_columns(
        usual=pl.col("clicks") * (pl.col("conversions").sum() / pl.col("clicks").sum()).over("campaign_id")
    )
    sums = rows.group_by("creator_id", "early").agg(pl.col("usual", "conversions").sum())
    sums = sums.filter(pl.col("usual") > 10).with_columns(
        rate=(pl.col("conversions") + 1).log() - (pl.col("usual") + 1).log()
    )
    halves = sums.pivot("early", index="creator_id", values="rate").drop_nulls()
    assert halves.height > 100
    return float(np.corrcoef(halves["true"].to_numpy(), halves["false"].to_numpy())[0, 1])


def test_hidden_selling_quality_persists() -> None:
    with_it, without = persistence(World()), persistence(replace(World(), selling_spread=0.0))
    assert with_it > 0.3
    assert with_it > without + 0.15


@pytest.mark.parametrize(
    "sizes",
    [{}, {"seed": 7}, {"creators": 40, "placements": 60, "snapshots": 1}, {"creators": 1, "placements": 1}],
    ids=str,
)
def test_check_finds_no_error(tmp_path, sizes: dict[str, int]) -> None:
    write_sample(tmp_path, today=TODAY, **sizes)
    _, report = load_checked(tmp_path, Settings())
    assert report.ok, report.errors
    assert report.rows["placements"] == sizes.get("placements", 8000)


def test_csv_and_parquet_hold_the_same(tmp_path) -> None:
    for fmt in ("csv", "parquet"):
        write_sample(tmp_path / fmt, creators=200, placements=300, snapshots=3, fmt=fmt, today=TODAY)
    for name in TABLES:
        parquet = pl.read_parquet(tmp_path / "parquet" / f"{name}.parquet")
        csv = pl.read_csv(tmp_path / "csv" / f"{name}.csv", schema=parquet.schema)
        assert_frame_equal(csv, parquet, check_exact=True)
    assert sorted(p.name for p in (tmp_path / "csv").iterdir()) == sorted(f"{name}.csv" for name in TABLES)


def test_a_folder_with_the_other_format_is_refused(tmp_path) -> None:
    write_sample(tmp_path, creators=20, placements=20, snapshots=1)
    write_sample(tmp_path, creators=20, placements=20, snapshots=1)  # the same format is replaced
    with pytest.raises(DataError, match=r"already holds .*creators\.csv.*empty folder"):
        write_sample(tmp_path, creators=20, placements=20, snapshots=1, fmt="parquet")


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"creators": 0}, "creators must be at least 1"),
        ({"placements": -1}, "placements must be at least 1"),
        ({"snapshots": 0}, "snapshots must be at least 1"),
        ({"creators": 5, "placements": 5000}, "more creators"),
    ],
)
def test_impossible_sizes_are_refused(sizes: dict[str, int], words: str) -> None:
    with pytest.raises(DataError, match=words):
        make_market(**sizes)
