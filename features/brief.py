"""The brief: what somebody asks creators to be ranked for (contract: "Brief"), checked and normalised.

The service, the command line and training all read briefs with `parse_brief`, so all three refuse the same ones.
"""

import difflib
from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails, from_json

from features.codes import countries, country_hint, currencies, primary_language
from features.errors import DataError

Goal = Literal["awareness", "engagement", "conversion", "launch", "local"]
RankBy = Literal["roi", "profit", "value", "impressions", "engagements", "conversions"]
TierName = Literal["nano", "micro", "macro", "mega", "unknown"]

# Codes in common use that are not in the standards.
_COUNTRY_HABITS = {"UK": "GB", "EL": "GR"}
_CURRENCY_HABITS = {"RMB": "CNY", "CNH": "CNY", "NTD": "TWD", "US$": "USD", "$": "USD", "€": "EUR", "£": "GBP"}
_EXAMPLE = '{"goal": "awareness", "budget": 5000}'
_SHOWN_CHARS = 60
_SHOWN_PROBLEMS = 5


def _country(text: str) -> str:
    code = text.upper()
    if code in countries():
        return code
    meant = _COUNTRY_HABITS.get(code) or country_hint(text)
    raise ValueError(
        f"{_shown(text)} is not a country code (ISO 3166-1 alpha-2, such as SG)" + (f"; use {meant}" if meant else "")
    )


def _currency(text: str) -> str:
    code = text.upper()
    if code in currencies():
        return code
    meant = _CURRENCY_HABITS.get(code)
    raise ValueError(
        f"{_shown(text)} is not a currency code (ISO 4217, such as USD)" + (f"; use {meant}" if meant else "")
    )


def _language(tag: str) -> str:
    primary = primary_language(tag)
    if primary.isascii() and primary.isalpha() and len(primary) in (2, 3):
        return primary
    raise ValueError(f"{_shown(tag)} is not a language tag (BCP-47, such as en or zh-Hant)")


def _distinct(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))


def _weighted(value: object) -> object:
    """A list of countries is the same as those countries with equal weights."""
    if isinstance(value, list | tuple):
        strangers = [item for item in value if not isinstance(item, str)]
        if strangers:
            raise ValueError(f"must list country codes such as SG, not {_shown(strangers[0])}")
        return dict.fromkeys((code.strip().upper() for code in value), 1.0)
    if isinstance(value, Mapping):
        return value
    raise ValueError(f'must be a list such as ["SG", "MY"] or weights such as {{"SG": 0.7}}, not {_shown(value)}')


def _countries_by_weight(weights: dict[str, float]) -> dict[str, float]:
    by_code: dict[str, float] = {}
    for text, weight in weights.items():
        code = _country(text)
        if code in by_code:
            raise ValueError(f"{code} is given twice; give each country one weight")
        by_code[code] = weight
    return by_code


def _iso_date(value: object) -> object:
    if isinstance(value, datetime) or not isinstance(value, date | str):
        raise ValueError(f"must be a date such as 2026-03-01, not {_shown(value)}")
    if isinstance(value, str):
        try:
            return date.fromisoformat(value.strip())
        except ValueError:
            raise ValueError(f"must be a date such as 2026-03-01, not {_shown(value)}") from None
    return value


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "..."


