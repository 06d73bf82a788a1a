"""The check's rules on a data set that is never whole in memory: by bucket where a rule stays within a creator.

Rules on placements see every placement, but only the columns they need.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

import polars as pl

from features.buckets import ROW
from features.check_market import (
    COMMISSION_READS,
    audience_sums,
    commission,
    double_orders,
    late_snapshots,
    missing,
    missing_sales,
    twin_accounts,
)
from features.check_rows import date_range, duplicate_keys, references, settled_early
from features.contract import TABLES
from features.errors import DataError
from features.findings import Finding
from features.money import MissingRate, missing_rates
from features.settings import Settings
from features.tables import Tables, build, canonical_schema
from training.bucket_findings import merged
from training.bucket_spill import Spill
from training.split import newest_fact, oldest_fact

# What the rules on all placements look at.
RULED = (
    "placement_id", "campaign_id", "creator_id", "agreed_on", "posted_at", "settled_at", "delivered",
    "impressions", "engagements", "clicks", "conversions", "value", *COMMISSION_READS,
)  # fmt: skip
_OUTCOMES = ("fee", "value", "impressions", "engagements", "clicks", "conversions", "revenue")
# Stands for creators of other buckets: a bucket without creators must still ask whether its rows' creators exist.
_ELSEWHERE = "\0elsewhere"


@dataclass
class Seen:
    """What the rules gather from bucket to bucket.

    Args:
        any_creator: whether any creator is named at all; if not, no reference to one is asked about.
        overlapping: ids that audience_overlap names.
        duplicates: findings of keys within tables of creators.
        ignored: findings of rows of unknown creators.
        sums: findings of audience weights.
        gaps: money without a rate.
        creators: ids, of those there are, that placements or overlaps name.
        first_known: their earliest snapshot, and one without a date where they have one (creator_id, known_at).
        rows: by table.
        dates: first and last day by table.
        facts: oldest and newest day number, of each bucket that is dated.
    """

    any_creator: bool
    overlapping: pl.Series
    duplicates: list[Finding] = field(default_factory=list)
    ignored: list[Finding] = field(default_factory=list)
    sums: list[Finding] = field(default_factory=list)
    gaps: list[MissingRate] = field(default_factory=list)
    creators: list[pl.Series] = field(default_factory=list)
    first_known: list[pl.DataFrame] = field(default_factory=list)
    rows: Counter[str] = field(default_factory=Counter)
    dates: dict[str, tuple[date, date]] = field(default_factory=dict)
    facts: list[int] = field(default_factory=list)

    def add_dates(self, tables: Tables) -> None:
        """Widen the first and last days by those of `tables`."""
        for table in TABLES:
            days = date_range(tables, table)
            if days:
                first, last = self.dates.get(table, days)
                self.dates[table] = min(first, days[0]), max(last, days[1])


def look(seen: Seen, tables: Tables, base: str, settings: Settings) -> None:
    """Apply the rules that stay within a creator to one bucket (campaigns and fx whole), and gather for the others."""
    none = build({}, settings)
    own = replace(tables, campaigns=none.campaigns, placements=none.placements, fx=none.fx)
    seen.duplicates += duplicate_keys(own)
    if seen.any_creator:
        seen.ignored += references(replace(own, creators=_with_elsewhere(tables.creators)))
    seen.sums += audience_sums(own)
    # the same in every bucket, and asked once, of all campaigns
    seen.gaps += [gap for gap in missing_rates(tables, settings, base) if gap.table != "campaigns"]
    seen.add_dates(own)
    seen.add_dates(replace(none, placements=tables.placements))
    seen.rows.update({name: frame.height for name, frame in own.by_name().items()})
    seen.rows["placements"] += tables.placements.height
    with suppress(DataError):  # a bucket without dates
        seen.facts += [oldest_fact(tables), newest_fact(tables)]
    booked = tables.placements["creator_id"].unique()
    ids = tables.creators["creator_id"]
    seen.creators.append(ids.filter(ids.is_in(pl.concat([booked, seen.overlapping]).unique().implode())))
    hired = tables.creator_snapshots.filter(pl.col("creator_id").is_in(booked.implode()))
    seen.first_known += [
        hired.drop_nulls("known_at").group_by("creator_id").agg(pl.col("known_at").min()),
        hired.filter(pl.col("known_at").is_null()).select("creator_id", "known_at").unique(),
    ]


@dataclass(frozen=True)
class AllPlacements:
    """Every placement in the order given, a few columns at a time, from a Parquet file a bucket."""

    files: tuple[Path, ...]

    def columns(self, *names: str) -> pl.DataFrame:
        """Those columns of every placement."""
        if not self.files:
            return pl.DataFrame(schema={name: canonical_schema("placements")[name] for name in names})
        return pl.read_parquet(list(self.files), columns=[*names, ROW], glob=False).sort(ROW).drop(ROW)


def row_rules(seen: Seen, whole: Tables, placements: AllPlacements) -> list[Finding]:
    """Keys, references and order over everything; `whole` has only the tables that are not partitioned."""
    ids = replace(whole, placements=placements.columns("placement_id", "campaign_id", "creator_id"))
    known = pl.DataFrame({"creator_id": pl.concat([pl.Series([], dtype=pl.String), *seen.creators])})
    if seen.any_creator:
        known = _with_elsewhere(known)
    return [
        *duplicate_keys(ids),
        *merged(seen.duplicates),
        *references(replace(ids, creators=known)),
        *merged(seen.ignored),
        *settled_early(
            replace(whole, placements=placements.columns("placement_id", "settled_at", "posted_at", "agreed_on"))
        ),
    ]


def market_rules(seen: Seen, whole: Tables, placements: AllPlacements, people: Iterable[pl.DataFrame]) -> list[Finding]:
    """What the data can and cannot teach; `people` are creators (creator_id, person_id, platform), persons apart."""
    known = pl.concat([whole.creator_snapshots.select("creator_id", "known_at"), *seen.first_known])
    looks: Mapping[str, tuple[str, ...]] = {
        "agreed": ("placement_id", "creator_id", "agreed_on", "posted_at"),
        "sold": ("placement_id", "campaign_id", "agreed_on", "delivered", "impressions", "value", "revenue"),
        "shared": ("placement_id", "creator_id", "campaign_id", "posted_at", "revenue"),
    }

    def having(*names: str) -> Tables:
        return replace(whole, creator_snapshots=known, placements=placements.columns(*names))

    return [
        *merged(seen.sums),
        *commission(having(*COMMISSION_READS)),
        *late_snapshots(having(*looks["agreed"])),
        *merged(finding for part in people for finding in twin_accounts(replace(whole, creators=part))),
        *missing_sales(having(*looks["sold"])),
        *double_orders(having(*looks["shared"])),
    ]


def lacking(whole: Tables, placements: AllPlacements) -> tuple[str, ...]:
    """What the data lack that decides what they can answer, in words."""
    return missing(replace(whole, placements=placements.columns(*_OUTCOMES)))


def people_by_bucket(spill: Spill, buckets: int) -> Iterable[pl.DataFrame]:
    """The persons of each bucket, where there are any."""
    parts = (spill.bucket(number) for number in range(buckets))
    return (part for part in parts if part.height)


def _with_elsewhere(creators: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([creators.select("creator_id"), pl.DataFrame({"creator_id": [_ELSEWHERE]})])
