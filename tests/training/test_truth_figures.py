"""Figures of picks against loops that know nothing of the module, and against cases worked out by hand."""

import math
from dataclasses import fields

import numpy as np
import polars as pl
import pytest

from features.matrix import NAMES
from features.value import GOALS
from training.truth_figures import (
    DRAWS,
    MIN_POOL,
    PICKS,
    Advice,
    PickFigures,
    decile_error,
    deciles,
    judge_picks,
    slice_figures,
)
from training.truth_pool import Pool

FIGURES = [field.name for field in fields(PickFigures)]


def pool_of(roi, sizes=None, cost=None, budget=1000.0, **columns):
    """A pool whose truth is given; costs 100 unless told, and the value follows."""
    n, sizes = len(roi), [len(roi)] if sizes is None else sizes
    cost = np.full(n, 100.0) if cost is None else np.asarray(cost, dtype=float)
    words = {"tier": ["nano"] * n, "platform": ["tiktok"] * n, "past_placements": [0] * n}
    truth = pl.DataFrame({"roi": roi, "cost": cost, "value": (1 + np.asarray(roi)) * cost, **words, **columns})
    unknown = np.full(n, np.nan)
    return Pool(
        starts=np.concatenate([[0], np.cumsum(sizes)]),
        goal=np.arange(len(sizes)) % len(GOALS),
        budget=np.broadcast_to(np.asarray(budget, dtype=float), len(sizes)).copy(),
        truth=truth,
        x=np.full((n, len(NAMES)), np.nan, dtype=np.float32),
        cost=unknown, value=unknown, roi=unknown, inside=unknown, past_mean=unknown,
    )  # fmt: skip


def random_pool(seed):
    """Ten briefs, some with too few candidates; costs, budgets and audiences of every size."""
    rng = np.random.default_rng(seed)
    sizes = [int(size) for size in rng.integers(8, 70, 10)]
    n = sum(sizes)
    return pool_of(
        rng.lognormal(0, 1, n) - 1, sizes, cost=rng.lognormal(5, 1, n), budget=rng.lognormal(7, 1, 10),
        tier=rng.choice(["nano", "micro", "macro"], n, p=[0.6, 0.35, 0.05]),
        platform=rng.choice(["tiktok", "weibo"], n),
        past_placements=rng.integers(0, 2, n),
    )  # fmt: skip


def random_advice(pool, seed):
    """Advice that is right now and then, rounded so that rows tie, silent about some."""
    rng = np.random.default_rng(seed + 100)
    truth, n = pool.truth, len(pool.truth)
    roi = truth["roi"].to_numpy() * rng.lognormal(0, 0.7, n)
    silent = rng.random(n) < 0.1
    order = np.where(silent, np.where(rng.random(n) < 0.5, np.nan, -np.inf), roi.round(1))
    value = np.where(silent, np.nan, truth["value"].to_numpy() * rng.lognormal(0, 0.5, n))
    inside = np.where(silent, np.nan, rng.random(n))
    return Advice(order, value, np.where(silent, np.nan, roi), inside)


def ranked(rows, order):
    """Rows best first: what says nothing comes last, equals in the order they stand in."""
    level = {row: -math.inf if math.isnan(order[row]) else order[row] for row in rows}
    return sorted(rows, key=lambda row: (-level[row], row))


def bought(rows, cost, value, budget):
    """Profit of walking down the list and buying whatever can still be paid."""
    profit = 0.0
    for row in rows:
        if cost[row] <= budget:
            budget -= cost[row]
            profit += value[row] - cost[row]
    return profit


