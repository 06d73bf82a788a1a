"""Plans judged by the truth: `joint_value` and trying every set are the oracles, figures are worked out by hand."""

from itertools import combinations

import numpy as np
import polars as pl
import pytest

from features.errors import DataError
from serving.plan_answers import Plan, PlanAnswer
from training.plan_figures import chance_error, decile_error, mix_claims, plan_figures, profit_claims
from training.plan_judge import JudgedPlan, SetTruth, judge_plan, true_best, true_briefs, true_set
from training.sample_held_out import make_truth
from training.sample_hidden import make_hidden
from training.sample_truth import Truth, joint_value


@pytest.fixture(scope="module")
def truth() -> Truth:
    return make_truth(make_hidden(creators=300, placements=600, snapshots=3), "balanced", briefs=8, pool=120)


@pytest.fixture(scope="module")
def true(truth):
    return true_briefs(truth)


def tiny(budget: float = 100.0) -> Truth:
    """One brief, four candidates: b is worth most, a shares half of its audience with b, d's post never came."""
    outcomes = pl.DataFrame(
        {
            "brief_id": "h", "creator_id": ["a", "b", "c", "d"], "value": [40.0, 90.0, 30.0, 8.0],
            "cost": [20.0, 60.0, 40.0, 1.0], "delivery": [1.0, 0.9, 0.5, 0.8], "followers": [100.0, 400.0, 50.0, 10.0],
            "drawn_value": [10.0, 200.0, 0.0, 0.0], "drawn_cost": [25.0, 50.0, 40.0, 1.0],
        }
    )  # fmt: skip
    overlap = pl.DataFrame({"creator_a": ["b", "x"], "creator_b": ["a", "a"], "overlap": [0.5, 1.0]})
    return Truth([{"brief_id": "h", "budget": budget}], outcomes, overlap, {})


# --- the truth of sets


def test_the_value_of_random_sets_is_the_joint_value(truth, true):
    rng = np.random.default_rng(0)
    shared = 0
    for name, brief in true.items():
        for size in (1, 5, 40, len(brief.ids)):
            ids = rng.choice(brief.ids, size, replace=False).tolist()
            assert true_set(brief, ids).value == pytest.approx(joint_value(truth, name, ids), rel=1e-12)
            rows = truth.outcomes.filter(pl.col("brief_id") == name, pl.col("creator_id").is_in(ids))
            shared += rows["value"].sum() > true_set(brief, ids).value * (1 + 1e-9)
            assert true_set(brief, ids).cost == pytest.approx(rows["cost"].sum())
    assert shared  # some of these sets do share audiences


def test_who_is_worth_less_if_delivered_loses_what_the_other_reached():
    brief = true_briefs(tiny())["h"]
    found = true_set(brief, ["b", "a"])
    kept = 1 - 0.9 * 0.5  # b is delivered nine times in ten, and half of a's audience is b's
    assert found.value == pytest.approx(90 + 40 * kept)
    assert found.cost == 80
    assert found.drawn_value == pytest.approx([200 + 10 * kept])
    assert found.drawn_cost == pytest.approx([75])


def test_equals_by_worth_are_told_apart_by_name(truth):
    level = truth.outcomes.with_columns(pl.lit(1.0).alias("value"), pl.lit(0.5).alias("delivery"))
    equal = Truth(truth.briefs, level, truth.overlap, truth.facts)
    for name, brief in true_briefs(equal).items():
        assert true_set(brief, brief.ids).value == pytest.approx(joint_value(equal, name, brief.ids), rel=1e-12)


def test_nobody_is_worth_nothing(true):
    found = true_set(next(iter(true.values())), [])
    assert (found.value, found.cost) == (0, 0)
    assert found.drawn_value.tolist() == [0]


@pytest.mark.parametrize(("ids", "words"), [(["a", "z"], r"\['z'\]"), (["a", "a"], "given twice")])
def test_a_set_that_is_none_of_the_brief_is_refused(ids, words):
    with pytest.raises(DataError, match=words):
        true_set(true_briefs(tiny())["h"], ids)


