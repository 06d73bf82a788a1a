"""A good set of offers fast: bought one by one at a price for the budget and for a slot, then improved by exchanges.

What an offer adds to a set is divided by its cost plus the price of a slot in money: at 0 the budget is the scarce
thing and the best return is bought first; at a high price slots are, and the biggest offers come first. Several prices
are tried.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from serving.plan_problem import Mask, Problem, mask_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SLOT_PRICES = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 100.0)  # of a slot, in average costs of a slot's share of the budget
ROUNDS = 5  # of exchanges, at most
TRIED = 10  # replacements of a pick that limits may refuse
EXCHANGED = 60  # picks tried for exchange in a round, at most


@dataclass(frozen=True)
class _Limits:
    """Limits as arrays: r rows over n offers; `once` rows count a creator's offers once."""

    weight: Floats
    low: Floats
    high: Floats
    once: Mask

    @classmethod
    def of(cls, problem: Problem) -> "_Limits":
        weight = np.zeros((len(problem.rows) + 1, len(problem)))
        weight[0] = problem.cost
        for k, row in enumerate(problem.rows, start=1):
            weight[k, row.members] = row.weight
        return cls(
            weight,
            np.array([-np.inf, *(row.low for row in problem.rows)]),
            np.array([float(problem.budget), *(row.high for row in problem.rows)]),
            np.array([False, *(row.counts_creators for row in problem.rows)]),
        )


class _Basket:
    """A set being bought."""

    def __init__(self, problem: Problem, limits: _Limits) -> None:
        self.problem, self._limits = problem, limits
        self.chosen = np.zeros(len(problem), dtype=bool)
        self.banned = np.zeros(len(problem), dtype=bool)
        self._bought = np.zeros(int(problem.creator.max(initial=-1)) + 1, dtype=bool)
        self._used = np.zeros(len(limits.low))
        self._capped = [caps.taken(self.chosen) for caps in problem.caps]

    def taken(self) -> Floats:
        """What each offer would take from each limit, shape (r, n)."""
        again = self._limits.once[:, None] & self._bought[self.problem.creator][None, :]
        return np.where(again, 0.0, self._limits.weight)

    @classmethod
    def of(cls, problem: Problem, limits: _Limits, chosen: Mask) -> "_Basket":
        """A basket that holds a set already."""
        basket = cls(problem, limits)
        basket.chosen = chosen.copy()
        basket._bought[problem.creator[chosen]] = True
        first = np.zeros(len(problem), dtype=bool)
        positions = np.flatnonzero(chosen)
        first[positions[np.unique(problem.creator[positions], return_index=True)[1]]] = True
        counted = np.where(limits.once[:, None], first, chosen)
        basket._used = (limits.weight * counted).sum(axis=1)
        basket._capped = [caps.taken(chosen) for caps in problem.caps]
        return basket

    def over(self) -> bool:
        """Whether a limit is exceeded."""
        capped = zip(self.problem.caps, self._capped, strict=True)
        return bool((self._used > self._limits.high).any() or any((had > caps.most).any() for caps, had in capped))

    def ban(self, offer: int) -> None:
        """Never buy an offer."""
        self.banned[offer] = True

    def add(self, offer: int) -> None:
        """Buy an offer, whether or not the limits allow it."""
        self._used = self._used + self.taken()[:, offer]
        for caps, had in zip(self.problem.caps, self._capped, strict=True):
            had[caps.owner[offer]] += caps.weight[offer]
        self.chosen[offer] = True
        self._bought[self.problem.creator[offer]] = True

    def allowed(self) -> Mask:
        """Which offers still fit, shape (n,)."""
        fits = (self._used[:, None] + self.taken() <= self._limits.high[:, None]).all(axis=0)
        for caps, had in zip(self.problem.caps, self._capped, strict=True):
            fits &= had[caps.owner] + caps.weight <= caps.most
        return np.asarray(fits & ~self.chosen & ~self.banned)

    def lacking(self) -> Ints:
        """Limits below their least, the first is the budget and never is."""
        return np.flatnonzero(self._used < self._limits.low)

    def members(self, limit: int) -> Mask:
        """Offers that add to a limit, shape (n,)."""
        return np.asarray(self.taken()[limit] > 0)

    def gains(self) -> Floats:
        """What each offer would add to the worth of the set, shape (n,)."""
        problem, chosen = self.problem, self.chosen
        kept = problem.kept(chosen)
        gains = problem.worth * kept - problem.price
        losses = problem.losses
        met = chosen[losses.of]
        np.subtract.at(gains, losses.beside[met], (problem.worth * kept)[losses.of[met]] * losses.share[met])
        if problem.big is None or problem.small is None or (chosen & problem.big).any():
            return gains
        if problem.small_loss:
            lost = float((problem.worth * kept)[chosen & problem.small].sum()) * problem.small_loss
            gains = gains - np.where(problem.big, lost, 0.0)
        return gains


