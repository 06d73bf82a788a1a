"""The data contract: one model per table is the only declaration of its columns.

A field without a default is a column that must be there; a type without `None` is a value that must be there.
`features.cells` reads cells by a column's kind and `features.check_rules` derives its range and choice checks from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType, UnionType
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin

import polars as pl
from annotated_types import Ge, Gt, Le
from pydantic import AliasChoices, BaseModel, Field
from pydantic.fields import FieldInfo

from features.kinds import (
    Count,
    Country,
    Currency,
    Dimension,
    Flag,
    Goal,
    Id,
    Kind,
    Language,
    Money,
    Platform,
    PlatformList,
    PriceSource,
    Rate,
    Share,
    Text,
    TextList,
    Timestamp,
    WeightedList,
    Worth,
)

ACTIONS = ("likes", "comments", "shares", "saves")


@dataclass(frozen=True)
class Column:
    """One column as declared: `column_required` is about the column, `value_required` about every cell."""

    name: str
    kind: Kind
    aliases: tuple[str, ...]
    column_required: bool
    value_required: bool
    low: float | None
    low_open: bool
    high: float | None
    choices: tuple[str, ...]


class Table(BaseModel):
    """A table of the contract; its class variables say what no single column can."""

    required: ClassVar[bool] = False
    key: ClassVar[tuple[str, ...]] = ()
    duplicates: ClassVar[Literal["error", "warning"]] = "warning"
    day: ClassVar[str | None] = None
    """The column that dates a row, for the range a report shows."""


class Creator(Table):
    """An account on one platform. The table may also carry the columns of `CreatorSnapshot`."""

    required: ClassVar[bool] = True
    key: ClassVar[tuple[str, ...]] = ("creator_id",)
    duplicates: ClassVar[Literal["error", "warning"]] = "error"

    creator_id: Id
    platform: Platform
    username: Text | None = None
    person_id: Id | None = None
    country: Country | None = None
    language: Language | None = None
    niches: TextList | None = None
    is_verified: Flag | None = None


class CreatorSnapshot(Table):
    """What was seen of a creator on one day, and when it was known."""

    key: ClassVar[tuple[str, ...]] = ("creator_id", "snapshot_at", "known_at")
    day: ClassVar[str | None] = "snapshot_at"

    creator_id: Id
    snapshot_at: Timestamp
    known_at: Timestamp | None = None
    follower_count: Count | None = None
    following_count: Count | None = None
    content_count: Count | None = None
    median_views: Count | None = None
    avg_likes: Count | None = None
    avg_comments: Count | None = None
    avg_shares: Count | None = None
    avg_saves: Count | None = None
    posts_per_week: Count | None = None
    sponsored_share: Share | None = None
    engagement_rate_sponsored: Share | None = None
    last_post_at: Timestamp | None = None
    audience_credibility: Share | None = None
    content_polish: Share | None = None
    price: Money | None = None
    price_currency: Currency | None = None
    price_source: PriceSource | None = None


class CreatorAudience(Table):
    """The share of a creator's audience that has one code of one dimension."""

    key: ClassVar[tuple[str, ...]] = ("creator_id", "snapshot_at", "dimension", "code")
    day: ClassVar[str | None] = "snapshot_at"

    creator_id: Id
    snapshot_at: Timestamp | None = None
    dimension: Dimension
    code: Text
    weight: Share


class AudienceOverlap(Table):
    """Followers two creators share, as a fraction of the smaller audience."""

    key: ClassVar[tuple[str, ...]] = ("creator_a", "creator_b")

    creator_a: Id
    creator_b: Id
    overlap: Share


class Campaign(Table):
    """A brand's past activity."""

    required: ClassVar[bool] = True
    key: ClassVar[tuple[str, ...]] = ("campaign_id",)
    duplicates: ClassVar[Literal["error", "warning"]] = "error"
    day: ClassVar[str | None] = "starts_on"

    campaign_id: Id
    brand_id: Id
    goal: Goal
    starts_on: Timestamp
    niches: TextList | None = None
    target_countries: WeightedList | None = None
    languages: TextList | None = None
    platforms: PlatformList | None = None
    budget: Money | None = None
    currency: Currency | None = None
    product_price: Money | None = None
    product_margin: Share | None = None
    is_new_product: Flag | None = None