def test_draws_of_ones_own_take_the_place_of_the_truths():
    asked = []

    def draws(brief_id, creator_ids):
        asked.append((brief_id, list(creator_ids)))
        return np.array([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]]), np.ones((2, 3))

    found = true_set(true_briefs(tiny())["h"], ["c", "b"], draws)
    assert asked == [("h", ["b", "c"])]
    assert found.drawn_value.tolist() == [11, 22, 33]
    assert found.drawn_cost.tolist() == [2, 2, 2]


# --- the true optimum


@pytest.mark.parametrize("max_creators", [None, 1, 2])
@pytest.mark.parametrize("budget", [30.0, 61.0, 90.0, 120.0])
def test_the_optimum_is_the_best_of_all_sets(budget, max_creators):
    brief = true_briefs(tiny(budget))["h"]
    most = max(
        true_set(brief, ids).value
        for size in range((max_creators or 4) + 1)
        for ids in combinations(brief.ids, size)
        if true_set(brief, ids).cost <= budget
    )
    found = true_best(brief, max_creators)
    assert found.method == "optimal"
    assert brief.problem.worth_of(found.chosen) == pytest.approx(most)


def test_no_random_set_is_worth_more_than_the_optimum(true):
    rng = np.random.default_rng(1)
    for brief in true.values():
        best = brief.problem.worth_of(true_best(brief).chosen)
        order = rng.permutation(len(brief.ids))
        spent = np.cumsum(brief.problem.cost[order])
        some = [brief.ids[k] for k in order[spent <= brief.problem.budget]]
        assert true_set(brief, some).value <= best * (1 + 1e-9)


# --- answers beside the truth


def said(creator_ids=("a",), **changed) -> Plan:
    given = {"picks": tuple(type("Pick", (), {"creator_id": name})() for name in creator_ids), "total_cost": 20.0,
             "expected_value": 50.0, "value_low": 10.0, "value_high": 90.0, "roi_low": -0.5, "roi_high": 2.0,
             "p_profit": 0.7}  # fmt: skip
    return Plan.model_construct(**(given | changed))


def answered(plan, single=None, greedy=None, p_mix=0.8) -> PlanAnswer:
    other = type("Alternatives", (), {"best_single_tier": single, "greedy_cost_per_engagement": greedy})()
    return PlanAnswer.model_construct(plan=plan, alternatives=other, p_mix_beats_single_tier=p_mix)


def test_an_answer_stands_beside_the_truth_of_all_it_names():
    brief = true_briefs(tiny())["h"]
    answer = answered(said(["b", "c"]), single=said(["b"]), greedy=said(["d"]))
    found = judge_plan(brief, answer, {"micro": ["a"], "macro": ["b", "a"]})
    assert (found.brief_id, found.budget, found.p_mix) == ("h", 100.0, 0.8)
    assert found.plan.value == 120
    assert found.single.value == 90
    assert found.greedy.value == 8
    assert found.sizes == {"micro": 40, "macro": pytest.approx(90 + 40 * 0.55)}
    assert found.best == pytest.approx(max(120, 90 + 40 * 0.55 + 8))
    assert found.gap == pytest.approx(0)


def test_a_mix_that_is_of_one_tier_claims_nothing():
    brief = true_briefs(tiny())["h"]
    found = judge_plan(brief, answered(said(["b", "a"]), single=said(["a", "b"]), p_mix=0.5), {})
    assert found.p_mix is None
    assert mix_claims([found]).chance.size == 0


def test_the_optimum_keeps_the_plans_own_limit():
    brief = true_briefs(tiny())["h"]
    one = judge_plan(brief, answered(said(["a"])), {}, max_creators=1)
    assert one.best == 90
    assert one.single is None
    assert one.greedy is None


# --- figures


def judged(value=80.0, best=100.0, *, single=None, greedy=None, cost=20.0, p_mix=None, drawn=(80.0,), **changed):
    def of(worth, drawn):
        return SetTruth(worth, cost, np.array(drawn, dtype=float), np.full(len(drawn), cost))

    return JudgedPlan(
        brief_id="h", budget=25.0, said=said(**changed), p_mix=p_mix, plan=of(value, drawn),
        single=None if single is None else of(single, [single] * len(drawn)), sizes={"micro": 40.0, "macro": 50.0},
        greedy=None if greedy is None else of(greedy, [greedy]), best=best, gap=0.0,
    )  # fmt: skip