def naive(pool, advice, keep=None):
    """The figures by their definitions, a candidate at a time."""
    roi, cost, value = (pool.truth[name].to_list() for name in ("roi", "cost", "value"))
    found, all_picks = [], []
    for begin, end, budget in zip(pool.starts[:-1], pool.starts[1:], pool.budget, strict=True):
        rows = [row for row in range(begin, end) if keep is None or keep[row]]
        if len(rows) < 20:
            continue
        order, ideal = ranked(rows, advice.order), ranked(rows, roi)
        picks, best = order[:10], ideal[:10]
        all_picks += picks
        gain = [sum((1 + roi[row]) / math.log2(place + 2) for place, row in enumerate(top)) for top in (picks, best)]
        found.append(
            (sum(roi[row] for row in picks) / 10, sum(roi[row] for row in best) / 10,
             sum(roi[row] for row in rows) / len(rows), gain[0] / gain[1],
             bought([row for row in ideal if roi[row] > 0], cost, value, budget)
             - bought([row for row in order if advice.roi[row] > 0], cost, value, budget))
        )  # fmt: skip
    b = len(found)
    shares = []
    for drawn in np.random.default_rng(0).integers(0, b, (DRAWS, b)):
        shares.append(sum(found[k][0] for k in drawn) / sum(found[k][1] for k in drawn))
    promised = [row for row in all_picks if not math.isnan(advice.roi[row])]
    told = [row for row in range(len(roi)) if (keep is None or keep[row]) and not math.isnan(advice.value[row])]
    told.sort(key=lambda row: advice.value[row])
    size, extra = divmod(len(told), 10)
    errors = []
    for part in range(10):
        start = part * size + min(part, extra)
        rows = told[start : start + size + (part < extra)]
        errors.append(abs(math.log(sum(value[row] for row in rows) / sum(advice.value[row] for row in rows))))

    def covered(rows):
        known = [advice.inside[row] for row in rows if not math.isnan(advice.inside[row])]
        return sum(known) / len(known)

    return PickFigures(
        briefs=b,
        oracle_share=sum(one[0] for one in found) / sum(one[1] for one in found),
        oracle_low=float(np.quantile(shares, 0.05)),
        oracle_high=float(np.quantile(shares, 0.95)),
        lift=sum(1 + one[0] for one in found) / sum(1 + one[2] for one in found),
        ndcg=sum(one[3] for one in found) / b,
        regret=sum(one[4] for one in found) / b,
        promise=sum(advice.roi[row] for row in promised) / sum(roi[row] for row in promised),
        decile_error=sum(errors) / 10,
        coverage=covered([row for row in range(len(roi)) if keep is None or keep[row]]),
        coverage_picks=covered(all_picks),
    )


def same(one, other):
    for name in FIGURES:
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-9, abs=1e-9, nan_ok=True), name


# --- every figure


def test_the_random_pools_have_briefs_with_too_few_candidates():
    few = [int((np.diff(random_pool(seed).starts) < MIN_POOL).sum()) for seed in range(6)]
    assert 0 < sum(few) < 30


@pytest.mark.parametrize("seed", range(6))
def test_figures_are_those_of_a_loop(seed):
    pool = random_pool(seed)
    advice = random_advice(pool, seed)
    same(judge_picks(pool, advice), naive(pool, advice))
    keep = np.random.default_rng(seed).random(len(advice.order)) < 0.7
    same(judge_picks(pool, advice, keep), naive(pool, advice, keep))


def test_figures_of_the_ten_worst_of_twenty_by_hand():
    roi = np.arange(20) / 10
    worst = judge_picks(pool_of(roi, budget=250.0), Advice(-roi))
    assert worst.oracle_share == pytest.approx(0.45 / 1.45)
    assert worst.lift == pytest.approx(1.45 / 1.95)
    # the truly best two return 290 and 280 for 100 each, the worst two 100 and 110
    assert worst.regret == pytest.approx(370 - 10)
    discounts = [1, 0.6309297535714575, 0.5, 0.43067655807339306, 0.38685280723454163, 0.3562071871080222,
                 0.3333333333333333, 0.31546487678572877, 0.3010299956639812, 0.2890648263178879]  # fmt: skip
    down = sum((2.9 - k / 10) * d for k, d in enumerate(discounts))
    up = sum((1 + k / 10) * d for k, d in enumerate(discounts))
    assert worst.ndcg == pytest.approx(up / down)
    assert (worst.oracle_low, worst.oracle_high) == pytest.approx((worst.oracle_share, worst.oracle_share))


