"""What a plan may buy for a brief: creators with their deliverables, at a cost, with what is expected of each.

Everybody eligible is looked at. Where there are more than EXACT, they are screened first (`serving.screen`), and only
those who could matter, of all and of each size of account, are scored exactly (`serving.plan_foremost`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from features.errors import DataError
from features.overlap import text_codes
from features.plan_options import PlanBrief
from features.value import roi
from serving.candidates import QUANTITIES, Asked, Candidates, Scores, ask, eligible, joined, scored
from serving.fees import ESTIMATED
from serving.filters import Mask, Removed, fee_filters
from serving.model import Model
from serving.plan_foremost import foremost
from serving.plan_problem import cents, costs_in_cents
from serving.release import Release
from serving.stage import Floats

Ints = NDArray[np.int64]
Words = NDArray[np.str_]

EXACT = 8_000  # creators up to whom all are scored exactly
LEAST_DELIVERY = 0.05  # of a creator who hardly ever delivered, so that another rate can be put in its place


@dataclass(frozen=True)
class Offers:
    """n offers, sorted by creator and deliverable.

    Attributes:
        found: what the model says of them; a row of the catalogue may be there once for each deliverable.
        deliverable: names, None for the creator's usual one.
        ids: creator_id of each.
        creator, person: codes from 0; a person of its own where none is known.
        tier, platform, country: names; "unknown" where not known.
        audience: followers, a usual number where unknown.
        delivery: probability that the post appears.
        outside: no set that holds someone who was left out unscored is worth more; -inf where nobody was.
    """

    found: Candidates
    deliverable: tuple[str | None, ...]
    ids: Words
    creator: Ints
    person: Ints
    tier: Words
    platform: Words
    country: Words
    audience: Floats
    delivery: Floats
    outside: Mapping[str, float]

    def __len__(self) -> int:
        return len(self.creator)

    @property
    def names(self) -> tuple[str, ...]:
        """A name of each offer, no two alike."""
        return tuple(f"{one}/{what or ''}" for one, what in zip(self.ids, self.deliverable, strict=True))

    def worth(self, rank_by: str) -> Floats:
        """What the brief wants most of, shape (n,): value unless it names a quantity."""
        scores = self.found.scores
        return np.maximum(np.nan_to_num(scores.expected[rank_by] if rank_by in QUANTITIES else scores.value), 0.0)


def plan_offers(release: Release, brief: PlanBrief) -> Offers:
    """Everything a plan may buy.

    Raises:
        DataError: the brief asks for something this data cannot answer, or names a creator who is not there.
        NothingFits: the filters leave nobody.
    """
    model, state = release.model, release.catalogue.state
    no_cost = model.fee is None and model.typical_fee is None and model.commission_rate is None
    if no_cost and np.isnan(state.profile["price"]).all() and np.isnan(state.deliverable_prices).all():
        raise DataError(
            "budget: no fee and no price is known, so nothing can be planned; rank by value", field="budget"
        )
    if brief.rank_by in QUANTITIES:
        ask(release, brief)  # refuses what the data cannot tell
    # more budget must never lower what the same set is worth, so the model is not told of it
    asked = ask(release, brief.model_copy(update={"rank_by": "roi"}), tell_budget=False)
    must = _must(asked, brief)
    rows, removed = eligible(asked)
    if len(rows) > EXACT and release.prepared is not None and model.commission_rate is None:
        rows, outside = foremost(asked, brief, release.prepared, rows, removed)
        counted = removed.counts
    else:
        outside, counted = {}, None
    rows = np.union1d(rows, must)
    found, deliverable = _scored(asked, rows)
    keep = _affordable(asked, brief, found, np.isin(found.rows, must), removed if counted is None else Removed())
    found = replace(found.part(keep), removed=removed.counts if counted is None else counted)
    return _described(release, brief, found, tuple(deliverable[k] for k in keep), outside)


def with_delivery(model: Model, offers: Offers, delivery: Floats) -> Offers:
    """The same offers if posts appeared with another probability, shape (n,)."""
    factor, scores = delivery / offers.delivery, offers.found.scores
    expected = {name: quantity * factor for name, quantity in scores.expected.items()}
    return replace(with_expected(model, offers, expected, scores.value * factor), delivery=delivery)


def with_expected(model: Model, offers: Offers, expected: Mapping[str, Floats], value: Floats) -> Offers:
    """The same offers if other quantities and values were expected, shape (n,) each; a commission is of those sales."""
    found, fee = offers.found, offers.found.fee
    if model.commission_rate is not None:
        fee = model.commission_rate * expected["net_revenue"]
    cost = found.scores.cost + (fee - found.fee)
    scores = Scores(expected, value, cost, roi(value, cost, model.basis.cost_floor))
    return replace(offers, found=replace(found, fee=fee, scores=scores))


def _must(asked: Asked, brief: PlanBrief) -> Ints:
    catalogue = asked.release.catalogue
    rows = catalogue.rows_of(brief.plan.must_include)
    if len(rows) < len(brief.plan.must_include):
        there = set(catalogue.display["creator_id"].gather(rows))
        strangers = [name for name in brief.plan.must_include if name not in there]
        raise DataError(
            f"plan.must_include: {len(strangers)} of {len(brief.plan.must_include)} are not in the catalogue, such as "
            f"{', '.join(strangers[:3])}: leave them out, or add them to the data and rebuild it (influencer-roi "
            "catalogue DIR)",
            field="plan.must_include",
        )
    return rows


def _scored(asked: Asked, rows: Ints) -> tuple[Candidates, list[str | None]]:
    """Offers of some creators, by creator and deliverable: each that is priced, else the usual one."""
    release, brief = asked.release, asked.brief
    prices = release.catalogue.state.deliverable_prices[rows]
    if brief.deliverable is not None or not prices.size or np.isnan(prices).all():
        return scored(asked, rows), [brief.deliverable] * len(rows)
    words = release.catalogue.words.deliverable.values
    parts: list[Candidates] = []
    kinds: list[Ints] = []
    unpriced = rows[np.isnan(prices).all(axis=1)]
    if len(unpriced):
        parts.append(scored(asked, unpriced))
        kinds.append(np.full(len(unpriced), -1))
    for kind in np.flatnonzero(~np.isnan(prices).all(axis=0)):
        named = rows[~np.isnan(prices[:, kind])]
        parts.append(
            scored(ask(release, brief.model_copy(update={"deliverable": words[kind]}), tell_budget=False), named)
        )
        kinds.append(np.full(len(named), kind))
    every, kind_of = joined(parts), np.concatenate(kinds)
    order = np.lexsort((kind_of, every.rows))
    return every.part(order), [None if kind < 0 else words[kind] for kind in kind_of[order]]


def _affordable(asked: Asked, brief: PlanBrief, found: Candidates, must: Mask, removed: Removed) -> Ints:
    """Positions of the offers that the brief's fees and caps allow; a creator is removed with the last offer."""
    cost, unknown = costs_in_cents(np.nan_to_num(found.scores.cost)), np.isnan(found.scores.cost)
    plan = brief.plan
    creators, creator = np.unique(found.rows, return_inverse=True)
    left = np.ones(len(found.rows), dtype=bool)

    def passing(allowed: Callable[[], Mask]) -> Mask:
        nonlocal left
        left = left & (allowed() | must)
        return np.bincount(creator, weights=left, minlength=len(creators)) > 0

    filters: dict[str, Callable[[], Mask]] = {
        **fee_filters(asked.brief, found.fee, found.source != ESTIMATED),
        "unknown_fee": lambda: ~unknown,
        # product and other cost come on top of a fee
        "over_budget": lambda: (cost <= cents(brief.budget)) & ~(found.fee > brief.budget),
        **{
            name: partial(np.less_equal, cost, cents(spend))
            for name, cap in (("per_creator_cap", plan.per_creator_cap), ("per_person_cap", plan.per_person_cap))
            if cap is not None and (spend := cap.spend(brief.budget)) is not None
        },
    }
    keep = removed.take(
        np.ones(len(creators), dtype=bool),
        {name: partial(passing, allowed) for name, allowed in filters.items()},
    )
    if not keep.any():
        removed.refuse_nobody()
    lost = must & np.isnan(found.scores.cost)
    if lost.any():
        names = asked.release.catalogue.display["creator_id"].gather(found.rows[lost]).to_list()
        raise DataError(
            f"plan.must_include: nothing tells the fee of {', '.join(names[:3])}: add a price to the data",
            field="plan.must_include",
        )
    return np.flatnonzero(left)


