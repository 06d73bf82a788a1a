"""How much of their audience two creators share: as measured, else estimated from what they have in common.

`audience_overlap` lists pairs that overlap. Two creators whom it both names (each in any pair) but does not list as a
pair share nothing worth listing: 0. A pair with a creator whom it does not name is not measured, and is estimated by
the level of its kind. Kinds are disjoint, the first that fits counts:

- same person: both accounts have one `person_id`;
- same platform and niche: one country, niche and platform;
- same niche: one country and niche, on two platforms (or on one that is not known).

A creator's niche is the first it lists. What is not known is like nobody's; any other pair is taken to share nothing.
The level of a kind is the mean overlap of its pairs among creators who are named, unlisted pairs counting as 0, shrunk
towards the configured one as if that had been seen in PSEUDO_PAIRS pairs.
"""

from dataclasses import dataclass, fields

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.settings import PlanSettings

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

PSEUDO_PAIRS = 50.0


@dataclass(frozen=True)
class OverlapLevels:
    """Expected overlap (shared / smaller audience) of a pair that is not measured, by kind; see the module."""

    same_person: float
    same_platform_niche: float
    same_niche: float

    @classmethod
    def of(cls, plan: PlanSettings) -> "OverlapLevels":
        """The configured levels.

        >>> OverlapLevels.of(PlanSettings()).same_niche
        0.06
        """
        return cls(plan.overlap_same_person, plan.overlap_same_platform_niche, plan.overlap_same_niche)

    @property
    def by_kind(self) -> Floats:
        """Levels in the order of the kinds, and 0 for pairs of no kind."""
        return np.array([self.same_person, self.same_platform_niche, self.same_niche, 0.0])


@dataclass(frozen=True)
class Traits:
    """What n creators may have in common: codes that count from 0, -1 where not known; shape (n,) each."""

    person: Ints
    platform: Ints
    country: Ints
    niche: Ints

    def rows(self, index: Ints) -> "Traits":
        """Of some of the creators."""
        return Traits(*(getattr(self, field.name)[index] for field in fields(self)))

    @property
    def kin(self) -> Ints:
        """A code of country and niche together, shape (n,)."""
        return _joined(self.country, self.niche)

    def kinds(self, a: Ints, b: Ints) -> Ints:
        """Kind of each pair, shape (m,): 0 same person, 1 same platform and niche, 2 same niche, 3 none of these.

        >>> some = Traits(*np.array([[7, 7, -1, -1], [0, 0, 0, 1], [3, 3, 3, 3], [5, 5, 5, 5]]))
        >>> some.kinds(np.array([0, 0, 0]), np.array([1, 2, 3])).tolist()
        [0, 1, 2]
        """
        kin = self.kin
        person, platform, alike = (
            (code[a] == code[b]) & (code[a] >= 0) for code in (self.person, self.platform, kin)
        )  # fmt: skip
        return np.where(person, 0, np.where(alike, np.where(platform, 1, 2), 3))

    def possible(self) -> Ints:
        """How many pairs of these creators are of each kind, shape (3,), counted from the sizes of groups.

        >>> Traits(*np.array([[7, 7, -1, -1], [0, 0, 0, 1], [3, 3, 3, 3], [5, 5, 5, 5]])).possible().tolist()
        [1, 2, 3]
        """
        kin, placed = self.kin, _joined(self.kin, self.platform)
        person, alike, near = _pairs_within(self.person), _pairs_within(kin), _pairs_within(placed)
        own_alike, own_near = _pairs_within(_joined(self.person, kin)), _pairs_within(_joined(self.person, placed))
        return np.array([person, near - own_near, (alike - own_alike) - (near - own_near)])


@dataclass(frozen=True)
class Pairs:
    """Pairs of positions that share an audience, sorted by (a, b); shape (m,) each.

    Attributes:
        a, b: positions, a < b.
        share: overlap (shared / smaller audience), above 0.
        measured: whether the data say so; else it is estimated.
    """

    a: Ints
    b: Ints
    share: Floats
    measured: Mask

    def __len__(self) -> int:
        return len(self.a)