@pytest.mark.parametrize("seed", range(3))
def test_who_picks_by_the_truth_is_perfect_and_nobody_does_better(seed):
    pool = random_pool(seed)
    roi, value = pool.truth["roi"].to_numpy(), pool.truth["value"].to_numpy()
    perfect = judge_picks(pool, Advice(roi, value, roi))
    ones = (perfect.oracle_share, perfect.oracle_low, perfect.oracle_high, perfect.ndcg, perfect.promise)
    assert ones == pytest.approx((1, 1, 1, 1, 1))
    assert (perfect.regret, perfect.decile_error) == pytest.approx((0, 0), abs=1e-9)
    assert perfect.lift > 1.5
    other = judge_picks(pool, random_advice(pool, seed))
    assert other.oracle_share < 1
    assert other.ndcg < 1
    assert other.lift < perfect.lift


def test_only_the_order_of_the_advice_counts_for_the_picks():
    pool = random_pool(1)
    order = np.random.default_rng(8).normal(size=len(pool.truth))
    same(judge_picks(pool, Advice(order)), judge_picks(pool, Advice(np.exp(3 * order) + 7)))


def test_picks_at_random_come_near_the_average_candidate():
    rng = np.random.default_rng(3)
    pool = pool_of(rng.lognormal(0, 0.5, 40_000) - 0.5, [200] * 200)
    chance = judge_picks(pool, Advice(rng.random(40_000)))
    assert chance.lift == pytest.approx(1.0, abs=0.03)
    assert chance.oracle_low < chance.oracle_share < chance.oracle_high


# --- order


def test_among_equals_the_first_rows_are_picked():
    roi = np.linspace(2, 0, 30)
    same(judge_picks(pool_of(roi), Advice(np.zeros(30))), judge_picks(pool_of(roi), Advice(roi)))
    backwards = judge_picks(pool_of(roi[::-1]), Advice(np.zeros(30)))
    assert backwards.oracle_share == pytest.approx(roi[20:].mean() / roi[:10].mean())


@pytest.mark.parametrize("silence", [np.nan, -np.inf])
def test_who_says_nothing_of_a_creator_does_not_pick_it_before_others(silence):
    roi = np.concatenate([np.full(15, 9.0), np.linspace(0, 1, 10)])  # the best are those nothing is said of
    order = np.concatenate([np.full(15, silence), np.linspace(-1e300, -1e299, 10)])
    found = judge_picks(pool_of(roi), Advice(order))
    assert found.oracle_share == pytest.approx(0.5 / 9)
    # with nine known ones the tenth pick is the first of the others
    order[-1] = silence
    found = judge_picks(pool_of(roi), Advice(order))
    assert found.oracle_share == pytest.approx((roi[15:24].sum() + 9) / 90)


def test_the_very_best_word_comes_first():
    roi = np.linspace(0, 1, 20)
    order = np.where(np.arange(20) < 10, np.inf, roi)
    assert judge_picks(pool_of(roi), Advice(order)).oracle_share == pytest.approx(roi[:10].sum() / roi[10:].sum())


# --- regret


def test_the_budget_buys_down_the_list_whatever_still_fits():
    cost = np.array([80.0, 50.0, 30.0, 20.0] + [1e6] * 16)
    roi = np.array([1.0, 5.0, 0.5, 0.25] + [-0.5] * 16)
    pool = pool_of(roi, cost=cost, budget=100.0)
    # as ranked: 80, then 20 (50 and 30 no longer fit); by the truth: 50, then 30 and 20
    found = judge_picks(pool, Advice(-np.arange(20.0)))
    assert found.regret == pytest.approx((250 + 15 + 5) - (80 + 5))


