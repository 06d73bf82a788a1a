"""Warnings about what data can and cannot teach: undated profiles, leaks, missing sales, constant ROI, twins."""

from datetime import date

import polars as pl

from features.findings import Finding, first_ids, warning
from features.tables import Tables

COMMISSION_READS = ("fee", "product_cost", "other_cost", "revenue", "refunds")
SALES_GOALS = ("conversion", "launch", "local")
_ENOUGH = 30
ENOUGH_TO_LEARN = 50
# outcome -> the goals that need it
_NEEDED = {
    "impressions": "awareness and launch",
    "engagements": "engagement",
    "revenue": "conversion, launch and local",
}
_SUM_TOLERANCE = 0.02


def market_findings(tables: Tables) -> list[Finding]:
    """Findings of every rule of this module."""
    rules = (undated, audience_sums, commission, late_snapshots, twin_accounts, missing_sales, double_orders)
    return [finding for rule in rules for finding in rule(tables)]


def commission_only_rate(tables: Tables) -> float | None:
    """The share of net revenue that a placement costs where it is always the same, else None.

    Same: of at least 30 placements with a cost and net revenue, 80 % are within 10 % of the median share, which is
    below 1. ROI is then constant by construction. Where the whole cost is no such share the fee alone may be: a
    commission beside gifts, just as little known before the sale. COMMISSION_READS are the columns looked at.

    >>> from features.settings import Settings
    >>> from features.tables import build
    >>> sales = pl.DataFrame({"fee": [0.0] * 30, "other_cost": [8.0] * 30, "revenue": [100.0] * 30})
    >>> commission_only_rate(build({"placements": sales}, Settings()))
    0.08
    """
    fee = pl.col("fee")
    rates = (
        _fixed_share(tables, paid)
        for paid in (fee + pl.col("product_cost").fill_null(0) + pl.col("other_cost").fill_null(0), fee)
    )
    return next((rate for rate in rates if rate is not None), None)


def _fixed_share(tables: Tables, paid: pl.Expr) -> float | None:
    net = pl.col("revenue") - pl.col("refunds").fill_null(0)
    shares = tables.placements.filter((paid > 0) & (net > 0)).select(paid / net).to_series()
    if len(shares) < _ENOUGH:
        return None
    middle = float(shares.median() or 0)  # type: ignore[arg-type]
    same = int(((shares - middle).abs() <= 0.1 * middle).sum())
    return middle if middle < 1 and same >= 0.8 * len(shares) else None


def commission(tables: Tables) -> list[Finding]:
    """Cost that is a fixed share of revenue."""
    share = commission_only_rate(tables)
    if share is None:
        return []
    message = (
        f"cost is a fixed share of revenue (commission only, {share:.1%}): ROI is constant by construction. "
        "Rank by value (rank_by: value); ROI cannot tell creators apart."
    )
    return [warning("placements", "fee", message)]


def undated(tables: Tables) -> list[Finding]:
    """Profiles and audiences without a date count as always known, which may not be true of the past."""
    found = []
    for table, column in (("creator_snapshots", "known_at"), ("creator_audience", "snapshot_at")):
        frame = tables.by_name()[table]
        bad = frame[column].is_null()
        if bad.any():
            what = "profiles" if table == "creator_snapshots" else "audiences"
            message = (
                f"undated {what} count as always known: as-of truth is not guaranteed, and past tests may look too "
                f"good. Add snapshot_at to date them."
            )
            place = "creators" if table == "creator_snapshots" else table
            found.append(warning(place, None, message, int(bad.sum()), first_ids(frame["creator_id"], bad)))
    return found


def audience_sums(tables: Tables) -> list[Finding]:
    """Weights of one creator, day and dimension that do not sum to 1. Interests overlap, so they need not."""
    sums = (
        tables.creator_audience.filter(pl.col("dimension") != "interest")
        .group_by("creator_id", "snapshot_at", "dimension", maintain_order=True)
        .agg(pl.col("weight").sum())
    )
    found = []
    for bad, message in (
        (sums["weight"] > 1 + _SUM_TOLERANCE, "weights sum to above 1. Check for rows counted twice or percent."),
        (sums["weight"] < 1 - _SUM_TOLERANCE, "weights sum to below 1: the rest is unknown. Add it if you have it."),
    ):
        if bad.any():
            dimensions = ", ".join(sums["dimension"].filter(bad).drop_nulls().unique().sort().to_list())
            text = f"audience {message} Dimensions: {dimensions}; counted by creator, day and dimension."
            ids = sums.filter(bad)["creator_id"].unique(maintain_order=True)
            found.append(warning("creator_audience", "weight", text, int(bad.sum()), first_ids(ids, ids.is_not_null())))
    return found


