from dataclasses import replace

import numpy as np
import pytest

from training.policy_estimates import (
    BOOKINGS,
    GAIN_REPLAY,
    GAIN_ROBUST,
    MOST_WEIGHT,
    REPLAY,
    ROBUST,
    TEAM,
    Choices,
    Log,
    estimates,
    figures,
    totals,
    weights,
)


def floats(*numbers):
    return np.array(numbers, dtype=np.float64)


# campaign 0 books four: the chances say they stand for 2, 4, 2 and 8 of 16 creators; campaign 1 books one
LOG = Log(
    campaign=np.array([0, 0, 0, 0, 1]),
    chance=floats(0.5, 0.25, 0.5, 0.125, 0.2),
    matched=np.array([True, True, False, False, True]),
    value=floats(30, 60, 5, 8, 40),
    cost=floats(10, 20, 10, 10, 20),
    predicted_value=floats(20, 50, 10, 10, 50),
    predicted_cost=floats(10, 10, 10, 10, 25),
)
CHOICES = Choices(share=floats(0.25, 0.5), value=floats(40, 60), cost=floats(12, 20))


def test_weights_stand_for_the_creators_of_the_campaign():
    # campaign 0: 2 / 16 and 4 / 16 of the pool, a quarter of which the policy may book, and four bookings to replace
    np.testing.assert_allclose(weights(LOG, CHOICES), [2.0, 4.0, 0.0, 0.0, 2.0])
    for factor in (0.1, 3.0):  # chances within an unknown shortlist: only their proportions count
        shorter = replace(LOG, chance=LOG.chance * np.where(LOG.campaign == 0, factor, 1.0))
        np.testing.assert_allclose(weights(shorter, CHOICES), weights(LOG, CHOICES))