def test_who_truly_loses_money_is_no_part_of_the_best_purchase():
    roi = np.linspace(-0.9, 1.0, 20)
    found = judge_picks(pool_of(roi, budget=2500.0), Advice(roi))
    assert found.regret == pytest.approx(-100 * roi[roi < 0].sum())
    assert judge_picks(pool_of(roi, budget=2500.0), Advice(roi, roi=roi)).regret == pytest.approx(0.0, abs=1e-9)


def test_nothing_that_fits_is_no_regret():
    roi = np.linspace(0, 1, 20)
    assert judge_picks(pool_of(roi, budget=99.0), Advice(-roi)).regret == 0.0


def test_a_budget_for_all_makes_the_order_indifferent():
    roi = np.linspace(0.1, 1, 25)
    assert judge_picks(pool_of(roi, budget=2500.0), Advice(-roi)).regret == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_spending_is_that_of_a_walk_down_the_list(seed):
    rng = np.random.default_rng(seed)
    n = 300
    pool = pool_of(rng.lognormal(0, 1, n) - 1, cost=rng.lognormal(4, 1.5, n), budget=rng.lognormal(7, 1))
    order = rng.random(n)
    roi, cost, value = (pool.truth[name].to_list() for name in ("roi", "cost", "value"))
    paying = [row for row in ranked(range(n), roi) if roi[row] > 0]
    by_hand = [bought(rows, cost, value, pool.budget[0]) for rows in (paying, ranked(range(n), order))]
    assert judge_picks(pool, Advice(order)).regret == pytest.approx(by_hand[0] - by_hand[1])


# --- which briefs and what is not said


def test_too_few_candidates_to_pick_ten_of_are_left_out():
    few = pool_of(np.linspace(0, 1, MIN_POOL - 1))
    found = judge_picks(few, Advice(np.zeros(MIN_POOL - 1)))
    assert (MIN_POOL, PICKS) == (20, 10)
    assert found.as_dict() == {"briefs": 0.0}
    both = pool_of(np.concatenate([np.linspace(0, 9, 19), np.linspace(0, 1, 20)]), [19, 20])
    assert judge_picks(both, Advice(np.zeros(39))).briefs == 1
    same(
        judge_picks(both, Advice(-np.arange(39.0))),
        judge_picks(pool_of(np.linspace(0, 1, 20)), Advice(-np.arange(20.0))),
    )
    keep = np.arange(39) != 30
    assert judge_picks(both, Advice(np.zeros(39)), keep).briefs == 0


def test_what_a_rule_does_not_say_is_no_figure():
    found = judge_picks(pool_of(np.linspace(0, 1, 20)), Advice(np.zeros(20)))
    silent = {name for name in FIGURES if math.isnan(getattr(found, name))}
    assert silent == {"promise", "decile_error", "coverage", "coverage_picks"}
    assert set(found.as_dict()) == set(FIGURES) - silent


def test_promise_is_of_the_picks_and_what_they_deliver():
    roi = np.concatenate([np.full(10, 0.5), np.full(10, 0.1)])
    expected = np.concatenate([np.full(10, 2.0), np.full(10, 0.0)])
    assert judge_picks(pool_of(roi), Advice(expected, roi=expected)).promise == pytest.approx(4.0)
    losing = judge_picks(pool_of(roi - 0.9), Advice(expected, roi=expected))
    assert math.isnan(losing.promise)  # no ratio to a loss


def test_coverage_of_all_and_of_the_picks():
    inside = np.concatenate([np.full(10, 0.25), np.ones(8), [np.nan, np.nan]])
    order = -np.arange(20.0)
    found = judge_picks(pool_of(np.linspace(1, 0, 20)), Advice(order, inside=inside))
    assert (found.coverage, found.coverage_picks) == pytest.approx(((2.5 + 8) / 18, 0.25))


def silent_advice(n):
    nothing = np.full(n, np.nan)
    return Advice(nothing, nothing, nothing, nothing)


