"""Trees pruned, packed and walked add up to the leaves that LightGBM says, to the unit."""

from dataclasses import replace

import lightgbm as lgb
import numpy as np
import pytest

from features.matrix import FEATURES
from serving.kernels import BLOCK, add_linear
from serving.layout import lay_out
from serving.specialise import specialise
from serving.stage import Scaler
from tests.serving.fast_scoring import features_of, forest
from tests.serving.test_forest import odd_values

F = len(FEATURES)
BRIEF = features_of("brief")
SHAPES = {
    "stumps": {"leaves": (2, 2)},
    "one leaf": {"leaves": (1, 1)},
    "small": {"leaves": (1, 8)},
    "at the border of small": {"leaves": (7, 10)},
    "large": {"leaves": (30, 32)},
    "mixed": {"leaves": (1, 32)},
    "brief alone": {"features": BRIEF},
    "brief and little else": {"features": [*BRIEF, features_of("creator")[0]], "leaves": (20, 32)},
    "price alone": {"features": features_of("price")},
    "kind and pair": {"features": features_of("kind", "pair")},
}


def rows_for_one_brief(rng, n):
    x = odd_values(rng, n, F)
    x[np.isinf(x)] = 3.5
    x[:, BRIEF] = x[0, BRIEF]
    return x


def sums_of(layout, x, stages):
    """What the program adds for rows of one brief, shape (stages, n)."""
    program = specialise(layout, x[0], stages)
    bytes_ = np.stack([np.zeros(len(x), np.uint8), *(layout.columns[c].bytes_of(x[:, layout.columns[c].feature])
                                                     for c in program.columns)])[1:]  # fmt: skip
    sums = np.empty((len(stages), len(x)), dtype=np.int32)
    sums[:] = program.constant[:, None]
    program.run(np.ascontiguousarray(bytes_), sums)
    return sums


def leaves_said_by_lightgbm(layout, x, stages):
    """The same from the leaves that the Boosters say."""
    expected = np.zeros((len(layout.stages), len(x)), dtype=np.int64)
    tree = 0
    for row, stage in enumerate(layout.stages):
        for trees in stage.trees:
            leaf = lgb.Booster(model_str=trees.text).predict(x, pred_leaf=True).reshape(len(x), -1)
            for k in range(leaf.shape[1]):
                assert layout.tree_stage[tree] == row
                expected[row] += layout.fixed_leaf[layout.leaf_start[tree] + leaf[:, k].astype(int)]
                tree += 1
    return expected[list(stages)]


@pytest.fixture(scope="module")
def model_of(world):
    def made(seed, trees=9, categorical=0.01, **shape):
        rng = np.random.default_rng(seed)
        x = rows_for_one_brief(rng, 200)
        unpriced = [f for f in range(F) if f not in features_of("price")]
        wanted = shape.pop("features", range(F))
        stages = {
            name: replace(stage, trees=tuple(
                forest(rng, x, trees, features=wanted, categorical=categorical, **shape) for _ in range(2)))
            for name, stage in world.model.stages.items()
        }  # fmt: skip
        fee = forest(rng, x, trees, features=unpriced, categorical=categorical, **shape)
        return replace(world.model, stages=stages, fee=replace(world.model.fee, trees=(fee,)))

    return made


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_sums_are_those_of_the_leaves_to_the_unit(model_of, shape):
    for seed in range(3):
        layout = lay_out(model_of(seed, **shape))
        x = rows_for_one_brief(np.random.default_rng(seed + 90), 130)
        stages = list(range(len(layout.stages)))
        np.testing.assert_array_equal(sums_of(layout, x, stages), leaves_said_by_lightgbm(layout, x, stages))


@pytest.mark.parametrize("n", [1, 2, BLOCK - 1, BLOCK, BLOCK + 1])
def test_any_number_of_rows_and_any_choice_of_stages(model_of, n):
    layout = lay_out(model_of(7, trees=5))
    x = rows_for_one_brief(np.random.default_rng(n), n)
    last = len(layout.stages) - 1
    for stages in ([last], [2, 0], [3, last, 1], [0]):
        np.testing.assert_array_equal(sums_of(layout, x, stages), leaves_said_by_lightgbm(layout, x, stages))


def test_what_was_summed_before_is_added_to(model_of):
    layout = lay_out(model_of(1))
    x = rows_for_one_brief(np.random.default_rng(1), 50)
    program = specialise(layout, x[0], [0])
    bytes_ = np.stack([layout.columns[c].bytes_of(x[:, layout.columns[c].feature]) for c in program.columns])
    once, twice = np.zeros((1, 50), np.int32), np.full((1, 50), 11, np.int32)
    program.run(bytes_, once)
    program.run(bytes_, twice)
    np.testing.assert_array_equal(twice, once + 11)


@pytest.mark.parametrize("n", [1, BLOCK - 1, BLOCK, BLOCK + 1])
def test_the_linear_base_is_that_of_the_scaler(n):
    rng = np.random.default_rng(n)
    f, stages, kinds = 6, 3, 4
    low, high = np.sort(rng.normal(0, 3, (2, f)), axis=0)
    scaler = Scaler(rng.normal(0, 1, f), rng.uniform(0.5, 2, f), low, high)
    values = odd_values(rng, n, f).T.astype(np.float64) * 1.1
    coef, unit = rng.normal(0, 1, (stages, 2 * f)), 2.0 ** np.array([20, 16, 4])
    kind_sums, kind = (
        rng.integers(-99, 99, (stages, kinds)).astype(np.int32),
        rng.integers(0, kinds, n).astype(np.int32),
    )
    before = rng.integers(-99, 99, (stages, n)).astype(np.int32)
    sums = before.copy()
    columns = [np.asarray(c, dtype=np.float32) for c in (low, high, scaler.mean, scaler.scale)]
    add_linear(
        np.ascontiguousarray(values), *columns, np.ascontiguousarray(coef[:, :f]), np.ascontiguousarray(coef[:, f:]),
        unit, kind_sums, kind, sums,
    )  # fmt: skip
    linear = scaler.design(values.T.astype(np.float32)).astype(np.float64) @ coef.T
    exact = before + kind_sums[:, kind] + linear.T * unit[:, None]
    assert (np.abs(sums - exact) <= 0.5 + 1e-6).all()
    assert np.abs(sums - before).max() > 100
