"""What is served on a day from history up to that day, saved and loaded, is what is trained on: bit for bit.

Offline: the whole data set, and rows as of day D. Online: the data set as it stood before D, its catalogue as a folder,
and one brief. Budgets are in the base currency, as a brief gives them.
"""

import os
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pycountry
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.brief import parse_brief
from features.brief_columns import encode_briefs
from features.build_market import build_market
from features.check import load_checked
from features.context import brief_context, candidate_context
from features.declare import Family
from features.matrix import FEATURES, NAMES, brief_matrix, fill, matrix, placement_matrix
from features.money import in_base_currency
from features.reading import typed
from features.settings import Settings
from features.tables import build
from serving.catalogue import build_catalogue, load_catalogue, save_catalogue
from tests.features import slow_oracle as oracle
from training.sample import make_market
from training.sample_worlds import world_named

SHARED = Path(os.environ.get("INFLUENCER_ROI_SHARED_DATA") or Path(__file__).parents[3] / "shared" / "data")
SETTINGS = Settings()
GOALS = ("awareness", "engagement", "conversion", "launch", "local")
# words of the sample markets, and one of each kind that no data hold
NICHES = st.lists(st.sampled_from(["beauty", "fashion", "gaming", "tech", "falconry"]), unique=True, min_size=1)
COUNTRIES = st.sampled_from(["SG", "CN", "US", "IT", "IS"])
LANGUAGES = st.lists(st.sampled_from(["en", "zh", "it", "is"]), unique=True, min_size=1)
PLATFORMS = st.lists(st.sampled_from(["tiktok", "instagram", "douyin", "myspace"]), unique=True, min_size=1)
REQUEST = st.fixed_dictionaries(
    {
        "goal": st.sampled_from(GOALS),
        "budget": st.floats(1.0, 1e6),
        "starts_on": st.dates(date(2026, 1, 1), date(2026, 12, 31)),
    },
    optional={
        "brand_id": st.sampled_from(["synthetic-000", "synthetic-027", "nobody"]),
        "niches": NICHES,
        "target_countries": st.dictionaries(COUNTRIES, st.sampled_from([0.1, 0.3, 0.7, 1.0]), min_size=1),
        "languages": LANGUAGES,
        "platforms": PLATFORMS,
        "product_price": st.floats(0.5, 500.0),
        "product_margin": st.floats(0.0, 1.0),
        "is_new_product": st.booleans(),
        "deliverable": st.sampled_from(["reel", "video", "story", "hologram"]),
    },
)


def served(tables, day, folder, ahead=0):
    """The catalogue of a day, from nothing but what was known before it, or so many days later."""
    number = oracle.day_number(day)
    folder.mkdir()
    market = build_market(oracle.known_before(tables, day + timedelta(days=ahead)), SETTINGS, number)
    save_catalogue(build_catalogue(market, number, SETTINGS), folder)
    return load_catalogue(folder)


def online(catalogue, brief, deliverable):
    """Context and features of every creator for one brief, as `serving.candidates` computes them."""
    briefs = encode_briefs([brief], catalogue.words, catalogue.cpm_factors)
    code = catalogue.words.deliverable.code_in_any_case(deliverable)
    context = brief_context(catalogue.state, briefs, code, catalogue.words, len(catalogue.tier_names))
    return context, brief_matrix(catalogue.state, context)


def offline(market, campaign, day, deliverable):
    """Features of every creator as a candidate of a campaign of the data set."""
    n = len(market.creators)
    number, code = oracle.day_number(day), market.words.deliverable.code_in_any_case(deliverable)
    row = market.campaign_frame["campaign_id"].to_list().index(campaign)
    filled = [np.full(n, value, dtype=np.int64) for value in (row, number, code)]
    return matrix(candidate_context(market, np.arange(n), *filled), n)


def brief_of(campaign):
    wanted = {entry["code"]: entry["weight"] for entry in campaign["target_countries"] or ()}
    return {**campaign, "target_countries": wanted}


def with_request(tables, request):
    """The data set with one campaign more, which nobody was placed in."""
    row = {**request, "campaign_id": "request", "currency": tables.campaigns["currency"][0]}
    row["target_countries"] = "|".join(
        f"{code}:{weight}" for code, weight in request.get("target_countries", {}).items()
    )
    row |= {name: "|".join(request[name]) for name in ("niches", "languages", "platforms") if name in request}
    frame = typed("campaigns", pl.DataFrame([row]).drop("deliverable", strict=False))[0]
    campaign = build({"campaigns": frame}, SETTINGS).campaigns
    return replace(tables, campaigns=pl.concat([tables.campaigns, campaign]))


