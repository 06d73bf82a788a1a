"""Real sales of one seller on TikTok Shop Vietnam: the second half of April, judged by two clocks and as ranked."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.real_compare import (
    DRAWS,
    MODEL,
    TARGET_HEADINGS,
    Comparison,
    Floats,
    Ints,
    Table,
    auc,
    captured,
    compare,
    comparison_table,
    spearman,
    target_row,
)  # fmt: skip
from features.brief import Brief, parse_brief
from features.build_market import build_market
from features.check import load_checked
from features.context import placement_context
from features.errors import DataError
from features.record import Totals
from features.settings import Settings, ValueSettings
from features.tables import Tables
from serving.catalogue import build_catalogue
from serving.ranking import rank
from serving.release import Release
from training.backtest import outcome, predict
from training.dataset import Dataset, build_dataset
from training.funnel_fit import fit_model
from training.source import load
from training.split import day_number, labelled
from training.stage_fit import FitOptions

SEEDS = (0, 1, 2)
OPENS = date(2025, 4, 16)
CLOCKS = {"a": "(a) as exported", "b": "(b) history when settled"}
TARGETS = {"a": (0.70, 0.82), "b": (0.65, 0.80)}
MIN_PLACEMENTS = 10
# 12 USD a thousand views and 0.10 USD an engagement, at about 25,000 VND for a dollar
VND_PRICES = ValueSettings(cpm=300_000, engagement_price=2_500, price_currency="VND")
PAST = "past mean"


@dataclass(frozen=True)
class ClockResult:
    """Figures of one clock, and how much of the sales the five best placements made."""

    clock: str
    comparisons: tuple[Comparison, ...]
    trained: int
    sold: int
    five: float

    def by(self, start: str) -> Comparison:
        """The comparison whose figure starts so."""
        return next(c for c in self.comparisons if c.figure.startswith(start))


def judge_clock(folder: Path, clock: str, seeds: Iterable[int] = SEEDS, draws: int = DRAWS) -> ClockResult:
    """Train on placements agreed before 16 April, judge those after, with history by one of the two clocks."""
    tables, _ = load_checked(folder, Settings())
    if clock == "a":
        tables = _history_at_once(tables)
    market = build_market(tables, Settings(), day_number(OPENS))
    data = build_dataset(market)
    agreed = market.placements.agreed
    train, test = np.flatnonzero(agreed < day_number(OPENS)), np.flatnonzero(agreed >= day_number(OPENS))
    models = [fit_model(market, data.x[train], data.labels.part(train), FitOptions(seed=seed)) for seed in seeds]
    views, revenue = outcome(data, "impressions")[test], outcome(data, "net_revenue")[test]
    by = {name: [predict(data, model, test, name) for model in models]
          for name in ("impressions", "conversions", "net_revenue")}  # fmt: skip
    rules = {name: [score[test]] for name, score in _rules(data).items()}
    view_rules = {name: score for name, score in rules.items() if "revenue" not in name}
    sold = {"model, by expected views": by["impressions"], **rules}
    comparisons = (
        compare("views: rank correlation", spearman, np.log1p(views), {MODEL: by["impressions"], **view_rules},
                draws=draws),
        compare("sale or none: AUC, by expected conversions", auc, revenue,
                {MODEL: by["conversions"], "model, by expected net revenue": by["net_revenue"], **sold}, draws=draws),
        compare("sales captured by the top tenth, by expected net revenue", captured, revenue,
                {MODEL: by["net_revenue"], "model, by expected conversions": by["conversions"], **sold}, draws=draws),
    )  # fmt: skip
    five = float(np.sort(revenue)[-5:].sum() / revenue.sum())
    return ClockResult(clock, comparisons, len(train), int((revenue > 0).sum()), five)


def _history_at_once(tables: Tables) -> Tables:
    return replace(tables, placements=tables.placements.with_columns(settled_at=pl.col("agreed_on")))


def _rules(data: Dataset) -> dict[str, Floats]:
    """Followers and the creator's past means, of every placement as of its day; all NaN where nothing was known."""
    context = placement_context(data.market, np.arange(len(data.market.placements)))
    own, market = context.records["creator"], context.records["market"]
    return {"followers": _filled(np.array(context.profile["follower_count"])), **past_means(own, market)}


def past_means(own: Totals, market: Totals) -> dict[str, Floats]:
    """The creator's past means; the market's mean of the day for creators without any."""

    def mean(total: str, count: str) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(own[count] > 0, own[total] / own[count], market[total] / market[count])

    return {
        "past mean of log views": mean("log_views", "viewed"),
        "past mean views": mean("views", "viewed"),
        "past mean revenue": mean("revenue", "sales"),
    }


def _filled(followers: Floats) -> Floats:
    """Unknown followers count as the median: neither first nor last."""
    return np.where(np.isnan(followers), np.nanmedian(followers), followers)


@dataclass(frozen=True)
class Ranked:
    """Rankings of real campaigns: the figure, what was asked, and what was refused and why."""

    comparison: Comparison
    answered: str
    refusals: tuple[tuple[str, str], ...]
    trained: int
    pairs: int


