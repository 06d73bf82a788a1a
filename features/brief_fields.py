"""The kinds of field a brief is made of, each with its normal form and its own words for what is wrong."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from features.codes import countries, country_hint, currencies, primary_language

Goal = Literal["awareness", "engagement", "conversion", "launch", "local"]
RankBy = Literal["roi", "profit", "value", "impressions", "engagements", "conversions"]
TierName = Literal["nano", "micro", "macro", "mega", "unknown"]

# Codes in common use that are not in the standards.
_COUNTRY_HABITS = {"UK": "GB", "EL": "GR"}
_CURRENCY_HABITS = {"RMB": "CNY", "CNH": "CNY", "NTD": "TWD", "US$": "USD", "$": "USD", "€": "EUR", "£": "GBP"}
_SHOWN_CHARS = 60


def _country(text: str) -> str:
    code = text.upper()
    if code in countries():
        return code
    meant = _COUNTRY_HABITS.get(code) or country_hint(text)
    raise ValueError(
        f"{shown(text)} is not a country code (ISO 3166-1 alpha-2, such as SG)" + (f"; use {meant}" if meant else "")
    )


def _currency(text: str) -> str:
    code = text.upper()
    if code in currencies():
        return code
    meant = _CURRENCY_HABITS.get(code)
    raise ValueError(
        f"{shown(text)} is not a currency code (ISO 4217, such as USD)" + (f"; use {meant}" if meant else "")
    )


def _language(tag: str) -> str:
    primary = primary_language(tag)
    if primary.isascii() and primary.isalpha() and len(primary) in (2, 3):
        return primary
    raise ValueError(f"{shown(tag)} is not a language tag (BCP-47, such as en or zh-Hant)")


def _distinct(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))


def _weighted(value: object) -> object:
    """A list of countries is the same as those countries with equal weights."""
    if isinstance(value, list | tuple):
        strangers = [item for item in value if not isinstance(item, str)]
        if strangers:
            raise ValueError(f"must list country codes such as SG, not {shown(strangers[0])}")
        return dict.fromkeys((code.strip().upper() for code in value), 1.0)
    if isinstance(value, Mapping):
        return value
    raise ValueError(f'must be a list such as ["SG", "MY"] or weights such as {{"SG": 0.7}}, not {shown(value)}')


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
        raise ValueError(f"must be a date such as 2026-03-01, not {shown(value)}")
    if isinstance(value, str):
        try:
            return date.fromisoformat(value.strip())
        except ValueError:
            raise ValueError(f"must be a date such as 2026-03-01, not {shown(value)}") from None
    return value


def shown(value: object) -> str:
    """What was given, as it is quoted in a message."""
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


class Part(BaseModel):
    """Base of all parts of a request: frozen and closed; null is the same as leaving a field out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_not_given(cls, data: object) -> object:
        if isinstance(data, Mapping):
            return {name: value for name, value in data.items() if value is not None}
        return data