def test_the_heaviest_weights_are_cut():
    n = 40
    log = Log(np.arange(n) // 2, np.tile([0.5, 0.5], n // 2), np.ones(n, dtype=bool), *[np.ones(n)] * 4)
    share = np.full(n // 2, 1.0)
    share[0] = 0.001
    uncut = weights(log, Choices(share, share, share), most=np.inf)
    cut = weights(log, Choices(share, share, share))
    assert uncut.max() > 500
    np.testing.assert_allclose(cut, np.minimum(uncut, MOST_WEIGHT * uncut.mean()))


def test_figures_by_hand():
    found = {
        name: float(f) for name, (f, _) in figures(totals(LOG, CHOICES, weights(LOG, CHOICES)).sum(axis=0)).items()
    }
    team = 143 / 70 - 1
    replay = (2 * 30 + 4 * 60 + 2 * 40) / (2 * 10 + 4 * 20 + 2 * 20) - 1
    value = (4 * 40 + 60) / 5 + (2 * 10 + 4 * 10 - 2 * 10) / 8
    cost = (4 * 12 + 20) / 5 + (0 + 4 * 10 - 2 * 5) / 8
    robust = value / cost - 1
    expected = {
        TEAM: team, REPLAY: replay, ROBUST: robust, GAIN_REPLAY: replay - team, GAIN_ROBUST: robust - team,
    }  # fmt: skip
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("unknown", ["value", "cost"])
def test_an_unknown_outcome_counts_nowhere(unknown):
    column = getattr(LOG, unknown).copy()
    column[3] = np.nan
    with_gap = replace(LOG, **{unknown: column})
    rows = np.array([0, 1, 2, 4])
    without = Log(*(getattr(LOG, name)[rows] for name in LOG.__dataclass_fields__))
    weight = weights(with_gap, CHOICES)
    np.testing.assert_allclose(weight[rows], weights(without, CHOICES))
    np.testing.assert_allclose(totals(with_gap, CHOICES, weight), totals(without, CHOICES, weight[rows]))


def test_gradients_are_those_of_the_figures():
    total = totals(LOG, CHOICES, weights(LOG, CHOICES)).sum(axis=0)
    for name, (_, gradient) in figures(total).items():
        for column in range(len(total)):
            step = np.zeros(len(total))
            step[column] = 1e-4
            slope = (figures(total + step)[name][0] - figures(total - step)[name][0]) / 2e-4
            assert gradient[column] == pytest.approx(float(slope), abs=1e-6), (name, column)


def drawn_log(rng, campaigns=60, pool=200, bookings=10, shift=0.0, flat=False):
    """A log of a known world: value is twice a creator's quality, chances lean on it."""
    quality = rng.gamma(2.0, 1.0, (campaigns, pool))
    appeal = np.exp(0.0 * quality if flat else 0.5 * rng.normal(size=quality.shape) + 0.3 * np.log(quality))
    chance = np.minimum(bookings * appeal / appeal.sum(axis=1, keepdims=True), 1.0)
    best = quality >= np.quantile(quality, 0.8, axis=1, keepdims=True)
    campaign, creator = np.nonzero(rng.random(chance.shape) < chance)
    q = quality[campaign, creator]
    log = Log(
        campaign, chance[campaign, creator], best[campaign, creator], 2 * q * rng.gamma(1.0, 1.0, len(q)),
        np.ones(len(q)), 2 * q + shift, np.ones(len(q)),
    )  # fmt: skip
    mean = np.array([2 * row[chosen].mean() for row, chosen in zip(quality, best, strict=True)])
    return log, Choices(best.mean(axis=1), mean + shift, np.ones(campaigns)), mean


def test_both_find_the_truth_where_predictions_are_wrong_but_chances_right():
    misses = {REPLAY: [], ROBUST: []}
    for seed in range(20):
        log, choices, mean = drawn_log(np.random.default_rng(seed), shift=3.0)
        total = totals(log, choices, weights(log, choices))
        truth = (total[:, BOOKINGS] * mean).sum() / total[:, BOOKINGS].sum() - 1
        found = figures(total.sum(axis=0))
        for name, errors in misses.items():
            errors.append(float(found[name][0]) - truth)
    for name, errors in misses.items():
        assert abs(np.mean(errors)) < 0.15 * 3.0, name


def test_right_predictions_make_up_for_wrong_chances():
    log, choices, mean = drawn_log(np.random.default_rng(0))
    exact = replace(log, value=log.predicted_value, chance=np.random.default_rng(1).uniform(0.01, 1.0, len(log.chance)))
    total = totals(exact, choices, weights(exact, choices))
    truth = (total[:, BOOKINGS] * mean).sum() / total[:, BOOKINGS].sum() - 1
    assert float(figures(total.sum(axis=0))[ROBUST][0]) == pytest.approx(truth)


def test_a_policy_of_anybody_in_a_log_at_random_returns_what_the_team_did():
    log, choices, _ = drawn_log(np.random.default_rng(0), flat=True)
    anybody = replace(log, matched=np.ones(len(log.chance), dtype=bool))
    everyone = replace(choices, share=np.ones(60))
    # all chances are alike, so each booking weighs one
    np.testing.assert_allclose(weights(anybody, everyone), 1.0)
    found = estimates(totals(anybody, everyone, weights(anybody, everyone)))
    assert found[REPLAY].estimate == pytest.approx(found[TEAM].estimate)
    assert found[GAIN_REPLAY].estimate == pytest.approx(0.0, abs=1e-9)


def test_intervals_come_from_campaigns_with_outcomes_and_from_the_seed():
    log, choices, _ = drawn_log(np.random.default_rng(0))
    total = totals(log, choices, weights(log, choices))
    found = estimates(total, seed=3)
    assert found == estimates(np.vstack([total, np.zeros((5, total.shape[1]))]), seed=3)
    assert found != estimates(total, seed=4)
    for estimate in found.values():
        assert estimate.low < estimate.estimate < estimate.high
    twice = estimates(np.vstack([total] * 4), seed=3)[ROBUST]
    ratio = (twice.high - twice.low) / (found[ROBUST].high - found[ROBUST].low)
    assert 0.4 < ratio < 0.6  # four times the campaigns, half the width
    # a cost several times the value is a loss of at most everything
    poor = estimates(total * np.where(np.arange(total.shape[1]) == 1, 0.01, 1.0))[TEAM]
    assert poor.low >= -1.0
