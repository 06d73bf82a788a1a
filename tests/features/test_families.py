"""Nothing that became known on or after the decision day may change a feature, family by family."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from features.declare import Family
from features.matrix import FEATURES, NAMES, creator_state, placement_matrix

D = date(2026, 3, 10)
DAY = (D - date(1970, 1, 1)).days
BEFORE, ON, LATER = D - timedelta(days=1), D, D + timedelta(days=40)


def moved(a, b):
    """Names of the features that differ in any bit (NaN equals NaN)."""
    assert a.shape == b.shape
    unequal = ((a != b) & ~(np.isnan(a) & np.isnan(b))).any(axis=0)
    return {name for name, bad in zip(NAMES, unequal, strict=True) if bad}


@pytest.fixture(scope="module")
def frames(messy_frames):
    """The messy market with twenty placements agreed on D, one of them the placement under test ("mine")."""
    agreed_on_d = messy_frames["placements"].sample(20, seed=4)["placement_id"].implode()
    mine = pl.col("placement_id") == "mine"
    placements = messy_frames["placements"].with_columns(
        pl.when(pl.col("placement_id").is_in(agreed_on_d))
        .then(pl.lit(D).cast(pl.Datetime("us")))
        .otherwise("agreed_on")
        .alias("agreed_on")
    )
    shifted = pl.max_horizontal("settled_at", pl.col("agreed_on") + pl.duration(days=30))
    placements = placements.with_columns(shifted.alias("settled_at"))
    busy = placements.filter(pl.col("settled_at") < D)["creator_id"].mode().sort()[0]
    first = placements.filter(pl.col("agreed_on") == D).head(1)
    extra = first.with_columns(pl.lit("mine").alias("placement_id"), pl.lit(busy).alias("creator_id"))
    placements = pl.concat([placements, extra])
    assert placements.filter(mine).height == 1
    return {**messy_frames, "placements": placements}


def decided_on_d(encode, frames):
    """Features of the placements agreed on D, in the order of their ids."""
    market = encode(frames, D)
    rows = np.flatnonzero(market.placements.agreed == DAY)
    ids = market.placements.ids.gather(rows)
    order = ids.arg_sort().to_numpy()
    return ids.sort().to_list(), placement_matrix(market, rows[order])


def mine(encode, frames):
    ids, x = decided_on_d(encode, frames)
    return x[[ids.index("mine")]]


def scrambled(frames, since):
    """Every fact known on or after `since` changed beyond recognition, and the last of them given once more."""
    rng = np.random.default_rng(11)
    since = pl.lit(since).cast(pl.Datetime("us"))
    out = dict(frames)

    def changed(table, late, names, top):
        frame = out[table]
        assert frame.filter(late).height > 5, table
        out[table] = frame.with_columns(
            pl.when(late)
            .then(pl.Series(rng.random(frame.height) * top.get(name, 1e6)))
            .otherwise(pl.col(name))
            .alias(name)
            for name in names
        )

    def numbers(table, *left_out):
        return [n for n, kind in frames[table].schema.items() if kind == pl.Float64 and n not in left_out]

    share = dict.fromkeys(
        ("sponsored_share", "engagement_rate_sponsored", "audience_credibility", "content_polish", "weight"), 1.0
    )
    changed("creator_snapshots", pl.coalesce("known_at", "snapshot_at") >= since, numbers("creator_snapshots"), share)
    changed("creator_audience", pl.col("snapshot_at") >= since, ["weight"], share)
    changed("creator_prices", pl.col("snapshot_at") >= since, ["price"], share)
    outcome = pl.col("settled_at") >= since
    changed("placements", outcome, numbers("placements", "fee", "product_cost", "other_cost", "propensity"), share)
    # the fee of a placement agreed on D is known on D; of every other one it is known once it has settled
    others = outcome & (pl.col("agreed_on").dt.date() != D)
    changed("placements", others, ["fee", "product_cost", "other_cost"], share)
    out["placements"] = out["placements"].with_columns(
        pl.when(outcome)
        .then(pl.Series(rng.random(out["placements"].height) < 0.5))
        .otherwise("delivered")
        .alias("delivered")
    )
    for table, day in (("creator_snapshots", "snapshot_at"), ("creator_audience", "snapshot_at")):
        again = out[table].filter(pl.col(day) >= since).with_columns(pl.col(day) + pl.duration(days=1))
        out[table] = pl.concat([out[table], again])
    return out


def test_nothing_known_on_or_after_the_day_changes_a_bit(encode, frames):
    ids, before = decided_on_d(encode, frames)
    assert len(ids) > 20
    same, after = decided_on_d(encode, scrambled(frames, ON))
    assert same == ids
    assert moved(before, after) == set()


def test_what_was_known_before_does_change_every_family(encode, frames):
    """The same change made to older facts: so the test above can fail."""
    _, before = decided_on_d(encode, frames)
    _, after = decided_on_d(encode, scrambled(frames, D - timedelta(days=60)))
    changed = {feature.family for feature in FEATURES if feature.name in moved(before, after)}
    assert changed == set(Family)


def test_a_catalogue_of_the_day_is_not_changed_either(encode, frames):
    one, other = creator_state(encode(frames, D), DAY), creator_state(encode(scrambled(frames, ON), D), DAY)
    assert one.static.tobytes() == other.static.tobytes()
    for part in ("profile", "codes", "totals"):
        for name, column in getattr(one, part).items():
            np.testing.assert_array_equal(column, getattr(other, part)[name], err_msg=name)
    np.testing.assert_array_equal(one.deliverable_prices, other.deliverable_prices)
    for name, lists in one.lists.items():
        np.testing.assert_array_equal(lists.weights, other.lists[name].weights)


def add(frames, table, when, **row):
    """The tables with one more row about the creator of "mine", known on `when`."""
    creator = frames["placements"].filter(pl.col("placement_id") == "mine")["creator_id"].item()
    column = "settled_at" if table == "placements" else "snapshot_at"
    schema = {name: kind for name, kind in frames[table].schema.items() if name in {*row, "creator_id", column}}
    new = pl.DataFrame({"creator_id": [creator], column: [when], **{name: [value] for name, value in row.items()}})
    new = new.with_columns(pl.col(name).cast(kind) for name, kind in schema.items())
    return {**frames, table: pl.concat([frames[table], new], how="diagonal")}


def campaign_of_mine(frames):
    return frames["placements"].filter(pl.col("placement_id") == "mine")["campaign_id"].item()


def reading(**numbers):
    return lambda frames, when: add(frames, "creator_snapshots", when, **numbers)


def audience(dimension, code):
    def added(frames, when):
        return add(frames, "creator_audience", when, dimension=dimension, code=code, weight=0.123)

    return added


def interest(frames, when):
    campaign = frames["campaigns"].filter(pl.col("campaign_id") == campaign_of_mine(frames))
    return add(frames, "creator_audience", when, dimension="interest", code=campaign["niches"].item()[0], weight=0.123)


def outcome(frames, when):
    """An old placement of the creator that settles on `when`."""
    return add(
        frames, "placements", when, placement_id="old", campaign_id=campaign_of_mine(frames),
        agreed_on=date(2026, 3, 1), delivered=True,
        fee=77.0, currency="USD", impressions=123_456.0, engagements=9_999.0, clicks=999.0,
        conversions=99.0, revenue=5_000.0,
    )  # fmt: skip


def price(frames, when):
    """A quote, seen where the agreed fee is not known."""
    unknown = pl.when(pl.col("placement_id") == "mine").then(None).otherwise("fee").alias("fee")
    frames = {**frames, "placements": frames["placements"].with_columns(unknown)}
    return add(frames, "creator_snapshots", when, price=4_321.0, price_currency="USD", price_source="quoted")


def deliverable_price(frames, when):
    """A price of a deliverable counts where there is neither a fee, nor a quote, nor a fee paid before."""
    frames = {**frames, "creator_snapshots": frames["creator_snapshots"].drop("price", "price_source")}
    unknown = pl.lit(None, dtype=pl.Float64).alias("fee")
    frames["placements"] = frames["placements"].with_columns(unknown)
    return add(frames, "creator_prices", when, deliverable="reel", price=4_321.0)


def styled_outcome(frames, when):
    """The same of a creator whose style is known."""
    return outcome(add(frames, "creator_snapshots", date(2026, 1, 1), content_polish=0.9), when)


RATES = ("views_against_usual", "engagement_against_usual", "click_rate", "sales_rate")
FACTS = [
    (Family.ENGAGEMENT, reading(follower_count=123_456.0, avg_likes=7_777.0), {"log_followers", "log_engagements"}),
    (Family.NICHE, interest, {"audience_interest"}),
    (Family.GEOGRAPHY, audience("country", "SG"), {"home_share", "audience_concentration"}),
    (Family.COST, reading(follower_count=123_456.0, median_views=555.0), {"log_price_per_follower"}),
    (Family.COST, price, {"log_price"}),
    (Family.COST, deliverable_price, {"log_price"}),
    (Family.COST, outcome, {"price_against_tier"}),
    (Family.CONTENT_STYLE, reading(content_polish=0.123, posts_per_week=33.0), {"content_polish"}),
    (Family.GOAL_FIT, outcome, {"platform_views", "goal_engagement_rate", "platform_for_goal"}),
    (
        Family.TRACK_RECORD,
        outcome,
        {
            "creator_placements",
            "creator_recent_views",
            "niche_views",
            *(f"{entity}_{rate}" for entity in ("creator", "brand", "deliverable") for rate in RATES),
        },
    ),
    (Family.TRACK_RECORD, styled_outcome, {f"niche_style_{rate}" for rate in RATES}),
]


@pytest.mark.parametrize(("family", "fact", "names"), FACTS)
def test_a_fact_moves_its_family_from_the_day_after_it_was_known(encode, frames, family, fact, names):
    # known in the far future: the facts that go with it, without the fact
    without = mine(encode, fact(frames, date(2027, 1, 1)))
    for when in (ON, LATER):
        assert moved(without, mine(encode, fact(frames, when))) == set()
    changed = moved(without, mine(encode, fact(frames, BEFORE)))
    assert names <= changed & {feature.name for feature in FEATURES if feature.family is family}


@pytest.mark.parametrize("when", [ON, LATER])
def test_the_rows_own_outcome_is_not_in_its_features(encode, frames, when):
    own = pl.col("placement_id") == "mine"
    better = frames["placements"].with_columns(
        *(
            pl.when(own).then(1e6).otherwise(pl.col(name)).alias(name)
            for name in ("impressions", "engagements", "clicks", "conversions", "revenue")
        ),
        pl.when(own).then(pl.lit(when)).otherwise(pl.col("settled_at")).alias("settled_at"),
    )
    assert mine(encode, frames).tobytes() == mine(encode, {**frames, "placements": better}).tobytes()


def test_audiences_known_later_do_not_change_what_past_outcomes_were_worth(encode, frames):
    """The country prior fills unknown audiences: it may use what was known before the market's day, nothing later."""
    rich = {**frames, "creator_audience": frames["creator_audience"].filter(pl.col("snapshot_at") < D)}
    late = rich["creator_audience"].with_columns(
        pl.lit(LATER).cast(pl.Datetime("us")).alias("snapshot_at"), (1 - pl.col("weight")).alias("weight")
    )
    with_late = {**rich, "creator_audience": pl.concat([rich["creator_audience"], late])}
    one, other = encode(rich, D), encode(with_late, D)
    np.testing.assert_array_equal(one.prior.weights, other.prior.weights)
    early = one.placements.agreed <= DAY
    np.testing.assert_array_equal(one.placements.outcomes["value"][early], other.placements.outcomes["value"][early])
    assert (encode(with_late, LATER + timedelta(days=1)).prior.weights != one.prior.weights).any()


