"""What a log-linear model cannot see, for the world `cliffs`: interactions, thresholds and saturation. All invented.

Only that there are such things is sourced (domain.md: tier x goal x platform interactions must be learnt; a high
sponsored share costs, Cheng & Zhang 2025; engagement is bought as well as earned); the sizes are guesses.
"""

import numpy as np

from training.sample_campaigns import Campaigns
from training.sample_creators import Creators
from training.sample_world import NICHES, PLATFORMS, Floats, Ints, per_platform, tier_of

TASTE = 0.6  # of a niche on a platform for studio work or against it
LEAST_CREDIBLE, INCREDIBLE = 0.7, -0.9  # below this share of real followers the feed shows posts to fewer people
MOST_SPONSORED, OVERSPONSORED = 0.22, -0.7  # above this share of paid posts people scroll on
SATURATION = 0.2  # engagement above the platform's usual, in logs, from which a paid post gains no more
# effect by tier (rows nano .. mega) and goal (columns as GOALS): the small sell and the big are seen
TIER_BY_GOAL = np.array(
    [
        [-0.6, 0.3, 0.6, -0.4, 0.5],
        [0.0, 0.6, -0.4, 0.5, 0.2],
        [0.2, -0.6, 0.5, -0.3, -0.5],
        [0.7, 0.2, -0.6, 0.6, -0.7],
    ]
)


def cliff_effects(
    creators: Creators, campaigns: Campaigns, who: Ints, which: Ints, month: Ints
) -> tuple[Floats, Floats]:
    """Effects on log impressions and on log engagement of placements, each of shape (placements,)."""
    platform, niche = creators.platform[who], campaigns.niches[which].argmax(axis=1)
    studio = np.where(creators.polish[who] > 0.5, 1.0, -1.0)
    tier = tier_of(creators.followers[who, month])
    seen = TASTE * _tastes()[niche, platform] * studio
    seen += np.where(creators.credibility[who] < LEAST_CREDIBLE, INCREDIBLE, 0.0)
    seen += np.where(creators.sponsored_share[who] > MOST_SPONSORED, OVERSPONSORED, 0.0)
    seen += TIER_BY_GOAL[tier, campaigns.goal[which]]
    above = creators.engagement[who, month] - np.log(per_platform("engagement"))[platform]
    return np.asarray(seen), -np.maximum(above - SATURATION, 0.0)


def _tastes() -> Floats:
    """+1 or -1 by niche and platform, the same in every market."""
    return np.random.default_rng(11).choice([-1.0, 1.0], size=(len(NICHES), len(PLATFORMS)))
