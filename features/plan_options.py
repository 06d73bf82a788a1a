"""The request for a budget plan: a brief, and what the plan must keep to (contract: "Answers", `POST /v1/plan`).

The service and the command line read it with `parse_plan`, as strictly as `parse_brief` reads a brief.
"""

import sys
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from features.brief import Brief
from features.brief_fields import Fraction, Part, Text, Texts, TierName, shown
from features.brief_reading import problem_of, read, read_json

MOST_CREATORS = 1000
Count = Annotated[int, Field(strict=True, ge=0, le=MOST_CREATORS)]
# More placements than this with one creator is no plan; so a cap above it is an amount of money.
MOST_PLACEMENTS = 10
ROUNDED = 1e-6  # by which shares may sum to more than 1, such as thirds
MOST_AMOUNT = 1e12  # in any currency; hundredths of it are still whole numbers to a computer
Money = Annotated[float, Field(strict=True, ge=0, le=MOST_AMOUNT, allow_inf_nan=False)]
MoneyAbove0 = Annotated[Money, Field(gt=0)]

_LIMIT = "a whole number (most creators), a fraction below 1 (most share of the budget), or an object"
_CAP = (
    f"a whole number 1-{MOST_PLACEMENTS} (most placements), a fraction below 1 (most share of the budget), "
    f"a number above {MOST_PLACEMENTS} (most spend), or an object"
)


def _or_number(schema: dict[str, Any]) -> None:
    """Let the JSON schema of an object say that a number will do."""
    by_name = {key: schema.pop(key) for key in ("type", "properties", "additionalProperties") if key in schema}
    schema["anyOf"] = [{"type": "number", "minimum": 0}, by_name]


