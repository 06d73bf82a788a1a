"""What a decision may know, said in SQL, and what two feature matrices differ in: none of it the project's code.

Every query is DuckDB's: the newest fact known strictly before the decision's UTC day is an ASOF JOIN with `>`. Tables
are the contract's frames as a team would write them; `asked` has a row a decision: row, creator_id, day (and, for
records, person_id, brand_id, deliverable).
"""

from dataclasses import replace
from datetime import date, timedelta
from functools import cache

import duckdb
import numpy as np
import polars as pl

from features.matrix import NAMES
from features.tables import Tables

EPOCH = date(1970, 1, 1)
LEVELS = ("follower_count", "following_count", "content_count", "posts_per_week", "last_post_at")
# when the facts of a canonical table are known
CLOCKS = {"creator_snapshots": "known_at", "creator_audience": "snapshot_at", "creator_prices": "known_at",
          "placements": "settled_at"}  # fmt: skip
# an undated fact is always known, and older than every dated one
ALWAYS, FIRST = "date '1970-01-01'", "timestamp '0001-01-01'"

# a reading that becomes known after a newer one says nothing about the present
READINGS = f"""
with readings as (
    select *, coalesce(snapshot_at, {FIRST}) as taken,
        coalesce(cast(coalesce(known_at, snapshot_at) as date), {ALWAYS}) as known
    from facts
),
kept as (
    select * from readings r where not exists (
        select 1 from readings newer
        where newer.{{entity}} = r.{{entity}} and newer.known < r.known and newer.taken > r.taken
    )
)
"""
# of readings known on one day the last taken counts, of those taken at one time the one with more of the first number
LEVEL = f"""
{READINGS.format(entity="creator_id")},
best as (
    select distinct on (creator_id, known) creator_id, known, {{column}} as found
    from kept where {{where}}
    order by creator_id, known, taken desc, {", ".join(f"{name} desc nulls last" for name in LEVELS)}
)
select found from asked asof left join best on asked.creator_id = best.creator_id and asked.day > best.known
order by asked.row
"""
PRICE = f"""
{READINGS.format(entity="offer")},
best as (
    select distinct on (offer, known) offer, known, price
    from kept where price is not null order by offer, known, taken desc, price desc
)
select price from asked asof left join best
    on asked.creator_id || '/' || asked.deliverable = best.offer and asked.day > best.known
order by asked.row
"""
AUDIENCE = f"""
with entries as (
    select creator_id, coalesce(cast(snapshot_at as date), {ALWAYS}) as known, code, max(weight) as weight
    from facts where dimension = ? group by all
),
breakdowns as (select distinct creator_id, known from entries),
seen as (
    select asked.row, breakdowns.* from asked asof join breakdowns
        on asked.creator_id = breakdowns.creator_id and asked.day > breakdowns.known
)
select row, code, weight / greatest(1.0, sum(weight) over (partition by row))
from seen join entries using (creator_id, known)
"""
# what is summed of a record; nothing is seen or sold where nothing was delivered
SUMS = {
    "placements": "count(h.placement_id)",
    "delivered": "count(*) filter (h.was_delivered)",
    "viewed": "count(*) filter (h.views is not null)",
    "views": "sum(h.views)",
    "engaged_views": "sum(h.views) filter (h.engagements is not null)",
    "engagements": "sum(h.engagements) filter (h.views is not null)",
    "clicks": "sum(h.clicks) filter (h.views is not null)",
    "sold_views": "sum(h.views) filter (h.conversions is not null)",
    "conversions": "sum(h.conversions) filter (h.views is not null)",
    "sales": "count(*) filter (h.was_delivered and h.revenue is not null)",
    "revenue": "sum(h.revenue - coalesce(h.refunds, 0)) filter (h.was_delivered)",
    "fees": "count(*) filter (h.fee > 0)",
}
SAME = {
    "creator": "h.creator_id = asked.creator_id",
    "creator_recent": "h.creator_id = asked.creator_id and h.settled >= asked.day - 90",
    "person_others": "h.person_id = asked.person_id and h.creator_id <> asked.creator_id",
    "brand": "h.brand_id = asked.brand_id",
    "deliverable": "h.deliverable = asked.deliverable",
    "market": "true",
}
RECORD = f"""
with h as (
    select p.*, person_id, brand_id, coalesce(p.delivered, true) as was_delivered,
        case when coalesce(p.delivered, true) then p.impressions end as views,
        cast(coalesce(p.settled_at, coalesce(p.posted_at, p.agreed_on, k.starts_on) + interval 30 day) as date)
            as settled
    from placements p join campaigns k using (campaign_id) join creators c using (creator_id)
)
select {", ".join(f"coalesce({total}, 0) as {name}" for name, total in SUMS.items())}
from asked left join h on h.settled < asked.day and {{same}}
group by asked.row order by asked.row
"""


