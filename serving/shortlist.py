"""The few candidates that an answer needs, scored exactly: the picks of brute force, found without it.

Everybody eligible is screened with a proven margin. Whoever could be among the picks, or be the best one left out, by
that margin is scored exactly, with the Boosters; so are a sample that picks are explained against and those whose fee
could be worth asking for. The picks, their order and all figures are those of `serving.candidates.candidates`.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from features.brief import Brief
from features.matrix import FEATURES, STATIC
from serving.candidates import Asked, Candidates, Ints, ask, eligible, scored
from serving.explore import PLACEMENTS, POOL, draw, explored_slots, known_well, upper_bounds
from serving.fees import ESTIMATED
from serving.filters import Removed, fee_filters
from serving.quotes import askable, within_reach
from serving.release import Release
from serving.screen import Screened, screen
from serving.stage import Floats
from serving.steps import fell_back, step

SAMPLE = 128  # candidates whose mean stands for the average candidate


@dataclass(frozen=True)
class Shortlist:
    """Candidates scored exactly, the best of all among them.

    Attributes:
        found: in the order of the catalogue.
        picks: positions of the best, best first, and then of the explored ones.
        sample: positions of some spread evenly over all candidates.
        explored: how many of the picks, the last ones, were drawn to learn.
        chance: with which each of them was drawn.
    """

    found: Candidates
    picks: Ints
    sample: Ints
    explored: int = 0
    chance: float = 1.0

    @property
    def best(self) -> Ints:
        """The picks that were not drawn."""
        return self.picks[: len(self.picks) - self.explored]


def shortlist(release: Release, brief: Brief) -> Shortlist:
    """The best `top` candidates for a brief, and whom they are compared with.

    Raises:
        DataError: the brief asks for something this data cannot answer (`field` names it).
        NothingFits: the filters leave nobody.
    """
    with step("filter"):
        asked = ask(release, brief)
        rows, removed = eligible(asked)
    if release.prepared is None or release.model.commission_rate is not None:
        return _plain(asked, rows, removed)
    with step("screen"):
        screened, passed = screen(asked, release.prepared, rows, removed, _Bars(asked).thin)
    with step("score"):
        return _settled(asked, screened, passed, removed)


class _Highest:
    """The least that one of the `wanted` highest must be, as far as is known; it only rises."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self.bounds = np.zeros(0)  # the highest lower bounds so far, ascending

    def after(self, low: Floats) -> float:
        """That least, after some more candidates with these lower bounds; -inf until there are as many as wanted."""
        least = self.bounds[0] if len(self.bounds) == self._wanted else -np.inf
        self.bounds = np.sort(np.concatenate([self.bounds, low[low > least]]))[-self._wanted :]
        return float(self.bounds[0]) if len(self.bounds) == self._wanted else -np.inf


class _Bars:
    """Leaves out whom an answer cannot need, going by all candidates so far."""

    def __init__(self, asked: Asked) -> None:
        slots = explored_slots(asked.brief.explore_share, asked.brief.top)
        self._asked = asked
        self._order = _Highest(asked.brief.top - slots + 1)
        self._upper = _Highest(POOL * slots + asked.brief.top) if slots else None

    def thin(self, part: Screened) -> Screened:
        """Those who may be picked, be the best one left out, be worth asking for a fee, or be drawn."""
        model, brief = self._asked.release.model, self._asked.brief
        low, high = part.order - part.margin, part.order + part.margin
        # what is unsure says little of how high the others must get
        bar = self._order.after(low[~part.unsure])
        if bar == -np.inf:
            return part
        # the last pick returns no less than the second lowest of these bounds
        reach = within_reach(model, brief.rank_by, part, float(self._order.bounds[min(1, len(self._order.bounds) - 1)]))
        keep = [np.flatnonzero(high >= bar), reach]
        if self._upper is not None:
            low, high = _upper_range(self._asked, part)
            bar = self._upper.after(low[~part.unsure])
            keep.append(np.flatnonzero((high >= bar) | (part.unsure & ~np.isnan(high))))
        return part.part(_union(*keep))


def _settled(asked: Asked, screened: Screened, passed: Ints, removed: Removed) -> Shortlist:
    """Score exactly whom the answer may need, and a sample of all that passed the filters."""
    model, brief = asked.release.model, asked.brief
    slots = explored_slots(brief.explore_share, brief.top)
    top = brief.top - slots
    sample = passed[sample_of(len(passed))]
    needed = [contenders(screened.order, screened.margin, top + 1)]
    if slots:
        low, high = _upper_range(asked, screened)
        able = np.flatnonzero(~np.isnan(high))
        needed.append(able[_could_be_best(low[able], high[able], POOL * slots + brief.top)])
    # an unsure one hardly ever gets among the picks; if one does, it is asked again
    last = _last(screened, top) if len(passed) > top else (np.nan, np.nan)
    needed.append(askable(model, brief.rank_by, screened, *last))
    rows = _union(sample, *(screened.rows[positions] for positions in needed))
    found = scored(asked, rows)
    exact = float(found.order[found.best(top)[-1]])
    if exact > last[1]:
        rows = _union(rows, screened.rows[askable(model, brief.rank_by, screened, exact, exact)])
        found = scored(asked, rows)
    return _drawn(asked, replace(found, removed=removed.counts), np.searchsorted(rows, sample))


