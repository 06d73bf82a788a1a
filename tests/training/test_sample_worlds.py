from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
import pytest

from features.errors import DataError
from training.sample import make_market
from training.sample_campaigns import coming_campaigns
from training.sample_held_out import make_truth
from training.sample_hidden import Hidden, make_hidden
from training.sample_outcomes import expected_rates
from training.sample_truth import Truth
from training.sample_world import GOALS, MONTH_DAYS, World, per_platform, slopes
from training.sample_worlds import WORLDS, world_named

SIZES = {"creators": 20_000, "placements": 2000, "snapshots": 1}
MADE: dict[str, tuple[Hidden, Truth]] = {}


def made(name: str) -> tuple[Hidden, Truth]:
    if name not in MADE:
        hidden = make_hidden(**SIZES, world=world_named(name))
        MADE[name] = hidden, make_truth(hidden, name, briefs=80, pool=600)
    return MADE[name]


def followers_slope(name: str, column: str) -> float:
    outcomes = made(name)[1].outcomes
    logs = outcomes.select(pl.col("followers", column).log()).to_numpy()
    return float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0])


def causes(hidden: Hidden, outcomes: pl.DataFrame) -> np.ndarray:
    """What moves log value and cost except followers, in logs, with an intercept; two causes enter as squares too."""
    creators = hidden.creators
    row = dict(zip(creators.ids, range(len(creators)), strict=True))
    who = np.array([row[creator_id] for creator_id in outcomes["creator_id"]])
    platform, size = creators.platform[who], creators.followers[who, -1]
    fit, reach, spoken = pairs(hidden, outcomes, who)
    columns = [
        creators.views[who, -1] - slopes(hidden.world, "views_slope")[platform] * size,
        creators.engagement[who, -1] - np.log(per_platform("engagement"))[platform],
        creators.fee[who] - creators.fee_slope[who] * size,
        np.log(creators.credibility[who]),
        np.log(creators.delivery[who]),
        creators.selling[who],
        creators.polish[who],
        creators.sponsored_share[who],
        fit,
        np.log(reach + 0.05),
        np.log(reach),
        np.log(spoken + 0.4),
    ]
    squares = [columns[5] ** 2, columns[8] ** 2]
    return np.column_stack([np.ones(len(who)), *columns, *squares, np.eye(8)[platform][:, 1:]])