PROFILE = {
    "follower_count": 50_000.0, "following_count": 499.0, "content_count": 99.0, "median_views": 20_000.0,
    "avg_likes": 1_500.0, "avg_comments": 300.0, "avg_shares": 150.0, "avg_saves": 50.0, "posts_per_week": 4.0,
    "sponsored_share": 0.2, "engagement_rate_sponsored": 0.02, "audience_credibility": 0.8, "content_polish": 0.3,
}  # fmt: skip


def drawn(own, other, prior, start):
    """One placement of a and one of b: a is drawn to b, b to the start, each worth (what happened, what was expected).

    Also what a is worth without b.
    """
    towards = (other[0] + prior * start) / (other[1] + prior)
    return (own[0] + prior * towards) / (own[1] + prior), (own[0] + prior * start) / (own[1] + prior)


# views 10,001 of a against its usual 20,001, and 40,001 of b against 10,001; the market's mean is half way. Two of a
# creator are a third alike until pairs tell, so a start of 2 placements where logs are compared and of 3 events
HALF = (np.log(10_001 / 20_001) - np.log(40_001 / 10_001)) / 2
RATE_HALF = (np.log(1_000 / 10_001 / (2_000 / 20_001)) - np.log(2_000 / 40_001 / (500 / 10_001))) / 2
# 200 clicks of 10,000 views and 400 of 40,000, counted for at most 2,000 views each; 30 orders of 200 clicks and 20 of
# 400, counted for at most 20 clicks each
SEEN_A, SEEN_B = (200 / 6, 10_000 / 6), (400 / 21, 40_000 / 21)
SOLD_A, SOLD_B = (30 / 11, 200 / 11), (20 / 21, 400 / 21)


