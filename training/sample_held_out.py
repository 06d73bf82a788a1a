"""Held-out briefs of a synthetic market, and the truth of every candidate: means worked out, one draw beside them."""

from dataclasses import asdict, replace
from datetime import timedelta

import numpy as np
import polars as pl

from features.errors import DataError
from features.settings import Settings
from features.value import ValueBasis, placement_value, roi
from training.sample_campaigns import Campaigns, coming_campaigns, shortlists
from training.sample_expected import Expected, expected_outcomes, sales_table
from training.sample_hidden import Hidden
from training.sample_outcomes import (
    FATIGUE_DAYS,
    Bookings,
    deliverable_shares,
    draw_costs,
    draw_counts,
    draw_revenue,
    expected_rates,
)
from training.sample_truth import Truth
from training.sample_world import (
    COUNTRY_CODES,
    GOALS,
    LANGUAGES,
    NICHES,
    PLATFORM_NAMES,
    Bools,
    Floats,
    Ints,
    label,
    pick_index,
    significant,
    tier_of,
)

TIERS = ("nano", "micro", "macro", "mega")
_POSTED_AFTER = 10  # days from a held-out brief's start, on which creators agree, to the post
_TOP = 10
_FORMULAS = {
    "basis": "value settings are the defaults of features/settings.py, money is in USD; audience share g and "
    "credibility q are the true ones, and the product's margin is the brief's",
    "dates": f"agreed on starts_on, posted {_POSTED_AFTER} days later; the creator's state is that of the market's "
    "last day; fatigue counts paid posts of the 60 days before",
    "deliverable": "the brief names none: every column is the mean over what the creator's platform sells",
    "fee, cost": "mean fee; mean of fee + product cost + other cost. Paid whether or not the post appears",
    "impressions, engagements, clicks, conversions, net_revenue": "means given that the post appears, whether or not "
    "they would be tracked; net revenue is after refunds",
    "value": "delivery x V(goal) of these means, by the formulas of features/value.py, which are linear in them",
    "roi": "value / max(cost, cost floor) - 1: E[V] / E[C] - 1",
    "drawn_*": "one random draw of the same placement, its value 0 where it is not delivered",
    "past_placements": "placements of the creator in the tables, settled or not: 0 is a cold start",
    "joint value": "training.sample_truth.joint_value: the picks in order of value if delivered; each loses, for every "
    "pick before it, with that one's delivery probability, the share of its audience that both have (overlap x smaller "
    "audience / own audience); several such losses are independent",
}


def make_truth(hidden: Hidden, name: str, *, briefs: int = 300, pool: int = 600) -> Truth:
    """Draw held-out briefs with their candidates and work out the truth of every pair.

    Args:
        hidden: the market's hidden state.
        name: of its world.
        briefs: how many.
        pool: the most candidates a brief has: all accounts on its platforms, or a random choice of so many.

    Raises:
        DataError: a number is below 1.
    """
    for field, number in (("truth-briefs", briefs), ("truth-pool", pool)):
        if number < 1:
            raise DataError(f"{field} must be at least 1, not {number}.", field=field)
    rng = np.random.default_rng(np.random.SeedSequence(hidden.seed, spawn_key=(len(hidden.streams) - 1,)))
    campaigns = coming_campaigns(hidden.world, hidden.creators, hidden.campaigns.brands, briefs, rng)
    candidate, real = shortlists(pool, hidden.creators, campaigns.platforms, rng)
    which, column = np.nonzero(real)
    bookings = held_out(hidden, campaigns, which, candidate[which, column])
    budget = significant(np.exp(rng.normal(np.log(20_000.0), 0.6, briefs)), 2)
    ids = pl.Series([f"h{k:04d}" for k in range(briefs)])
    outcomes = pl.DataFrame({"brief_id": ids.gather(which), **_columns(hidden, campaigns, bookings, rng)})
    members = outcomes["creator_id"].unique()
    overlap = hidden.overlap.filter(
        pl.col("creator_a").is_in(members.implode()) & pl.col("creator_b").is_in(members.implode())
    )
    facts = {
        "warning": "SYNTHETIC: every creator, brand and number is invented",
        "world": name,
        "seed": hidden.seed,
        "last_day": hidden.rates.today.isoformat(),
        "briefs": briefs,
        "pool": pool,
        "currency": "USD",
        "parameters": asdict(hidden.world),
        "formulas": _FORMULAS,
    }
    pools = dict(outcomes.group_by("brief_id", maintain_order=True).agg("creator_id").iter_rows())
    shown = [
        {**_brief(hidden, campaigns, k, float(budget[k])), "filters": {"creator_ids": pools[ids[k]]}}
        for k in range(briefs)
    ]
    named = [{"brief_id": brief_id, **brief} for brief_id, brief in zip(ids, shown, strict=True)]
    return Truth(named, outcomes, overlap, facts)


