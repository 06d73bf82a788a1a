"""The problem a plan solves: which offers to buy so that the set is worth most, within a budget and limits.

What a set is worth is not the sum of its offers: an offer loses the part of its audience that bigger ones in the set
reach already. Costs are whole hundredths of the currency, so that budgets are kept exactly.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

CENT = 100  # hundredths in a unit of the currency
MOST = 10**15  # hundredths that anything is taken for at most: whole numbers have an end
EDGE = 1e-6  # so that what was rounded to a hundredth stays there
TAIL = 0.2  # share of the draws that are the lower tail


@dataclass(frozen=True)
class Row:
    """A limit: low <= sum of `weight` over chosen members <= high.

    Attributes:
        name: the field of the request that sets it, for messages.
        members: positions of offers, ascending.
        weight: of each member: its cost, or 1 to count; shape (members,).
        counts_creators: whether several offers of one creator count once; then the weights are 1, and either all offers
            of a creator are members or none is.
        low, high: bounds; -inf or inf where there is none.
    """

    name: str
    members: Ints
    weight: Ints
    counts_creators: bool = False
    low: float = -np.inf
    high: float = np.inf


@dataclass(frozen=True)
class Caps:
    """A limit of each owner (a creator, a person) alone: the weights of their chosen offers sum to `most` at most.

    Attributes:
        name: the field of the request that sets it, for messages.
        owner: of each offer, a code from 0, shape (n,).
        weight: of each offer: its cost, or 1 to count, shape (n,).
        most: the same for every owner.
    """

    name: str
    owner: Ints
    weight: Ints
    most: int

    def taken(self, chosen: Mask) -> Ints:
        """What each owner has of their cap, shape (owners,).

        >>> Caps("cap", np.array([0, 1, 1]), np.array([5, 6, 7]), 10).taken(np.array([True, True, True])).tolist()
        [5, 13]
        """
        owners = int(self.owner.max(initial=-1)) + 1
        return np.bincount(self.owner[chosen], weights=self.weight[chosen], minlength=owners).astype(np.int64)

    def tight(self) -> list[Ints]:
        """Positions of the offers of each owner whose cap could bind."""
        over = np.flatnonzero(self.taken(np.ones(len(self.owner), dtype=bool)) > self.most)
        order = np.argsort(self.owner, kind="stable")
        starts, ends = (np.searchsorted(self.owner[order], over, side=side) for side in ("left", "right"))
        return [np.sort(order[low:high]) for low, high in zip(starts, ends, strict=True)]


@dataclass(frozen=True)
class Losses:
    """m pairs: an offer keeps `1 - share` of its worth if another is bought too; several losses multiply.

    `of` and `beside` are positions of offers, shape (m,); `share` lies in [0, 1].
    """

    of: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    beside: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    share: Floats = field(default_factory=lambda: np.zeros(0))

    def __len__(self) -> int:
        return len(self.of)

    def kept(self, chosen: Mask) -> Floats:
        """Part of its worth that each offer would keep beside the chosen ones, shape (n,).

        >>> losses = Losses(np.array([1, 1]), np.array([0, 2]), np.array([0.5, 0.1]))
        >>> losses.kept(np.array([True, True, False])).tolist()
        [1.0, 0.5, 1.0]
        """
        kept = np.ones(len(chosen))
        met = chosen[self.beside]
        np.multiply.at(kept, self.of[met], 1.0 - self.share[met])
        return kept


@dataclass(frozen=True)
class Problem:
    """n offers, in an order of their own that does not matter.

    Attributes:
        worth: of each by itself, at least 0, shape (n,).
        price: taken off the worth of a set for each offer bought (its cost where profit is planned), shape (n,).
        cost: in hundredths, shape (n,).
        creator: whose offer it is: 0 .. c - 1, shape (n,).
        budget: in hundredths.
        losses: what offers take from each other.
        rows: limits beside the budget.
        must: positions of offers of creators who must be bought, by creator; one of each at least.
        big: offers that lower the worth of those in `small` by `small_loss`, however many there are; shape (n,).
        small: see `big`.
        small_loss: 0 where nothing of the kind is known.
        draws: equally likely worths of each offer by itself, drawn together, shape (n, s); only `risk` needs them, and
            float32 will do.
        risk: what counts is (1 - risk) x expected worth + risk x mean of the TAIL worst draws, both less the price.
        caps: limits of each creator or person.
    """

    worth: Floats
    price: Floats
    cost: Ints
    creator: Ints
    budget: int
    losses: Losses = field(default_factory=Losses)
    rows: tuple[Row, ...] = ()
    must: tuple[Ints, ...] = ()
    big: Mask | None = None
    small: Mask | None = None
    small_loss: float = 0.0
    draws: Floats | NDArray[np.float32] | None = None
    risk: float = 0.0
    caps: tuple[Caps, ...] = ()

    def __len__(self) -> int:
        return len(self.worth)

    def kept(self, chosen: Mask) -> Floats:
        """Part of its worth that each offer keeps, or would keep, beside the chosen ones, shape (n,)."""
        kept = self.losses.kept(chosen)
        if self.small_loss and self.big is not None and self.small is not None and (chosen & self.big).any():
            kept = np.where(self.small, kept * (1.0 - self.small_loss), kept)
        return kept

    def worth_of(self, chosen: Mask) -> float:
        """What a set, shape (n,), is worth; with risk aversion, less than expected."""
        worth = self.worth if not self.risk else (1.0 - self.risk) * self.worth + self.risk * self.tail(chosen)
        return float((worth * self.kept(chosen) - self.price)[chosen].sum())

    def tail(self, chosen: Mask) -> Floats:
        """Mean worth of each offer by itself in the draws in which a set does worst, shape (n,).

        The mean of a set over its worst draws is its conditional value at risk (Rockafellar & Uryasev 2000).
        """
        if self.draws is None:
            raise ValueError("a problem with risk needs draws")
        kept = self.kept(chosen)[chosen]
        total = (self.draws[chosen] * kept[:, None]).sum(axis=0)
        worst = np.argsort(total, kind="stable")[: max(round(TAIL * len(total)), 1)]
        return np.asarray(self.draws[:, worst].mean(axis=1, dtype=np.float64))

    def broken(self, chosen: Mask) -> str | None:
        """The first limit that a set does not keep, or None.

        >>> one = Problem(np.ones(2), np.zeros(2), np.array([5, 6]), np.arange(2), budget=10)
        >>> one.broken(np.array([True, True])), one.broken(np.array([True, False]))
        ('budget', None)
        """
        if int(self.cost[chosen].sum()) > self.budget:
            return "budget"
        for row in self.rows:
            taken = row.members[chosen[row.members]]
            amount = len(np.unique(self.creator[taken])) if row.counts_creators else self._weighed(row, chosen)
            if not row.low <= amount <= row.high:
                return row.name
        for caps in self.caps:
            if (caps.taken(chosen) > caps.most).any():
                return caps.name
        if not all(chosen[offers].any() for offers in self.must):
            return "must_include"
        return None

    def part(self, positions: Ints) -> "Problem":
        """The same of some offers only, ascending."""
        place = np.full(len(self), -1)
        place[positions] = np.arange(len(positions))
        losses = self.losses
        inside = (place[losses.of] >= 0) & (place[losses.beside] >= 0)
        rows = []
        for row in self.rows:
            at = place[row.members]
            rows.append(replace(row, members=at[at >= 0], weight=row.weight[at >= 0]))
        return replace(
            self,
            worth=self.worth[positions], price=self.price[positions], cost=self.cost[positions],
            creator=np.unique(self.creator[positions], return_inverse=True)[1],
            losses=Losses(place[losses.of[inside]], place[losses.beside[inside]], losses.share[inside]),
            rows=tuple(rows),
            caps=tuple(
                replace(caps, owner=caps.owner[positions], weight=caps.weight[positions]) for caps in self.caps
            ),
            must=tuple(place[offers][place[offers] >= 0] for offers in self.must),
            big=None if self.big is None else self.big[positions],
            small=None if self.small is None else self.small[positions],
            draws=None if self.draws is None else self.draws[positions],
        )  # fmt: skip

    @staticmethod
    def _weighed(row: Row, chosen: Mask) -> int:
        return int(row.weight[chosen[row.members]].sum())


def mask_of(n: int, positions: Ints | Sequence[int]) -> Mask:
    """A mask of n with these positions set."""
    mask = np.zeros(n, dtype=bool)
    mask[positions] = True
    return mask


def cents(amount: float) -> int:
    """An amount that may be spent, in whole hundredths, rounded down.

    >>> cents(12.345), cents(1e308) == MOST
    (1234, True)
    """
    return int(min(np.floor(min(amount, MOST) * CENT + EDGE), MOST))


def costs_in_cents(cost: NDArray[np.float64]) -> Ints:
    """What offers cost, in whole hundredths, rounded up; what is a whole one but for rounding stays there.

    A fee that is the same for everybody is learnt to about a millionth.

    >>> costs_in_cents(np.array([500.0, 0.001, 250.00002])).tolist()
    [50000, 1, 25000]
    """
    exact = np.minimum(np.maximum(cost, 0.0) * CENT, MOST)
    nearest = np.round(exact)
    whole = np.abs(exact - nearest) <= EDGE * np.maximum(exact, 1.0)
    return np.asarray(np.where(whole, nearest, np.ceil(exact)).astype(np.int64))