def _drawn(asked: Asked, found: Candidates, sample: Ints) -> Shortlist:
    """The picks of those scored exactly."""
    brief, model, scores = asked.brief, asked.release.model, found.scores
    slots = explored_slots(brief.explore_share, brief.top)
    best = found.best(brief.top - slots)
    if not slots:
        return Shortlist(found, best, sample)
    upper = upper_bounds(
        model, brief.goal, brief.rank_by, found.order, scores.value, scores.cost, found.fee_spread
    )  # fmt: skip
    uncertain = ~known_well(found.x[:, PLACEMENTS], found.source)
    drawn = draw(upper, uncertain, best, slots, np.random.default_rng(brief.seed))
    picks = np.concatenate([best, drawn.slots])
    return Shortlist(found, picks, sample, explored=len(drawn.slots), chance=drawn.chance)


def _upper_range(asked: Asked, part: Screened) -> tuple[Floats, Floats]:
    """Between what the upper bound of each uncertain candidate lies, NaN for the others."""
    model, brief = asked.release.model, asked.brief
    static = asked.release.catalogue.state.static[part.rows, STATIC.index(FEATURES[PLACEMENTS])]
    known = known_well(static, part.source)
    ends = [
        upper_bounds(model, brief.goal, brief.rank_by, order, part.value * factor, part.cost, part.fee_spread)
        for order in (part.order - part.margin, part.order + part.margin)
        # the interval's width goes by the size of the value
        for factor in (1.0 - part.relative, 1.0 + part.relative)
    ]
    low, high = np.min(ends, axis=0), np.max(ends, axis=0)
    # a cost that is a little off moves what is paid by as much
    slack = part.relative * np.abs(part.cost) if brief.rank_by == "profit" else 0.0
    # of one who is unsure nothing is claimed
    out = known | np.isnan(part.order)
    low, high = np.where(part.unsure, -np.inf, low - slack), np.where(part.unsure, np.inf, high + slack)
    return np.where(out, np.nan, low), np.where(out, np.nan, high)


def _union(*rows: Ints) -> Ints:
    return np.unique(np.concatenate(rows))


def _last(screened: Screened, top: int) -> tuple[float, float]:
    """Between what the last pick returns; at most, by those whose margin is narrow: -inf where they are too few."""
    known = ~np.isnan(screened.order)
    low, high = (screened.order + sign * screened.margin for sign in (-1.0, 1.0))

    def last(ends: Floats) -> float:
        return float(np.partition(ends, -top)[-top]) if len(ends) > top else -np.inf

    return last(low[known]), last(high[known & ~screened.unsure])


def _plain(asked: Asked, rows: Ints, removed: Removed) -> Shortlist:
    """The same by scoring everybody exactly."""
    fell_back("commission" if asked.release.model.commission_rate is not None else "model")
    with step("score"):
        found = scored(asked, rows)
        keep = removed.take(
            np.ones(len(rows), dtype=bool), fee_filters(asked.brief, found.fee, found.source != ESTIMATED)
        )
        if not keep.any():
            removed.refuse_nobody()
        found = replace(found.part(np.flatnonzero(keep)), removed=removed.counts)
    return _drawn(asked, found, sample_of(len(found.rows)))


def sample_of(n: int) -> Ints:
    """Positions of at most SAMPLE candidates spread evenly over n.

    >>> sample_of(3).tolist()
    [0, 1, 2]
    """
    return np.unique(np.linspace(0, n - 1, min(SAMPLE, n)).astype(np.int64))


def contenders(order: Floats, margin: Floats, most: int) -> NDArray[np.int64]:
    """Positions of all who could be among the best `most`, ascending.

    Args:
        order: about how good each is, NaN for unknown, which is last; shape (n,).
        margin: how far the true one may be off, shape (n,).
        most: how many are wanted.

    >>> contenders(np.array([1.0, 3.0, 2.0, 2.9, np.nan]), np.array([0.1, 0.1, 0.1, 1.0, 0.0]), 2).tolist()
    [1, 2, 3]
    """
    known = np.flatnonzero(~np.isnan(order))
    if len(known) <= most:
        # unknown ones fill the places left, the first rows first
        return np.sort(np.concatenate([known, np.flatnonzero(np.isnan(order))[: most - len(known)]]))
    return np.asarray(known[_could_be_best((order - margin)[known], (order + margin)[known], most)])


def _could_be_best(low: Floats, high: Floats, most: int) -> NDArray[np.int64]:
    """Positions of all between whose bounds one of the best `most` may lie, ascending; nothing is unknown."""
    if len(low) <= most:
        return np.arange(len(low))
    return np.flatnonzero(high >= np.partition(low, -most)[-most])
