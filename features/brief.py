"""The brief: what somebody asks creators to be ranked for (contract: "Brief"), checked and normalised.

The service, the command line and training all read briefs with `parse_brief`, so all three refuse the same ones.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, Field, ValidationInfo, field_validator

from features.brief_fields import (
    Amount,
    Countries,
    CountryWeights,
    Currency,
    Flag,
    Fraction,
    Goal,
    IsoDate,
    Languages,
    Part,
    Platforms,
    Positive,
    RankBy,
    Text,
    Texts,
    TierName,
)
from features.brief_reading import read, read_json


class Filters(Part):
    """Who may be picked at all. An empty filter lets everybody through.

    Amounts are in the brief's currency; shares and credibility are fractions 0-1.
    """

    tiers: tuple[TierName, ...] = Field(default=(), description="only these tiers")
    min_followers: Amount | None = None
    max_followers: Amount | None = None
    max_fee: Amount | None = Field(default=None, description="dearest fee, in the brief's currency")
    min_credibility: Fraction | None = Field(default=None, description="least audience credibility (1 - fake share)")
    min_target_share: Fraction | None = Field(default=None, description="least audience share in the target countries")
    platforms: Platforms = Field(default=(), description="only these platforms")
    niches: Texts = Field(default=(), description="only creators of these niches")
    countries: Countries = Field(default=(), description="only creators living in these countries")
    languages: Languages = Field(default=(), description="only creators speaking these languages")
    creator_ids: Texts | None = Field(default=None, description="only these creators")
    exclude_creator_ids: Texts = Field(default=(), description="never these creators")
    known_price_only: Flag = Field(default=False, description="only creators whose fee was quoted or paid")

    @field_validator("max_followers")
    @classmethod
    def _range_in_order(cls, most: float | None, info: ValidationInfo) -> float | None:
        least = info.data.get("min_followers")
        if most is not None and least is not None and most < least:
            raise ValueError(f"must not be below min_followers ({least:,.0f}), not {most:,.0f}")
        return most

    @field_validator("creator_ids")
    @classmethod
    def _somebody(cls, ids: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if ids == ():
            raise ValueError("is empty, so nobody could be picked; leave it out to consider everybody")
        return ids


class Brief(Part):
    """A request to rank creators for one campaign. Only `goal` and `budget` are required.

    >>> brief = Brief(goal="awareness", budget=5000, target_countries=["sg", "MY"])
    >>> brief.target_countries, brief.top
    ({'SG': 1.0, 'MY': 1.0}, 20)
    """

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "goal": "conversion",
                "budget": 20000,
                "currency": "USD",
                "niches": ["beauty"],
                "target_countries": {"SG": 0.7, "MY": 0.3},
                "platforms": ["instagram", "tiktok"],
                "product_margin": 0.4,
                "top": 10,
                "filters": {"tiers": ["micro", "macro"], "max_fee": 4000},
            }
        }
    )

    goal: Goal
    budget: Positive = Field(description="in `currency`; a creator whose fee exceeds it is filtered")
    currency: Currency | None = Field(
        default=None, description="of every amount here and in the answer; the base currency"
    )
    brief_id: Text | None = Field(default=None, description="echoed in the answer")
    brand_id: Text | None = None
    niches: Texts = ()
    target_countries: CountryWeights = Field(
        default_factory=dict, description='weights such as {"SG": 0.7, "MY": 0.3}, or a list of codes'
    )
    languages: Languages = ()
    platforms: Platforms = ()
    starts_on: IsoDate | None = Field(default=None, description="the day the data end, when left out")
    product_price: Amount | None = None
    product_margin: Fraction | None = None
    is_new_product: Flag | None = None
    deliverable: Text | None = None
    top: int = Field(default=20, strict=True, ge=1, le=1000, description="how many picks")
    rank_by: RankBy = "roi"
    explain: Flag = Field(default=True, description="give reasons with every pick")
    explore_share: float = Field(
        default=0.0, strict=True, ge=0, le=0.5, description="share of the slots that are filled to learn"
    )
    seed: int | None = Field(default=None, strict=True, ge=0, lt=2**63, description="of what is drawn at random")
    filters: Filters = Filters()


def parse_brief(payload: Mapping[str, Any]) -> Brief:
    """Check one brief and put it into its normal form.

    Args:
        payload: the fields by name, as read from JSON; null is the same as leaving a field out.

    Raises:
        DataError: what is wrong with the first field that is, and how many more there are; `field` is its path.

    >>> parse_brief({"goal": "awareness", "budgt": 5000})
    Traceback (most recent call last):
    features.errors.DataError: budgt: there is no such field; did you mean budget? (1 more problem: budget)
    """
    return read(Brief, payload)


def parse_brief_json(text: str | bytes) -> Brief:
    """`parse_brief` for JSON text: one brief as a JSON object.

    Raises:
        DataError: the text is empty or not JSON (NaN and Infinity are not), or the brief is refused.

    >>> parse_brief_json('{"goal": "awareness", "budget": 5000}').budget
    5000.0
    """
    return read_json(Brief, text)
