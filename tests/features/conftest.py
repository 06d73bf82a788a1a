import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.brief_columns import encode_briefs
from features.build_market import build_market
from features.check import Report, load_checked
from features.context import brief_context
from features.market import Market
from features.matrix import brief_matrix, creator_state
from features.money import in_base_currency
from features.reading import typed
from features.record import COLUMNS
from features.settings import Settings
from features.tables import build
from features.tiers import tier_codes
from training.sample import make_market

Content = str | bytes | None

SOUND = {
    "creators.csv": (
        "creator_id,platform,username,person_id,country,language,niches,is_verified\n"
        "c1, TikTok ,ana,,sg,en,beauty|美妆,true\n"
        "c2,instagram,,,VN,vi, food ,no\n"
    ),
    "creator_snapshots.csv": (
        "creator_id,snapshot_at,follower_count,audience_credibility,price,price_currency,price_source\n"
        "c1,2024-12-01,12000,0.8,100,USD,Quoted\n"
        "c2,2024-12-01,5000,,,,\n"
    ),
    "campaigns.csv": (
        "campaign_id,brand_id,goal,starts_on,target_countries,platforms,budget,currency\n"
        "k1,b1,Conversion,2025-01-01,SG:0.7|MY:0.3,TikTok,1000,USD\n"
        "k2,b1,awareness,2025-02-01,VN,,,usd\n"
    ),
    "placements.csv": (
        "placement_id,campaign_id,creator_id,agreed_on,posted_at,fee,impressions,likes,saves,revenue,refunds\n"
        'p1,k1,c1,2025-01-05,2025-01-07T20:00:00+08:00,"1,200",5000,10,5,900,\n'
        "p2,k2,c2,,,80,3000,,,,\n"
    ),
}


@pytest.fixture
def sound() -> dict[str, Content]:
    return dict(SOUND)