def held_out(hidden: Hidden, campaigns: Campaigns, which: Ints, creator: Ints) -> Bookings:
    """Bookings of these creators by the coming campaigns `which`; the deliverable is still open (0)."""
    agreed = campaigns.start[which]
    posted = agreed + _POSTED_AFTER
    past = hidden.bookings
    span = 2**20  # more than the days of any market
    key = np.sort(past.creator * span + past.posted + span // 2)
    asked = creator * span + posted + span // 2
    recent = np.searchsorted(key, asked) - np.searchsorted(key, asked - FATIGUE_DAYS)
    n = len(which)
    return Bookings(which, creator, np.ones(n), agreed, posted, np.zeros(n, dtype=np.int64), recent.astype(np.int64))


def true_means(hidden: Hidden, campaigns: Campaigns, bookings: Bookings) -> Expected:
    """Means of the bookings over what each creator's platform sells."""
    table = sales_table(hidden.world)
    shares = deliverable_shares()[hidden.creators.platform[bookings.creator]]
    total = {field: np.zeros(len(bookings)) for field in Expected.__dataclass_fields__}
    for kind in range(shares.shape[1]):
        rows = np.flatnonzero(shares[:, kind])
        part = take(bookings, rows, np.full(len(rows), kind))
        rate = expected_rates(hidden.world, hidden.creators, campaigns, part, hidden.today)
        means = expected_outcomes(hidden.world, hidden.creators, campaigns, part, rate, table)
        for field, values in total.items():
            values[rows] += shares[rows, kind] * getattr(means, field)
    return Expected(**total)


def take(bookings: Bookings, rows: Ints, deliverable: Ints) -> Bookings:
    """Those rows of the bookings, with these deliverables."""
    fields = {field: getattr(bookings, field)[rows] for field in Bookings.__dataclass_fields__}
    return replace(Bookings(**fields), deliverable=deliverable)


def true_value(
    hidden: Hidden, campaigns: Campaigns, bookings: Bookings, counts: tuple[Floats, Floats, Floats]
) -> Floats:
    """Value in USD of delivered placements with these impressions, engagements and net revenue."""
    which, who = bookings.campaign, bookings.creator
    share = np.minimum(np.einsum("pn,pn->p", hidden.creators.audience[who], campaigns.target[which]), 1.0)
    credibility = hidden.creators.credibility[who]
    margin = campaigns.margin[which]
    return placement_value(campaigns.goal[which], *counts, share, credibility, margin, _basis())


def _basis() -> ValueBasis:
    return ValueBasis.from_settings(Settings().value, "USD", 1.0)


def _columns(
    hidden: Hidden, campaigns: Campaigns, bookings: Bookings, rng: np.random.Generator
) -> dict[str, pl.Series | Floats | Ints]:
    """The columns of `outcomes` after brief_id."""
    creators, who = hidden.creators, bookings.creator
    means = true_means(hidden, campaigns, bookings)
    worth = true_value(hidden, campaigns, bookings, (means.impressions, means.engagements, means.net_revenue))
    value = creators.delivery[who] * worth
    floor = _basis().cost_floor
    drawn = _drawn(hidden, campaigns, bookings, rng)
    return {
        "creator_id": creators.ids.gather(who),
        "goal": label(GOALS, campaigns.goal[bookings.campaign]),
        "platform": label(PLATFORM_NAMES, creators.platform[who]),
        "tier": label(TIERS, tier_of(creators.followers[who, -1])),
        "followers": np.exp(creators.followers[who, -1]),
        "past_placements": np.bincount(hidden.bookings.creator, minlength=len(creators))[who],
        "delivery": creators.delivery[who],
        **asdict(means),
        "value": value,
        "roi": roi(value, means.cost, floor),
        "drawn_fee": drawn[0],
        "drawn_cost": drawn[1],
        "drawn_value": drawn[2],
        "drawn_roi": roi(drawn[2], drawn[1], floor),
    }


def _drawn(
    hidden: Hidden, campaigns: Campaigns, bookings: Bookings, rng: np.random.Generator
) -> tuple[Floats, Floats, Floats]:
    """One draw of fee, cost and value of each booking."""
    n, world = len(bookings), hidden.world
    kinds = np.cumsum(deliverable_shares(), axis=1)[hidden.creators.platform[bookings.creator]]
    booked = take(bookings, np.arange(n), pick_index(rng, kinds))
    rate = expected_rates(world, hidden.creators, campaigns, booked, hidden.today)
    fee, product, other = draw_costs(world, hidden.creators, booked, rng)
    delivered = rng.random(n) < hidden.creators.delivery[booked.creator]
    counts = draw_counts(world, campaigns, booked, rate, rng)
    sold, returned = draw_revenue(world, campaigns.price[booked.campaign], counts["conversions"], rng)
    seen = (counts["impressions"].astype(float), counts["engagements"].astype(float), sold * (1 - returned))
    value = np.where(delivered, true_value(hidden, campaigns, booked, seen), 0.0)
    return significant(fee), significant(fee) + significant(product) + significant(other), value


def _brief(hidden: Hidden, campaigns: Campaigns, k: int, budget: float) -> dict[str, object]:
    """The k-th coming campaign as a brief, without its id and its candidates."""

    def named(names: tuple[str, ...], flags: Bools) -> list[str]:
        return [name for name, flag in zip(names, flags, strict=True) if flag]

    brief: dict[str, object] = {
        "goal": GOALS[campaigns.goal[k]],
        "budget": budget,
        "currency": "USD",
        "brand_id": f"synthetic-{campaigns.brand[k]:03d}",
        "niches": named(NICHES, campaigns.niches[k] > 0),
        "platforms": named(PLATFORM_NAMES, campaigns.platforms[k]),
        "starts_on": (hidden.rates.today + timedelta(days=int(campaigns.start[k]))).isoformat(),
        "product_price": round(float(campaigns.price[k]), 2),
        "product_margin": float(campaigns.margin[k]),
        "is_new_product": bool(campaigns.is_new[k]),
        "top": _TOP,
    }
    if (campaigns.target[k] < 1.0).any():  # else everywhere: no target
        weights = zip(COUNTRY_CODES, campaigns.target[k].tolist(), strict=True)
        brief["target_countries"] = {code: weight for code, weight in weights if weight > 0}
        brief["languages"] = named(LANGUAGES, campaigns.languages[k])
    return brief