def judge_rankings(folder: Path, seeds: Iterable[int] = SEEDS, draws: int = DRAWS) -> Ranked:
    """Rank as of 16 April by the product's own clocks, for the campaigns with placements from then on."""
    settings = Settings(value=VND_PRICES)
    loaded = load(folder, settings, OPENS)
    market, data = loaded.market, build_dataset(loaded.market)
    rows = labelled(market.placements, loaded.as_of)
    catalogue = build_catalogue(market, loaded.as_of, settings)
    releases = [
        Release(fit_model(market, data.x[rows], data.labels.part(rows), FitOptions(seed=seed)), catalogue)
        for seed in seeds
    ]
    realised = _realised(data)
    campaigns = [(int(c), part) for (c,), part in realised.group_by("campaign", maintain_order=True)
                 if part["placements"].sum() >= MIN_PLACEMENTS]  # fmt: skip
    frame = market.campaign_frame
    goal, refusals = _goal_that_answers(releases[0], frame.row(campaigns[0][0], named=True))
    everybody = np.arange(len(market.creators), dtype=np.int64)
    day = np.full_like(everybody, loaded.as_of)
    means = past_means(
        market.histories["creator"].at(everybody, day), market.histories["market"].at(np.zeros_like(everybody), day)
    )
    simple = {"followers": _filled(market.profile(everybody, day)["follower_count"]), **means}
    simple = {name: score for name, score in simple.items() if np.isfinite(score).all()}
    ids = market.creators.frame["creator_id"]
    rhos: dict[str, list[list[float]]] = {MODEL: [[] for _ in releases], **{name: [[]] for name in simple}}
    pairs: list[float] = []
    for campaign, part in campaigns:
        creators, views = part["creator"].to_numpy(), part["views"].to_numpy()
        brief = _brief(frame.row(campaign, named=True), goal, "impressions", ids.gather(creators).to_list())
        for position, release in enumerate(releases):
            expected = {
                pick.creator_id: pick.expected.impressions for pick in rank(release, brief, request_id="").picks
            }
            score = np.array([expected[name] for name in ids.gather(creators)], dtype=np.float64)
            rhos[MODEL][position].append(spearman(views, score))
        for name, score in simple.items():
            rhos[name][0].append(spearman(views, score[creators]))
        pairs.append(len(creators))
    weights = np.array(pairs)
    comparison = compare(
        "views within a campaign: rank correlation", lambda size, rho: float((size * rho).sum() / size.sum()), weights,
        # a score that is the same for everybody in a campaign orders nobody: 0
        # a score that is the same for everybody in a campaign orders nobody: 0
        {name: [np.nan_to_num(np.array(part)) for part in parts] for name, parts in rhos.items()}, draws=draws,
    )  # fmt: skip
    return Ranked(comparison, f"goal {goal}, rank_by impressions", refusals, len(rows), int(weights.sum()))


def _realised(data: Dataset) -> pl.DataFrame:
    """Placements and mean views of each creator in each campaign from 16 April on."""
    p = data.market.placements
    rows: Ints = np.flatnonzero(p.agreed >= day_number(OPENS))
    frame = pl.DataFrame({"campaign": p.campaign[rows], "creator": p.creator[rows],
                          "views": outcome(data, "impressions")[rows]})  # fmt: skip
    grouped = frame.group_by("campaign", "creator").agg(pl.len().alias("placements"), pl.col("views").mean())
    return grouped.sort("campaign", "creator")


def _goal_that_answers(release: Release, campaign: Mapping[str, object]) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The campaign's own goal where the model can rank by views under it, else awareness; and every refusal."""
    own = str(campaign["goal"])
    refusals, answering = [], []
    for goal, rank_by in ((own, "value"), (own, "impressions"), ("awareness", "impressions")):
        try:
            rank(release, _brief(campaign, goal, rank_by, None), request_id="")
        except DataError as error:
            refusals.append((f"goal {goal}, rank_by {rank_by}", str(error)))
        else:
            answering.append((goal, rank_by))
    return next(goal for goal, rank_by in answering if rank_by == "impressions"), tuple(refusals)


def _brief(campaign: Mapping[str, object], goal: str, rank_by: str, creators: list[str] | None) -> Brief:
    brief = {
        "goal": goal, "budget": 1e9, "brand_id": campaign["brand_id"], "niches": campaign["niches"] or [],
        "target_countries": ["VN"], "platforms": ["tiktok"], "starts_on": OPENS.isoformat(),
        "product_price": campaign["product_price"], "deliverable": "video", "rank_by": rank_by, "top": 1000,
        "explain": False, "filters": {"creator_ids": creators},
    }  # fmt: skip
    return parse_brief(brief)


def report(folder: Path) -> list[Table]:
    """Every table of this data set."""
    results = [judge_clock(folder, clock) for clock in CLOCKS]
    targets = [
        target_row(CLOCKS[r.clock], comparison, target, PAST)
        for r in results
        for comparison, target in zip(r.comparisons, (*TARGETS[r.clock], None), strict=True)
    ]
    tables = [Table("Targets, as computed", TARGET_HEADINGS, tuple(targets))]
    for r in results:
        note = (
            f"{r.trained:,} placements taught the model; {r.comparisons[0].rows:,} were judged, {r.sold} of which sold "
            f"anything. Five sales alone made {r.five:.0%} of the revenue, so what the top tenth captures "
            "hangs on a handful of videos. Intervals: bootstrap of placements, the same draws for model and rule."
        )
        absent = "" if "past mean revenue" in r.by("sale").lines else " No sale had settled: no past mean revenue."
        title = f"16-30 April 2025, clock {CLOCKS[r.clock]}"
        tables.append(comparison_table(title, r.comparisons, (note + absent,)))
    ranked = judge_rankings(folder)
    note = (
        f"{ranked.comparison.rows} campaigns with at least {MIN_PLACEMENTS} placements, {ranked.pairs} pairs of "
        f"campaign and creator, campaigns weighted by pairs and resampled; {ranked.trained:,} placements had settled. "
        f"Asked: {ranked.answered}."
    )
    refused = tuple(f"Refused: {asked}: {why}." for asked, why in ranked.refusals)
    title = "Ranked as of 16 April 2025 for real campaigns, the product's own clocks"
    return [*tables, comparison_table(title, [ranked.comparison], (note, *refused))]
