"""How a feature is declared, and what its definition may look at.

A definition is a function of a Context. Offline, a context holds one row a placement as of the day it was agreed;
online, one row a creator as of the catalogue's day with a single brief. Both call the same function.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from features.brief_columns import BriefColumns
from features.encoding import Lists
from features.record import Totals

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Family(StrEnum):
    """The factors in which a prediction is explained to people."""

    ENGAGEMENT = "engagement"
    COST = "cost"
    GEOGRAPHY = "geography"
    NICHE = "niche"
    CONTENT_STYLE = "content_style"
    GOAL_FIT = "goal_fit"
    TRACK_RECORD = "track_record"


@dataclass(frozen=True)
class Context:
    """What was known for n rows, each a creator on a day, and the brief of each row.

    Attributes:
        profile: numbers about the creator, shape (n,), NaN where unknown.
        codes: platform, country, language and tier of the creator, shape (n,), -1 where unknown.
        lists: niches, and audience by country, language and interest, n rows each.
        records: track-record totals by entity as of the day.
        briefs: the briefs, and `which` of them each row belongs to: shape (n,), or (1,) for one brief for all.
    """

    profile: Mapping[str, Floats]
    codes: Mapping[str, Ints]
    lists: Mapping[str, Lists]
    records: Mapping[str, Totals]
    briefs: BriefColumns
    which: Ints
    _dots: dict[tuple[str, str], Floats] = field(default_factory=dict, init=False, repr=False, compare=False)

    def dot(self, lists: str, table: str) -> Floats:
        """Sum of entry weight x what each row's brief gives to its code, NaN for a row without entries; shape (n,).

        Args:
            lists: one of `lists`.
            table: name of the weights among BriefColumns.
        """
        if (lists, table) not in self._dots:
            self._dots[lists, table] = self.lists[lists].dot(getattr(self.briefs, table), self.which)
        return self._dots[lists, table]

    def at_price(self, price: Floats) -> "Context":
        """The same rows at another price, shape (n,)."""
        other = replace(self, profile={**self.profile, "price": price})
        other._dots.update(self._dots)
        return other

    def number(self, name: str) -> Floats:
        """A number of each row's brief, shape (n,) or (1,)."""
        return self.briefs.numbers[name][self.which]

    def goal(self) -> Ints:
        """Goal code of each row's brief, shape (n,) or (1,)."""
        return self.briefs.goal[self.which]

    def weight_of(self, codes: Ints, table: Floats) -> Floats:
        """Weight that each row's brief gives to that row's code; NaN where the code is unknown, shape (n,)."""
        if table.shape[1] == 0:
            return np.full(len(codes), np.nan)
        return np.where(codes >= 0, table[self.which, np.maximum(codes, 0)], np.nan)


Definition = Callable[[Context], Floats]
Show = Literal["plain", "percent", "exp", "exp_percent", "expm1", "yes_no"]
Scope = Literal["creator", "brief", "kind", "pair"]
Sign = Literal[-1, 0, 1]


@dataclass(frozen=True)
class Feature:
    """One signal, declared once.

    Attributes:
        name: column name.
        family: the factor it counts towards in reasons.
        scope: what it depends on: `creator` alone (computed once a catalogue), `brief` alone (one value a request),
            `kind`: the brief and the creator's codes (one value for all who share them), `pair`: brief and creator.
        define: its definition; returns shape (n,) or (1,), float64, NaN where unknown.
        sign: +1 / -1 where more is known to be better / worse for value, else 0.
        phrase: how a marketer would call it.
        show: how its number is shown to people (`exp`: the feature is a log).
        beside_price: of a feature that is the log of the price plus something the price has no part in: what that
            depends on (see `scope`); else None.
    """

    name: str
    family: Family
    scope: Scope
    define: Definition
    phrase: str
    show: Show = "plain"
    sign: Sign = 0
    beside_price: Scope | None = None


def log_positive(x: Floats) -> Floats:
    """Natural log where x > 0, NaN elsewhere.

    >>> log_positive(np.array([1.0, 0.0])).tolist()
    [0.0, nan]
    """
    positive = x > 0
    return np.where(positive, np.log(np.where(positive, x, 1.0)), np.nan)


def ratio(top: Floats, bottom: Floats) -> Floats:
    """top / bottom where bottom > 0, NaN elsewhere."""
    positive = bottom > 0
    return np.where(positive, top / np.where(positive, bottom, 1.0), np.nan)


def shrunk_log_ratio(own: Totals, market: Totals, events: str, exposure: str, strength: float = 3.0) -> Floats:
    """Log of an entity's rate relative to the market's, shrunk towards 0 where it has little exposure.

    The entity is given `strength` average placements of the market's own rate beforehand: an empirical-Bayes mean
    with a Gamma prior (Robbins 1956). 0 for an entity without history, and where the market has none.
    """
    rate = ratio(market[events], market[exposure])
    count = {"views": "viewed", "cost": "valued", "placements": "placements", "sold_clicks": "sold"}.get(
        exposure, "viewed"
    )
    prior = strength * ratio(market[exposure], market[count])
    shrunk = ratio(own[events] + prior * rate, own[exposure] + prior)
    return np.nan_to_num(log_positive(ratio(shrunk, rate)), nan=0.0)


def shrunk_log_mean(own: Totals, market: Totals, total: str, count: str, strength: float = 2.0) -> Floats:
    """An entity's mean log minus the market's, shrunk towards 0 by `strength` placements; 0 without history."""
    mean = np.nan_to_num(ratio(market[total], market[count]))
    return (own[total] - own[count] * mean) / (own[count] + strength)