def _described(
    release: Release, brief: PlanBrief, found: Candidates, deliverable: tuple[str | None, ...],
    outside: Mapping[str, float],
) -> Offers:  # fmt: skip
    catalogue, model = release.catalogue, release.model
    display = catalogue.display[found.rows]
    _, creator = np.unique(found.rows, return_inverse=True)
    person = text_codes(display["person_id"])
    person = np.where(person >= 0, person, len(person) + creator)
    followers = np.asarray(catalogue.state.profile["follower_count"])
    country = np.array([*catalogue.words.country.values, "unknown"])[catalogue.state.codes["country"][found.rows]]
    learnt = np.clip(found.scores.expected.get("delivery", np.ones(len(found.rows))), LEAST_DELIVERY, 1.0)
    offers = Offers(
        found=found, deliverable=deliverable, ids=_words(display["creator_id"].to_list()), creator=creator,
        person=np.unique(person, return_inverse=True)[1], tier=_words(display["tier"].to_list()),
        platform=_words(display["platform"].to_list()), country=country,
        audience=_audience(followers, found.rows),
        delivery=learnt, outside=outside,
    )  # fmt: skip
    asked_for = brief.plan.delivery_rate or model.settings.plan.delivery_rate
    return offers if asked_for is None else with_delivery(model, offers, np.full(len(offers), asked_for))


def _audience(followers: Floats, rows: Ints) -> Floats:
    """Followers of some creators; unknown ones are those of the middle creator, whoever the other candidates are."""
    own = followers[rows]
    unknown = np.isnan(own)
    if unknown.any():
        known = followers[~np.isnan(followers)]
        own = np.where(unknown, np.median(known) if len(known) else 1.0, own)
    return np.maximum(own, 1.0)


def _words(words: Sequence[str]) -> Words:
    return np.array(words, dtype=np.str_)
