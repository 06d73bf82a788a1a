"""Means of known audiences as of a day, against a loop over creators; sums of parts are those of the whole."""

import numpy as np
import pytest

from features import asof
from features.country_prior import CountrySums
from features.encoding import Lists
from features.profile import AudienceSets

COUNTRIES = 5


def audiences(seed, creators=30):
    """Some breakdowns a creator, on days that other creators share; a third of the creators have none."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(creators), rng.integers(0, 4, creators) * (rng.random(creators) < 0.7))
    day = rng.integers(1, 40, len(who)) * 3
    keys = np.unique(asof.keys(who, day))
    shares = rng.dirichlet(np.ones(COUNTRIES), len(keys)) * (rng.random((len(keys), COUNTRIES)) < 0.6)
    shares[:, 0] += 0.001
    row, code = np.nonzero(shares)
    return AudienceSets(keys, Lists.of(row, code, shares[row, code], len(keys))), rng.integers(-1, COUNTRIES, creators)


def slow_prior(sets, home, day, home_share):
    """The newest breakdown of each creator known before the day."""
    newest = {}
    for row, key in enumerate(sets.keys):
        if (key & asof.NEVER) < day:
            newest[int(key >> asof.DAY_BITS)] = row
    if not newest:
        known = home[home >= 0]
        return np.bincount(known, minlength=COUNTRIES) / len(known) * home_share, home_share
    weights, at_home = np.zeros(COUNTRIES), []
    for creator, row in newest.items():
        entries = slice(sets.lists.offsets[row], sets.lists.offsets[row + 1])
        own = np.zeros(COUNTRIES)
        own[sets.lists.codes[entries]] = sets.lists.weights[entries]
        weights += own
        if home[creator] >= 0:
            at_home.append(own[home[creator]])
    return weights / len(newest), np.mean(at_home) if at_home else home_share


@pytest.mark.parametrize("seed", range(5))
def test_the_prior_is_the_mean_of_what_was_known(seed):
    sets, home = audiences(seed)
    sums = CountrySums.of(sets, home, COUNTRIES)
    for day in (0, 3, 4, 30, 61, 500):
        prior = sums.prior(day, 0.6)
        weights, home_share = slow_prior(sets, home, day, 0.6)
        np.testing.assert_allclose(prior.weights, weights, atol=1e-8)
        assert prior.home_share == pytest.approx(home_share, abs=1e-8)
        assert prior.known


@pytest.mark.parametrize("parts", [2, 7])
def test_sums_of_parts_are_those_of_the_whole_to_the_bit(parts):
    sets, home = audiences(9)
    whole = CountrySums.of(sets, home, COUNTRIES)
    found = []
    for part in range(parts):
        rows = np.flatnonzero((sets.keys >> asof.DAY_BITS) % parts == part)
        mine = AudienceSets(sets.keys[rows], sets.lists.rows(rows))
        # who is not in the part has no country in it either
        own = np.where(np.arange(len(home)) % parts == part, home, -1)
        found.append(CountrySums.of(mine, own, COUNTRIES))
    total = CountrySums.total(found)
    for day in (0, 3, 31, 500):
        assert total.prior(day, 0.6).weights.tobytes() == whole.prior(day, 0.6).weights.tobytes()
        assert total.prior(day, 0.6).home_share == whole.prior(day, 0.6).home_share


def test_another_vocabulary_holds_the_same_sums():
    sets, home = audiences(2)
    codes = np.array([6, 0, 3, 1, 4])
    prior = CountrySums.of(sets, home, COUNTRIES).prior(60, 0.6)
    other = CountrySums.of(sets, home, COUNTRIES).recoded(codes, 7).prior(60, 0.6)
    np.testing.assert_array_equal(other.weights[codes], prior.weights)
    assert other.weights[[2, 5]].tolist() == [0.0, 0.0]


def test_where_nothing_is_known_at_all_it_says_so():
    nobody = AudienceSets(np.zeros(0, dtype=np.int64), Lists(np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0)))  # fmt: skip # noqa: E501
    prior = CountrySums.of(nobody, np.array([-1, -1]), COUNTRIES).prior(100, 0.6)
    assert not prior.known
    assert prior.weights.tolist() == [0.0] * COUNTRIES
