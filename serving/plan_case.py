"""A brief's offers as a problem to solve: what each is worth, what they take from each other, and the limits."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from features.overlap import Pairs
from features.plan_options import PlanBrief
from features.settings import PlanSettings
from serving.plan_draws import DRAWS, Draws, draw_offers
from serving.plan_limits import caps, limits
from serving.plan_offers import Offers, with_delivery
from serving.plan_problem import Losses, Problem, cents, costs_in_cents
from serving.release import Release
from serving.together import BIG

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Placements of one plan are more alike than those of a past campaign - chosen by one model for one brief, they share
# its error - so what they are taken to share is never less than this (measured: docs/quality.md, "Plans").
LEAST_SHARED = 0.03
BLOCK = 500  # offers drawn at a time


@dataclass(frozen=True)
class Case:
    """One way the world may be, for one brief.

    Attributes:
        offers: what may be bought.
        pairs: audiences that offers share, by position.
        problem: what to solve.
    """

    release: Release
    brief: PlanBrief
    offers: Offers
    pairs: Pairs
    problem: Problem

    def draws(self, positions: Ints) -> Draws:
        """Values and costs of some offers, drawn together."""
        offers, model = self.offers, self.release.model
        names = offers.names
        together = replace(model.together, shared=max(model.together.shared, LEAST_SHARED))
        interval = model.intervals.get(self.brief.goal, model.intervals["any"])
        return draw_offers(
            [names[k] for k in positions], offers.found.scores.value[positions], self.cost[positions],
            offers.found.fee_spread[positions], interval, together,
        )  # fmt: skip

    @property
    def cost(self) -> Floats:
        """What each offer is charged to the budget, base currency, shape (n,)."""
        return self.problem.cost / 100.0


def build_case(release: Release, brief: PlanBrief, offers: Offers) -> Case:
    """The case as the model sees it."""
    pairs = release.catalogue.overlaps(offers.found.rows)
    case = Case(release, brief, offers, pairs, _problem(release, brief, offers, pairs, offers.found.scores.cost))
    if not brief.plan.risk:
        return case
    drawn = np.empty((len(offers), DRAWS), dtype=np.float32)
    value = np.maximum(offers.found.scores.value, 1e-12)
    for begin in range(0, len(offers), BLOCK):
        own = np.arange(begin, min(begin + BLOCK, len(offers)))
        # worth of a quantity varies as the value does
        drawn[own] = case.draws(own).value * (case.problem.worth[own] / value[own])[:, None]
    return replace(case, problem=replace(case.problem, draws=drawn, risk=brief.plan.risk))


def other_fees(case: Case, factor: float) -> Case:
    """Every fee times a factor; other costs as they are."""
    found, model = case.offers.found, case.release.model
    # what a commission costs moves with the sale, not with what people ask
    more = (factor - 1.0) * found.fee if model.commission_rate is None else np.zeros(len(found.fee))
    return _changed(case, case.brief, case.offers, found.scores.cost + more)


def lower_delivery(case: Case, points: float) -> Case:
    """Every probability of delivery lower by as much."""
    delivery = np.maximum(case.offers.delivery - points, 0.0)
    return other_values(case, with_delivery(case.release.model, case.offers, delivery))


def other_values(case: Case, offers: Offers) -> Case:
    """The same with other expectations of the same offers (`serving.plan_offers.with_expected`)."""
    return _changed(case, case.brief, offers, offers.found.scores.cost)


def other_budget(case: Case, share: float) -> Case:
    """A share of the budget, and of the limits that are shares of it."""
    brief = case.brief.model_copy(update={"budget": case.brief.budget * share})
    return _changed(case, brief, case.offers, case.offers.found.scores.cost)


def _changed(case: Case, brief: PlanBrief, offers: Offers, cost: Floats) -> Case:
    problem, before = _problem(case.release, brief, offers, case.pairs, cost), case.problem
    if before.risk and before.draws is not None:
        changed = (problem.worth / np.maximum(before.worth, 1e-12)).astype(np.float32)
        drawn = before.draws.astype(np.float32, copy=False) * changed[:, None]
        problem = replace(problem, draws=drawn, risk=before.risk)
    return replace(case, brief=brief, offers=offers, problem=problem)


def _problem(release: Release, brief: PlanBrief, offers: Offers, pairs: Pairs, cost: Floats) -> Problem:
    together = release.model.together
    worth = offers.worth(brief.rank_by)
    charged = costs_in_cents(cost)
    must = [np.flatnonzero(offers.ids == name) for name in brief.plan.must_include]
    big = offers.audience >= BIG
    return Problem(
        worth=worth,
        price=charged / 100.0 if brief.rank_by == "profit" else np.zeros(len(offers)),
        cost=charged,
        creator=offers.creator,
        budget=cents(brief.budget),
        losses=_losses(offers, pairs, worth, release.model.settings.plan),
        rows=limits(offers, brief, charged),
        caps=caps(offers, brief, charged),
        must=tuple(must),
        big=big,
        small=~big,
        small_loss=1.0 - together.small_beside_big,
    )


def _losses(offers: Offers, pairs: Pairs, worth: Floats, settings: PlanSettings) -> Losses:
    """Of two offers that share an audience, the one worth less if delivered loses what the other has reached.

    It loses overlap x smaller audience / own audience, with the other's probability of delivery; a further offer of
    the same creator loses as much again by fatigue.
    """
    delivered = worth / np.maximum(offers.delivery, 1e-9)
    # first is worth more; among equals the first by name, so that the order of candidates does not matter
    place = np.empty(len(worth), dtype=np.int64)
    place[np.lexsort((np.arange(len(worth)), -delivered))] = np.arange(len(worth))
    again = _same_creator(offers.creator)
    a, b = np.concatenate([pairs.a, again[0]]), np.concatenate([pairs.b, again[1]])
    overlap = np.concatenate([pairs.share, np.full(len(again[0]), settings.overlap_same_creator)])
    own = np.arange(len(a)) >= len(pairs)
    later, earlier = np.where(place[a] > place[b], a, b), np.where(place[a] > place[b], b, a)
    audience = offers.audience
    lost = overlap * np.minimum(audience[a], audience[b]) / audience[later] * offers.delivery[earlier]
    share = 1.0 - (1.0 - lost) * np.where(own, 1.0 - settings.fatigue, 1.0)
    keep = share > 0
    return Losses(later[keep], earlier[keep], share[keep])


def _same_creator(creator: Ints) -> tuple[Ints, Ints]:
    """Positions a < b of every two offers of one creator; creators stand together."""
    n = len(creator)
    found: list[tuple[Ints, Ints]] = []
    step = 1
    while step < n and (same := np.flatnonzero(creator[step:] == creator[:-step])).size:
        found.append((same, same + step))
        step += 1
    if not found:
        none = np.zeros(0, dtype=np.int64)
        return none, none
    return np.concatenate([one[0] for one in found]), np.concatenate([one[1] for one in found])
