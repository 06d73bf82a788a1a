"""Kinds of column: how cells of a kind are written, held, bounded and named to people.

Each is a type that the models of `features.contract` are declared with.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

import polars as pl
from pydantic import Field

DATETIME = pl.Datetime("us")
WEIGHTED = pl.List(pl.Struct({"code": pl.String, "weight": pl.Float64}))

Shape = Literal["text", "number", "timestamp", "flag", "list", "weighted"]


@dataclass(frozen=True)
class Kind:
    """How a column is written, held and named to people.

    Args:
        shape: how cells are parsed.
        dtype: the Polars type they are held in.
        expected: what a good cell looks like, for messages.
        fold: letter case that codes are brought to.
        codes: the code list that values must be in.
        money: an amount in the row's currency.
    """

    shape: Shape
    dtype: pl.DataType
    expected: str
    fold: Literal["upper", "lower"] | None = None
    codes: Literal["country", "currency"] | None = None
    money: bool = False


_NUMBER = "a number such as 1234.5"
_TEXT = "text"

Id = Annotated[str, Kind("text", pl.String(), _TEXT)]
Text = Annotated[str, Kind("text", pl.String(), _TEXT)]
Platform = Annotated[str, Kind("text", pl.String(), _TEXT, fold="lower")]
Language = Annotated[str, Kind("text", pl.String(), "a language tag such as vi or zh-Hant")]
Country = Annotated[str, Kind("text", pl.String(), "a country code such as SG", fold="upper", codes="country")]
Currency = Annotated[str, Kind("text", pl.String(), "a currency code such as USD", fold="upper", codes="currency")]
CHOICE = Kind("text", pl.String(), "one of the listed words", fold="lower")
Count = Annotated[float, Kind("number", pl.Float64(), _NUMBER), Field(ge=0)]
Money = Annotated[float, Kind("number", pl.Float64(), _NUMBER, money=True), Field(ge=0)]
# A brand may book a loss, and `value` is the brand's own figure.
Worth = Annotated[float, Kind("number", pl.Float64(), _NUMBER, money=True)]
Rate = Annotated[float, Kind("number", pl.Float64(), _NUMBER), Field(gt=0)]
Share = Annotated[float, Kind("number", pl.Float64(), "a fraction such as 0.25"), Field(ge=0, le=1)]
Timestamp = Annotated[
    datetime, Kind("timestamp", DATETIME, "an ISO 8601 date such as 2025-01-31 or 2025-01-31T08:00:00Z")
]
Flag = Annotated[bool, Kind("flag", pl.Boolean(), "true or false")]
TextList = Annotated[list[str], Kind("list", pl.List(pl.String()), "words separated by |")]
PlatformList = Annotated[list[str], Kind("list", pl.List(pl.String()), "platforms separated by |", fold="lower")]
WeightedList = Annotated[
    list[tuple[str, float]],
    Kind("weighted", WEIGHTED, "codes such as SG|MY or SG:0.7|MY:0.3, weights above 0", fold="upper", codes="country"),
]

Goal = Annotated[Literal["awareness", "engagement", "conversion", "launch", "local"], CHOICE]
PriceSource = Annotated[Literal["quoted", "paid", "estimated"], CHOICE]
Dimension = Annotated[Literal["country", "language", "city", "age", "gender", "interest"], CHOICE]