class Placement(Table):
    """One creator's paid work in one campaign. A fee column must be there; an empty fee means cost unknown."""

    required: ClassVar[bool] = True
    key: ClassVar[tuple[str, ...]] = ("placement_id",)
    duplicates: ClassVar[Literal["error", "warning"]] = "error"
    day: ClassVar[str | None] = "agreed_on"

    placement_id: Id
    campaign_id: Id
    creator_id: Id
    agreed_on: Timestamp | None = None
    posted_at: Timestamp | None = None
    deliverable: Text | None = None
    delivered: Flag | None = None
    fee: Money | None = Field(validation_alias=AliasChoices("fee", "cost"))
    product_cost: Money | None = None
    other_cost: Money | None = None
    currency: Currency | None = None
    impressions: Count | None = None
    reach: Count | None = None
    engagements: Count | None = None
    likes: Count | None = None
    comments: Count | None = None
    shares: Count | None = None
    saves: Count | None = None
    clicks: Count | None = None
    conversions: Count | None = None
    revenue: Money | None = None
    refunds: Money | None = None
    new_customers: Count | None = None
    visits: Count | None = None
    settled_at: Timestamp | None = None
    propensity: Share | None = None
    value: Worth | None = None


class Fx(Table):
    """Units of the base currency for one of `currency`, on a day."""

    key: ClassVar[tuple[str, ...]] = ("currency", "date")
    duplicates: ClassVar[Literal["error", "warning"]] = "error"
    day: ClassVar[str | None] = "date"

    date: Timestamp
    currency: Currency
    rate: Rate


class CreatorPrice(Table):
    """What a creator asks for one deliverable."""

    key: ClassVar[tuple[str, ...]] = ("creator_id", "snapshot_at", "known_at", "deliverable")
    day: ClassVar[str | None] = "snapshot_at"

    creator_id: Id
    snapshot_at: Timestamp | None = None
    known_at: Timestamp | None = None
    deliverable: Text
    price: Money
    price_currency: Currency | None = None
    price_source: PriceSource | None = None


TABLES: Mapping[str, type[Table]] = MappingProxyType(
    {
        "creators": Creator,
        "creator_snapshots": CreatorSnapshot,
        "creator_audience": CreatorAudience,
        "audience_overlap": AudienceOverlap,
        "campaigns": Campaign,
        "placements": Placement,
        "fx": Fx,
        "creator_prices": CreatorPrice,
    }
)


def _metadata(annotation: Any) -> list[Any]:
    """Everything annotated on a type, also inside `X | None`."""
    if get_origin(annotation) in (Union, UnionType):
        return [item for part in get_args(annotation) for item in _metadata(part)]
    if get_origin(annotation) is Annotated:
        kind, *items = get_args(annotation)
        flat = [inner for item in items for inner in (item.metadata if isinstance(item, FieldInfo) else [item])]
        return [*_metadata(kind), *flat]
    if get_origin(annotation) is Literal:
        return [get_args(annotation)]
    return []


def _column(name: str, field: FieldInfo) -> Column:
    items = [*_metadata(field.annotation), *field.metadata]
    alias = field.validation_alias
    others = alias.choices if isinstance(alias, AliasChoices) else []
    low = next((item for item in items if isinstance(item, Ge | Gt)), None)
    high = next((item for item in items if isinstance(item, Le)), None)
    return Column(
        name=name,
        kind=next(item for item in items if isinstance(item, Kind)),
        aliases=tuple(str(other) for other in others if other != name),
        column_required=field.is_required(),
        value_required=field.is_required() and type(None) not in get_args(field.annotation),
        low=None if low is None else float(str(low.ge if isinstance(low, Ge) else low.gt)),
        low_open=isinstance(low, Gt),
        high=None if high is None else float(str(high.le)),
        choices=next((item for item in items if isinstance(item, tuple)), ()),
    )


@cache
def columns(table: str) -> Mapping[str, Column]:
    """The declared columns of a table by name.

    >>> columns("placements")["fee"].aliases, columns("placements")["fee"].value_required
    (('cost',), False)
    >>> columns("campaigns")["goal"].choices[:2], columns("creator_audience")["weight"].high
    (('awareness', 'engagement'), 1.0)
    """
    return MappingProxyType({name: _column(name, field) for name, field in TABLES[table].model_fields.items()})


@cache
def schema(table: str) -> Mapping[str, pl.DataType]:
    """Column types of a table as written, in the declared order.

    >>> schema("fx")["rate"]
    Float64
    """
    return MappingProxyType({name: column.kind.dtype for name, column in columns(table).items()})
