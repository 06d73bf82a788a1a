"""A team's data encoded once: sorted facts that can be asked for any creator on any day."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.brief_columns import BriefColumns, Vocabularies
from features.country_prior import CountryPrior, CountrySums
from features.encoding import Lists
from features.profile import AudienceSets, Readings, audience_at, profile_at
from features.record import History
from features.settings import Settings
from features.tiers import tier_codes, tier_names
from features.value import ValueBasis

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

POLISHED = 0.5  # content_polish above which a creator's posts are studio work
STYLES = 2
OUTCOMES = ("impressions", "engagements", "clicks", "conversions", "net_revenue", "value")


@dataclass(frozen=True)
class Creators:
    """Facts about creators that carry no date; a creator's code is its row, sorted by creator_id."""

    frame: pl.DataFrame
    platform: Ints
    country: Ints
    language: Ints
    person: Ints
    verified: Floats
    niches: Lists

    def __len__(self) -> int:
        return self.frame.height


@dataclass(frozen=True)
class Placements:
    """p placements in the order of their table, shape (p,) each.

    `value_share` is g of the value formula, `propensity` the chance with which it was chosen, NaN where not given.
    `outcomes` are NaN where unknown; `value` is by the formula or the data's own override (`overridden`). `posted`
    (UTC day) and `reach` (people), NaN where unknown, are outcomes too, which no feature or stage reads.
    """

    ids: pl.Series
    creator: Ints
    campaign: Ints
    deliverable: Ints
    agreed: Ints
    settled: Ints
    posted: Floats
    delivered: Floats
    reach: Floats
    fee: Floats
    extra_cost: Floats
    value_share: Floats
    propensity: Floats
    outcomes: Mapping[str, Floats]
    overridden: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.creator)

    @property
    def cost(self) -> Floats:
        """Fee + product cost + other cost; NaN where the fee is unknown."""
        return self.fee + self.extra_cost


@dataclass(frozen=True)
class DeliverablePrices:
    """Prices by creator and deliverable, sorted by (creator x deliverables + deliverable, day known)."""

    keys: Ints
    price: Floats
    source: Floats


@dataclass(frozen=True)
class Market:
    """Everything features are computed from, and `audience_overlap` as given. Money is in `basis.currency`."""

    settings: Settings
    basis: ValueBasis
    words: Vocabularies
    creators: Creators
    readings: Readings
    audience: Mapping[str, AudienceSets]
    audience_overlap: pl.DataFrame
    countries: CountrySums
    prices: DeliverablePrices
    priced_apart: bool
    campaigns: BriefColumns
    campaign_frame: pl.DataFrame
    placements: Placements
    histories: Mapping[str, History]
    as_of: int
    commission_rate: float | None

    @property
    def tier_count(self) -> int:
        """Number of tiers, the unknown one included."""
        return len(tier_names(self.settings))

    @property
    def prior(self) -> CountryPrior:
        """What to expect of an unknown audience when deciding on the market's as-of day."""
        return self.prior_at(self.as_of)

    def prior_at(self, day: int) -> CountryPrior:
        """What to expect of an unknown audience from what was known before a day."""
        return self.countries.prior(day, self.settings.value.home_share)

    def profile(self, creator: Ints, day: Ints) -> dict[str, Floats]:
        """Readings known before each day, and what is undated."""
        profile = profile_at(self.readings, creator, day)
        profile["is_verified"] = self.creators.verified[creator]
        return profile

    def lists(self, creator: Ints, day: Ints) -> dict[str, Lists]:
        """Niches, and the audience breakdowns known before each day."""
        audience = {name: audience_at(sets, creator, day) for name, sets in self.audience.items()}
        return {"niches": self.creators.niches.rows(creator), **audience}

    def codes(self, creator: Ints, profile: Mapping[str, Floats]) -> dict[str, Ints]:
        """Platform, country, language, person, tier and style codes; a style is polished or not."""
        polish = profile["content_polish"]
        c = self.creators
        return {
            "platform": c.platform[creator],
            "country": c.country[creator],
            "language": c.language[creator],
            "person": c.person[creator],
            "tier": tier_codes(profile["follower_count"], self.settings),
            "style": np.where(np.isnan(polish), -1, polish > POLISHED).astype(np.int64),
        }


def entity_codes(
    codes: Mapping[str, Ints], goal: Ints, niche: Ints, words: Vocabularies, tiers: int
) -> dict[str, Ints]:
    """Entity of each row for the records that join several things; goal and niche have shape (n,) or (1,)."""
    platforms = max(len(words.platform), 1)
    tier, platform, style = codes["tier"], codes["platform"], codes["style"]
    cell = (np.maximum(niche, 0) * platforms + platform) * STYLES + style
    return {
        "tier": tier,
        "platform": platform,
        "peers": np.where(platform >= 0, platform * tiers + tier, -1),
        "goal": goal,
        "goal_tier": goal * tiers + tier,
        "goal_platform": np.where(platform >= 0, goal * platforms + platform, -1),
        "niche_style": np.where((niche >= 0) & (platform >= 0) & (style >= 0), cell, -1),
    }
