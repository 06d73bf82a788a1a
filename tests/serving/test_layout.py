"""Bytes and edges say what LightGBM decides, and what cannot be laid out is refused."""

from dataclasses import replace

import lightgbm as lgb
import numpy as np
import pytest

from features.matrix import FEATURES, NAMES
from serving.columns import MOST_EDGES, Column, Readers
from serving.forest import MISSING_NAN, MISSING_NONE, MISSING_ZERO, ZERO, parse_trees
from serving.layout import MOST_CATEGORICAL, CannotLayOutError, lay_out
from serving.stage import Trees
from tests.serving.fast_scoring import features_of, forest, model_text, random_tree, with_trees
from tests.serving.test_forest import odd_values

F = len(FEATURES)


def trees_of(*trees):
    return Trees(model_text(trees, F), 1.0)


def stump(feature, threshold, decision=2 | MISSING_NAN << 2):
    return (
        f"num_leaves=2\nnum_cat=0\nsplit_feature={feature}\nsplit_gain=1\nthreshold={threshold:.17g}\n"
        f"decision_type={decision}\nleft_child=-1\nright_child=-2\nleaf_value=-1 1\nleaf_weight=1 1\nleaf_count=1 1\n"
        "internal_value=0\ninternal_weight=1\ninternal_count=2\nis_linear=0\nshrinkage=1"
    )


def given(model, quantity, *trees):
    """The model with these ensembles in one stage and none in the others."""
    stages = {name: replace(s, trees=trees if name == quantity else ()) for name, s in model.stages.items()}
    fee = None if model.fee is None else replace(model.fee, trees=trees if quantity == "fee" else ())
    return replace(model, stages=stages, fee=fee)


# --- one split


@pytest.mark.parametrize("missing", [MISSING_NONE, MISSING_ZERO, MISSING_NAN])
@pytest.mark.parametrize("left", [False, True])
def test_a_byte_above_an_edge_is_lightgbm_going_right(world, missing, left):
    """At the edge itself, at its neighbours in either precision, about zero and for what is missing."""
    borders = [0.0, ZERO, -ZERO, 2 * ZERO, -2 * ZERO, ZERO / 2, -ZERO / 2, 0.1, -0.1, 1e300, -1e300]
    borders += [float(np.nextafter(b, s)) for b in (ZERO, -ZERO, 0.1) for s in (-1, 1)]
    column = features_of("creator")[0]
    near = [np.nextafter(np.float32(b), np.float32(s)) for b in borders for s in (-np.inf, np.inf) if abs(b) < 1e38]
    finite = [b for b in borders if abs(b) < 1e38]
    values = np.array([*finite, *near, np.nan, np.inf, -np.inf, 1e-45, -1e-45], dtype=np.float32)
    decision = missing << 2 | 2 * left
    trees = trees_of(*(stump(column, b, decision) for b in borders))
    layout = lay_out(given(world.model, "impressions", trees))
    x = np.zeros((len(values), F), dtype=np.float32)
    x[:, column] = values
    right = lgb.Booster(model_str=trees.text).predict(x, pred_leaf=True) == 1
    for k in range(len(borders)):
        asked = layout.columns[layout.column[k]]
        np.testing.assert_array_equal(asked.bytes_of(values) > layout.edge[k], right[:, k], err_msg=str(borders[k]))
        alone = lay_out(given(world.model, "impressions", trees_of(stump(column, borders[k], decision))))
        np.testing.assert_array_equal(
            alone.columns[0].bytes_of(values) > alone.edge[0], right[:, k], err_msg=str(borders[k])
        )


def test_categories_are_whole_numbers_as_lightgbm_cuts_them(world):
    rng = np.random.default_rng(0)
    column = features_of("creator")[0]
    x = np.zeros((400, F), dtype=np.float32)
    x[:, column] = odd_values(rng, 400, 1)[:, 0]
    trees = trees_of(*(random_tree(rng, x, 4, [column], categorical=1.0) for _ in range(5)))
    layout = lay_out(given(world.model, "impressions", trees))
    assert len(layout.columns) == 15
    booster_leaf = lgb.Booster(model_str=trees.text).predict(x, pred_leaf=True)
    for k, tree in enumerate(parse_trees(trees.text)):
        at = np.zeros(len(x), dtype=int)
        while (at >= 0).any():
            split = layout.split_start[k] + np.maximum(at, 0)
            bytes_ = np.stack([c.bytes_of(x[:, c.feature]) for c in layout.columns])
            above = bytes_[layout.column[split], np.arange(len(x))] > layout.edge[split]
            at = np.where(at >= 0, np.where(above, tree.right[at], tree.left[at]), at)
        np.testing.assert_array_equal(~at, booster_leaf[:, k])