def check_placements(tables, market, days, tmp_path, most=20):
    """Placements agreed on each day: as candidates, and with the fee agreed. Returns their offline features."""
    every, campaigns = [], {row["campaign_id"]: row for row in tables.campaigns.to_dicts()}
    for day in days:
        catalogue = served(tables, day, tmp_path / str(day))
        rows = np.flatnonzero(market.placements.agreed == oracle.day_number(day))[:most]
        for row in rows:
            placement = tables.placements.row(int(row), named=True)
            campaign = campaigns[placement["campaign_id"]]
            context, x = online(catalogue, brief_of(campaign), placement["deliverable"])
            expected = offline(market, campaign["campaign_id"], day, placement["deliverable"])
            assert oracle.unequal(x, expected) == [], placement["placement_id"]
            if placement["fee"] is not None and market.commission_rate is None:
                fee = np.full(len(x), placement["fee"])
                fill(x, replace(context, profile={**context.profile, "price": fee}), Family.COST)
            (own,) = np.flatnonzero((catalogue.display["creator_id"] == placement["creator_id"]).to_numpy())
            got = placement_matrix(market, np.array([row]))
            assert oracle.unequal(x[[own]], got) == [], placement["placement_id"]
            every.append(got)
    return np.concatenate(every)


def canonical(frames):
    return in_base_currency(build({name: typed(name, frame)[0] for name, frame in frames.items()}, SETTINGS), SETTINGS)


WORLDS = ("balanced", "cliffs")


@pytest.fixture(scope="module", params=["messy", *WORLDS])
def world(request, messy_frames):
    """Tables of a market; "messy" has late and repeated readings, gaps and prices by deliverable."""
    if request.param == "messy":
        return canonical(messy_frames)
    return canonical(make_market(creators=80, placements=300, snapshots=6, seed=9, world=world_named(request.param)))


def test_any_request_on_any_day(world, tmp_path_factory):
    first, last = (
        oracle.day_number(day.date())
        for day in (world.placements["settled_at"].min(), world.placements["settled_at"].max())
    )

    @settings(max_examples=15, deadline=None, derandomize=True)
    @given(st.integers(first + 1, last + 10), st.sampled_from([0, 0, 1, 30]), REQUEST)
    def check(number, ahead, request):
        day = oracle.day_of(number)
        catalogue = served(world, day, tmp_path_factory.mktemp("served") / "catalogue", ahead)
        brief = parse_brief({**request, "starts_on": request["starts_on"].isoformat()}).model_dump()
        market = build_market(with_request(world, request), SETTINGS, last + 20)
        deliverable = request.get("deliverable")
        _, x = online(catalogue, brief, deliverable)
        assert oracle.unequal(x, offline(market, "request", day, deliverable)) == []

    check()


def test_placements_of_any_day(world, tmp_path):
    market = build_market(world, SETTINGS, oracle.day_number(world.placements["settled_at"].max().date()) + 20)
    agreed = world.placements["agreed_on"].dt.date()
    settled = world.placements["settled_at"].dt.date().min()
    days = agreed.filter(agreed > settled).unique().sort().sample(6, seed=3)
    x = check_placements(world, market, days, tmp_path, most=6)
    assert len(x) > 8
    assert np.isfinite(x).any(axis=0).sum() > 0.9 * len(FEATURES)


def test_placements_of_real_data(tmp_path):
    folder = SHARED / "tiktokshop-vn" / "contract"
    if not folder.is_dir():
        pytest.skip(f"the TikTok Shop data set is not at {folder}")
    tables = in_base_currency(load_checked(folder, SETTINGS)[0], SETTINGS)
    market = build_market(tables, SETTINGS, oracle.day_number(date(2025, 6, 30)))
    agreed = tables.placements["agreed_on"].dt.date()
    # Whether fees are commissions is decided from all the data (at least 30 sales): from 29 April, when the first
    # sales settle, until 30 have, the data of the day alone would take them for fees agreed.
    days = [date(2025, 1, 3), *agreed.filter(agreed < date(2025, 4, 20)).sample(3, seed=1), date(2025, 4, 28)]
    x = check_placements(tables, market, days, tmp_path, most=4)
    assert len(x) >= 12
    assert np.nanstd(x[:, NAMES.index("creator_views")]) > 0
    sold = oracle.known_before(tables, date(2025, 5, 20))
    assert build_market(sold, SETTINGS, 0).commission_rate == pytest.approx(market.commission_rate, rel=0.05)
    catalogue = served(tables, date(2025, 5, 20), tmp_path / "sold")
    for campaign in tables.campaigns.sample(3, seed=2).to_dicts():
        _, x = online(catalogue, brief_of(campaign), "video")
        assert oracle.unequal(x, offline(market, campaign["campaign_id"], date(2025, 5, 20), "video")) == []
        assert np.nanstd(x[:, NAMES.index("creator_return")]) > 0