@dataclass(frozen=True)
class Overlap:
    """Measured overlap of the creators of a catalogue, and what is expected where nothing is measured.

    Attributes:
        first, second: rows of the m listed pairs, first < second, sorted by (first, second); shape (m,).
        share: overlap (shared / smaller audience) of those, shape (m,).
        named: rows of the creators whom any listed pair names, ascending, shape (k,).
        levels: expected overlap of pairs that are not measured.
    """

    first: Ints
    second: Ints
    share: Floats
    named: Ints
    levels: OverlapLevels

    @classmethod
    def unmeasured(cls, plan: PlanSettings | None = None) -> "Overlap":
        """Where no pair is listed; configured levels."""
        none = np.zeros(0, dtype=np.int64)
        return cls(none, none, np.zeros(0), none, OverlapLevels.of(plan or PlanSettings()))

    def among(self, rows: Ints, traits: Traits) -> Pairs:
        """The pairs of some creators that share an audience.

        A creator asked for twice makes no pair with itself. Time and memory grow with the pairs that are of a kind, so
        ask about thousands of creators, not millions.

        Args:
            rows: of the catalogue, in any order, shape (n,).
            traits: of the creators of these rows, n of them.
        """
        a, b, share = self._listed(rows)
        near, far = self._unmeasured_pairs(rows, traits)
        pairs = Pairs(
            np.concatenate([a, near]),
            np.concatenate([b, far]),
            np.concatenate([share, self.levels.by_kind[traits.kinds(near, far)]]),
            np.arange(len(a) + len(near)) < len(a),
        )
        keep = np.flatnonzero(pairs.share > 0)
        order = keep[np.lexsort((pairs.b[keep], pairs.a[keep]))]
        return Pairs(pairs.a[order], pairs.b[order], pairs.share[order], pairs.measured[order])

    def part(self, rows: Ints) -> "Overlap":
        """Of some of the creators, in the order asked for: rows are positions in `rows` then; the same levels."""
        a, b, share = self._listed(rows)
        order = np.lexsort((b, a))
        return Overlap(a[order], b[order], share[order], np.flatnonzero(_among(rows, self.named)), self.levels)

    def _listed(self, rows: Ints) -> tuple[Ints, Ints, Floats]:
        """Listed pairs of positions a < b in `rows`, and their overlap."""
        order = np.argsort(rows, kind="stable")
        distinct, starts, counts = np.unique(rows[order], return_index=True, return_counts=True)
        low = np.searchsorted(self.first, distinct, side="left")
        length = np.searchsorted(self.first, distinct, side="right") - low
        listed = np.repeat(low, length) + _within(length)
        keep = _among(self.second[listed], distinct)
        mine, listed = np.repeat(np.arange(len(distinct)), length)[keep], listed[keep]
        other = np.searchsorted(distinct, self.second[listed])
        # a creator asked for several times makes a pair at each of its positions
        times = counts[mine] * counts[other]
        step, width = _within(times), np.repeat(counts[other], times)
        one = order[np.repeat(starts[mine], times) + step // width]
        two = order[np.repeat(starts[other], times) + step % width]
        return np.minimum(one, two), np.maximum(one, two), np.repeat(self.share[listed], times)

    def _unmeasured_pairs(self, rows: Ints, traits: Traits) -> tuple[Ints, Ints]:
        """Positions a < b of creators of one person, or of one country and niche, whose overlap nobody measured."""
        known = _among(rows, self.named)
        person, kin = _pairs_of(traits.person), _pairs_of(traits.kin)
        apart = traits.person[kin[0]] != traits.person[kin[1]]
        apart |= traits.person[kin[0]] < 0
        a, b = (np.concatenate([own, other[apart]]) for own, other in zip(person, kin, strict=True))
        keep = (rows[a] != rows[b]) & ~(known[a] & known[b])
        return a[keep], b[keep]


def learn_overlap(a: Ints, b: Ints, share: Floats, traits: Traits, plan: PlanSettings) -> Overlap:
    """What a table of listed pairs says; levels are learnt from it.

    Pairs of a creator with itself and without an overlap are left out; a pair listed several times, in whatever
    direction, has the mean. The order of the rows does not matter.

    Args:
        a, b: rows in the catalogue, shape (m,).
        share: their overlap, shape (m,).
        traits: of every creator of the catalogue.
        plan: configured levels.
    """
    keep = (a != b) & np.isfinite(share)
    low, high, share = np.minimum(a, b)[keep], np.maximum(a, b)[keep], share[keep]
    # by share too, so that a sum is the same to the bit whatever the order of the rows was
    order = np.lexsort((share, high, low))
    low, high, share = low[order], high[order], share[order]
    fresh = np.ones(len(low), dtype=bool)
    fresh[1:] = (low[1:] != low[:-1]) | (high[1:] != high[:-1])
    starts = np.flatnonzero(fresh)
    share = np.add.reduceat(share, starts) / np.diff(starts, append=len(share)) if len(starts) else share
    low, high = low[starts], high[starts]
    named = np.unique(np.concatenate([low, high]))
    listed = np.bincount(traits.kinds(low, high), weights=share, minlength=4)[:3]
    prior = OverlapLevels.of(plan).by_kind[:3]
    levels = (listed + PSEUDO_PAIRS * prior) / (traits.rows(named).possible() + PSEUDO_PAIRS)
    return Overlap(low, high, share, named, OverlapLevels(*levels.tolist()))


def text_codes(texts: pl.Series) -> Ints:
    """Codes of a column of texts for `Traits`: the same text the same code, -1 for none.

    >>> text_codes(pl.Series(["b", None, "a", "b"])).tolist()
    [1, -1, 0, 1]
    """
    return np.asarray(texts.cast(pl.String).rank("dense").cast(pl.Int64).fill_null(0).to_numpy() - 1)


def _joined(one: Ints, other: Ints) -> Ints:
    """A code of two codes together; -1 where either is not known."""
    return np.where((one >= 0) & (other >= 0), one * (other.max(initial=0) + 1) + other, -1)


def _pairs_within(codes: Ints) -> int:
    """How many pairs have the same code."""
    _, sizes = np.unique(codes[codes >= 0], return_counts=True)
    return int((sizes * (sizes - 1) // 2).sum())


def _pairs_of(codes: Ints) -> tuple[Ints, Ints]:
    """Positions a < b of every pair with the same code."""
    known = np.flatnonzero(codes >= 0)
    order = known[np.argsort(codes[known], kind="stable")]
    _, sizes = np.unique(codes[order], return_counts=True)
    after = np.repeat(sizes, sizes) - 1 - _within(sizes)
    return np.repeat(order, after), order[np.repeat(np.arange(len(order)), after) + 1 + _within(after)]


def _within(lengths: Ints) -> Ints:
    """0, 1, ... lengths[0] - 1, 0, 1, ... lengths[1] - 1, and so on."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)


def _among(values: Ints, ascending: Ints) -> Mask:
    """Which values are in an ascending array."""
    if not len(ascending):
        return np.zeros(len(values), dtype=bool)
    at = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    return np.asarray(ascending[at] == values)