def against(a, b):
    """Events and expected events of both, at the rate of the two together."""
    rate = (a[0] + b[0]) / (a[1] + b[1])
    return (a[0], a[1] * rate), (b[0], b[1] * rate)


VIEWS, ENGAGEMENT = drawn((HALF, 1), (-HALF, 1), 2, 0), drawn((RATE_HALF, 1), (-RATE_HALF, 1), 2, 0)
CLICKS, SALES = (np.log(drawn(*against(*both), 3, 1)) for both in ((SEEN_A, SEEN_B), (SOLD_A, SOLD_B)))
BOTH = dict(zip(RATES, (VIEWS, ENGAGEMENT, CLICKS, SALES), strict=True))
AGAINST_USUAL = {
    **{f"creator_{rate}": both for rate, (both, _) in BOTH.items()},
    # the brand is new; a's old placement was of the same format, and for the same niche, platform and style
    **{f"brand_{rate}": 0.0 for rate in RATES},
    **{f"{entity}_{rate}": alone for entity in ("deliverable", "niche_style") for rate, (_, alone) in BOTH.items()},
}
# what a brief for SG (.6) and MY (.3), beauty and travel, English, on TikTok with a budget of 10,000 says of creator a
BY_HAND = {
    "log_followers": np.log(50_000), "log_median_views": np.log(20_000), "log_views_per_follower": np.log(0.4),
    "log_engagement_per_follower": np.log(0.04), "log_engagement_per_view": np.log(0.1),
    "log_engagements": np.log(2_000), "comment_share": 0.15, "save_and_share_share": 0.1,
    "sponsored_response": np.log(0.5), "follower_growth": np.log(50 / 40), "audience_credibility": 0.8,
    "log_following_ratio": np.log(0.01), "last_post_age": np.log(11), "snapshot_age": np.log(10),
    "niche_match": 0.5, "niche_similarity": 0.25, "audience_interest": 0.35, "niche_breadth": 3.0,
    "target_share": 0.6, "home_in_target": 0.5, "log_target_views": np.log(12_000), "speaks_language": 0.0,
    "audience_speaks_language": 0.7, "home_share": 0.2, "audience_concentration": 0.30,
    "log_price": np.log(600), "log_price_per_follower": np.log(0.012), "log_price_per_view": np.log(0.03),
    "log_price_per_engagement": np.log(0.3), "price_against_tier": np.log(0.012 / np.sqrt(0.05 * 0.01)),
    "price_against_peers": np.log(0.012 / 0.05), "log_price_per_target_view": np.log(0.05),
    "log_price_to_budget": np.log(0.06),
    "content_polish": 0.3, "log_posts_per_week": np.log(4), "sponsored_share": 0.2, "log_content_count": np.log(100),
    "is_verified": 1.0,
    "goal_is_conversion": 1.0, "goal_is_awareness": 0.0, "platform_in_brief": 1.0, "is_new_product": 0.0,
    "log_product_price": np.log(25), "log_budget": np.log(10_000),
    "creator_placements": np.log(2), "person_placements": np.log(2),
    "creator_mean_views": np.log(10_001), "creator_average_views": np.log(10_001),
    "creator_views": (np.log(10_001) - (np.log(10_001) + np.log(40_001)) / 2) / 3,
    **AGAINST_USUAL,
    # the market: 3,000 engagements of 50,000 views; the creator 1,000 of 10,000; beforehand 3 x 25,000 views
    "creator_engagement_rate": np.log((1_000 + 75_000 * 0.06) / (10_000 + 75_000) / 0.06),
    # value and cost: a 200 of 2,000, b 800 of 500; beforehand 3 x 1,250 of cost
    "creator_return": np.log((200 + 3_750 * 0.4) / (2_000 + 3_750) / 0.4),
    "person_return": np.log((800 + 3_750 * 0.4) / (500 + 3_750) / 0.4),
    "platform_views": (np.log(10_001) - (np.log(10_001) + np.log(40_001)) / 2) / 3,
}  # fmt: skip