def pairs(hidden: Hidden, outcomes: pl.DataFrame, who: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(np.random.SeedSequence(hidden.seed, spawn_key=(len(hidden.streams) - 1,)))
    count = len(made_of(hidden).briefs)
    campaigns = coming_campaigns(hidden.world, hidden.creators, hidden.campaigns.brands, count, rng)
    which = outcomes["brief_id"].str.slice(1).cast(pl.Int64).to_numpy()
    creators = hidden.creators
    fit = np.einsum("pn,pn->p", creators.fit[who], campaigns.niches[which])
    reach = np.einsum("pn,pn->p", creators.audience[who], campaigns.target[which])
    spoken = np.einsum("pn,pn->p", creators.languages[who], campaigns.languages[which].astype(float))
    return fit, np.maximum(reach, 1e-6), spoken


def made_of(hidden: Hidden) -> Truth:
    return next(truth for known, truth in MADE.values() if known is hidden)


def some(truth: Truth, goal: str) -> pl.DataFrame:
    return truth.outcomes.filter(pl.col("goal") == goal, pl.col("value") > 0.01 * pl.col("cost"))


def tier_effects(name: str, goal: str) -> np.ndarray:
    """Log ROAS of nano, macro and mega above micro's, the other causes held fixed."""
    hidden, truth = made(name)
    outcomes = some(truth, goal)
    tiers = [(outcomes["tier"] == tier).to_numpy().astype(float) for tier in ("nano", "macro", "mega")]
    logs = outcomes.select((pl.col("value") / pl.col("cost")).log()).to_series().to_numpy()
    design = np.column_stack([*tiers, causes(hidden, outcomes), logs])
    # within each brief: brand, product and margin are then the same
    brief = outcomes["brief_id"].rank("dense").to_numpy().astype(int) - 1
    sizes = np.bincount(brief)
    means = np.column_stack([np.bincount(brief, column) / sizes for column in design.T])
    design -= means[brief]
    return np.linalg.lstsq(design[:, :-1], design[:, -1], rcond=None)[0][:3]


def explained(name: str, goal: str) -> float:
    """R2 of log value on the logs of everything that causes it, with followers by platform."""
    hidden, truth = made(name)
    outcomes = some(truth, goal)
    sizes = outcomes.select("platform", pl.col("followers").log()).with_row_index().pivot("platform", index="index")
    design = np.column_stack([causes(hidden, outcomes), sizes.drop("index").fill_null(0.0).to_numpy()])
    logs = outcomes["value"].log().to_numpy()
    left = logs - design @ np.linalg.lstsq(design, logs, rcond=None)[0]
    return float(1 - left.var() / logs.var())


def test_every_world_says_what_it_is_and_an_unknown_one_is_refused() -> None:
    assert set(WORLDS) == {
        "balanced", "rate-card", "paid-slope", "tiktok-like", "local", "fraud-heavy", "null", "tiers-differ", "cliffs"
    }  # fmt: skip
    assert world_named("balanced") == World()
    assert len({named.world for named in WORLDS.values()}) == len({named.about for named in WORLDS.values()}) == 9
    with pytest.raises(DataError, match=r"no world 'nul'.*rate-card.*null"):
        world_named("nul")


@pytest.mark.parametrize(
    ("name", "column", "low", "high"),
    [
        ("balanced", "fee", 0.5, 0.65),
        ("rate-card", "fee", 0.85, 0.95),
        ("paid-slope", "fee", 0.29, 0.35),
        ("tiktok-like", "fee", 0.29, 0.35),
        ("balanced", "impressions", 0.45, 0.6),
        ("tiktok-like", "impressions", 0.07, 0.13),
    ],
)
def test_fees_and_views_grow_with_followers_as_the_world_says(name: str, column: str, low: float, high: float) -> None:
    assert low < followers_slope(name, column) < high


@pytest.mark.parametrize(("name", "slope"), [("rate-card", 0.9), ("paid-slope", 0.9)])
def test_quotes_keep_the_slope_of_rate_cards(name: str, slope: float) -> None:
    market = make_market(placements=100, snapshots=1, world=world_named(name))
    quotes = market["creator_snapshots"].filter(pl.col("price_currency") == "USD").select("follower_count", "price")
    logs = quotes.select(pl.all().log()).to_numpy()
    assert np.polyfit(logs[:, 0], logs[:, 1], 1)[0] == pytest.approx(slope, abs=0.04)


def test_local_campaigns_are_local_and_in_one_country() -> None:
    shares, single = {}, {}
    for name in ("balanced", "local"):
        campaigns = make_hidden(placements=10_000, world=world_named(name)).campaigns
        shares[name] = campaigns.is_goal("local").mean()
        single[name] = ((campaigns.target > 0).sum(axis=1) == 1).mean()
    assert shares["balanced"] < 0.15
    assert shares["local"] > 0.58
    assert single["balanced"] < 0.6
    assert single["local"] > 0.8


def test_fraud_is_heavy_uneven_and_follows_size() -> None:
    usual, heavy = made("balanced")[0].creators, made("fraud-heavy")[0].creators
    assert usual.credibility.mean() == pytest.approx(0.78, abs=0.01)
    assert heavy.credibility.mean() == pytest.approx(0.5, abs=0.03)
    assert heavy.credibility.std() > 2 * usual.credibility.std()
    up = make_hidden(**SIZES, world=replace(world_named("fraud-heavy"), credible_slope=0.25)).creators
    trends = [np.corrcoef(c.followers[:, -1], c.credibility)[0, 1] for c in (heavy, usual, up)]
    assert trends[0] < -0.2
    assert abs(trends[1]) < 0.02
    assert trends[2] > 0.2


@pytest.mark.parametrize("goal", GOALS)
def test_null_no_tier_pays_better(goal: str) -> None:
    assert np.abs(tier_effects("null", goal)).max() < 0.02


@pytest.mark.parametrize(("name", "most", "least"), [("null", 0.004, 0.0), ("balanced", 9.0, 0.05)])
def test_null_the_same_creators_with_three_times_the_followers_earn_the_same(
    name: str, most: float, least: float
) -> None:
    world = world_named(name)
    grown = make_hidden(**SIZES, world=replace(world, followers_median=3 * world.followers_median))
    before, after = made(name)[1].outcomes, make_truth(grown, name, briefs=80, pool=600).outcomes
    assert before["creator_id"].equals(after["creator_id"])
    gain = (after["value"] / after["cost"]) / (before["value"] / before["cost"]) - 1
    # the smallest accounts and costs below the floor apart, where a view and a dollar are not divisible
    for goal in GOALS:
        rows = (before["goal"] == goal) & (before["value"] > 0) & (before["followers"] > 2000)
        assert least <= gain.filter(rows).abs().median() < most
    if name == "null":
        assert gain.filter(rows).abs().max() < 0.02


@pytest.mark.parametrize("goal", GOALS)
def test_tiers_differ_micro_pays_a_fifth_better(goal: str) -> None:
    assert np.exp(-tier_effects("tiers-differ", goal)) == pytest.approx(1.2, abs=0.02)


def test_tiers_differ_from_null_in_micro_alone() -> None:
    null, differ = made("null")[1].outcomes, made("tiers-differ")[1].outcomes
    assert null["creator_id"].equals(differ["creator_id"])
    ratio = ((differ["value"] / differ["cost"]) / (null["value"] / null["cost"])).to_numpy()
    micro, worth = (null["tier"] == "micro").to_numpy(), null["value"].to_numpy() > 0
    assert ratio[micro & worth].mean() == pytest.approx(1.2, abs=0.002)
    assert ratio[~micro & worth] == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("goal", GOALS)
def test_cliffs_a_model_on_logs_explains_less(goal: str) -> None:
    assert explained("balanced", goal) > 0.96
    assert explained("cliffs", goal) < explained("balanced", goal) - 0.08


def test_seasons_move_impressions_and_sales() -> None:
    sums = {}
    for today in (date(2025, 11, 2), date(2026, 6, 2)):  # posts of both lie within November and June
        hidden = make_hidden(creators=2000, placements=500, snapshots=1, today=today)
        rate = expected_rates(hidden.world, hidden.creators, hidden.campaigns, hidden.bookings, hidden.today)
        late = hidden.bookings.posted >= 0
        assert late.sum() > 10
        sums[today.month] = rate.impressions[late].mean(), rate.sales[late].mean()
    assert sums[11][0] - sums[6][0] == pytest.approx(np.log(0.93 / 1.03), abs=1e-9)
    assert sums[11][1] - sums[6][1] == pytest.approx(np.log(1.35 / 1.05), abs=1e-9)


def test_drift_and_fatigue_are_there_and_can_be_turned_off() -> None:
    drifting, still = make_hidden(), make_hidden(world=replace(World(), views_drift=0.0))
    own = [
        h.creators.views - per_platform("views_slope")[h.creators.platform][:, None] * h.creators.followers
        for h in (drifting, still)
    ]
    assert np.diff(own[0], axis=1).std() == pytest.approx(0.06, abs=0.003)
    assert np.diff(own[1], axis=1).std() < 1e-9
    rates = [
        expected_rates(world, drifting.creators, drifting.campaigns, drifting.bookings, drifting.today).impressions
        for world in (World(), replace(World(), fatigue=0.0))
    ]
    recent = np.minimum(drifting.bookings.recent, 6)
    assert (recent > 0).mean() > 0.1
    assert rates[1] - rates[0] == pytest.approx(0.08 * recent, abs=1e-9)


def test_some_outcomes_settle_late_and_readings_have_gaps() -> None:
    market = make_market()
    posted = market["placements"].drop_nulls(["posted_at", "settled_at"])
    days = (posted["settled_at"] - posted["posted_at"]).dt.total_days()
    assert (days > 30).mean() == pytest.approx(0.15, abs=0.03)
    assert days.max() <= 50
    spans = market["creator_snapshots"].group_by("creator_id").agg(
        pl.len(), months=((pl.col("snapshot_at").max() - pl.col("snapshot_at").min()).dt.total_days() / MONTH_DAYS)
    )  # fmt: skip
    gaps = 1 - (spans["len"] - 1).sum() / spans["months"].round().sum()
    assert gaps == pytest.approx(0.06, abs=0.02)
