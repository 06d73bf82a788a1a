"""A plan by trying every set of a few creators, and its limits read from an answer: from the contract's words alone.

What the model says of each creator by itself is taken from the release; what a set is worth, what it may hold and
which set is best is worked out here, with nothing of `plan_case`, `plan_limits`, `plan_problem` or of the solvers.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from serving.candidates import ask, scored
from serving.plan_draws import draw_offers
from tests.serving.random_plans import all_sets

QUANTITIES = ("impressions", "engagements", "conversions")


@dataclass(frozen=True)
class Bought:
    """One purchase: whose, of what kind, and at how many hundredths."""

    creator: str
    person: str
    tier: str
    platform: str
    cents: int


@dataclass(frozen=True)
class Offer:
    bought: Bought
    deliverable: str | None
    row: int
    followers: float
    value: float
    quantity: float
    delivery: float


# --- limits


def broken(brief, bought):
    """Names of the limits of a brief that a set of purchases does not keep."""
    plan, found = brief.plan, []
    total = sum(one.cents for one in bought)
    if not _within(total, brief.budget):
        found.append("budget")
    if plan.max_creators is not None and len({one.creator for one in bought}) > plan.max_creators:
        found.append("max_creators")
    for kind, limits in (("tier", plan.tier_limits), ("platform", plan.platform_limits)):
        for name, limit in limits.items():
            own = [one for one in bought if getattr(one, kind) == name]
            creators, spend = len({one.creator for one in own}), sum(one.cents for one in own)
            most = [m for m in (limit.max_spend, _share(limit.max_share, brief)) if m is not None]
            if creators < limit.min or (limit.max is not None and creators > limit.max):
                found.append(f"{kind}.{name}")
            if any(not _within(spend, m) for m in most) or spend < limit.min_share * brief.budget * 100 - 1e-4:
                found.append(f"{kind}.{name} spend")
    for kind, cap in (("creator", plan.per_creator_cap), ("person", plan.per_person_cap)):
        for name in {getattr(one, kind) for one in bought} if cap is not None else ():
            own = [one.cents for one in bought if getattr(one, kind) == name]
            most = [m for m in (cap.amount, _share(cap.share, brief)) if m is not None]
            if cap.placements is not None and len(own) > cap.placements:
                found.append(f"per_{kind}_cap")
            if any(not _within(sum(own), m) for m in most):
                found.append(f"per_{kind}_cap spend")
    if not set(plan.must_include) <= {one.creator for one in bought}:
        found.append("must_include")
    return found


def bought_of(plan):
    """The purchases of a plan in an answer."""
    return [
        Bought(pick.creator_id, pick.person_id or f"nobody but {pick.creator_id}", pick.tier, pick.platform,
               round(pick.spend * 100))
        for pick in plan.picks
    ]  # fmt: skip


def _share(share, brief):
    return None if share is None else share * brief.budget


def _within(cents, most):
    return cents <= most * 100 + 1e-4


# --- offers


def offers_of(release, brief):
    """Everything that a brief with `filters.creator_ids` may buy, one creator after the other."""
    catalogue, filters = release.catalogue, brief.filters
    names = set(filters.creator_ids) - set(filters.exclude_creator_ids) | set(brief.plan.must_include)
    ids = catalogue.display["creator_id"].to_list()
    priced, words = catalogue.state.deliverable_prices, catalogue.words.deliverable.values
    found = []
    for row in (ids.index(name) for name in sorted(names) if name in ids):
        kinds = [brief.deliverable]
        if brief.deliverable is None and priced.shape[1]:
            kinds = [words[k] for k in range(len(words)) if np.isfinite(priced[row, k])] or [None]
        found += [_offer(release, brief, row, kind) for kind in kinds]
    return [one for one in found if one is not None]


def _offer(release, brief, row, deliverable):
    display = release.catalogue.display.row(row, named=True)
    told = brief.model_copy(update={"rank_by": "roi", "deliverable": deliverable})
    one = scored(ask(release, told, tell_budget=False), np.array([row]))
    must = display["creator_id"] in brief.plan.must_include
    fee, filters = one.fee[0], brief.filters
    refused = filters.max_fee is not None and fee > filters.max_fee
    refused |= filters.known_price_only and one.source[0] == 2
    if np.isnan(one.scores.cost[0]) or (refused and not must):
        return None
    expected, value = {name: float(of[0]) for name, of in one.scores.expected.items()}, float(one.scores.value[0])
    delivery, asked = np.clip(expected.get("delivery", 1.0), 0.05, 1.0), brief.plan.delivery_rate
    factor = 1.0 if asked is None else asked / delivery
    exact = max(one.scores.cost[0], 0.0) * 100
    cents = round(exact) if abs(exact - round(exact)) <= 1e-6 * max(exact, 1.0) else int(np.ceil(exact))
    person = display["person_id"] or f"nobody but {display['creator_id']}"
    return Offer(
        Bought(display["creator_id"], person, display["tier"], display["platform"], cents), deliverable, row,
        float(release.catalogue.state.profile["follower_count"][row]), value * factor,
        expected.get(brief.rank_by, np.nan) * factor, float(delivery if asked is None else asked),
    )  # fmt: skip


# --- worth


def overlap(release, one, other):
    """Shared audience / the smaller audience of two creators: as listed, else by what they have in common."""
    if one.row == other.row:
        return release.model.settings.plan.overlap_same_creator
    known = release.catalogue.overlap
    pair = {one.row, other.row}
    for a, b, share in zip(known.first, known.second, known.share, strict=True):
        if {a, b} == pair:
            return share
    if pair <= set(known.named.tolist()):
        return 0.0
    shown = [release.catalogue.display.row(each.row, named=True) for each in (one, other)]
    country = [release.catalogue.state.codes["country"][each.row] for each in (one, other)]
    levels = known.levels
    if one.bought.person == other.bought.person:
        return levels.same_person
    alike = country[0] == country[1] >= 0 and shown[0]["niche"] == shown[1]["niche"] is not None
    if not alike:
        return 0.0
    return levels.same_platform_niche if shown[0]["platform"] == shown[1]["platform"] else levels.same_niche


def parts_kept(release, brief, offers, sets):
    """Part of its worth that each offer keeps in each set, shape (sets, offers); 0 where it is not in."""
    followers = np.array(release.catalogue.state.profile["follower_count"])
    usual = np.median(followers[~np.isnan(followers)]) if np.isfinite(followers).any() else 1.0
    audience = [usual if np.isnan(one.followers) else max(one.followers, 1.0) for one in offers]
    worth = [max(one.quantity if brief.rank_by in QUANTITIES else one.value, 0.0) for one in offers]
    delivered = [w / one.delivery for w, one in zip(worth, offers, strict=True)]
    fatigue = release.model.settings.plan.fatigue
    kept = sets.astype(float)
    for i, j in combinations(range(len(offers)), 2):
        # the one that brings more if both are posted was there first; of equals the one named first
        first, later = (i, j) if delivered[i] >= delivered[j] else (j, i)
        lost = overlap(release, offers[i], offers[j]) * min(audience[i], audience[j]) / audience[later]
        keeps = 1.0 - lost * offers[first].delivery
        if offers[i].row == offers[j].row:
            keeps *= 1.0 - fatigue
        kept[:, later] *= np.where(sets[:, first], keeps, 1.0)
    big = np.array([a >= 100_000 for a in audience])
    beside = np.where(sets[:, big].any(axis=1), release.model.together.small_beside_big, 1.0)
    kept[:, ~big] *= beside[:, None]
    return kept


def objective(release, brief, offers, sets):
    """What a plan is asked to make as large as it can, of each set; shape (sets,)."""
    kept = parts_kept(release, brief, offers, sets)
    value = np.array([one.value for one in offers])
    worth = np.maximum(np.array([one.quantity for one in offers]) if brief.rank_by in QUANTITIES else value, 0.0)
    cost = np.array([one.bought.cents for one in offers]) / 100.0
    price = sets @ cost if brief.rank_by == "profit" else 0.0
    expected, risk = kept @ worth, brief.plan.risk
    if not risk:
        return expected - price
    names = [f"{one.bought.creator}/{one.deliverable or ''}" for one in offers]
    interval = release.model.intervals.get(brief.goal, release.model.intervals["any"])
    draws = draw_offers(names, value, cost, np.zeros(len(cost)), interval, release.model.together).value
    scale = np.where(value > 0, worth / np.where(value > 0, value, 1.0), 0.0)
    totals = np.sort(kept @ (draws * scale[:, None]), axis=1)
    return (1.0 - risk) * expected + risk * totals[:, : totals.shape[1] // 5].mean(axis=1) - price


def best_set(release, brief):
    """Offers, the set of them that is worth most of those that keep the limits, its worth; None where none does."""
    offers = offers_of(release, brief)
    sets = all_sets(len(offers))
    worth = objective(release, brief, offers, sets)
    for k in np.argsort(-worth, kind="stable"):
        if not broken(brief, [one.bought for one, taken in zip(offers, sets[k], strict=True) if taken]):
            return offers, sets[k], float(worth[k])
    return offers, None, None


def worth_of_answer(release, brief, offers, plan):
    """What the picks of an answer are worth by the same reckoning, and their value."""
    picked = {(pick.creator_id, pick.deliverable) for pick in plan.picks}
    chosen = np.array([[(one.bought.creator, one.deliverable) in picked for one in offers]])
    assert chosen.sum() == len(plan.picks)
    value = parts_kept(release, brief, offers, chosen) @ np.array([one.value for one in offers])
    return float(objective(release, brief, offers, chosen)[0]), float(value[0])
