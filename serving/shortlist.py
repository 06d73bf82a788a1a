"""The few candidates that an answer needs, scored exactly: the picks of brute force, found without it.

Everybody eligible is screened with a proven margin. Whoever could be among the picks, or be the best one left out, by
that margin is scored exactly, with the Boosters; so are a sample that picks are explained against and those whose fee
could be worth asking for. The picks, their order and all figures are those of `serving.candidates.candidates`.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from features.brief import Brief
from serving.candidates import ESTIMATED, Asked, Candidates, Ints, ask, eligible, scored
from serving.filters import Removed, fee_filters
from serving.model import Model
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
        picks: positions of the best, best first.
        sample: positions of some spread evenly over all candidates.
    """

    found: Candidates
    picks: Ints
    sample: Ints


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
        screened, passed = screen(asked, release.prepared, rows, removed, _Bar(release.model, brief).thin)
    with step("score"):
        return _settled(asked, screened, passed, removed)


class _Bar:
    """What a candidate must reach to matter, as far as is known after some of them; it only rises."""

    def __init__(self, model: Model, brief: Brief) -> None:
        self._model, self._rank_by = model, brief.rank_by
        self._wanted = brief.top + 1
        self._best = np.zeros(0)  # the highest lower bounds so far, ascending, `wanted` of them at most

    def thin(self, part: Screened) -> Screened:
        """Those who may be picked, be the best one left out, or be worth asking for a fee."""
        low, high = part.order - part.margin, part.order + part.margin
        least = self._best[0] if len(self._best) == self._wanted else -np.inf
        self._best = np.sort(np.concatenate([self._best, low[(low > least) & ~part.unsure]]))[-self._wanted :]
        if len(self._best) < self._wanted:
            return part
        # the last pick returns no less than the second of these
        reach = within_reach(self._model, self._rank_by, part, float(self._best[1]))
        return part.part(np.union1d(np.flatnonzero(high >= self._best[0]), reach))


def _settled(asked: Asked, screened: Screened, passed: Ints, removed: Removed) -> Shortlist:
    """Score exactly whom the answer may need, and a sample of all that passed the filters."""
    model, brief = asked.release.model, asked.brief
    sample = passed[sample_of(len(passed))]
    best = contenders(screened.order, screened.margin, brief.top + 1)
    # an unsure one hardly ever gets among the picks; if one does, it is asked again
    last = _last(screened, brief.top) if len(passed) > brief.top else (np.nan, np.nan)
    rows = _union(sample, screened.rows[best], screened.rows[askable(model, brief.rank_by, screened, *last)])
    found = scored(asked, rows)
    exact = float(found.order[found.best(brief.top)[-1]])
    if exact > last[1]:
        rows = _union(rows, screened.rows[askable(model, brief.rank_by, screened, exact, exact)])
        found = scored(asked, rows)
    return Shortlist(replace(found, removed=removed.counts), found.best(brief.top), np.searchsorted(rows, sample))


def _union(*rows: Ints) -> Ints:
    return np.unique(np.concatenate(rows))


def _last(screened: Screened, top: int) -> tuple[float, float]:
    """Between what the last pick returns, going by those whose margin is narrow; NaN where they are too few."""
    known = np.flatnonzero(~np.isnan(screened.order) & ~screened.unsure)
    if len(known) <= top:
        return np.nan, np.nan
    order, margin = screened.order[known], screened.margin[known]
    least, most = (float(np.partition(ends, -top)[-top]) for ends in (order - margin, order + margin))
    return least, most


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
    return Shortlist(found, found.best(asked.brief.top), sample_of(len(found.rows)))


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
    low, high = order[known] - margin[known], order[known] + margin[known]
    threshold = np.partition(low, -most)[-most]
    return np.asarray(known[high >= threshold])