@pytest.mark.parametrize("n", [1, 2047, 2048, 2049])
def test_columns_read_at_once_are_those_read_one_by_one(n):
    rng = np.random.default_rng(n)
    columns = [
        Column(feature, missing, left, tuple(np.unique(rng.integers(-9, 9, size)).astype(np.float32).tolist()))
        for feature in (0, 1, 2) for missing in (0, 1, 2) for left in (False, True) for size in (1, 4, 7)
    ]  # fmt: skip
    columns += [Column(1, categories=frozenset({0, 3, 7})), Column(2, 1, True, tuple(range(-127, 128)))]
    values = odd_values(rng, n, 3).T.astype(np.float64)
    out = np.full((len(columns), n), 77, dtype=np.uint8)
    unsure = Readers.of(columns, [0, 1, 2]).read(np.ascontiguousarray(values), np.zeros(3), out)
    assert not unsure.any()
    for row, column in enumerate(columns):
        np.testing.assert_array_equal(out[row], column.bytes_of(values[column.feature].astype(np.float32)))


@pytest.mark.parametrize("off", [1e-7, 0.3])
def test_who_is_not_unsure_has_the_byte_of_every_value_as_near(off):
    rng = np.random.default_rng(3)
    columns = [
        Column(0, missing, left, tuple(np.unique(rng.integers(-5, 6, size) / 2.0).tolist()))
        for missing in (0, 1, 2) for left in (False, True) for size in (1, 3, 6)
    ]  # fmt: skip
    columns += [Column(0, MISSING_ZERO, True, (5.0,)), Column(0, categories=frozenset({1, 2}))]
    true = np.concatenate([rng.integers(-12, 13, 400) / 2.0, np.zeros(40), [np.nan, np.inf, -np.inf]])
    for column in columns:
        readers = Readers.of([column], [0])
        for _ in range(5):
            near = true + off * rng.choice([-1.0, -0.99, 0.0, 0.5, 0.99, 1.0], len(true))
            out = np.empty((1, len(true)), dtype=np.uint8)
            unsure = readers.read(near[None], np.array([off * (1 + 1e-9) + 1e-12]), out)
            wrong = out[0] != column.bytes_of(true.astype(np.float32))
            assert not (wrong & ~unsure).any(), (column, true[wrong & ~unsure], near[wrong & ~unsure])
            assert not unsure.all()


# --- whole layouts