def late_snapshots(tables: Tables) -> list[Finding]:
    """Profiles taken after the fact: at the decision nothing was known of the creator."""
    known = tables.creator_snapshots.group_by("creator_id").agg(
        pl.col("known_at").is_null().any().alias("undated"), pl.col("known_at").min().dt.date().alias("first")
    )
    dated = known.filter(~pl.col("undated")).drop_nulls("creator_id")
    rows = tables.placements.join(dated, on="creator_id", how="left", maintain_order="left")
    # Known before the day of the decision, as everywhere: a snapshot of the same day is too late.
    late = rows.filter(pl.col("first") >= pl.col("agreed_on").dt.date())
    if late.is_empty():
        return []
    last_post = pl.coalesce("posted_at", "agreed_on").dt.date().max()
    creators = rows.group_by("creator_id", maintain_order=True).agg(last_post.alias("last"), pl.col("first").first())
    never = creators.filter(pl.col("first") > pl.col("last"))["creator_id"]
    message = "was agreed on or before the day its creator's first snapshot was known: its profile counts as unknown."
    every = late["placement_id"].is_not_null()
    found = [warning("placements", "agreed_on", message, late.height, first_ids(late["placement_id"], every))]
    if len(never):
        message = (
            "every snapshot of these creators was taken after all their posts: nothing was known beforehand, so their "
            "profiles teach nothing. Add earlier snapshots."
        )
        ids = first_ids(never, never.is_not_null())
        found.append(warning("creator_snapshots", "snapshot_at", message, len(never), ids))
    return found


def twin_accounts(tables: Tables) -> list[Finding]:
    """One person with two accounts on one platform: often the same account under two ids."""
    people = tables.creators.filter(pl.col("person_id").is_not_null())
    twins = people.filter(pl.struct("person_id", "platform").is_duplicated())["creator_id"]
    if twins.is_empty():
        return []
    message = "one person has several accounts on the same platform. If they are one account, keep one id."
    return [warning("creators", "person_id", message, len(twins), first_ids(twins, twins.is_not_null()))]


def missing_sales(tables: Tables) -> list[Finding]:
    """Placements of sales goals without a revenue figure, and a start before which none has one."""
    goals = tables.campaigns.select("campaign_id", "goal").unique("campaign_id", keep="first", maintain_order=True)
    sales = tables.placements.join(goals, on="campaign_id", how="left", maintain_order="left").filter(
        pl.col("goal").is_in(SALES_GOALS),
        pl.col("delivered") & pl.col("impressions").is_not_null() & pl.col("value").is_null(),
    )
    missing = sales["revenue"].is_null()
    if not missing.any():
        return []
    found = []
    share = int(missing.sum()) / len(missing)
    message = (
        f"{share:.0%} of placements with a sales goal have impressions but no revenue. They teach reach and "
        "engagement only; add revenue where it is known (0 only where truly nothing was sold)."
    )
    ids = first_ids(sales["placement_id"], missing)
    found.append(warning("placements", "revenue", message, int(missing.sum()), ids))
    start = sales.filter(~missing)["agreed_on"].dt.date().min()
    before = sales.filter(pl.col("agreed_on").dt.date() < start) if isinstance(start, date) else sales.clear()
    if before.height >= _ENOUGH:
        message = (
            f"no placement agreed before {start!s} has revenue: sales seem not to be known then. "
            "Leave them empty, not 0."
        )
        ids = first_ids(before["placement_id"], before["placement_id"].is_not_null())
        found.append(warning("placements", "revenue", message, before.height, ids))
    return found


def double_orders(tables: Tables) -> list[Finding]:
    """The same revenue of the same post in two campaigns."""
    order = ["creator_id", "posted_at", "revenue"]
    sold = tables.placements.filter(pl.col("posted_at").is_not_null() & (pl.col("revenue") > 0))
    shared = sold.filter(pl.col("campaign_id").n_unique().over(order) > 1)["placement_id"]
    if shared.is_empty():
        return []
    message = "the same post has the same revenue in two campaigns: is one order counted twice? Keep it in one."
    return [warning("placements", "revenue", message, len(shared), first_ids(shared, shared.is_not_null()))]


def missing(tables: Tables) -> tuple[str, ...]:
    """What the data lack that decides what they can answer, in words.

    >>> from features.settings import Settings
    >>> from features.tables import build
    >>> missing(build({}, Settings()))
    ()
    """
    placements = tables.placements
    if placements.height == 0:
        return ()
    lacking = []
    if placements["fee"].is_null().all():
        lacking.append("no fee is known: ROI cannot be computed, only value and quantities ranked")
    if placements["value"].is_null().all():
        for column, goals in _NEEDED.items():
            if placements[column].is_null().all():
                lacking.append(f"no {column} known: goals {goals} cannot be answered")
    known = placements.select(pl.any_horizontal(pl.col(*_NEEDED, "clicks", "conversions", "value").is_not_null()))
    useful = int(known.to_series().sum())
    if useful < ENOUGH_TO_LEARN:
        lacking.append(
            f"{useful} placements know an outcome: {ENOUGH_TO_LEARN} settled ones are needed to learn from, "
            "and as many later ones to judge a model by"
        )
    return tuple(lacking)
