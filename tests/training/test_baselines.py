import numpy as np
import pytest
from scipy.stats import spearmanr
from threadpoolctl import threadpool_limits

from features.matrix import NAMES
from training.baselines import MIN_ROWS_A_GOAL, RIDGE, RULES, RuleData, rule_predictions


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    with threadpool_limits(1):
        yield


SIGNS = {"followers": ("log_followers", 1), "engagement per cost": ("log_price_per_engagement", -1),
         "geo-adjusted views per cost": ("log_price_per_target_view", -1)}  # fmt: skip


def rule_data(n=900, seed=0, goals=(0, 2)):
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, (n, len(NAMES))).astype(np.float32)
    return RuleData(x, rng.choice(goals, n), rng.normal(5, 1, n), rng.normal(3, 1, n))


def true_mean(data, name):
    score = data.past_mean if name == "creator's past mean" else RULES[name](data)
    return np.exp(1 + 0.8 * score + 0.3 * data.log_cost + data.goal)


def predict(name, test=None):
    train = rule_data()
    y = true_mean(train, name) * np.random.default_rng(1).lognormal(0, 0.3, len(train.goal))
    return rule_predictions(train, y, rule_data(seed=2) if test is None else test)[name]


def at_one(data, **changes):
    """The same goal, cost and record in every row."""
    n = len(data.goal)
    return RuleData(data.x, np.full(n, 2), np.full(n, 5.0), changes.get("past_mean", np.full(n, 3.0)))


@pytest.mark.parametrize("name", SIGNS)
def test_a_rule_ranks_by_its_feature_and_by_nothing_else(name):
    test = at_one(rule_data(300, seed=2))
    feature, sign = SIGNS[name]
    prediction = predict(name, test)
    assert spearmanr(prediction, sign * test.x[:, NAMES.index(feature)]).statistic == pytest.approx(1, abs=1e-4)
    others = test.x.copy()
    others[:, [i for i, n in enumerate(NAMES) if n != feature]] = 0
    np.testing.assert_allclose(predict(name, RuleData(others, test.goal, test.log_cost, test.past_mean)), prediction)


def test_the_record_ranks_by_the_creators_past_mean():
    past = np.random.default_rng(3).normal(3, 1, 300)
    test = at_one(rule_data(300, seed=2), past_mean=past)
    assert spearmanr(predict("creator's past mean", test), past).statistic == pytest.approx(1, abs=1e-4)


def test_random_knows_goal_and_cost_but_no_creator():
    test = rule_data(300, seed=2)
    other = RuleData(test.x + 5, test.goal, test.log_cost, test.past_mean * 3)
    np.testing.assert_array_equal(predict("random", test), predict("random", other))
    assert len(set(predict("random", at_one(test)))) == 1
    usual = predict("random", at_one(test))[0]
    dearer = RuleData(test.x, np.full(300, 2), np.full(300, 7.0), test.past_mean)
    assert predict("random", dearer)[0] > 1.3 * usual


@pytest.mark.parametrize("name", [*RULES, RIDGE])
def test_a_rule_is_brought_to_the_level_of_the_data(name):
    train = rule_data()
    y = true_mean(train, "followers")
    prediction = rule_predictions(train, y, train)[name]
    assert (prediction > 0).all()
    for goal in (0, 2):
        rows = train.goal == goal
        assert prediction[rows].sum() / y[rows].sum() == pytest.approx(1, abs=0.12)


@pytest.mark.parametrize("name", [*RULES, RIDGE])
def test_a_rule_that_knows_the_truth_comes_near_it(name):
    if name == "random":
        assert spearmanr(predict(name), rule_data(seed=2).goal).statistic > 0.5
        return
    about = "followers" if name == RIDGE else name
    train, test = rule_data(3000), rule_data(seed=2)
    prediction = rule_predictions(train, true_mean(train, about), test)[name]
    assert spearmanr(prediction, true_mean(test, about)).statistic > 0.95


@pytest.mark.parametrize("name", [*RULES, RIDGE])
def test_what_is_unknown_is_predicted_all_the_same(name):
    train, test = rule_data(), rule_data(200, seed=2)
    nothing = RuleData(np.full_like(test.x, np.nan), test.goal, np.full(200, np.nan), np.full(200, np.nan))
    prediction = rule_predictions(train, true_mean(train, "followers"), nothing)[name]
    assert np.isfinite(prediction).all()
    assert (prediction > 0).all()


def test_a_goal_with_few_rows_is_predicted_by_all_goals():
    train = rule_data()
    few = np.flatnonzero(train.goal == 2)[MIN_ROWS_A_GOAL - 1 :]
    train = RuleData(train.x, np.where(np.isin(np.arange(900), few), 0, train.goal), train.log_cost, train.past_mean)
    y = np.where(train.goal == 2, 1e6, 1.0)
    test = at_one(rule_data(50, seed=2))
    unseen = RuleData(test.x, np.full(50, 4), test.log_cost, test.past_mean)
    np.testing.assert_array_equal(
        rule_predictions(train, y, test)["random"], rule_predictions(train, y, unseen)["random"]
    )


def test_rules_leave_what_they_are_given_alone():
    train, test = rule_data(), rule_data(100, seed=2)
    kept = [array.copy() for array in (train.x, train.log_cost, test.x, test.log_cost)]
    rule_predictions(train, true_mean(train, "followers"), test)
    for array, before in zip((train.x, train.log_cost, test.x, test.log_cost), kept, strict=True):
        np.testing.assert_array_equal(array, before)
