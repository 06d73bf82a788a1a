"""Trees read from model text decide as LightGBM does."""

import math

import lightgbm as lgb
import numpy as np
import pytest

from serving.forest import CATEGORICAL, DEFAULT_LEFT, MISSING_NAN, MISSING_ZERO, ZERO, parse_trees
from tests.serving.fast_scoring import model_text, random_tree

ODD = [0.0, -0.0, 1e-36, -1e-36, ZERO, -ZERO, 1.1e-35, -1.1e-35, 1e-45, np.inf, -np.inf, np.nan, 3e38, -0.5, 1e10]


def odd_values(rng, n, f):
    """Numbers of every kind: whole ones, so that categories meet them, and what borders on zero."""
    x = rng.integers(-3, 40, (n, f)) + rng.choice([0.0, 0.0, 0.25], (n, f))
    return np.where(rng.random((n, f)) < 0.4, rng.choice(ODD, (n, f)), x).astype(np.float32)


def leaf_of(tree, row):
    """The leaf that a row falls into, by LightGBM's documented rules."""
    at = 0 if len(tree.feature) else -1
    while at >= 0:
        value, decision = float(row[tree.feature[at]]), int(tree.decision[at])
        if not math.isnan(value) and abs(value) <= ZERO:
            value = 0.0
        if decision & CATEGORICAL:
            chosen = tree.categories[int(tree.threshold[at])]
            left = math.isfinite(value) and value > -1 and int(value) in chosen
        else:
            kind = (decision >> 2) & 3
            if math.isnan(value) and kind != MISSING_NAN:
                value = 0.0
            if (kind == MISSING_ZERO and value == 0.0) or (kind == MISSING_NAN and math.isnan(value)):
                left = bool(decision & DEFAULT_LEFT)
            else:
                left = value <= tree.threshold[at]
        at = int((tree.left if left else tree.right)[at])
    return ~at


@pytest.mark.parametrize("seed", range(4))
def test_trees_of_any_kind_lead_to_the_leaf_that_lightgbm_says(seed):
    rng = np.random.default_rng(seed)
    x = odd_values(rng, 300, 5)
    text = model_text([random_tree(rng, x, int(n), range(5), categorical=0.3) for n in rng.integers(1, 60, 12)], 5)
    trees, booster = parse_trees(text), lgb.Booster(model_str=text)
    leaves = booster.predict(x, pred_leaf=True)
    assert len(trees) == 12
    mine = np.array([[leaf_of(tree, row) for tree in trees] for row in x])
    np.testing.assert_array_equal(mine, leaves)
    values = np.stack([tree.leaf_value[leaves[:, k]] for k, tree in enumerate(trees)], axis=1)
    np.testing.assert_allclose(values.sum(axis=1), booster.predict(x, raw_score=True), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("given", [{}, {"zero_as_missing": True}, {"use_missing": False}], ids=str)
def test_trained_trees_are_read_whole(given):
    rng = np.random.default_rng(5)
    x = odd_values(rng, 800, 4)
    x[np.isinf(x)] = 7.0
    y = rng.normal(0, 1, 800) + np.nan_to_num(x[:, 0]) % 3
    options = {"num_leaves": 15, "verbose": -1, "num_threads": 1, "min_data_in_leaf": 3, "cat_smooth": 1.0, **given}
    codes = np.where(np.isnan(x), -1, np.clip(np.abs(x), 0, 50)).astype(np.float32)
    data = lgb.Dataset(np.hstack([x, codes]), y, categorical_feature=[4, 5], params=options)
    booster = lgb.train(options, data, 10)
    trees = parse_trees(booster.model_to_string())
    asked = np.hstack([odd_values(rng, 300, 4), rng.integers(-2, 60, (300, 4)).astype(np.float32)])
    leaves = np.array([[leaf_of(tree, row) for tree in trees] for row in asked])
    np.testing.assert_array_equal(leaves, booster.predict(asked, pred_leaf=True))
    assert any(tree.categories for tree in trees)
    for tree in trees:
        assert tree.leaf_count.sum() == tree.split_count[0] == 800
        assert len(tree.leaf_value) == len(tree.feature) + 1 == len(tree.left) + 1
        assert set(tree.missing.tolist()) <= {0, 1, 2}


def test_a_tree_of_one_leaf_has_no_split():
    x = np.zeros((60, 2))
    booster = lgb.train({"verbose": -1, "num_threads": 1}, lgb.Dataset(x, np.full(60, 2.5), params={"verbose": -1}), 1)
    (tree,) = parse_trees(booster.model_to_string())
    assert (tree.feature.tolist(), tree.leaf_value.tolist(), tree.categories) == ([], [2.5], ())
    assert leaf_of(tree, x[0]) == 0


def test_trees_with_linear_leaves_are_refused():
    rng = np.random.default_rng(0)
    options = {"verbose": -1, "linear_tree": True, "num_threads": 1}
    x = rng.random((200, 2))
    booster = lgb.train(options, lgb.Dataset(x, x[:, 0], params=options), 2)
    with pytest.raises(ValueError, match="linear leaves are not read"):
        parse_trees(booster.model_to_string())


def test_no_trees_are_none():
    assert parse_trees("tree\nversion=v4\n\nend of trees\n") == ()


def test_trees_that_are_averaged_are_not_read():
    x = np.random.default_rng(0).normal(size=(300, 3))
    options = {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5, "num_leaves": 4, "verbose": -1}
    booster = lgb.train(options, lgb.Dataset(x, x[:, 0]), 3)
    with pytest.raises(ValueError, match="averaged"):
        parse_trees(booster.model_to_string())