# Numbers are strict: "5,000" and true are mistakes to report, not to guess at.
Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Amount = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(strict=True, ge=0, le=1)]
Flag = Annotated[bool, Field(strict=True)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Texts = Annotated[tuple[Text, ...], AfterValidator(_distinct)]
Platforms = Annotated[tuple[Annotated[Text, AfterValidator(str.lower)], ...], AfterValidator(_distinct)]
Languages = Annotated[tuple[Annotated[Text, AfterValidator(_language)], ...], AfterValidator(_distinct)]
Countries = Annotated[tuple[Annotated[Text, AfterValidator(_country)], ...], AfterValidator(_distinct)]
CountryWeights = Annotated[dict[Text, Positive], AfterValidator(_countries_by_weight), BeforeValidator(_weighted)]
Currency = Annotated[Text, AfterValidator(_currency)]
IsoDate = Annotated[date, BeforeValidator(_iso_date)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_not_given(cls, data: object) -> object:
        if isinstance(data, Mapping):
            return {name: value for name, value in data.items() if value is not None}
        return data


class Filters(_Part):
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


class Brief(_Part):
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
    if not isinstance(payload, Mapping):
        raise DataError(f"a brief is a JSON object such as {_EXAMPLE}, not {_kind(payload)}")
    try:
        return Brief.model_validate(dict(payload))
    except ValidationError as error:
        problems = error.errors(include_url=False)
    # An unknown name usually explains why another one is missing.
    problems.sort(key=lambda problem: problem["type"] != "extra_forbidden")
    field = _path(problems[0])
    others = list(dict.fromkeys(_path(problem) for problem in problems[1:]))
    message = f"{field}: {_explain(problems[0])}"
    if others:
        names = ", ".join(others[:_SHOWN_PROBLEMS]) + (", ..." if len(others) > _SHOWN_PROBLEMS else "")
        message += f" ({len(others)} more problem{'s' if len(others) > 1 else ''}: {names})"
    raise DataError(message, field=field)


def parse_brief_json(text: str | bytes) -> Brief:
    """`parse_brief` for JSON text: one brief as a JSON object.

    Raises:
        DataError: the text is empty or not JSON (NaN and Infinity are not), or the brief is refused.

    >>> parse_brief_json('{"goal": "awareness", "budget": 5000}').budget
    5000.0
    """
    if not text.strip():
        raise DataError(f"the body is empty; send a brief as JSON, such as {_EXAMPLE}")
    try:
        payload = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise DataError(
            f"the brief is not valid JSON: {error}. Names and texts need double quotes; NaN and Infinity are not JSON"
        ) from None
    return parse_brief(payload)


def _path(problem: ErrorDetails) -> str:
    return ".".join(str(part) for part in problem["loc"] if part != "[key]")


def _kind(value: object) -> str:
    if value is None:
        return "null"
    return {list: "a list", str: "a text", bool: "true or false"}.get(type(value), "a number")


# Pydantic's name for what is wrong -> the same in plain words.
_PLAIN = {
    "missing": "is required",
    "value_error": "{error}",
    "literal_error": "must be one of {expected}, not {given}",
    "string_too_short": "must not be empty",
    "string_too_long": "must be at most {max_length} characters long",
    "finite_number": "must be a finite number, not {given}",
    "greater_than": "must be above {gt:g}, not {given}",
    "greater_than_equal": "must be at least {ge:g}, not {given}",
    "less_than": "must be below {lt:g}, not {given}",
    "less_than_equal": "must be at most {le:g}, not {given}",
    "float_type": "must be a number, not {given}",
    "int_type": "must be a whole number, not {given}",
    "int_from_float": "must be a whole number, not {given}",
    "bool_type": "must be true or false, not {given}",
    "string_type": "must be a text, not {given}",
    "tuple_type": "must be a list, not {given}",
    "model_type": "must be an object, not {given}",
}


def _explain(problem: ErrorDetails) -> str:
    if problem["type"] == "extra_forbidden":
        return _unknown_field(problem)
    words = {**problem.get("ctx", {}), "given": _shown(problem["input"]), "msg": problem["msg"]}
    return _PLAIN.get(problem["type"], "{msg}, not {given}").format_map(words)


def _unknown_field(problem: ErrorDetails) -> str:
    *parents, name = (str(part) for part in problem["loc"])
    known, elsewhere = (Filters, Brief) if parents else (Brief, Filters)
    if name in elsewhere.model_fields:
        return f"there is no such field here; it belongs {'beside' if parents else 'inside'} filters"
    close = difflib.get_close_matches(name.lower(), known.model_fields, n=1)
    if close:
        return f"there is no such field; did you mean {'.'.join([*parents, close[0]])}?"
    return f"there is no such field; the fields are {', '.join(known.model_fields)}"