@pytest.fixture
def write_folder(tmp_path: Path) -> Callable[[Mapping[str, Content]], Path]:
    def write(files: Mapping[str, Content]) -> Path:
        folder = tmp_path / "data"
        folder.mkdir()
        for name, content in files.items():
            if content is not None:
                (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return folder

    return write


@pytest.fixture
def checked(
    write_folder: Callable[[Mapping[str, Content]], Path], sound: dict[str, Content]
) -> Callable[[Mapping[str, Content]], Report]:
    """The report on the sound folder with some files replaced, added or (None) left out."""
    return lambda changes: load_checked(write_folder({**sound, **changes}), Settings())[1]


@pytest.fixture
def counts() -> Callable[..., list[int]]:
    """The counts of findings of one severity and place that have all the words."""

    def of(report: Report, severity: str, table: str, column: str | None, words: list[str]) -> list[int]:
        return [
            finding.count
            for finding in report.findings
            if (finding.severity, finding.table, finding.column) == (severity, table, column)
            and all(word in str(finding) for word in words)
        ]

    return of


Frames = dict[str, pl.DataFrame]


@pytest.fixture(scope="session")
def encode() -> Callable[..., Market]:
    """Small frames to a market: typed, completed, in base currency, encoded as of a date or day number."""

    def market(frames: Mapping[str, pl.DataFrame], as_of: date | int, settings: Settings | None = None) -> Market:
        settings = settings or Settings()
        day = as_of if isinstance(as_of, int) else (as_of - date(1970, 1, 1)).days
        read = {name: typed(name, frame)[0] for name, frame in frames.items()}
        return build_market(in_base_currency(build(read, settings), settings), settings, day)

    return market


@pytest.fixture(scope="session")
def messy_frames() -> Frames:
    """A small synthetic market made as untidy as real ones: late and repeated readings, gaps, deliverable prices."""
    rng = np.random.default_rng(7)
    raw = make_market(creators=90, placements=400, snapshots=7, seed=5)
    frames = {name: typed(name, table)[0] for name, table in raw.items()}
    readings = frames["creator_snapshots"]
    late = pl.Series(rng.choice([0, 0, 0, 5, 45], readings.height))
    readings = readings.with_columns(
        (pl.coalesce("known_at", "snapshot_at") + pl.duration(days=late)).alias("known_at"),
        *(
            pl.when(pl.Series(rng.random(readings.height) < 0.9)).then(pl.col(name)).alias(name)
            for name in ("follower_count", "median_views", "avg_saves", "posts_per_week")
        ),
    )
    repeated = readings.sample(60, seed=1).with_columns(pl.col("follower_count") * 1.5, pl.col("avg_likes") * 0.5)
    frames["creator_snapshots"] = pl.concat([readings, repeated]).sample(fraction=1, shuffle=True, seed=2)
    audience = frames["creator_audience"]
    frames["creator_audience"] = pl.concat([audience, audience.sample(80, seed=3)])
    who = frames["creators"]["creator_id"].gather(rng.integers(0, 40, 60))
    frames["creator_prices"] = pl.DataFrame(
        {
            "creator_id": who,
            "snapshot_at": [datetime(2026, 1, 1) + timedelta(days=int(d)) for d in rng.integers(0, 180, 60)],
            "deliverable": rng.choice(frames["placements"]["deliverable"].drop_nulls().unique().sort(), 60),
            "price": rng.lognormal(6, 1, 60).round(2),
            "price_source": rng.choice(["quoted", "paid", "estimated"], 60),
        }
    )
    prices = frames["creator_prices"]
    # two prices of one day
    frames["creator_prices"] = pl.concat([prices, prices.head(30).with_columns(pl.col("price") * 2)])
    frames["placements"] = frames["placements"].with_columns(
        pl.when(pl.Series(rng.random(400) < 0.9)).then(pl.col("fee")).alias("fee"),
        pl.when(pl.Series(rng.random(400) < 0.9)).then(pl.col("clicks")).alias("clicks"),
    )
    return frames


@pytest.fixture(scope="session")
def online_rows() -> Callable[..., np.ndarray]:
    """Features of placements as the service computes them: one catalogue a day, one encoded brief a placement."""

    def rows(market: Market, placements: np.ndarray) -> np.ndarray:
        p, frame = market.placements, market.campaign_frame.to_dicts()
        out = []
        states: dict[int, object] = {}
        for row in placements:
            state = states.setdefault(int(p.agreed[row]), creator_state(market, int(p.agreed[row])))
            campaign = frame[p.campaign[row]]
            wanted = {entry["code"]: entry["weight"] for entry in campaign["target_countries"] or ()}
            brief = encode_briefs([{**campaign, "target_countries": wanted}], market.words)
            price = state.profile["price"].copy()
            if p.fee[row] > 0 and market.commission_rate is None:
                price[p.creator[row]] = p.fee[row]
            served = replace(state, profile={**state.profile, "price": price})
            context = brief_context(served, brief, int(p.deliverable[row]), market.words, market.tier_count)
            out.append(brief_matrix(served, context)[p.creator[row]])
        return np.array(out)

    return rows


@pytest.fixture(scope="session")
def messy_market(encode: Callable[..., Market], messy_frames: Frames) -> Market:
    return encode(messy_frames, date(2026, 7, 1))


def day_of(stamp: date | datetime) -> int:
    return (date(stamp.year, stamp.month, stamp.day) - date(1970, 1, 1)).days


def usual_of(profile: Mapping[str, np.ndarray], row: int) -> dict[str, float]:
    """Usual log views and log engagement per view of one creator, NaN where the profile does not say."""
    views = profile["median_views"][row]
    parts = [profile[name][row] for name in ("avg_likes", "avg_comments", "avg_shares", "avg_saves")]
    interactions = sum(part for part in parts if not math.isnan(part))
    known = interactions > 0 and views > 0
    return {
        "usual_log_views": math.nan if math.isnan(views) else math.log(1 + views),
        "usual_log_rate": math.log(interactions) - math.log(1 + views) if known else math.nan,
    }


@pytest.fixture(scope="session")
def make_book() -> Callable[[Market, Frames], list[dict[str, object]]]:
    """One dict a placement: what it is about, from the tables, and what it adds, from the encoded numbers."""

    def make(market: Market, frames: Frames) -> list[dict[str, object]]:
        campaigns = {row["campaign_id"]: row for row in frames["campaigns"].to_dicts()}
        creators = {row["creator_id"]: row for row in frames["creators"].to_dicts()}
        p = market.placements
        profile = market.profile(p.creator, p.agreed)
        followers, polish = profile["follower_count"], profile["content_polish"]
        tiers = tier_codes(followers, market.settings)
        out = []
        for row, placement in enumerate(frames["placements"].to_dicts()):
            campaign, creator = campaigns[placement["campaign_id"]], creators[placement["creator_id"]]
            agreed = placement["agreed_on"] or campaign["starts_on"]
            settled = placement["settled_at"] or (placement["posted_at"] or agreed) + timedelta(days=30)
            tier, platform, goal = int(tiers[row]), creator["platform"], campaign["goal"]
            niche = next(iter(campaign["niches"] or ()), None)
            known = niche is not None and not math.isnan(polish[row])
            out.append(
                {
                    "id": placement["placement_id"],
                    "agreed": day_of(agreed), "settled": day_of(settled), "followers": followers[row],
                    "delivered": placement["delivered"] is not False,
                    "creator": creator["creator_id"], "person": creator["person_id"], "market": "all",
                    "brand": campaign["brand_id"], "niche": niche,
                    "deliverable": placement["deliverable"], "platform": platform, "goal": goal, "tier": tier,
                    "peers": (platform, tier), "goal_tier": (goal, tier), "goal_platform": (goal, platform),
                    "niche_style": (niche, platform, polish[row] > 0.5) if known else None,
                    "fee": p.fee[row], "cost": p.cost[row], **usual_of(profile, row),
                    **{name: column[row] for name, column in p.outcomes.items()},
                }
            )  # fmt: skip
        return out

    return make


@pytest.fixture(scope="session")
def book(messy_market: Market, messy_frames: Frames, make_book) -> list[dict[str, object]]:
    return make_book(messy_market, messy_frames)


@pytest.fixture(scope="session")
def slow_totals() -> Callable[[Iterable[Mapping[str, object]]], dict[str, float]]:
    return totals_by_definition


def totals_by_definition(placements):
    """Every total by its definition, in floats."""
    total = dict.fromkeys(COLUMNS, 0.0)
    for one in placements:
        views, fee, followers, delivered = one["impressions"], one["fee"], one["followers"], one["delivered"]
        viewed = delivered and not math.isnan(views)
        total["placements"] += 1
        total["delivered"] += delivered
        if viewed:
            total["viewed"] += 1
            total["views"] += views
            total["log_views"] += math.log(1 + views)
            for events, exposure in (("engagements", "engaged"), ("clicks", "clicked"), ("conversions", "sold")):
                if not math.isnan(one[events]):
                    total[events] += one[events]
                    if exposure != "clicked":
                        total[f"{exposure}_views"] += views
        if viewed and views > 0:
            _add_against_usual(total, one)
        if delivered and one["clicks"] > 0 and not math.isnan(one["conversions"]):
            # clicks count in full at first and for at most 20 in all
            counted = one["clicks"] / (1 + one["clicks"] / 20)
            total["sold"] += 1
            total["sold_clicks"] += counted
            total["sold_orders"] += one["conversions"] / one["clicks"] * counted
        if viewed and followers > 0:
            total["sized_views"] += 1
            total["sized_log_views"] += math.log(1 + views)
            total["log_followers"] += math.log(followers)
            total["log_followers_squared"] += math.log(followers) ** 2
            total["log_views_by_log_followers"] += math.log(followers) * math.log(1 + views)
        if delivered and not math.isnan(one["net_revenue"]):
            total["sales"] += 1
            total["revenue"] += one["net_revenue"]
        if not math.isnan(one["value"]) and not math.isnan(one["cost"]):
            total["valued"] += 1
            total["value"] += one["value"]
            total["cost"] += one["cost"]
        if fee > 0:
            total["fees"] += 1
            total["log_fee"] += math.log(fee)
            if followers > 0:
                total["sized_fees"] += 1
                total["log_fee_per_follower"] += math.log(fee / followers)
    return total


def _add_against_usual(total, one):
    """What a placement that was seen adds beyond what is usual for its creator, and its clicks."""
    views = one["impressions"]
    if not math.isnan(one["usual_log_views"]):
        beyond = math.log(1 + views) - one["usual_log_views"]
        total["compared"] += 1
        total["log_views_beyond"] += beyond
        total["log_views_beyond_squared"] += beyond**2
    if one["engagements"] > 0 and not math.isnan(one["usual_log_rate"]):
        beyond = math.log(one["engagements"] / (1 + views)) - one["usual_log_rate"]
        total["compared_rates"] += 1
        total["log_rate_beyond"] += beyond
        total["log_rate_beyond_squared"] += beyond**2
    if not math.isnan(one["clicks"]):
        # views count in full at first and for at most 2,000 in all
        counted = views / (1 + views / 2000)
        total["seen"] += 1
        total["seen_views"] += counted
        total["seen_clicks"] += one["clicks"] / views * counted