def synthetic_campaigns_of_real_creators(panel, folder):
    """Real profiles of five months; campaigns, placements and outcomes are SYNTHETIC: drawn, no such work happened."""
    rng = np.random.default_rng(0)
    seen = panel.group_by("creator_id").len().filter(pl.col("len") >= 3)["creator_id"].sort()
    panel = panel.filter(pl.col("creator_id").is_in(seen.sample(300, seed=1).implode())).sort("creator_id", "snapshot")

    def country(name):
        found = pycountry.countries.get(name=name)
        return found.alpha_2 if found else None

    home = pl.col("audience_country").drop_nulls().first().map_elements(country, return_dtype=pl.String)
    creators = panel.group_by("creator_id", maintain_order=True).agg(
        pl.col("platform").first(), home.alias("country"), pl.col("niche").drop_nulls().first().alias("niches")
    )
    creators.write_csv(folder / "creators.csv")
    panel.select(
        "creator_id", (pl.col("snapshot") + "-01").alias("snapshot_at"), pl.col("followers").alias("follower_count"),
        pl.col("views_avg").alias("median_views"), pl.col("likes_avg").alias("avg_likes"),
        pl.col("comments_avg").alias("avg_comments"), pl.col("shares_avg").alias("avg_shares"),
    ).write_csv(folder / "creator_snapshots.csv")  # fmt: skip
    starts = [date(2022, 4, 1) + timedelta(days=20 * k) for k in range(14)]
    niches = creators["niches"].drop_nulls().unique().sort()
    pl.DataFrame(
        {
            "campaign_id": [f"synthetic{k}" for k in range(14)], "brand_id": [f"b{k % 4}" for k in range(14)],
            "goal": [GOALS[k % 5] for k in range(14)], "starts_on": starts,
            "niches": [niches[5 * k % len(niches)] for k in range(14)],
            "target_countries": ["US:0.6|BR:0.4", "IN"] * 7, "budget": [1e5] * 14, "currency": ["USD"] * 14,
        }
    ).write_csv(folder / "campaigns.csv")  # fmt: skip
    which, impressions = rng.integers(0, 14, 420), rng.lognormal(11, 1.5, 420).astype(int)
    pl.DataFrame(
        {
            "placement_id": [f"synthetic{k}" for k in range(420)], "campaign_id": [f"synthetic{k}" for k in which],
            "creator_id": creators["creator_id"].gather(rng.integers(0, 300, 420)),
            "agreed_on": [starts[k] for k in which], "deliverable": rng.choice(["reel", "story"], 420),
            "fee": rng.lognormal(7, 1, 420).round(2), "impressions": impressions,
            "engagements": rng.binomial(impressions, 0.03), "clicks": rng.binomial(impressions, 0.004),
            "revenue": rng.lognormal(6, 2, 420).round(2),
        }
    ).write_csv(folder / "placements.csv")  # fmt: skip


def test_placements_over_real_profiles(tmp_path):
    panel = SHARED / "hypeauditor-snapshots" / "creators_panel.csv"
    if not panel.is_file():
        pytest.skip(f"the HypeAuditor snapshots are not at {panel}")
    data = tmp_path / "data"
    data.mkdir()
    synthetic_campaigns_of_real_creators(pl.read_csv(panel, infer_schema_length=None), data)
    read, report = load_checked(data, SETTINGS)
    assert report.errors == ()
    tables = in_base_currency(read, SETTINGS)
    market = build_market(tables, SETTINGS, oracle.day_number(date(2023, 6, 1)))
    days = tables.placements["agreed_on"].dt.date().unique().sort()[2::3]
    x = check_placements(tables, market, days, tmp_path, most=5)
    assert len(x) >= 15
    for name in ("log_followers", "follower_growth", "log_engagement_per_view", "creator_mean_views"):
        assert np.nanstd(x[:, NAMES.index(name)]) > 0, name
