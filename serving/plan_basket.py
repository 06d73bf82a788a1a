"""A set of offers that grows one by one: what each offer would add to it, and which still fit the limits.

What an offer adds changes only for those it shares an audience with, so a purchase costs as much as it has such
neighbours, however many offers there are.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from serving.plan_problem import Mask, Problem

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Shop:
    """A problem in the form that baskets need; its first limit is the budget."""

    problem: Problem

    @cached_property
    def weight(self) -> Floats:
        """What each offer takes from each limit, shape (r, n)."""
        weight = np.zeros((len(self.problem.rows) + 1, len(self.problem)))
        weight[0] = self.problem.cost
        for k, row in enumerate(self.problem.rows, start=1):
            weight[k, row.members] = row.weight
        return weight

    @cached_property
    def low(self) -> Floats:
        """Least of each limit, shape (r,)."""
        return np.array([-np.inf, *(row.low for row in self.problem.rows)])

    @cached_property
    def high(self) -> Floats:
        """Most of each limit, shape (r,)."""
        return np.array([float(self.problem.budget), *(row.high for row in self.problem.rows)])

    @cached_property
    def once(self) -> Ints:
        """Limits that count a creator's offers once."""
        return np.flatnonzero([False, *(row.counts_creators for row in self.problem.rows)])

    @cached_property
    def siblings(self) -> list[Ints]:
        """Of each offer: the other offers of its creator, where there are any."""
        creator = self.problem.creator
        order = np.argsort(creator, kind="stable")
        starts = np.searchsorted(creator[order], np.arange(int(creator.max(initial=-1)) + 2))
        own = [order[low:high] for low, high in pairwise(starts)]
        none = np.zeros(0, dtype=np.int64)
        return [own[one] if len(own[one]) > 1 else none for one in creator]

    @cached_property
    def takes_from(self) -> "Neighbours":
        """By offer: whom it takes worth from when it is bought."""
        losses = self.problem.losses
        return Neighbours.of(losses.beside, losses.of, losses.share, len(self.problem))

    @cached_property
    def loses_to(self) -> "Neighbours":
        """By offer: who takes worth from it when they are bought."""
        losses = self.problem.losses
        return Neighbours.of(losses.of, losses.beside, losses.share, len(self.problem))


@dataclass(frozen=True)
class Neighbours:
    """Pairs by their first offer."""

    starts: Ints
    other: Ints
    share: Floats

    @classmethod
    def of(cls, first: Ints, other: Ints, share: Floats, n: int) -> "Neighbours":
        """Sort pairs of n offers by the first."""
        order = np.argsort(first, kind="stable")
        return cls(np.searchsorted(first[order], np.arange(n + 1)), other[order], share[order])

    def at(self, offer: int) -> tuple[Ints, Floats]:
        """The others of an offer, and the shares."""
        span = slice(self.starts[offer], self.starts[offer + 1])
        return self.other[span], self.share[span]


class Basket:
    """A set being bought.

    Args:
        shop: the offers and limits.
        chosen: what is in it to begin with, shape (n,).
    """

    def __init__(self, shop: Shop, chosen: Mask) -> None:
        problem = shop.problem
        self._shop, self.problem = shop, problem
        self.chosen = chosen.copy()
        self.banned = np.zeros(len(problem), dtype=bool)
        self._weight = shop.weight
        positions = np.flatnonzero(chosen)
        first = np.zeros(len(problem), dtype=bool)
        first[positions[np.unique(problem.creator[positions], return_index=True)[1]]] = True
        self._used = shop.weight[:, positions].sum(axis=1)
        self._used[shop.once] = shop.weight[shop.once][:, first].sum(axis=1)
        for offer in positions:
            self._count_once(int(offer))
        self._capped = [caps.taken(chosen) for caps in problem.caps]
        self._value()

    @property
    def worth(self) -> float:
        """Expected worth of the set."""
        problem = self.problem
        return float((problem.worth * self._kept - problem.price)[self.chosen].sum())

    def ban(self, offer: int) -> None:
        """Never buy an offer."""
        self.banned[offer] = True

    def add(self, offer: int) -> None:
        """Buy an offer, whether or not the limits allow it."""
        self._used = self._used + self._weight[:, offer]
        for caps, had in zip(self.problem.caps, self._capped, strict=True):
            had[caps.owner[offer]] += caps.weight[offer]
        first_big = self._no_big and self.problem.big is not None and bool(self.problem.big[offer])
        self._count_once(offer)
        self.chosen[offer] = True
        if first_big:
            self._value()
        else:
            self._take(offer)

    def over(self) -> bool:
        """Whether a limit is exceeded."""
        capped = zip(self.problem.caps, self._capped, strict=True)
        return bool((self._used > self._shop.high).any() or any((had > caps.most).any() for caps, had in capped))

    def allowed(self) -> Mask:
        """Which offers still fit, shape (n,)."""
        fits = (self._weight <= (self._shop.high - self._used)[:, None]).all(axis=0)
        for caps, had in zip(self.problem.caps, self._capped, strict=True):
            fits &= had[caps.owner] + caps.weight <= caps.most
        return np.asarray(fits & ~self.chosen & ~self.banned)

    def lacking(self) -> Ints:
        """Limits below their least."""
        return np.flatnonzero(self._used < self._shop.low)

    def members(self, limit: int) -> Mask:
        """Offers that add to a limit, shape (n,)."""
        return np.asarray(self._weight[limit] > 0)

    def gains(self) -> Floats:
        """What each offer would add to the worth of the set, shape (n,)."""
        problem = self.problem
        gains = problem.worth * self._kept - problem.price - self._taken
        if problem.small_loss and self._no_big and problem.big is not None and problem.small is not None:
            # the first big one lowers every small one in the set, but nobody loses the same part twice
            worth = np.where(self.chosen & problem.small, problem.worth * self._kept, 0.0)
            losses, twice = problem.losses, np.zeros(len(problem))
            np.add.at(twice, losses.beside, worth[losses.of] * losses.share)
            gains = gains - np.where(problem.big, problem.small_loss * (worth.sum() - twice), 0.0)
        return np.asarray(gains)

    def _value(self) -> None:
        """Part that each offer keeps beside the set, and what it would take from the set, from scratch."""
        problem, losses = self.problem, self.problem.losses
        self._no_big = problem.big is None or not (self.chosen & problem.big).any()
        self._kept = problem.kept(self.chosen)
        self._taken = np.zeros(len(problem))
        met = self.chosen[losses.of]
        np.add.at(self._taken, losses.beside[met], (problem.worth * self._kept)[losses.of[met]] * losses.share[met])

    def _take(self, offer: int) -> None:
        """The same after one more offer."""
        worth = self.problem.worth
        smaller, shares = self._shop.takes_from.at(offer)
        before = self._kept[smaller]
        self._kept[smaller] = before * (1.0 - shares)
        for one, had in zip(smaller, before, strict=True):
            if self.chosen[one]:
                others, lost = self._shop.loses_to.at(int(one))
                self._taken[others] -= worth[one] * (had - self._kept[one]) * lost
        others, lost = self._shop.loses_to.at(offer)
        self._taken[others] += worth[offer] * self._kept[offer] * lost

    def _count_once(self, offer: int) -> None:
        """Other offers of a creator who is in the set take nothing more from what counts creators."""
        own = self._shop.siblings[offer]
        if len(own) and len(self._shop.once):
            if self._weight is self._shop.weight:
                self._weight = self._shop.weight.copy()
            self._weight[np.ix_(self._shop.once, own)] = 0.0