def _number(value: object) -> float | None:
    """The number that was given, or None where something else was; NaN and infinity are no numbers of anything."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # whole numbers of Python, and of JSON, may be larger than any float
    return float(value) if abs(value) <= sys.float_info.max else None


class Limit(Part):
    """What a plan may buy of one tier, or on one platform: counts of creators, shares of the budget, an amount.

    As a number: a whole one is the most creators (0: none), a fraction below 1 the most share of the budget.

    >>> Limit.model_validate(3).max, Limit.model_validate(0.4).max_share
    (3, 0.4)
    >>> Limit(max_share=0.4, max_spend=3000).spend(10_000)
    3000.0
    """

    model_config = ConfigDict(json_schema_extra=_or_number)

    min: Count = Field(default=0, description="least creators")
    max: Count | None = Field(default=None, description="most creators")
    min_share: Fraction = Field(default=0.0, description="least share of the budget to spend there")
    max_share: Fraction | None = Field(default=None, description="most share of the budget to spend there")
    max_spend: Money | None = Field(default=None, description="most to spend there, in the brief's currency")

    @model_validator(mode="before")
    @classmethod
    def _given_as_number(cls, given: object) -> object:
        if given is None:
            return {}
        if isinstance(given, Mapping | Limit):
            return given
        number = _number(given)
        if number is not None and number > MOST_CREATORS:
            raise ValueError(
                f'must be at most {MOST_CREATORS} creators; for an amount write {{"max_spend": {number:g}}}'
            )
        if number is not None and number >= 0 and number.is_integer():
            return {"max": int(number)}
        if number is not None and 0 < number < 1:
            return {"max_share": number}
        raise ValueError(f"must be {_LIMIT} of {', '.join(cls.model_fields)}, not {shown(given)}")

    @field_validator("max", "max_share")
    @classmethod
    def _range_in_order(cls, most: float | None, info: ValidationInfo) -> float | None:
        name = f"min{(info.field_name or '').removeprefix('max')}"
        least = info.data.get(name, 0)
        if most is not None and most < least:
            raise ValueError(f"must not be below {name} ({least:g}), not {most:g}")
        return most

    def spend(self, budget: float) -> float | None:
        """The most to spend there out of a budget; None: no limit."""
        return _least(self.max_share, self.max_spend, budget)

    def least_spend(self, budget: float) -> float:
        """The least to spend there out of a budget."""
        return self.min_share * budget


class Cap(Part):
    """The most a plan may buy of one creator, or of one person.

    As a number: a whole one up to 10 is the most placements, a fraction below 1 the most share of the budget, and
    anything larger the most spend: an amount of 10 or less would buy nothing.

    >>> Cap.model_validate(2).placements, Cap.model_validate(0.25).spend(10_000), Cap.model_validate(900).spend(10_000)
    (2, 2500.0, 900.0)
    """

    model_config = ConfigDict(json_schema_extra=_or_number, serialize_by_alias=True)

    placements: int | None = Field(default=None, strict=True, ge=1, le=MOST_PLACEMENTS, description="most placements")
    share: Annotated[float, Field(strict=True, gt=0, le=1)] | None = Field(
        default=None, description="most share of the budget"
    )
    amount: MoneyAbove0 | None = Field(default=None, alias="spend", description="most spend, in the brief's currency")

    @model_validator(mode="before")
    @classmethod
    def _given_as_number(cls, given: object) -> object:
        if isinstance(given, Mapping | Cap):
            return given
        number = _number(given)
        if number is not None and 0 < number < 1:
            return {"share": number}
        if number is not None and number > MOST_PLACEMENTS:
            return {"spend": number}
        if number is not None and number >= 1 and number.is_integer():
            return {"placements": int(number)}
        raise ValueError(f"must be {_CAP} of placements, share, spend, not {shown(given)}")

    def spend(self, budget: float) -> float | None:
        """The most to spend on one out of a budget; None: no limit."""
        return _least(self.share, self.amount, budget)


def _least(share: float | None, amount: float | None, budget: float) -> float | None:
    """The tighter of a share of a budget and an amount, where there is one."""
    return min(
        (float(most) for most in (None if share is None else share * budget, amount) if most is not None), default=None
    )


def _by_platform(limits: dict[str, Limit]) -> dict[str, Limit]:
    by_name: dict[str, Limit] = {}
    for text, limit in limits.items():
        name = text.lower()
        if name in by_name:
            raise ValueError(f"{name} is given twice; give each platform one limit")
        by_name[name] = limit
    return by_name


def _shares_of_one_budget(limits: dict[str, Limit]) -> dict[str, Limit]:
    shares = {name: limit.min_share for name, limit in limits.items() if limit.min_share}
    if (total := sum(shares.values())) > 1.0 + ROUNDED:
        each = ", ".join(f"{name} {share:g}" for name, share in shares.items())
        raise ValueError(f"min_share sums to {total:g} ({each}), and no more than all of a budget, 1, can be spent")
    return limits


class PlanOptions(Part):
    """What a plan must keep to, beside the budget. Everything may be left out.

    >>> PlanOptions(max_creators=5, tier_limits={"mega": 0, "micro": {"min_share": 0.3}}).tier_limits["micro"].min_share
    0.3
    """

    max_creators: int | None = Field(
        default=None, strict=True, ge=1, le=MOST_CREATORS, description="most creators to pay"
    )
    tier_limits: Annotated[dict[TierName, Limit], AfterValidator(_shares_of_one_budget)] = Field(
        default={}, description=f"by tier: {_LIMIT}"
    )
    platform_limits: Annotated[
        dict[Text, Limit], AfterValidator(_by_platform), AfterValidator(_shares_of_one_budget)
    ] = Field(default={}, description=f"by platform: {_LIMIT}")
    per_creator_cap: Cap | None = Field(default=None, description=f"of each creator: {_CAP}")
    per_person_cap: Cap | None = Field(
        default=None, description=f"of each person, who may have several accounts: {_CAP}"
    )
    must_include: Texts = Field(default=(), description="creator_ids that are bought whatever else is")
    delivery_rate: Annotated[float, Field(strict=True, gt=0, le=1)] | None = Field(
        default=None, description="probability that who agreed will post; left out: learnt from past placements"
    )
    risk: Fraction = Field(
        default=0.0, description="0: plan for the expected value, 1: for the low end of its interval"
    )

    @field_validator("must_include")
    @classmethod
    def _room_for_all(cls, ids: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        most = info.data.get("max_creators")
        if most is not None and len(ids) > most:
            raise ValueError(f"names {len(ids)} creators, and max_creators is {most}; raise it or name fewer")
        return ids


class PlanBrief(Brief):
    """A request to spend a campaign's budget: a brief with a `plan`.

    >>> PlanBrief(goal="awareness", budget=5000, plan={"max_creators": 5}).plan.max_creators
    5
    """

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "goal": "conversion",
                "budget": 20000,
                "niches": ["beauty"],
                "target_countries": {"SG": 0.7, "MY": 0.3},
                "product_margin": 0.4,
                "plan": {
                    "max_creators": 8,
                    "tier_limits": {"mega": 0, "micro": {"min": 2}},
                    "platform_limits": {"tiktok": 0.6},
                    "per_creator_cap": 0.4,
                    "risk": 0.25,
                },
            }
        }
    )

    budget: MoneyAbove0 = Field(description="in `currency`; a plan spends it at most")
    plan: PlanOptions = PlanOptions()

    @field_validator("plan")
    @classmethod
    def _none_excluded(cls, plan: PlanOptions, info: ValidationInfo) -> PlanOptions:
        filters = info.data.get("filters")
        excluded = () if filters is None else filters.exclude_creator_ids
        if both := [name for name in plan.must_include if name in excluded]:
            raise problem_of(
                "plan.must_include", f"{', '.join(both[:5])} cannot be bought: filters.exclude_creator_ids names it too"
            )
        return plan


def parse_plan(payload: Mapping[str, Any]) -> PlanBrief:
    """Check one request for a plan and put it into its normal form.

    Args:
        payload: the fields by name, as read from JSON; null is the same as leaving a field out.

    Raises:
        DataError: what is wrong with the first field that is, and how many more there are; `field` is its path.

    >>> parse_plan({"goal": "awareness", "budget": 5000, "plan": {"max_creator": 3}})
    Traceback (most recent call last):
    features.errors.DataError: plan.max_creator: there is no such field; did you mean plan.max_creators?
    """
    return read(PlanBrief, payload)


def parse_plan_json(text: str | bytes) -> PlanBrief:
    """`parse_plan` for JSON text: one request as a JSON object.

    Raises:
        DataError: the text is empty or not JSON (NaN and Infinity are not), or the request is refused.
    """
    return read_json(PlanBrief, text)
