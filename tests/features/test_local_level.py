from itertools import pairwise

import numpy as np
import pytest

from features.local_level import LEAST_MONTHS, MONTH, USUAL_NOISE, USUAL_PAIRS, Changes, level_changes, local_level


def level_of(creator, known, read, reading, usual_noise=USUAL_NOISE):
    """The level in a market that is just these creators."""
    return local_level(
        creator, known, read, reading, level_changes(creator, known, read, reading), usual_noise=usual_noise
    )


def naive(creator, known, read, reading, usual_noise=USUAL_NOISE):
    """The same model, one reading at a time."""
    rows = [i for i in range(len(reading)) if not np.isnan(reading[i])]
    previous = {i: j for j, i in pairwise(rows) if creator[i] == creator[j]}
    gap = {i: max((read[i] - read[j]) / MONTH, LEAST_MONTHS) if read[j] else 1.0 for i, j in previous.items()}
    change = {i: reading[i] - reading[j] for i, j in previous.items()}
    mean, variance = {}, {}
    for i in rows:
        seen = [k for k in rows if known[k] // MONTH < known[i] // MONTH]
        changed = [k for k in seen if k in change]
        paired = [k for k in changed if previous[k] in change]
        varied = np.mean([change[k] ** 2 for k in changed]) if changed else 1.0
        together = sum(change[k] * change[previous[k]] for k in paired)
        noise = (usual_noise * varied * USUAL_PAIRS - together) / (len(paired) + USUAL_PAIRS)
        noise = min(max(noise, 0.0), varied / 2)
        drift = (varied - 2 * noise) / (np.mean([gap[k] for k in changed]) if changed else 1.0)
        if i not in previous:
            mean[i], variance[i] = reading[i], noise
            continue
        spread = variance[previous[i]] + drift * gap[i]
        gain = spread / (spread + noise) if spread + noise > 0 else 1.0
        mean[i] = mean[previous[i]] + gain * (reading[i] - mean[previous[i]])
        variance[i] = (1 - gain) * spread
    out = []
    for i in range(len(reading)):
        known_rows = [j for j in mean if j <= i and creator[j] == creator[i]]
        out.append(mean[known_rows[-1]] if known_rows else np.nan)
    return np.array(out)


def readings(seed, creators=12, months=20, noise=0.3, drift=0.05, missing=0.2):
    rng = np.random.default_rng(seed)
    count = rng.integers(1, months, creators)
    who = np.repeat(np.arange(creators), count)
    day = np.concatenate([20_000 + np.sort(rng.integers(0, months * MONTH, n)) for n in count])
    late = np.concatenate([np.maximum.accumulate(rng.integers(0, 3, n)) for n in count])
    level = np.concatenate([5 + rng.normal() + np.cumsum(rng.normal(0, drift, n)) for n in count])
    seen = level + rng.normal(0, noise, len(who))
    return who, day + late, day, np.where(rng.random(len(who)) < missing, np.nan, seen), level


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("usual", [USUAL_NOISE, 0.0])
def test_equals_a_naive_loop(seed, usual):
    who, known, read, seen, _ = readings(seed)
    got = level_of(who, known, read, seen, usual).mean
    np.testing.assert_allclose(got, naive(who, known, read, seen, usual), rtol=1e-6)
    assert np.isfinite(got).sum() > 50


def test_is_nearer_the_truth_than_the_last_reading_and_than_the_mean():
    who, known, read, seen, level = readings(0, creators=300, months=30, missing=0.0, drift=0.12)
    last = np.concatenate([who[1:] != who[:-1], [True]])
    filtered = level_of(who, known, read, seen).mean
    means = np.array([seen[who == creator].mean() for creator in range(300)])
    errors = {
        name: np.sqrt(np.mean((guess - level[last]) ** 2))
        for name, guess in (("filtered", filtered[last]), ("last", seen[last]), ("mean", means))
    }
    assert errors["filtered"] < 0.8 * min(errors["last"], errors["mean"])


def test_exact_readings_are_taken_as_read():
    rng = np.random.default_rng(0)
    who, day = np.repeat(np.arange(60), 20), np.tile(20_000 + MONTH * np.arange(20), 60)
    steps = np.cumsum(rng.normal(0, 1, (60, 20)) * (rng.random((60, 20)) < 0.2), axis=1).ravel()
    level = level_of(who, day, day, steps, 0.0)
    assert np.abs(level.mean - steps).max() < 0.15
    assert np.abs(level.mean[day > 20_300] - steps[day > 20_300]).mean() < 0.01


def test_what_becomes_known_later_changes_nothing_before():
    who, known, read, seen, _ = readings(1)
    before = known < 20_300
    changed = np.where(before, seen, seen + 9.0)
    full, other = level_of(who, known, read, seen).mean, level_of(who, known, read, changed).mean
    alone = level_of(who[before], known[before], read[before], seen[before]).mean
    np.testing.assert_array_equal(full[before], other[before])
    np.testing.assert_array_equal(full[before], alone)
    assert (full[~before] != other[~before]).any()


def test_the_error_shrinks_with_readings_and_nobody_is_not_an_error():
    day = 20_000 + MONTH * np.arange(12)
    level = level_of(np.zeros(12, dtype=np.int64), day, day, np.full(12, 3.0) + 0.1 * (-1) ** np.arange(12))
    assert (np.diff(level.variance[1:]) < 0).all()
    none = np.zeros(0, dtype=np.int64)
    assert level_of(none, none, none, np.zeros(0)).mean.shape == (0,)
    assert np.isnan(level_of(np.array([1]), np.array([5]), np.array([5]), np.array([np.nan])).mean).all()


def test_an_undated_first_reading_does_not_make_the_market_look_slow():
    who, known, read, seen, _ = readings(0, creators=200, missing=0.0, drift=0.3, noise=0.1)
    first = np.concatenate([[True], who[1:] != who[:-1]])
    undated = np.where(first, 0, read)
    got = level_of(who, np.where(first, 0, known), undated, seen).mean
    np.testing.assert_allclose(got, naive(who, np.where(first, 0, known), undated, seen), rtol=1e-6)
    # readings are sharp and levels move: the newest one counts for most
    last = np.concatenate([who[1:] != who[:-1], [True]]) & ~first
    assert np.abs(got - seen)[last].mean() < 0.1


@pytest.mark.parametrize("parts", [2, 5, 12])
def test_levels_of_parts_of_a_market_are_those_of_the_whole_to_the_bit(parts):
    who, known, read, seen, _ = readings(3)
    whole = level_of(who, known, read, seen)
    rows = [np.flatnonzero(who % parts == part) for part in range(parts)]
    changes = Changes.total([level_changes(who[r], known[r], read[r], seen[r]) for r in rows])
    for r in rows:
        part = local_level(who[r], known[r], read[r], seen[r], changes)
        assert part.mean.tobytes() == whole.mean[r].tobytes()
        assert part.variance.tobytes() == whole.variance[r].tobytes()
    alone = level_of(who[rows[0]], known[rows[0]], read[rows[0]], seen[rows[0]])
    assert (alone.mean != whole.mean[rows[0]])[~np.isnan(alone.mean)].any()
