import numpy as np
import pytest

from training.sequential import fixed_radius, radius, wealth_above, wealth_below

ALPHA = 0.05


def test_looking_after_every_observation_errs_no_more_often_than_promised():
    rng = np.random.default_rng(0)
    fair = rng.beta(0.7, 0.7, size=(1000, 200))  # mean .5, much of it at the ends
    ever = np.mean([wealth_below(x, 0.5).max() >= 1 / ALPHA for x in fair])
    assert ever <= ALPHA
    # while the usual test, looked at as often, cries wolf
    counts = np.arange(1, 201)
    z = (np.cumsum(fair, axis=1) / counts - 0.5) / (fair.std() / np.sqrt(counts))
    assert np.mean((z[:, 19:] < -1.645).any(axis=1)) > 4 * ALPHA


def test_a_false_claim_falls():
    rng = np.random.default_rng(1)
    low = np.clip(rng.normal(0.35, 0.15, size=(50, 60)), 0, 1)
    assert all(wealth_below(x, 0.5)[-1] >= 1 / ALPHA for x in low)
    assert all(wealth_above(x, 0.5).max() < 1 / ALPHA for x in low)
    assert all(wealth_above(1 - x, 0.5)[-1] >= 1 / ALPHA for x in low)


def test_a_stake_rests_on_what_was_seen_before():
    x = np.random.default_rng(2).random(40)
    whole = wealth_below(x, 0.6)
    for count in (0, 1, 7, 39):
        np.testing.assert_allclose(wealth_below(x[:count], 0.6), whole[:count])
    other = np.append(x[:20], 1 - x[20:])
    np.testing.assert_allclose(wealth_below(other, 0.6)[:20], whole[:20])


@pytest.mark.parametrize("x", [np.zeros(500), np.ones(500), np.tile([0.0, 1.0], 250)])
def test_a_bettor_is_never_ruined(x):
    for least in (0.01, 0.5, 0.99):
        wealth = wealth_below(x, least)
        assert (wealth > 0).all()
        assert np.isfinite(wealth).all()


def test_means_stay_within_their_radius_at_every_count():
    rng = np.random.default_rng(3)
    x = (rng.random((1000, 300)) < 0.2).astype(float)
    counts = np.arange(20, 301)
    means = np.cumsum(x, axis=1)[:, 19:] / counts
    reach = np.array([radius(np.array([0.4]), count, ALPHA)[0] for count in counts])
    assert np.mean((np.abs(means - 0.2) > reach).any(axis=1)) <= ALPHA
    # about as wide as needed: a fifth of the width would not do
    assert np.mean((np.abs(means - 0.2) > reach / 2).any(axis=1)) > ALPHA


def test_radii_shrink_with_more_and_grow_with_care():
    one = np.ones(1)
    for width in (radius, fixed_radius):
        assert width(one, 400, ALPHA) < width(one, 100, ALPHA) < width(one, 100, ALPHA / 10)
        assert width(2 * one, 100, ALPHA) == pytest.approx(2 * width(one, 100, ALPHA))
    assert fixed_radius(one, 100, ALPHA) < radius(one, 100, ALPHA)