def test_worth_is_a_ratio_of_sums_beside_the_mean_of_ratios():
    found = plan_figures([judged(80, 100, single=40, greedy=20), judged(30, 300, single=60, greedy=30)])
    assert found.best == pytest.approx(110 / 400)
    assert found.best_mean == pytest.approx((0.8 + 0.1) / 2)
    assert found.best_low <= found.best <= found.best_high
    assert found.single == pytest.approx(1.1)
    assert found.single_mean == pytest.approx((2 + 0.5) / 2)
    assert found.greedy == pytest.approx(110 / 50)
    assert found.true_single == pytest.approx(110 / 100)
    assert found.promise == pytest.approx(100 / 110)
    assert found.cost == 1


def test_briefs_without_an_alternative_are_left_out_of_its_ratio_only():
    found = plan_figures([judged(80, single=40), judged(1000)])
    assert found.single == 2
    assert found.best == pytest.approx(1080 / 200)
    assert np.isnan(plan_figures([judged()]).greedy)


def test_what_exceeds_the_budget_counts_by_its_true_cost():
    found = plan_figures([judged(cost=25), judged(cost=30), judged(cost=35), judged(cost=20)])
    assert (found.over, found.over_mean, found.over_most) == (0.5, pytest.approx(0.3), pytest.approx(0.4))


def test_draws_inside_below_and_above_the_interval_add_up():
    found = plan_figures([judged(drawn=(5, 10, 50, 91)), judged(drawn=(95, 99, 100, 90))])
    assert (found.value_below, found.value_above) == (pytest.approx(1 / 8), pytest.approx(4 / 8))
    assert found.value_inside == pytest.approx(3 / 8)
    # cost 20: ROI above 2 is value above 60, below -0.5 is value below 10
    assert (found.roi_below, found.roi_above) == (pytest.approx(1 / 8), pytest.approx(5 / 8))


def test_an_empty_plan_promises_nothing_and_has_no_interval():
    nobody = judged(0.0, drawn=(0.0,), cost=0.0, creator_ids=(), total_cost=0.0, expected_value=0.0, value_low=0.0,
                    value_high=0.0, roi_low=None, roi_high=None, p_profit=None)  # fmt: skip
    found = plan_figures([nobody, judged(drawn=(50.0,))])
    assert (found.value_inside, found.roi_inside) == (1, 1)
    assert found.best == pytest.approx(80 / 200)
    assert profit_claims([nobody]).chance.size == 0


def test_claims_are_put_to_every_draw_and_to_the_average():
    found = mix_claims([judged(80, single=90, p_mix=0.6, drawn=(100, 90, 10, 95)), judged(p_mix=0.5)])
    assert found.chance.tolist() == [0.6]
    assert found.came_true.tolist() == [(2 + 0.5) / 4]
    assert found.on_average.tolist() == [0]
    profit = profit_claims([judged(80, cost=20, drawn=(10, 30))])
    assert (profit.chance.tolist(), profit.came_true.tolist(), profit.on_average.tolist()) == ([0.7], [0.5], [1])


# --- calibration


def test_right_chances_have_the_error_of_chance_and_wrong_ones_more():
    rng = np.random.default_rng(0)
    chance = rng.random(1000)
    came = (rng.random(1000) < chance).astype(float)
    usual = chance_error(chance)
    assert decile_error(chance, came) < 2 * usual
    assert decile_error(chance**3, came) > 3 * usual
    assert chance_error(rng.random(100)) > 2 * usual
    assert np.isnan(decile_error(chance[:9], came[:9]))


def test_nothing_is_changed_and_the_same_is_said_again():
    some = [judged(value, single=40, p_mix=0.5) for value in range(50, 70)]
    first, second = plan_figures(some), plan_figures(some)
    assert str(first) == str(second)
    assert some[0].plan.value == 50
