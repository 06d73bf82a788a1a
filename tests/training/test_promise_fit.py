import numpy as np
import pytest

from serving.promise import Promise
from training.promise_fit import MIN_TOP, SEEN, TOP, fit_promise


def later(
    n: int, overshoot: float, seed: int = 0, level: float = 1.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Placements whose return falls short of the expected one by a power above its top fifth."""
    rng = np.random.default_rng(seed)
    cost = rng.lognormal(5, 1, n)
    foretold = rng.lognormal(0, 1, n)
    bound = np.quantile(foretold, 1 - TOP)
    true = foretold * np.maximum(foretold / bound, 1.0) ** -overshoot
    actual = level * true * rng.gamma(1.0, 1.0, n)
    return actual * cost, foretold * cost, cost, np.arange(n) // 10


def test_an_overshoot_is_found() -> None:
    promise = fit_promise(*later(20_000, 0.3))
    assert promise.slope == pytest.approx(0.3, abs=0.08)
    assert promise.bound == pytest.approx(np.exp(0.8416), rel=0.05)


def test_a_handful_far_above_all_others_does_not_decide() -> None:
    """The ten highest expected returns of a thousand came to nothing; all others were kept."""
    actual, expected, cost, campaign = later(1_000, 0.0, seed=1)
    far = np.argsort(-expected / cost)[:10]
    expected[far] *= 20.0
    actual[far] = 0.0
    promise = fit_promise(actual, expected, cost, campaign)
    assert promise.seen == pytest.approx(np.quantile(expected / cost, SEEN))
    assert promise.seen < np.min(expected[far] / cost[far])
    assert promise.kept(expected, cost)[far] / expected[far] == pytest.approx(1.0, abs=0.15)


def test_a_good_or_bad_season_is_not_an_overshoot() -> None:
    good, bad = (fit_promise(*later(20_000, 0.3, level=level)) for level in (2.0, 0.5))
    assert good.slope == pytest.approx(bad.slope, rel=1e-3)


def test_fewer_placements_are_believed_less() -> None:
    slopes = [np.mean([fit_promise(*later(n, 0.3, seed)).slope for seed in range(10)]) for n in (600, 20_000)]
    assert 0.0 < slopes[0] < slopes[1] - 0.05


def test_promises_that_were_kept_stay_and_are_never_raised() -> None:
    promise = fit_promise(*later(20_000, -0.3))
    assert (promise.bound, promise.slope) == (pytest.approx(np.exp(0.8416), rel=0.05), 0.0)
    assert np.mean([fit_promise(*later(5_000, 0.0, seed)).slope for seed in range(10)]) < 0.04


@pytest.mark.parametrize("case", ["few", "one campaign", "no costs", "no returns"])
def test_without_enough_to_go_by_everything_is_promised(case: str) -> None:
    actual, expected, cost, campaign = later(int(MIN_TOP / TOP) - 1 if case == "few" else 2_000, 0.5)
    if case == "one campaign":
        campaign = np.zeros_like(campaign)
    if case == "no costs":
        cost = np.full_like(cost, np.nan)
    if case == "no returns":
        actual = np.zeros_like(actual)
    assert fit_promise(actual, expected, cost, campaign) == Promise()


def test_rows_without_cost_or_expectation_say_nothing() -> None:
    actual, expected, cost, campaign = later(3_000, 0.3)
    holes = cost.copy()
    holes[2_000:] = np.nan
    alone = fit_promise(actual[:2_000], expected[:2_000], cost[:2_000], campaign[:2_000])
    assert fit_promise(actual, expected, holes, campaign) == alone
