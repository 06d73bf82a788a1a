"""Where audiences are that nobody has described: what the known ones of the market lead one to expect, as of a day.

Sums are whole numbers, so that those of disjoint creators add up to the bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features import asof
from features.profile import AudienceSets

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_UNIT = 1e9


@dataclass(frozen=True)
class CountryPrior:
    """What to expect of an audience whose countries are not known: used for value, never as a feature.

    Attributes:
        weights: mean audience share by country code, shape (countries,).
        home_share: mean audience share in a creator's own country.
        known: whether anything at all is known about where audiences are.
    """

    weights: Floats
    home_share: float
    known: bool


@dataclass(frozen=True)
class CountrySums:
    """How the newest breakdowns of all creators changed in sum, by the day they were known.

    Attributes:
        days: ascending, shape (d,).
        weights: by country, in units of 1 / _UNIT, shape (d, countries).
        creators: with a breakdown; with one and a country of their own; weight at home of these, in units of
            1 / _UNIT; shape (d, 3).
        homes: creators by their own country, whenever, shape (countries,).
    """

    days: Ints
    weights: Ints
    creators: Ints
    homes: Ints

    @classmethod
    def of(cls, audience: AudienceSets, home: Ints, countries: int) -> "CountrySums":
        """The sums of some creators.

        Args:
            audience: their breakdowns by country.
            home: country of each creator, -1 where unknown; shape (creators,).
            countries: how many there are.
        """
        lists = audience.lists
        creator, day = audience.keys >> asof.DAY_BITS, audience.keys & asof.NEVER
        follows = np.concatenate([[False], creator[1:] == creator[:-1]])[: len(creator)]
        owner = np.repeat(np.arange(len(creator)), lists.lengths)
        weight = np.rint(lists.weights * _UNIT).astype(np.int64)
        at_home = np.where(lists.codes == home[creator[owner]], weight, 0)
        days, when = np.unique(day, return_inverse=True)
        weights = np.zeros((len(days), countries), dtype=np.int64)
        sums = np.zeros((3, len(days)), dtype=np.int64)
        # a breakdown counts from its day on, until the next one of the same creator takes its place
        replaced = np.concatenate([follows[1:], [False]])[: len(creator)]
        for sign, entries, on in ((1, np.ones(len(owner), dtype=bool), when),
                                  (-1, replaced[owner], np.roll(when, -1))):  # fmt: skip
            np.add.at(weights, (on[owner[entries]], lists.codes[entries]), sign * weight[entries])
            np.add.at(sums[2], on[owner[entries]], sign * at_home[entries])
        np.add.at(sums[0], when[~follows], 1)
        np.add.at(sums[1], when[~follows], (home[creator[~follows]] >= 0).astype(np.int64))
        return cls(days, weights, sums.T, np.bincount(home[home >= 0], minlength=countries))

    @classmethod
    def total(cls, parts: Sequence["CountrySums"]) -> "CountrySums":
        """The sums of disjoint creators together."""
        days = np.unique(np.concatenate([part.days for part in parts]))
        weights = np.zeros((len(days), parts[0].weights.shape[1]), dtype=np.int64)
        creators = np.zeros((len(days), 3), dtype=np.int64)
        for part in parts:
            rows = np.searchsorted(days, part.days)
            weights[rows] += part.weights
            creators[rows] += part.creators
        return cls(days, weights, creators, np.sum([part.homes for part in parts], axis=0))

    def recoded(self, codes: Ints, countries: int) -> "CountrySums":
        """The same sums in another vocabulary; `codes` are the new ones, shape (countries before,)."""
        weights = np.zeros((len(self.days), countries), dtype=np.int64)
        homes = np.zeros(countries, dtype=np.int64)
        weights[:, codes], homes[codes] = self.weights, self.homes
        return CountrySums(self.days, weights, self.creators, homes)

    def prior(self, day: int, home_share: float) -> CountryPrior:
        """Means over the creators whose audience was known before `day`.

        Where no audience is known: the creators' own countries, with `home_share` of the audience at home.
        """
        seen = self.days < day
        known, with_home, at_home = self.creators[seen].sum(axis=0)
        if with_home:
            home_share = float(at_home / _UNIT / with_home)
        if known:
            weights = self.weights[seen].sum(axis=0) / _UNIT / known
        elif self.homes.any():
            weights = self.homes / self.homes.sum() * home_share
        else:
            return CountryPrior(np.zeros(len(self.homes)), home_share, known=False)
        return CountryPrior(weights, home_share, known=True)