@cache
def _database() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"threads": 1})


def _run(sql, parameters=(), **tables):
    base = _database()
    for name, frame in tables.items():
        base.register(name, frame.to_arrow())
    return base.execute(sql, list(parameters))


def levels(facts, asked):
    """Each level, and the day on which the newest reading was taken, of each decision; None where unknown."""
    columns = {name: (name, f"{name} is not null") for name in LEVELS}
    columns |= {"snapshot_at": ("snapshot_at", "true")}
    return {
        name: [found for (found,) in _run(LEVEL.format(column=c, where=w), facts=facts, asked=asked).fetchall()]
        for name, (c, w) in columns.items()
    }


def prices(facts, asked):
    """Price of each decision's creator and deliverable; None where unknown."""
    offers = facts.with_columns(pl.concat_str("creator_id", "deliverable", separator="/").alias("offer"))
    return [price for (price,) in _run(PRICE, facts=offers, asked=asked).fetchall()]


def audiences(facts, asked, dimension):
    """Shares by code of each decision's creator, newest breakdown; empty where unknown."""
    out = [{} for _ in range(asked.height)]
    for row, code, share in _run(AUDIENCE, [dimension], facts=facts, asked=asked).fetchall():
        out[row][code] = share
    return out


def record(frames, asked, entity):
    """Totals of what had settled before each decision, by column."""
    tables = {name: frames[name] for name in ("creators", "campaigns", "placements")}
    found = _run(RECORD.format(same=SAME[entity]), **tables, asked=asked).fetchall()
    return dict(zip(SUMS, zip(*found, strict=True), strict=True))


def day_number(day):
    return (day - EPOCH).days


def early(tables: Tables, day: date) -> dict[str, pl.Series]:
    """Which facts of canonical tables are known before a day: snapshots, audiences, prices and settled placements."""
    return {
        name: tables.by_name()[name].select(pl.col(clock).is_null() | (pl.col(clock).dt.date() < day)).to_series()
        for name, clock in CLOCKS.items()
    }


def known_before(tables: Tables, day: date, keep: str | None = None) -> Tables:
    """Canonical tables as they stood before a day, and one placement more; campaigns without placements left out."""
    known = early(tables, day)
    if keep is not None:
        known["placements"] |= tables.placements["placement_id"] == keep
    past = {name: tables.by_name()[name].filter(mask) for name, mask in known.items()}
    booked = tables.campaigns.filter(pl.col("campaign_id").is_in(past["placements"]["campaign_id"].implode()))
    return replace(tables, **past, campaigns=booked)


def scrambled(frame, late, rng, creator):
    """The late facts with other numbers, flags and codes, all of them about one creator."""
    shares = ("share", "sponsored", "credibility", "polish", "weight", "propensity")
    noise = {}
    for name, kind in frame.schema.items():
        if name == "creator_id":
            noise[name] = pl.Series([creator] * frame.height)
        elif kind == pl.Float64:
            noise[name] = pl.Series(rng.random(frame.height) * (1.0 if name.endswith(shares) else 1e6))
        elif kind == pl.Boolean:
            noise[name] = pl.Series(rng.random(frame.height) < 0.5)
        elif name in ("code", "deliverable", "campaign_id", "last_post_at"):
            noise[name] = frame[name].shuffle(seed=int(rng.integers(1000)))
    return frame.with_columns(pl.when(late).then(new).otherwise(name).alias(name) for name, new in noise.items())


def moved(tables, chosen, rng, since=None):
    """The chosen facts become known 1 to 60 days later than they were, or from a day on."""
    out = {}
    for name, mask in chosen.items():
        frame, clock = tables.by_name()[name], CLOCKS[name]
        later = pl.Series(rng.integers(0 if since else 1, 60, frame.height)) * timedelta(days=1)
        begin = pl.lit(since).cast(pl.Datetime("us")) if since else pl.col(clock)
        out[name] = frame.with_columns(pl.when(mask).then(begin + later).otherwise(clock).alias(clock))
    return replace(tables, **out)


def day_of(number: int) -> date:
    return EPOCH + timedelta(days=int(number))


def unequal(one, other):
    """Names of the features that differ in any bit of a number (NaN equals NaN)."""
    assert one.dtype == other.dtype == np.float32
    assert one.shape == other.shape
    apart = ((one != other) & ~(np.isnan(one) & np.isnan(other))).any(axis=0)
    return [name for name, bad in zip(NAMES, apart, strict=True) if bad]
