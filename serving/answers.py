"""What the service answers (contract: "Answers"): the same models for HTTP, the command line and the tests.

Amounts are in the answer's `currency`; shares, ROI and probabilities are fractions. A number that is not finite is
refused here rather than sent.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Factor = Literal["engagement", "cost", "geography", "niche", "content_style", "goal_fit", "track_record"]
FeeSource = Literal["quoted", "paid", "estimated"]
Confidence = Literal["high", "medium", "low"]


class Part(BaseModel):
    """Base of all parts of an answer: frozen, closed, and without NaN."""

    # `model_version` is a name of the contract; pydantic would otherwise keep `model_` for itself.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())


class Expected(Part):
    """What one placement is expected to bring; None where the data never showed that stage."""

    impressions: float | None = None
    engagements: float | None = None
    clicks: float | None = None
    conversions: float | None = None
    value: float | None = None


class Reason(Part):
    """One factor's part in a pick's place.

    >>> Reason(factor="cost", effect=0.12, text="cheaper per view than 83 % of creators").factor
    'cost'
    """

    factor: Factor
    effect: float
    text: str


class Pick(Part):
    """One creator, with what a placement should bring and how sure that is."""

    rank: int = Field(ge=1)
    creator_id: str
    person_id: str | None = None
    username: str | None = None
    platform: str
    tier: str
    tier_local: str
    follower_count: int | None = None
    fee: float | None = Field(default=None, description="None where there is nothing to go by; so are ROI and P then")
    fee_source: FeeSource
    expected: Expected
    roi: float | None
    roi_low: float | None = Field(description="low end of the 80 % interval")
    roi_high: float | None = Field(description="high end of the 80 % interval")
    p_profit: float | None = Field(ge=0, le=1, description="P(ROI > 0)")
    confidence: Confidence
    reasons: tuple[Reason, ...] = ()
    explore: bool = False
    propensity: float = Field(default=1.0, gt=0, le=1, description="chance with which an explored slot was filled so")


class QuoteWorthAsking(Part):
    """A creator whose fee is not settled and could change the picks, and what knowing it should be worth."""

    creator_id: str
    fee: float = Field(description="the fee to expect")
    fee_source: FeeSource
    gain: float = Field(gt=0, description="expected rise of the picks' mean ROI (rank_by profit: of their mean profit)")
    picked: bool = Field(description="whether it is among the picks as they are")


class RankAnswer(Part):
    """The answer to `POST /v1/rank`; `considered` counts creators, `filtered_out` counts them by reason."""

    request_id: str
    brief_id: str | None = None
    model_version: str
    feature_schema: str
    data_as_of: str
    currency: str
    value_basis: dict[str, Any]
    considered: int = Field(ge=0)
    filtered_out: dict[str, int]
    picks: tuple[Pick, ...]
    quotes_worth_asking: tuple[QuoteWorthAsking, ...] = Field(
        default=(), max_length=5, description="fees most worth asking for before booking, best first"
    )
