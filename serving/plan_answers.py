"""What `POST /v1/plan` answers (contract: "Answers"): the same models for HTTP, the command line and the charts.

Amounts are in the answer's `currency`; shares, ROI and probabilities are fractions. Intervals hold 80 %.
"""

from typing import Any, Literal

from pydantic import Field

from serving.answers import Part, Pick

Method = Literal["optimal", "time_limit", "greedy"]


class Replacement(Part):
    """Whom to ask if a pick declines and all others accept."""

    creator_id: str
    deliverable: str | None = None
    spend: float
    value_change: float = Field(description="of the whole plan's expected value, against the pick's having accepted")


class PlanPick(Pick):
    """One purchase of a plan: a creator with a deliverable, what it costs and what it adds to the others.

    `rank` is the place by value added. `expected` is what the placement brings by itself.
    """

    deliverable: str | None = Field(default=None, description="None: the creator's usual one, or that of the brief")
    country: str | None = None
    spend: float = Field(ge=0, description="expected cost: fee, product and other cost")
    spend_low: float | None = Field(default=None, description="low end of the spend where the fee is an estimate")
    spend_high: float | None = None
    delivery: float = Field(ge=0, le=1, description="probability that the post appears")
    value_added: float = Field(description="expected value after what bigger picks reach already is taken off")
    unique_share: float = Field(ge=0, le=1, description="part of its value that no bigger pick brings already")
    must_include: bool = False
    replacement: Replacement | None = None


class Solved(Part):
    """How the picks were found.

    `optimal`: no better set exists among the offers; `time_limit`: the best set when time was up; `greedy`: by pricing
    budget and slots, or the best of the offers that do best by such prices. `gap` is the most by which a better set
    could exceed it, relatively; None where nothing is proven.
    """

    method: Method
    gap: float | None = Field(default=None, ge=0)
    candidates: int = Field(ge=0, description="creators that could have been bought")
    offers: int = Field(ge=0, description="creators x deliverables that could have been bought")
    solved_over: int = Field(ge=0, description="offers left after those were dropped that no best set needs")


class SpendBy(Part):
    """Spend by tier, platform and country of the creator."""

    tier: dict[str, float]
    platform: dict[str, float]
    country: dict[str, float]


class Plan(Part):
    """A set of purchases, valued as a set: an audience that several share counts once."""

    picks: tuple[PlanPick, ...]
    total_cost: float = Field(ge=0, description="expected; never above the budget")
    total_cost_high: float = Field(ge=0, description="90 % quantile, where fees are estimates")
    expected_value: float
    value_low: float
    value_high: float
    lost_to_overlap: float = Field(ge=0, description="expected value that shared audiences take off the sum of picks")
    roi: float | None
    roi_low: float | None = Field(description="low end of the 80 % interval")
    roi_high: float | None = Field(description="high end of the 80 % interval")
    p_profit: float | None = Field(ge=0, le=1, description="P(value of the whole plan > its cost)")
    unique_reach: float | None = Field(description="people, each counted once; None where no impressions are learnt")
    spend_by: SpendBy
    solved: Solved


class SingleTier(Plan):
    """A plan of one tier only."""

    tier: str


class Alternatives(Part):
    """Other ways to spend the same budget under the same limits; None where none is possible (`missing` says why)."""

    micro_only: Plan | None
    macro_only: Plan | None
    best_single_tier: SingleTier | None
    greedy_cost_per_engagement: Plan | None
    missing: dict[str, str] = Field(default_factory=dict)


class Scenario(Part):
    """What would be planned if the world were a little different.

    `picks_kept` is the share of the plan's creators who would be bought again; none is exchanged for a gain of under a
    thousandth.
    """

    expected_value: float
    total_cost: float
    roi: float | None
    picks_kept: float = Field(ge=0, le=1)
    dropped: tuple[str, ...] = Field(description="creators of the plan who would not be bought")
    joined: tuple[str, ...] = Field(description="creators who would be bought instead")


class Sensitivity(Part):
    """The plan again under other assumptions; None where nothing can be planned then."""

    fees_plus_20: Scenario | None
    fees_minus_20: Scenario | None
    delivery_minus_10: Scenario | None
    engagement_minus_20: Scenario | None


class Conclusion(Part):
    """One question people ask of a plan, and the honest answer, in what the brief asks for most of (`rank_by`).

    profit_or_loss is there, and first, only where the plan is expected to be worth less than it costs.
    """

    question: Literal["profit_or_loss", "mix_or_single_tier", "micro_or_macro"]
    winner: str | None = Field(
        description="mix_or_single_tier: mix, where it surely brings more, or the one tier that the plan consists of; "
        "micro_or_macro: micro_only or macro_only, by what past placements say of value for cost, all else equal; the "
        "text says where it is the other way round for this brief. None: the data cannot tell them apart"
    )
    probability: float | None = Field(
        ge=0, le=1,
        description="mix_or_single_tier: that the mix brings more than the best single tier for this brief, None where "
        "the plan is of one tier; micro_or_macro: that the winner brings more than the other for this brief, or "
        "without a winner the one named first in the text",
    )  # fmt: skip
    text: str


class CurvePoint(Part):
    """What another budget would buy."""

    budget: float
    expected_value: float
    value_low: float
    value_high: float
    total_cost: float
    creators: int


class PlanAnswer(Part):
    """The answer to `POST /v1/plan`; the head is that of `POST /v1/rank`."""

    request_id: str
    brief_id: str | None = None
    model_version: str
    feature_schema: str
    data_as_of: str
    currency: str
    value_basis: dict[str, Any]
    considered: int = Field(ge=0)
    filtered_out: dict[str, int]
    budget: float
    plan: Plan
    alternatives: Alternatives
    posting_order: tuple[str, ...] = Field(description="each creator of the plan once, first to post first")
    posting_rule: str = Field(description="why in this order")
    p_mix_beats_single_tier: float | None = Field(
        ge=0, le=1,
        description="that the plan brings more of what the brief asks for most of (rank_by) than best_single_tier; "
        "None where there is none, or where the plan is of one tier itself",
    )  # fmt: skip
    conclusions: tuple[Conclusion, ...]
    sensitivity: Sensitivity
    notes: tuple[str, ...] = Field(description="what is an estimate, and what to know before signing")
    budget_curve: tuple[CurvePoint, ...] = ()
