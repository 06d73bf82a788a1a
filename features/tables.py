"""`Tables`: one canonical Polars frame per contract table, with every column, its type and its default."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import polars as pl

from features.contract import ACTIONS, TABLES, columns, schema
from features.settings import Settings

# Whether `settled_at` is from the data; by default it is only a guess at when the outcome will be final.
SETTLED_GIVEN = "settled_given"
# What a creators table may carry besides its own columns.
CARRIED = tuple(name for name in columns("creator_snapshots") if name not in columns("creators"))


@dataclass(frozen=True)
class Tables:
    """The contract's tables, typed and complete: missing columns are null, missing tables have no rows.

    Text and ids are String, numbers Float64, timestamps naive UTC Datetime("us"), flags Boolean, lists List(String),
    weighted lists List(Struct(code, weight)). `placements` has `engagements` in place of its likes, comments, shares
    and saves, and `settled_given`. Undated rows (`known_at` null in snapshots and prices, `snapshot_at` null in
    audiences) count as always known.
    """

    creators: pl.DataFrame
    creator_snapshots: pl.DataFrame
    creator_audience: pl.DataFrame
    audience_overlap: pl.DataFrame
    campaigns: pl.DataFrame
    placements: pl.DataFrame
    fx: pl.DataFrame
    creator_prices: pl.DataFrame

    def by_name(self) -> dict[str, pl.DataFrame]:
        """Table name to frame, in the contract's order.

        >>> tables = build({}, Settings())
        >>> list(tables.by_name())[:2], tables.fx.columns
        (['creators', 'creator_snapshots'], ['date', 'currency', 'rate'])
        """
        return {field.name: getattr(self, field.name) for field in fields(self)}


def canonical_schema(table: str) -> dict[str, pl.DataType]:
    """Columns and types of a canonical frame.

    >>> "likes" in canonical_schema("placements"), canonical_schema("placements")["fee"]
    (False, Float64)
    """
    if table != "placements":
        return dict(schema(table))
    kept = {name: dtype for name, dtype in schema(table).items() if name not in ACTIONS}
    return {**kept, SETTLED_GIVEN: pl.Boolean()}


def build(frames: Mapping[str, pl.DataFrame], settings: Settings) -> Tables:
    """Typed frames (columns may be missing, row order is kept) to `Tables`, with the contract's defaults.

    >>> frame = pl.DataFrame({"placement_id": ["p"], "likes": [3.0], "saves": [1.0], "fee": [10]})
    >>> build({"placements": frame}, Settings()).placements.select("engagements", "delivered", "fee").row(0)
    (4.0, True, 10.0)
    """
    typed = {name: _complete(frames.get(name, pl.DataFrame()), name) for name in TABLES}
    typed["creator_snapshots"] = pl.concat(
        [typed["creator_snapshots"], _carried(frames.get("creators", pl.DataFrame()))]
    ).with_columns(pl.col("known_at").fill_null(pl.col("snapshot_at")))
    typed["creator_prices"] = typed["creator_prices"].with_columns(pl.col("known_at").fill_null(pl.col("snapshot_at")))
    country = pl.col("dimension") == "country"
    typed["creator_audience"] = typed["creator_audience"].with_columns(
        pl.when(country).then(pl.col("code").str.to_uppercase()).otherwise(pl.col("code")).alias("code")
    )
    typed["placements"] = _placements(typed["placements"], typed["campaigns"], settings)
    return Tables(**{name: frame.select(list(canonical_schema(name))) for name, frame in typed.items()})


def _complete(frame: pl.DataFrame, table: str) -> pl.DataFrame:
    """Every contract column in its type and order; a frame without columns has no rows."""
    if frame.width == 0:
        return pl.DataFrame(schema=dict(schema(table)))
    return frame.select(
        (pl.col(name).cast(dtype) if name in frame.columns else pl.lit(None, dtype=dtype).alias(name))
        for name, dtype in schema(table).items()
    )


def _carried(creators: pl.DataFrame) -> pl.DataFrame:
    """The snapshot rows a creators table carries; undated unless it carries `snapshot_at` too."""
    carried = [name for name in CARRIED if name in creators.columns]
    said = [name for name in carried if name not in ("snapshot_at", "known_at")]
    if not said or "creator_id" not in creators.columns:
        return pl.DataFrame(schema=dict(schema("creator_snapshots")))
    rows = creators.select("creator_id", *carried).filter(pl.any_horizontal(pl.col(said).is_not_null()))
    return _complete(rows, "creator_snapshots")


def _placements(placements: pl.DataFrame, campaigns: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    starts = campaigns.select("campaign_id", "starts_on").unique("campaign_id", keep="first", maintain_order=True)
    known_actions = pl.any_horizontal(pl.col(ACTIONS).is_not_null())
    actions = pl.when(known_actions).then(pl.sum_horizontal(ACTIONS))
    window = pl.duration(days=settings.attribution_days)
    return (
        placements.join(starts, on="campaign_id", how="left", maintain_order="left")
        .with_columns(
            pl.col("agreed_on").fill_null(pl.col("starts_on")),
            pl.col("delivered").fill_null(value=True),
            pl.col("engagements").fill_null(actions),
            pl.col("settled_at").is_not_null().alias(SETTLED_GIVEN),
        )
        .with_columns(pl.col("settled_at").fill_null(pl.coalesce("posted_at", "agreed_on") + window))
    )