def test_a_recommender_without_a_word_has_no_figure_of_what_it_says():
    found = judge_picks(pool_of(np.linspace(0, 1, 20)), silent_advice(20))
    assert math.isnan(found.promise)
    assert (found.decile_error, found.coverage, found.coverage_picks) == pytest.approx((np.nan,) * 3, nan_ok=True)


def test_where_the_best_lose_money_worse_picks_have_no_higher_share():
    roi = -np.linspace(0.1, 0.9, 40)
    best, worst = (judge_picks(pool_of(roi), Advice(order)).oracle_share for order in (roi, -roi))
    assert not worst > best


# --- deciles


def test_deciles_are_of_the_expectation_and_leave_out_who_has_none():
    expected = np.array([4.0, np.nan, 1.0, 3.0, 2.0])
    true = np.array([40.0, 99.0, 10.0, 30.0, 20.0])
    means = deciles(expected, true)
    assert [part.tolist() for part in means] == [[1.0, 2.0, 3.0, 4.0], [10.0, 20.0, 30.0, 40.0]]
    rng = np.random.default_rng(0)
    expected = rng.lognormal(0, 1, 1003)
    found, true_means = deciles(expected, 2 * expected)
    assert len(found) == 10
    assert (np.diff(found) > 0).all()
    np.testing.assert_allclose(true_means, 2 * found)
    assert found[0] == pytest.approx(np.sort(expected)[:101].mean())


@pytest.mark.parametrize("factor", [0.25, 1.0, 3.0])
def test_the_decile_error_is_the_log_of_a_wrong_level_either_way(factor):
    value = np.random.default_rng(1).lognormal(3, 1, 500)
    assert decile_error(*deciles(factor * value, value)) == pytest.approx(abs(np.log(factor)))


def test_deciles_with_nothing_true_are_far_off_and_finite():
    assert decile_error(np.array([1.0, 1.0]), np.array([1.0, 0.0])) == pytest.approx(np.log(1e9) / 2)


# --- slices


def test_slices_are_the_figures_of_their_candidates():
    pool = random_pool(2)
    advice = {"model": random_advice(pool, 2), "rule": Advice(random_advice(pool, 3).order)}
    found = slice_figures(pool, advice)
    goal = np.repeat([GOALS[k] for k in pool.goal], np.diff(pool.starts))
    history = np.where(pool.truth["past_placements"].to_numpy() > 0, "known", "without history")
    of = {"goal": goal, "tier": pool.truth["tier"], "platform": pool.truth["platform"], "creator": history}
    assert set(found) == set(of)
    for kind, members in found.items():
        for member, by_name in members.items():
            assert set(by_name) == {"model", "rule"}
            keep = np.array(of[kind]) == member
            same(by_name["model"], naive(pool, advice["model"], keep))
            assert by_name["rule"].briefs == by_name["model"].briefs > 0
    shown = {(kind, member) for kind, members in found.items() for member in members}
    assert ("tier", "macro") not in shown  # a twentieth of at most 70 candidates: nothing to pick ten of
    assert {("tier", "nano"), ("creator", "known"), ("creator", "without history")} <= shown
    assert sum(one["model"].briefs for one in found["goal"].values()) == judge_picks(pool, advice["model"]).briefs


def test_pools_without_enough_candidates_have_no_slices():
    assert slice_figures(pool_of(np.linspace(0, 1, 12)), {"model": Advice(np.zeros(12))}) == {}


# --- inputs


def test_nothing_given_is_changed():
    pool = random_pool(4)
    advice = random_advice(pool, 4)
    before = [np.array(part, copy=True) for part in (*vars(advice).values(), pool.starts, pool.goal, pool.budget)]
    truth, keep = pool.truth.clone(), np.ones(len(pool.truth), dtype=bool)
    for part in (*vars(advice).values(), pool.starts, pool.goal, pool.budget, keep):
        part.flags.writeable = False  # writing would raise
    judge_picks(pool, advice, keep)
    slice_figures(pool, {"model": advice})
    after = (*vars(advice).values(), pool.starts, pool.goal, pool.budget)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)
    assert pool.truth.equals(truth)