@pytest.fixture(scope="module")
def by_hand(encode):
    """Creators a (TikTok) and b (Instagram) of one person, a settled placement each, and the one in question."""
    day = [date(2026, 3, 1), date(2025, 11, 1)]
    older = {**PROFILE, "follower_count": 40_000.0}
    frames = {
        "creators": pl.DataFrame(
            {"creator_id": ["a", "b"], "platform": ["tiktok", "instagram"], "person_id": ["p", "p"],
             "country": ["MY", "SG"], "language": ["ms", "en"], "niches": ["beauty|food|music", "food"],
             "is_verified": [True, None]}
        ),
        "creator_snapshots": pl.DataFrame(
            [
                {"creator_id": "a", "snapshot_at": day[0], "last_post_at": date(2026, 2, 28), **PROFILE},
                {"creator_id": "a", "snapshot_at": day[1], "last_post_at": date(2025, 10, 1), **older},
                {"creator_id": "b", "snapshot_at": day[1], **{**dict.fromkeys(PROFILE), "follower_count": 50_000.0,
                 "median_views": 10_000.0, "avg_likes": 500.0}},
            ],
            schema_overrides={"last_post_at": pl.Date},
        ),
        "creator_audience": pl.DataFrame(
            [("country", "SG", 0.5), ("country", "MY", 0.2), ("country", "VN", 0.1), ("language", "en", 0.7),
             ("interest", "beauty", 0.35), ("interest", "food", 0.5)],
            schema=["dimension", "code", "weight"], orient="row",
        ).with_columns(pl.lit("a").alias("creator_id")),
        "campaigns": pl.DataFrame(
            {"campaign_id": ["old", "new"], "brand_id": ["x", "y"], "goal": ["conversion"] * 2,
             "starts_on": ["2026-01-10", "2026-03-10"], "niches": ["beauty", "beauty|travel"],
             "target_countries": [None, "SG:0.6|MY:0.3"], "languages": [None, "en"],
             "platforms": [None, "TikTok|youtube"], "budget": [None, 10_000.0], "product_price": [None, 25.0],
             "product_margin": [None, 0.4], "is_new_product": [None, False]}
        ),
        "placements": pl.DataFrame(
            {"placement_id": ["1", "2", "3"], "campaign_id": ["old", "old", "new"], "creator_id": ["a", "b", "a"],
             "agreed_on": ["2026-01-10", "2026-01-10", "2026-03-10"], "settled_at": ["2026-02-10", "2026-03-09", None],
             "deliverable": ["reel", "story", "reel"], "fee": [2_000.0, 500.0, 600.0],
             "impressions": [10_000.0, 40_000.0, None], "engagements": [1_000.0, 2_000.0, None],
             "clicks": [200.0, 400.0, None], "conversions": [30.0, 20.0, None],
             "revenue": [200.0, 800.0, None]}
        ),
    }  # fmt: skip
    return dict(zip(NAMES, placement_matrix(encode(frames, D), np.array([2]))[0].tolist(), strict=True))


@pytest.mark.parametrize("name", BY_HAND)
def test_features_by_hand(by_hand, name):
    assert by_hand[name] == pytest.approx(BY_HAND[name], rel=2e-5, abs=2e-6)
