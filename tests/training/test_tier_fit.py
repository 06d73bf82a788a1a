"""The regression behind the tier table, and how goals are pooled: by hand on made-up ratios of value to cost."""

from dataclasses import replace

import numpy as np
import pytest

from training.tier_fit import fit_tiers
from training.tier_pool import Levels, difference, pool


def levels(ratio, tier, creator, campaign=None, controls=None):
    controls = np.zeros((len(ratio), 0)) if controls is None else controls
    fit = fit_tiers(ratio, np.full(len(ratio), 100.0), tier, controls, creator)
    campaign = np.arange(len(ratio)) if campaign is None else campaign
    return Levels(fit.level, fit.influence, fit.weight, tier, creator, campaign)


def test_means_of_tiers_by_hand():
    ratio = np.tile([0.5, 1.5, 1.0, 3.0], 50)
    tier = np.tile([0, 0, 1, 1], 50)
    one = difference(levels(ratio, tier, np.arange(200)), np.array([-1.0, 1.0]))
    assert one.mean == pytest.approx(np.log(2.0), abs=0.002)
    # relative errors of +-1/2, 100 in a tier
    assert one.error == pytest.approx(np.sqrt(2 * 0.25 / 100), rel=0.03)


def test_a_tier_of_few_is_not_poorer_for_being_few():
    """The log of a noisy mean is too low on average; that must not pass for a difference."""
    rng = np.random.default_rng(0)
    tier = np.repeat([0, 1], [12, 400])
    found = [fit_tiers(np.exp(rng.normal(0.0, 1.0, 412)), np.ones(412), tier, np.zeros((412, 0)), np.arange(412)).level
             for _ in range(600)]  # fmt: skip
    assert abs(np.diff(np.mean(found, axis=0)).item()) < 0.03


def test_few_expected_sales_weigh_less():
    rng = np.random.default_rng(0)
    expected = np.where(rng.random(4000) < 0.5, 0.2, 5.0)
    control = np.log(expected)[:, None] / np.log(expected).std()
    fit = fit_tiers(
        rng.poisson(expected) * 1.0, np.ones(4000), np.arange(4000) % 2, control - control.mean(), np.arange(4000)
    )
    # relative variances 1 / 5 and 1 / 0.2
    assert fit.weight[expected > 1].mean() / fit.weight[expected < 1].mean() == pytest.approx(25.0, rel=0.2)


@pytest.mark.parametrize("shared", ["creator", "campaign"])
def test_copies_of_a_creator_or_a_campaign_make_nothing_surer(shared):
    rng = np.random.default_rng(0)
    ratio, tier = np.exp(rng.normal(0.0, 0.5, 60)), np.repeat([0, 1], 30)
    contrast = np.array([-1.0, 1.0])
    once = difference(levels(ratio, tier, np.arange(60)), contrast)
    many, copies, own = np.repeat(ratio, 25), np.repeat(np.arange(60), 25), np.arange(1500)
    codes = {"creator": (copies, own), "campaign": (own, copies)}[shared]
    clustered = difference(levels(many, np.repeat(tier, 25), *codes), contrast)
    blind = difference(levels(many, np.repeat(tier, 25), own), contrast)
    assert clustered.mean == pytest.approx(once.mean, abs=0.03)
    assert clustered.error == pytest.approx(once.error, rel=0.1)
    assert blind.error < 0.3 * once.error


def test_what_is_held_equal_is_held_equal():
    rng = np.random.default_rng(0)
    good = rng.random(4000) < 0.5
    tier = (rng.random(4000) < np.where(good, 0.8, 0.2)).astype(np.int64)
    ratio = np.where(good, 3.0, 1.0) * np.exp(rng.normal(0.0, 0.3, 4000))
    contrast = np.array([-1.0, 1.0])
    assert difference(levels(ratio, tier, np.arange(4000)), contrast).mean > 0.5
    control = ((good - good.mean()) / good.std())[:, None]
    one = difference(levels(ratio, tier, np.arange(4000), controls=control), contrast)
    assert abs(one.mean) < 2.5 * one.error < 0.05


def test_pooling_weighs_goals_by_precision_and_copes_with_a_tier_missing_in_one():
    rng = np.random.default_rng(0)

    def goal(n, spread, factors):
        tier = np.arange(n) % len(factors)
        noise = np.exp(rng.normal(-(spread**2) / 2, spread, n))
        one = levels(np.array(factors)[tier] * noise, tier, np.arange(n))
        more = 3 - len(factors)
        return replace(
            one, level=np.append(one.level, [np.nan] * more), influence=np.pad(one.influence, ((0, 0), (0, more)))
        )

    calm, wild = goal(3000, 0.2, [1.0, 2.0]), goal(300, 1.5, [5.0, 5.0, 20.0])
    pooled = pool([calm, wild])
    assert difference(pooled, np.array([-1.0, 1.0, 0.0])).mean == pytest.approx(np.log(2.0), abs=0.02)
    third = difference(pooled, np.array([-0.5, -0.5, 1.0]))
    assert third.mean == pytest.approx(np.log(20.0 / 5.0), abs=3 * third.error)
    assert third.error > 5 * difference(pooled, np.array([-1.0, 1.0, 0.0])).error


def test_goals_without_a_common_tier_are_not_set_against_each_other():
    one = levels(np.tile([1.0, 2.0, 3.0], 40), np.tile([0, 0, 1], 40), np.arange(120))
    pad = np.zeros((120, 2))
    low = replace(one, level=np.append(one.level, [np.nan] * 2), influence=np.hstack([one.influence, pad]))
    high = replace(
        one, level=np.append([np.nan] * 2, one.level), influence=np.hstack([pad, one.influence]), tier=one.tier + 2
    )
    assert pool([low, high]).compared.tolist() == [True, True, False, False]