def solve_greedy(problem: Problem, starts: tuple[Mask, ...] = ()) -> Mask | None:
    """A good set that keeps all limits, shape (n,); None where none was found, though there may be one.

    Args:
        problem: the offers and limits.
        starts: sets to improve on too, those that keep the limits.
    """
    limits = _Limits.of(problem)
    slot = problem.budget / max(_most_offers(problem), 1)
    found = [kept for start in starts if (kept := _within(problem, limits, start)) is not None]
    for price in SLOT_PRICES:
        basket = _filled(problem, limits, np.zeros(0, dtype=np.int64), price * slot)
        if basket is not None:
            found.append(basket)
    if not found:
        return None
    best = max(found, key=problem.worth_of)
    return _exchanged(problem, limits, best)


def solve_in_order(problem: Problem, order: Ints) -> Mask | None:
    """Buy in a given order whoever still fits; None where not even those who must be bought do.

    Args:
        problem: the offers and limits, of which the least that a limit asks for is not seen to.
        order: positions of all offers, the first to buy first.
    """
    basket = _Basket(problem, _Limits.of(problem))
    place = np.argsort(order)
    for own in problem.must:
        if not len(own) or not basket.allowed()[own].any():
            return None
        able = own[basket.allowed()[own]]
        basket.add(int(able[np.argmin(place[able])]))
    while (allowed := basket.allowed()).any():
        basket.add(int(order[allowed[order]][0]))
    return basket.chosen


def _most_offers(problem: Problem) -> int:
    """How many offers the budget can buy at most."""
    counts = [row.high for row in problem.rows if row.counts_creators and len(row.members) == len(problem)]
    affordable = int(np.searchsorted(np.cumsum(np.sort(problem.cost)), problem.budget, side="right"))
    return int(min([affordable, *counts]))


def _filled(problem: Problem, limits: _Limits, kept: Ints, slot: float, banned: int | None = None) -> Mask | None:
    """Buy what pays best, but for a banned offer, until nothing fits; None where a limit is left broken."""
    basket = _Basket.of(problem, limits, mask_of(len(problem), kept))
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


def _within(problem: Problem, limits: _Limits, start: Mask) -> Mask | None:
    """A set as it is, or without the picks that pay least until it keeps the limits, and filled up again."""
    rest = start.copy()
    needed = np.zeros(len(problem), dtype=bool)
    for offers in problem.must:
        needed[offers] = True
    while _Basket.of(problem, limits, rest).over():
        rate = problem.worth * problem.kept(rest) / np.maximum(problem.cost, 1)
        out = np.flatnonzero(rest & ~needed)
        if not len(out):
            return None
        rest[out[np.argmin(rate[out])]] = False
    return _filled(problem, limits, np.flatnonzero(rest), 0.0)


def _rate(basket: _Basket, slot: float) -> Floats:
    """What each offer adds for what it costs; what takes away is not divided, so that it never looks small."""
    gains = basket.gains()
    cost = np.maximum(basket.problem.cost + slot, 1.0)
    return np.asarray(np.where(gains > 0, gains / cost, gains))


def _exchanged(problem: Problem, limits: _Limits, best: Mask) -> Mask:
    """Leave each pick out in turn and fill up again, as long as that helps."""
    worth = problem.worth_of(best)
    for _ in range(ROUNDS):
        before = worth
        picks = np.flatnonzero(best)
        for pick in picks[np.argsort(problem.worth[picks], kind="stable")][:EXCHANGED]:
            if not best[pick]:
                continue
            rest = best.copy()
            rest[pick] = False
            filled = _filled(problem, limits, np.flatnonzero(rest), 0.0, int(pick))
            if filled is not None and problem.worth_of(filled) > worth * (1 + 1e-12) + 1e-12:
                best, worth = filled, problem.worth_of(filled)
        if worth <= before:
            break
    return best


def replacements(problem: Problem, chosen: Mask, picks: Ints) -> dict[int, tuple[int, float]]:
    """For some picks, by position: the best offer in its place while all others stay, and the change in worth.

    A pick without anybody to put in its place is left out; so is one whose creator has other offers in the set.
    """
    limits = _Limits.of(problem)
    worth = problem.worth_of(chosen)
    found: dict[int, tuple[int, float]] = {}
    for pick in picks:
        own = problem.creator == problem.creator[pick]
        if (chosen & own).sum() > 1:
            continue
        rest = chosen.copy()
        rest[pick] = False
        basket = _Basket.of(problem, limits, rest)
        gains = np.where(basket.allowed() & ~own, basket.gains(), -np.inf)
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
