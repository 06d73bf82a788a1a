"""The named synthetic markets of `influencer-roi sample --world NAME`. All invented; the sourced facts are named."""

from dataclasses import replace
from typing import NamedTuple

from features.errors import DataError
from training.sample_world import World


class NamedWorld(NamedTuple):
    """A world and what it is, in a sentence or two with the sourced facts it uses."""

    world: World
    about: str


_STANDARD = World()
# value and cost grow alike with followers, and nothing else depends on them
_TIERS_EQUAL = replace(
    _STANDARD,
    views_slope=0.6,
    fee_slope=0.6,
    quote_slope=0.0,
    engagement_curvature=0.0,
    followers_sales=0.0,
    fatigue=0.0,  # the booked are bigger, so fatigue would fall on the bigger tiers
    gift_of_fee=True,
    # else the few buyers of a small account spend more a head than the many of a big one
    basket_mean=0.0,
    basket_spread=0.0,
)

WORLDS = {
    "balanced": NamedWorld(
        _STANDARD,
        "The standard market: every sourced fact of training/sample_world.py at once, so that which tier does best "
        "depends on goal and platform.",
    ),
    "rate-card": NamedWorld(
        replace(_STANDARD, fee_slope=0.9, quote_slope=0.0),
        "Fees follow rate cards: log fee on log followers has slope .90 on every platform, in the .85-.95 of rate "
        "cards (IZEA 2022), and quotes are the fees paid.",
    ),
    "paid-slope": NamedWorld(
        replace(_STANDARD, fee_slope=0.32, quote_slope=0.58),
        "Fees grow with followers by the .32 of fees really paid (IZEA 2022), while quotes keep the rate cards' .90.",
    ),
    "tiktok-like": NamedWorld(
        replace(_STANDARD, views_slope=0.10, fee_slope=0.32),
        "Views barely depend on followers on any platform: elasticity .10 (TikTok, Tian et al. 2024), with fees on "
        "the paid slope .32 (IZEA 2022).",
    ),
    "local": NamedWorld(
        replace(
            _STANDARD, goal_shares=(0.08, 0.08, 0.12, 0.07, 0.65), extra_countries=(0.9, 0.1, 0.0), everywhere=0.02
        ),
        "Two of three campaigns are local and nearly all target one country, so that only the audience there counts "
        "(the local value formula of domain.md).",
    ),
    "fraud-heavy": NamedWorld(
        replace(_STANDARD, credible_share=0.5, credible_spread=4.0, credible_slope=-0.25),
        "Half of the followers are suspicious instead of the usual 22 % (domain.md), very unevenly and more so at "
        "bigger accounts; which way the trend with size runs is disputed, `credible_slope` above 0 turns it round.",
    ),
    "null": NamedWorld(
        _TIERS_EQUAL,
        "Tiers are truly equal: for every goal expected ROI does not depend on followers, everything else given. "
        "A system that announces a winning tier here is wrong (domain.md).",
    ),
    "tiers-differ": NamedWorld(
        replace(_TIERS_EQUAL, better_tier=1, better_by=0.2),
        "As null, but paid posts of micro accounts are seen by 20 % more people: their value per cost is truly 20 % "
        "better for every goal.",
    ),
    "cliffs": NamedWorld(
        replace(_STANDARD, cliffs=True),
        "As balanced, with what a log-linear model cannot see: niche x platform x polish, tier x goal, thresholds in "
        "credibility and sponsored share (a negative signal, Cheng & Zhang 2025), and saturating engagement.",
    ),
}


def world_named(name: str) -> World:
    """The world of that name.

    Raises:
        DataError: there is none; the message lists the names.

    >>> world_named("rate-card").fee_slope
    0.9
    """
    if name not in WORLDS:
        raise DataError(f"there is no world {name!r}; the worlds are {', '.join(WORLDS)}.", field="world")
    return WORLDS[name].world
