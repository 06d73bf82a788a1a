"""SYNTHETIC markets for plans, learnt from as they would be served, and briefs with every kind of limit."""

from pathlib import Path
from typing import Any

CREATORS = {2_000: 3_000, 8_000: 3_000, 20_000: 10_000, 200_000: 30_000}
BRIEFS = 300  # that every market has; fewer may be asked
NICHES = ("beauty", "fitness", "food", "gaming", "tech", "travel")
TARGETS = ({}, {"US": 1.0}, {"SG": 0.7, "MY": 0.3}, {"GB": 0.5, "DE": 0.5})


def market(work: Path, world: str, placements: int, seed: int) -> Path:
    """The folder of a market with its truth, written unless it is there whole."""
    from training.sample import write_sample
    from training.sample_truth import FOLDER

    folder = work / f"{world}-{placements}-{seed}"
    if not (folder / FOLDER / "truth.json").exists():
        write_sample(folder, creators=creators(placements), placements=placements, seed=seed, fmt="parquet",
                     world=world, truth=(BRIEFS, 600))  # fmt: skip
    return folder


def creators(placements: int) -> int:
    """Accounts of a market of so many placements."""
    return CREATORS.get(placements, max(3_000, placements // 5))


def learnt(folder: Path) -> Any:
    """The release that would be served for a market, its tier table in the card; nothing is published."""
    from dataclasses import replace

    from serving.catalogue import build_catalogue
    from serving.release import Release
    from training.backtest import backtest
    from training.pipeline import fit_served
    from training.split import time_split
    from training.stage_fit import FitOptions

    data, rows, as_of = _placements(folder)
    options = FitOptions()
    history = backtest(data, time_split(data.market.placements, as_of), options)
    model = fit_served(data, rows, history, options)
    catalogue = build_catalogue(data.market, data.market.as_of, data.market.settings)
    return Release(replace(model, card={"tiers": _verdicts(data, rows)}), catalogue)


def past_winners(folder: Path) -> dict[str, str | None]:
    """Which tier past placements name, by goal and over all."""
    data, rows, _ = _placements(folder)
    return {goal: said["winner"] for goal, said in _verdicts(data, rows).items()}


def _placements(folder: Path) -> tuple[Any, Any, int]:
    """A market's placements with their features, the rows that may teach, and the day."""
    from features.settings import Settings
    from training.dataset import build_dataset
    from training.source import load
    from training.split import labelled

    loaded = load(folder, Settings(), None)
    return build_dataset(loaded.market), labelled(loaded.market.placements, loaded.as_of), loaded.as_of


def _verdicts(data: Any, rows: Any) -> dict[str, Any]:
    """As the model card holds them."""
    from training.tier_table import tier_table

    return {one.goal: {"winner": one.winner, "reason": one.reason, "text": one.text}
            for one in tier_table(data, rows).verdicts}  # fmt: skip


def random_brief(rng: Any, creator_ids: Any, *, limited: bool) -> dict[str, Any]:
    """A request for a plan that leaves every creator a candidate, with or without limits.

    Args:
        rng: what is asked for.
        creator_ids: of the catalogue.
        limited: with limits of every kind, each in some briefs, and now and then risk aversion or profit.
    """
    from features.value import GOALS

    brief: dict[str, Any] = {
        "goal": str(rng.choice(GOALS)),
        "budget": round(float(10 ** rng.uniform(3.0, 5.3)), -2),
        "niches": [str(rng.choice(NICHES))],
        "target_countries": TARGETS[rng.integers(len(TARGETS))],
        "product_price": 40.0,
        "product_margin": 0.4,
    }
    if not limited:
        return brief
    plan: dict[str, Any] = {}

    def sometimes(chance: float = 0.4) -> bool:
        return bool(rng.random() < chance)

    if sometimes(0.6):
        plan["max_creators"] = int(rng.integers(2, 31))
    if sometimes():
        plan["tier_limits"] = {
            "mega": 0,
            "micro": {"min_share": round(float(rng.uniform(0.05, 0.3)), 2)},
            "nano": {"max": int(rng.integers(2, 9))},
        }
    if sometimes():
        plan["platform_limits"] = {"instagram": 0.5, "tiktok": {"max_share": round(float(rng.uniform(0.2, 0.6)), 2)}}
    if sometimes():
        plan["per_creator_cap"] = round(float(rng.uniform(0.1, 0.5)), 2)
    if sometimes():
        plan["per_person_cap"] = 1
    if sometimes(0.15):
        plan["must_include"] = [str(rng.choice(creator_ids))]
    if sometimes(0.3):
        plan["risk"] = round(float(rng.uniform(0.1, 0.8)), 1)
    if sometimes(0.25):
        brief["rank_by"] = "profit"
    return {**brief, "plan": plan}
