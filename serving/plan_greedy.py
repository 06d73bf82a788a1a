"""A good set of offers fast: bought one by one at a price for the budget and for a slot, then improved by exchanges.

What an offer adds to a set is divided by its cost plus the price of a slot in money: at 0 the budget is the scarce
thing and the best return is bought first; at a high price slots are, and the biggest offers come first. Several prices
are tried.
"""

from dataclasses import replace
from itertools import pairwise
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from serving.plan_basket import Basket, Shop
from serving.plan_problem import Mask, Problem

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SLOT_PRICES = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 100.0)  # of a slot, in average costs of a slot's share of the budget
DEAR = 1e15  # price of a slot at which only the largest counts
REFINED = 4  # times that prices between the best ones are tried
ROUNDS = 5  # of exchanges, at most
TRIED = 10  # replacements of a pick that limits may refuse
EXCHANGED = 60  # picks tried for exchange in a round, at most


def solve_greedy(problem: Problem, starts: tuple[Mask, ...] = (), until: float = np.inf) -> Mask | None:
    """A good set that keeps all limits, shape (n,); None where none was found, though there may be one.

    Args:
        problem: the offers and limits.
        starts: sets to improve on too; what exceeds a limit is taken out first.
        until: moment of `perf_counter` at which to stop improving.
    """
    shop = Shop(problem)
    slot = problem.budget / max(_most_offers(problem), 1)
    found = [start.copy() for start in starts if problem.broken(start) is None]
    found += [kept for start in starts if (kept := _within(shop, start)) is not None]
    found += _priced(shop, slot, until)
    if not found:
        return None
    best = max(found, key=problem.worth_of)
    return _exchanged(shop, best, until)


def _priced(shop: Shop, slot: float, until: float) -> list[Mask]:
    """Sets bought at several prices of a slot, in average costs of one: all SLOT_PRICES, then between the best ones."""
    nobody = np.zeros(len(shop.problem), dtype=bool)
    worth: dict[float, float] = {}
    found: list[Mask] = []
    prices = list(SLOT_PRICES)
    for _ in range(REFINED + 1 if _slots_are_scarce(shop.problem) else 1):
        for price in prices:
            if worth and perf_counter() > until:
                break
            filled = _filled(shop, nobody, price * slot)
            if filled is not None and not (Basket(shop, filled).gains() > 0)[~filled].any():
                return [*found, filled]  # everybody is bought who is worth it: nothing is scarce
            worth[price] = -np.inf if filled is None else shop.problem.worth_of(filled)
            if filled is not None:
                found.append(filled)
        tried = sorted(worth)
        best = tried.index(max(tried, key=lambda price: worth[price]))
        near = tried[max(best - 1, 0) : best + 2]
        prices = [(low + high) / 2.0 for low, high in pairwise(near)]
    return found


def solve_in_order(problem: Problem, order: Ints) -> Mask | None:
    """Buy in a given order whoever still fits; None where not even those who must be bought do.

    Args:
        problem: the offers and limits, of which the least that a limit asks for is not seen to.
        order: positions of all offers, the first to buy first.
    """
    basket = Basket(Shop(problem), np.zeros(len(problem), dtype=bool))
    place = np.argsort(order)
    for own in problem.must:
        if not len(own) or not basket.allowed()[own].any():
            return None
        able = own[basket.allowed()[own]]
        basket.add(int(able[np.argmin(place[able])]))
    while (allowed := basket.allowed()).any():
        basket.add(int(order[allowed[order]][0]))
    return basket.chosen


def _slots_are_scarce(problem: Problem) -> bool:
    """Whether a limit counts creators: else money alone is scarce, and slots have no price."""
    return any(row.counts_creators and np.isfinite(row.high) for row in problem.rows)


def _most_offers(problem: Problem) -> int:
    """How many offers the budget can buy at most."""
    counts = [row.high for row in problem.rows if row.counts_creators and len(row.members) == len(problem)]
    affordable = int(np.searchsorted(np.cumsum(np.sort(problem.cost)), problem.budget, side="right"))
    return int(min([affordable, *counts]))


