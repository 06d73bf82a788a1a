from itertools import combinations
from math import comb, inf, nan

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.forest import CATEGORICAL, DEFAULT_LEFT, MISSING_NAN, MISSING_NONE, MISSING_ZERO, Tree, parse_trees
from serving.tree_shap import BLOCK, contributions, prepare

N, F = 900, 6
TINY = float(np.float32(1e-35))  # what LightGBM still takes for zero


def features(seed=0):
    """Numbers with gaps and zeros, and categories in the last column."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, F)).round(2).astype(np.float32)
    x[rng.random(x.shape) < 0.15] = np.nan
    x[rng.random(x.shape) < 0.15] = 0.0
    x[:, -1] = rng.integers(0, 70, N)
    x[rng.random(N) < 0.1, -1] = np.nan
    return x


def label(x, seed=1):
    """An interaction, a step of the missing, and a group of categories; positive."""
    known = np.nan_to_num(x)
    signal = known[:, 0] * known[:, 1] + np.isnan(x[:, 2]) + (known[:, 3] > 0.5) + 0.5 * (known[:, -1] % 3 == 1)
    return np.exp(0.5 * signal + np.random.default_rng(seed).normal(0, 0.2, len(x)))


def booster(x, y, rounds=12, **params):
    params = {"num_leaves": 12, "verbosity": -1, "num_threads": 1, "min_data_in_leaf": 5, "seed": 3, **params}
    data = lgb.Dataset(x, label=y, categorical_feature=params.pop("categorical", []), params=params)
    return lgb.train(params, data, rounds)


def ours(model, x):
    return contributions(prepare(parse_trees(model.model_to_string())), x)


def theirs(model, x):
    return model.predict(x, pred_contrib=True, num_threads=1)[:, :-1]


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"objective": "poisson", "learning_rate": 0.06},
        {"objective": "tweedie"},
        {"objective": "quantile", "alpha": 0.8},
        {"objective": "binary"},
        {"zero_as_missing": True},
        {"use_missing": False},
        {"categorical": [F - 1]},
        {"categorical": [F - 1], "zero_as_missing": True, "max_cat_to_onehot": 100},
        {"categorical": [F - 1], "cat_smooth": 0, "cat_l2": 0, "min_data_per_group": 1, "num_leaves": 60},
        {"monotone_constraints": [1, -1, 0, 1, 0, 0], "monotone_constraints_method": "advanced"},
        {"bagging_fraction": 0.4, "bagging_freq": 1, "feature_fraction": 0.5},
        {"data_sample_strategy": "goss", "top_rate": 0.1, "other_rate": 0.1},
        {"extra_trees": True, "max_depth": 3},
        {"num_leaves": 2},
        {"num_leaves": 200, "min_data_in_leaf": 1},
    ],
    ids=str,
)
def test_equals_pred_contrib_and_adds_up(params):
    x = features()
    y = label(x)
    model = booster(x, y > np.median(y) if params.get("objective") == "binary" else y, **params)
    fresh = features(seed=9)
    got = ours(model, fresh)
    np.testing.assert_allclose(got, theirs(model, fresh), atol=1e-9)
    rest = model.predict(fresh, raw_score=True) - got.sum(axis=1)
    np.testing.assert_allclose(rest, rest[0], atol=1e-9)
    assert got.shape == (N, F)
    assert np.abs(got).max() > 0.05


def test_the_kinds_of_splits_are_those_the_tests_above_are_for():
    x = features()
    y = label(x)

    def decisions(**params):
        trees = parse_trees(booster(x, y, **params).model_to_string())
        return np.concatenate([tree.decision for tree in trees]), np.concatenate([tree.missing for tree in trees])

    plain, missing = decisions()
    assert set(missing) >= {MISSING_NAN}
    assert set(plain & DEFAULT_LEFT) == {0, DEFAULT_LEFT}
    assert MISSING_ZERO in decisions(zero_as_missing=True)[1]
    assert set(decisions(use_missing=False)[1]) == {MISSING_NONE}
    assert (decisions(categorical=[F - 1])[0] & CATEGORICAL).any()


@pytest.mark.parametrize("params", [{}, {"zero_as_missing": True}, {"use_missing": False}], ids=str)
def test_strange_values_go_where_lightgbm_sends_them(params):
    x = features()
    model = booster(x, label(x), 20, categorical=[F - 1], **params)
    trees = parse_trees(model.model_to_string())
    edges = np.concatenate([tree.threshold[(tree.decision & CATEGORICAL) == 0] for tree in trees]).astype(np.float32)
    edges = np.concatenate([edges, np.nextafter(edges, np.float32(inf)), np.nextafter(edges, np.float32(-inf))])
    odd = [nan, inf, -inf, 0.0, -0.0, TINY, -TINY, 2 * TINY, -2 * TINY, 1e-40, 3e38, -0.5, -1.0, 2.5, 69.9, 70.0, 1e10]
    strange = np.random.default_rng(0).choice(np.concatenate([edges, np.array(odd, np.float32)]), (2000, F))
    np.testing.assert_allclose(ours(model, strange), theirs(model, strange), atol=1e-9)


def by_leaves(tree, row):
    """Leaf by leaf: the weights of sets of features, k! (d - 1 - k)! / d!, times sums of products; nothing shared."""
    out = np.zeros(len(row))

    def visit(node, path):
        if node >= 0:
            f, goes = tree.feature[node], row[tree.feature[node]] <= tree.threshold[node]
            for child, meets in ((tree.left[node], goes), (tree.right[node], not goes)):
                count = tree.split_count[child] if child >= 0 else tree.leaf_count[~child]
                o, z = path.get(f, (1, 1.0))
                visit(child, {**path, f: (o * int(meets), z * count / tree.split_count[node])})
            return
        for j, (o, z) in path.items():
            sums = np.ones(1)  # by how many features are known
            for i, factors in path.items():
                sums = sums if i == j else np.convolve(sums, factors[::-1])
            sets = [1 / (len(path) * comb(len(path) - 1, k)) for k in range(len(path))]
            out[j] += tree.leaf_value[~node] * (o - z) * (sums @ sets)

    visit(0, {})
    return out


def test_a_long_chain_of_features():
    rng = np.random.default_rng(0)
    x = (rng.random((4000, 40)) < 0.05).astype(np.float32) + rng.normal(0, 0.01, (4000, 40)).astype(np.float32)
    y = np.argmax(np.column_stack([x > 0.5, np.ones(len(x))]), axis=1)
    model = booster(x, y.astype(float), 5, num_leaves=45, min_data_in_leaf=1, learning_rate=0.5)
    trees = parse_trees(model.model_to_string())
    assert prepare(trees).points.max() > 12
    # on such paths LightGBM, which divides its way back, keeps seven digits; ours are those of the plain formula
    np.testing.assert_allclose(ours(model, x[:300]), theirs(model, x[:300]), atol=1e-6)
    for row in x[:2]:
        plain = by_leaves(trees[0], row)
        np.testing.assert_allclose(contributions(prepare(trees[:1]), row[None])[0], plain, atol=1e-13)
        assert np.abs(plain).max() > 0.1


def test_trees_of_one_leaf_and_no_trees_add_nothing():
    x = features()
    constant = booster(x, np.full(N, 3.0), 4)
    assert not ours(constant, x).any()
    assert not contributions(prepare([]), x).any()
    grown = parse_trees(booster(x, label(x), 3).model_to_string())
    alone = parse_trees(constant.model_to_string())
    assert all(len(tree.feature) == 0 for tree in alone)
    mixed = (*alone, grown[0], *alone, *grown[1:])
    np.testing.assert_array_equal(contributions(prepare(mixed), x), contributions(prepare(grown), x))


@pytest.mark.parametrize("rows", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1])
def test_a_row_is_answered_alike_whatever_stands_beside_it(rows):
    x = features()
    trees = prepare(parse_trees(booster(x, label(x), categorical=[F - 1]).model_to_string()))
    before = x.copy()
    got = contributions(trees, x[:rows])
    assert got.shape == (rows, F)
    np.testing.assert_array_equal(got, contributions(trees, x)[:rows])
    np.testing.assert_array_equal(contributions(trees, np.asfortranarray(x)[::-1][N - rows :]), got[::-1])
    np.testing.assert_array_equal(x, before)


def test_rows_without_a_feature_the_trees_ask_about_are_refused():
    x = features()
    trees = prepare(parse_trees(booster(x, label(x), categorical=[F - 1]).model_to_string()))
    with pytest.raises(ValueError, match=f"feature {F - 1}, but rows have {F - 1}"):
        contributions(trees, x[:, : F - 1])


def test_the_stages_of_a_trained_model(world):
    model, x = world.model, world.data.x[:300]
    design = model.scaler.design(x)
    f = x.shape[1]
    stages = [*model.stages.values(), model.fee]
    assert sum(len(stage.trees) for stage in stages) > 2
    for stage in stages:
        linear = design[:, :f] * stage.coef[:f] + design[:, f:] * stage.coef[f:]
        slow = linear + sum(trees.weight * theirs(trees.booster, x) for trees in stage.trees)
        np.testing.assert_allclose(stage.log_contributions(x, design), slow, atol=1e-9)


# any tree at all, against the definition: what LightGBM does not grow must be right too


@st.composite
def any_tree(draw):
    """Up to seven splits on three features in any shape, leaves of any count."""
    splits = draw(st.integers(1, 7))
    left, right, free = [0] * splits, [0] * splits, [(0, 0)]
    for s in range(splits):
        if s:
            parent, side = free.pop(draw(st.integers(0, len(free) - 1)))
            (right if side else left)[parent] = s
        else:
            free = []
        free += [(s, 0), (s, 1)]
    for leaf, (parent, side) in enumerate(free):
        (right if side else left)[parent] = ~leaf
    leaf_count = np.array(draw(st.lists(st.integers(1, 9), min_size=splits + 1, max_size=splits + 1)))
    split_count = np.zeros(splits, np.int64)
    for s in reversed(range(splits)):
        split_count[s] = sum(split_count[c] if c >= 0 else leaf_count[~c] for c in (left[s], right[s]))
    numbers = st.integers(-2, 2)
    return Tree(
        feature=np.array(draw(st.lists(st.integers(0, 2), min_size=splits, max_size=splits)), np.int32),
        threshold=np.array(draw(st.lists(numbers, min_size=splits, max_size=splits)), float),
        decision=np.zeros(splits, np.uint8),
        left=np.array(left, np.int32),
        right=np.array(right, np.int32),
        leaf_value=np.array(draw(st.lists(numbers, min_size=splits + 1, max_size=splits + 1)), float),
        leaf_count=leaf_count,
        split_count=split_count,
        categories=(),
    )


def expectation(tree, row, known, node=0):
    """Value of the tree where only some features are known: over the others, the mean of the training rows."""
    if node < 0:
        return tree.leaf_value[~node]
    left, right = tree.left[node], tree.right[node]
    if tree.feature[node] in known:
        return expectation(tree, row, known, left if row[tree.feature[node]] <= tree.threshold[node] else right)
    count = [tree.split_count[c] if c >= 0 else tree.leaf_count[~c] for c in (left, right)]
    return np.average([expectation(tree, row, known, c) for c in (left, right)], weights=count)


def shapley(tree, row, j):
    others = [f for f in range(len(row)) if f != j]
    return sum(
        (expectation(tree, row, {*known, j}) - expectation(tree, row, set(known))) / comb(len(others), size)
        for size in range(len(others) + 1)
        for known in combinations(others, size)
    ) / len(row)


@settings(max_examples=60, deadline=None)
@given(st.lists(any_tree(), min_size=1, max_size=3), st.lists(st.integers(-3, 3), min_size=3, max_size=3))
def test_equals_the_shapley_values_of_any_trees(trees, row):
    got = contributions(prepare(trees), np.array([row], np.float32))[0]
    np.testing.assert_allclose(got, [sum(shapley(tree, row, j) for tree in trees) for j in range(3)], atol=1e-12)