def test_more_thresholds_than_a_byte_holds_take_more_columns(world):
    rng = np.random.default_rng(1)
    column = features_of("pair")[0]
    edges = np.unique(rng.normal(0, 1, 600).astype(np.float32).astype(np.float64))
    trees = trees_of(*(stump(column, edge) for edge in edges))
    layout = lay_out(given(world.model, "impressions", trees))
    assert len(layout.columns) == -(-len(edges) // MOST_EDGES)
    assert max(len(c.edges) for c in layout.columns) == MOST_EDGES
    x = np.zeros((700, F), dtype=np.float32)
    x[:, column] = [*edges, *rng.normal(0, 2, 699 - len(edges)), np.nan]
    right = lgb.Booster(model_str=trees.text).predict(x, pred_leaf=True) == 1
    bytes_ = [c.bytes_of(x[:, column]) for c in layout.columns]
    above = np.stack([bytes_[c] > e for c, e in zip(layout.column, layout.edge, strict=True)], axis=1)
    np.testing.assert_array_equal(above, right)


def test_columns_stand_in_the_order_of_where_they_are_from(world, seen):
    layout = lay_out(with_trees(world.model, np.random.default_rng(0), seen))
    where = [
        ("creator", "kind", "pair", "price").index(
            "price" if FEATURES[c.feature].beside_price is not None else FEATURES[c.feature].scope
        )
        for c in layout.columns
    ]
    assert where == sorted(where)
    assert set(where) == {0, 1, 2, 3}
    assert layout.creator_columns == where.count(0)
    by_brief = np.flatnonzero(layout.column < 0)
    np.testing.assert_array_equal(by_brief, layout.brief_splits)
    assert {FEATURES[f].scope for f in layout.brief_rules[0]} == {"brief"}
    again = lay_out(with_trees(world.model, np.random.default_rng(0), seen))
    assert again.columns == layout.columns  # what lies on the disk goes by their order


@pytest.mark.parametrize("seed", range(3))
def test_splits_on_the_brief_are_decided_as_lightgbm_does(world, seen, seed):
    rng = np.random.default_rng(seed)
    features = features_of("brief")
    x = odd_values(rng, 200, F)
    trees = Trees(model_text([random_tree(rng, x, 2, features, categorical=0.3) for _ in range(150)], F), 1.0)
    layout = lay_out(given(world.model, "impressions", trees))
    assert len(layout.columns) == 0
    assert sum(c is not None for c in layout.categories) > 20
    left = lgb.Booster(model_str=trees.text).predict(x, pred_leaf=True) == 0
    finite = np.isfinite(x[:, features]).all(axis=1) | np.isnan(x[:, features]).any(axis=1)
    x[np.isinf(x)] = 0.25
    left = lgb.Booster(model_str=trees.text).predict(x, pred_leaf=True) == 0
    assert finite.any()
    for row in range(len(x)):
        np.testing.assert_array_equal(layout.brief_goes(x[row]), left[row])


def test_splits_on_creators_are_left_open(world, seen):
    layout = lay_out(with_trees(world.model, np.random.default_rng(0), seen))
    goes = layout.brief_goes(seen[0])
    np.testing.assert_array_equal(goes == -1, layout.column >= 0)


def test_sums_cannot_overflow_and_scales_are_powers_of_two(world, seen):
    for size in (1e-3, 1.0, 1e6):
        layout = lay_out(with_trees(world.model, np.random.default_rng(0), seen, size=size))
        np.testing.assert_array_equal(np.log2(layout.scale) % 1, 0)
        stage = np.repeat(layout.tree_stage, np.diff(layout.leaf_start))
        largest = np.zeros(len(layout.stages))
        for tree, row in enumerate(layout.tree_stage):
            largest[row] += np.abs(layout.leaf[layout.leaf_start[tree] : layout.leaf_start[tree + 1]]).max()
        assert (largest * layout.scale < 2**30).all()
        off = np.abs(layout.fixed_leaf / layout.scale[stage] - layout.leaf)
        assert (off <= 0.5 / layout.scale[stage]).all()
        trees = np.bincount(layout.tree_stage, minlength=len(layout.stages))
        assert (layout.rounding >= 0.5 * (trees + 4) / layout.scale).all()


def test_the_span_of_prices_is_that_of_trees_which_ask_for_one(world):
    price, other = NAMES.index("log_price_to_budget"), features_of("creator")[0]
    model = given(world.model, "clicks", replace(trees_of(stump(price, 1.0), stump(other, 1.0)), weight=-3.0))
    layout = lay_out(model)
    assert layout.priced_span[layout.row("clicks")] == pytest.approx(6.0)
    assert layout.priced_span.sum() == pytest.approx(6.0)


def test_a_model_without_any_tree_is_laid_out(world):
    layout = lay_out(given(world.model, "none"))
    assert (len(layout.columns), len(layout.leaf), len(layout.fixed_leaf)) == (0, 0, 0)
    assert len(layout.stages) == len(world.model.stages) + 1


# --- what is refused


def too_large(rng, x):
    return trees_of(random_tree(rng, x, 33, features_of("creator")))


def many_categories(rng, x):
    x = np.broadcast_to(np.arange(199, dtype=np.float32)[:, None], (199, F))
    return trees_of(*(random_tree(rng, x, 3, features_of("creator"), categorical=1.0) for _ in range(40)))


def linear(rng, x):
    return Trees(trees_of(stump(0, 1.0)).text.replace("is_linear=0", "is_linear=1"), 1.0)


def cut_short(rng, x):
    return Trees(trees_of(stump(0, 1.0)).text.replace("leaf_value=-1 1\n", ""), 1.0)


@pytest.mark.parametrize(
    ("trees", "words"),
    [(too_large, "33 leaves, more than 32"), (many_categories, f"more than {MOST_CATEGORICAL} .*categories"),
     (linear, "trees of clicks: .*linear"), (cut_short, "trees of clicks: 'leaf_value'")],
)  # fmt: skip
def test_trees_of_another_kind_are_refused(world, seen, trees, words):
    with pytest.raises(CannotLayOutError, match=words):
        lay_out(given(world.model, "clicks", trees(np.random.default_rng(0), seen)))


def test_trees_of_as_many_leaves_as_a_mask_has_bits_are_laid_out(world, seen):
    tree = random_tree(np.random.default_rng(0), seen, 32, features_of("creator", "pair", "kind"), categorical=0)
    assert len(lay_out(given(world.model, "clicks", trees_of(tree))).leaf) == 32


def test_a_fee_that_is_read_from_prices_is_refused(world, seen):
    for feature in features_of("price"):
        with pytest.raises(CannotLayOutError, match="the fee is predicted from what a fee buys"):
            lay_out(given(world.model, "fee", trees_of(stump(feature, 1.0))))
        for half in (0, F):
            coef = np.array(world.model.fee.coef)
            coef[feature + half] = 0.1
            with pytest.raises(CannotLayOutError, match="the fee is predicted from what a fee buys"):
                lay_out(replace(world.model, fee=replace(world.model.fee, coef=coef)))
    other = forest(np.random.default_rng(0), seen, features=features_of("creator", "brief", "kind", "pair"))
    assert lay_out(given(world.model, "fee", other)).row("fee") == len(world.model.stages)