def _filled(shop: Shop, kept: Mask, slot: float, banned: int | None = None) -> Mask | None:
    """Buy what pays best, but for a banned offer, until nothing fits; None where a limit is left broken."""
    problem = shop.problem
    basket = Basket(shop, kept)
    if banned is not None:
        basket.ban(banned)
    for offers in problem.must:
        open_to = offers[~basket.banned[offers]]
        if not len(open_to):
            return None
        if not basket.chosen[offers].any():
            basket.add(int(open_to[np.argmax(_rate(basket, slot)[open_to])]))
    while True:
        allowed = basket.allowed()
        rate = _rate(basket, slot)
        lacking = basket.lacking()
        wanted = allowed & basket.members(int(lacking[0])) if len(lacking) else allowed & (rate > 0)
        if not wanted.any():
            break
        basket.add(int(np.argmax(np.where(wanted, rate, -np.inf))))
    return basket.chosen if problem.broken(basket.chosen) is None else None


def _within(shop: Shop, start: Mask) -> Mask | None:
    """A set as it is, or without the picks that pay least until it keeps the limits, and filled up again."""
    problem, rest = shop.problem, start.copy()
    needed = np.zeros(len(problem), dtype=bool)
    for offers in problem.must:
        needed[offers] = True
    while Basket(shop, rest).over():
        rate = problem.worth * problem.kept(rest) / np.maximum(problem.cost, 1)
        out = np.flatnonzero(rest & ~needed)
        if not len(out):
            return None
        rest[out[np.argmin(rate[out])]] = False
    return _filled(shop, rest, 0.0)


def _rate(basket: Basket, slot: float) -> Floats:
    """What each offer adds for what it costs; what takes away is not divided, so that it never looks small."""
    gains = basket.gains()
    cost = np.maximum(basket.problem.cost + slot, 1.0)
    return np.asarray(np.where(gains > 0, gains / cost, gains))


def _exchanged(shop: Shop, best: Mask, until: float) -> Mask:
    """Leave each pick out in turn and fill up again, as long as that helps and there is time."""
    problem = shop.problem
    worth = problem.worth_of(best)
    prices = (0.0, DEAR) if _slots_are_scarce(problem) else (0.0,)
    for _ in range(ROUNDS):
        before = worth
        picks = np.flatnonzero(best)
        for pick in picks[np.argsort(problem.worth[picks], kind="stable")][:EXCHANGED]:
            if perf_counter() > until:
                return best
            if not best[pick]:
                continue
            rest = best.copy()
            rest[pick] = False
            for price in prices:
                filled = _filled(shop, rest, price, int(pick))
                if filled is not None and problem.worth_of(filled) > worth * (1 + 1e-12) + 1e-12:
                    best, worth = filled, problem.worth_of(filled)
        if worth <= before:
            break
    return best


def replacements(problem: Problem, chosen: Mask, picks: Ints) -> dict[int, tuple[int, float]]:
    """For some picks, by position: the best offer of somebody else in its place, and the change in worth.

    All other picks stay. A pick without anybody to put in its place is left out; so is one whose creator has other
    offers in the set.
    """
    shop = Shop(problem)
    worth = problem.worth_of(chosen)
    found: dict[int, tuple[int, float]] = {}
    placements = np.bincount(problem.creator[chosen], minlength=int(problem.creator.max(initial=-1)) + 1)
    booked = placements[problem.creator] > 0
    for pick in picks:
        if placements[problem.creator[pick]] > 1:
            continue
        rest = chosen.copy()
        rest[pick] = False
        basket = Basket(shop, rest)
        gains = np.where(basket.allowed() & ~booked, basket.gains(), -np.inf)
        for other in np.argsort(-gains, kind="stable")[:TRIED]:
            filled = rest.copy()
            filled[other] = True
            if gains[other] > 0 and _stands(problem, filled, pick):
                found[int(pick)] = (int(other), problem.worth_of(filled) - worth)
                break
    return found


def _stands(problem: Problem, chosen: Mask, declined: int) -> bool:
    """Whether a set keeps all limits, but that whoever declined need not be bought."""
    must = tuple(offers for offers in problem.must if problem.creator[offers[0]] != problem.creator[declined])
    return replace(problem, must=must).broken(chosen) is None
