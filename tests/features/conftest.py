from collections.abc import Callable, Mapping
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
from features.settings import Settings
from features.tables import build
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
