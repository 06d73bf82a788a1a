"""Other learners to judge beside the model, on the same rows: what people would reach for first.

All of one size (300 trees of about 31 leaves) and one objective (Tweedie of power 1.5). Three have the model's
features, the log of the cost and the creator's past mean; one has the last snapshot only.
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from benchmarks.last_snapshot import LastSnapshot
from training.backtest import outcome, past_mean, rule_data
from training.truth_judge import priced

Floats = NDArray[np.float64]

# XGBoost's min_child_weight and CatBoost's learning rate are those with the highest share of oracle on seed 5 of
# balanced and cliffs at 2,000 and 20,000 placements: a little to the peers' advantage, and no seed that tables show
ROUNDS = 300
PARAMS = {
    "objective": "tweedie", "tweedie_variance_power": 1.5, "num_leaves": 31, "learning_rate": 0.05,
    "min_data_in_leaf": 40, "feature_fraction": 0.7, "bagging_fraction": 0.8, "bagging_freq": 1, "lambda_l2": 5.0,
    "seed": 0, "deterministic": True, "force_row_wise": True, "num_threads": 2, "verbosity": -1,
}  # fmt: skip
XGBOOST = {
    "objective": "reg:tweedie", "tweedie_variance_power": 1.5, "tree_method": "hist", "grow_policy": "lossguide",
    "max_leaves": 31, "max_depth": 0, "learning_rate": 0.05, "min_child_weight": 10.0, "colsample_bytree": 0.7,
    "subsample": 0.8, "reg_lambda": 5.0, "seed": 0, "nthread": 2,
}  # fmt: skip
CATBOOST = {
    "loss_function": "Tweedie:variance_power=1.5", "iterations": ROUNDS, "learning_rate": 0.15, "depth": 5, "rsm": 0.7,
    "bootstrap_type": "Bernoulli", "subsample": 0.8, "l2_leaf_reg": 5.0, "random_seed": 0, "thread_count": 2,
    "verbose": False, "allow_writing_files": False,
}  # fmt: skip


def _lightgbm(x: Floats, y: Floats, asked: Floats, categories: list[int] | None = None) -> Floats:
    data = lgb.Dataset(x, label=y, categorical_feature=categories or [])
    return np.asarray(lgb.train(PARAMS, data, num_boost_round=ROUNDS).predict(asked))


def _xgboost(x: Floats, y: Floats, asked: Floats) -> Floats:
    import xgboost as xgb

    booster = xgb.train(XGBOOST, xgb.DMatrix(x, label=y), num_boost_round=ROUNDS)
    return np.asarray(booster.predict(xgb.DMatrix(asked)), dtype=np.float64)


def _catboost(x: Floats, y: Floats, asked: Floats) -> Floats:
    from catboost import CatBoostRegressor

    fitted = CatBoostRegressor(**CATBOOST).fit(x, y)
    return np.asarray(fitted.predict(asked, prediction_type="Exponent"))


SAME_FEATURES: dict[str, tuple[str, Callable[[Floats, Floats, Floats], Floats]]] = {
    "LightGBM Tweedie, same features": ("lightgbm", _lightgbm),
    "XGBoost Tweedie, same features": ("xgboost", _xgboost),
    "CatBoost Tweedie, same features": ("catboost", _catboost),
}
LAST_SNAPSHOT = "LightGBM Tweedie, last snapshot"
PEERS = (*SAME_FEATURES, LAST_SNAPSHOT)


def absent_peers() -> dict[str, str]:
    """Peers whose package is not installed, each with the line that says so."""
    return {
        name: f"{name} is left out: {package} is not installed (pip install '.[peers]')"
        for name, (package, _) in SAME_FEATURES.items()
        if find_spec(package) is None
    }


def peer_advice(data: Any, rows: Any, result: Any, model: Any, tables: Any, briefs: Any) -> dict[str, Any]:
    """Advice of each peer that is installed for the pool of a truth result, by name.

    Args:
        data, rows, result, model: as in `judge_by_truth`, and what came of it.
        tables: the market's own, for the last snapshots.
        briefs: the held-out ones, in the order of the pool.
    """
    value = outcome(data, "value")
    learnt = rows[np.isfinite(value[rows])]
    train, asked = rule_data(data, learnt, past_mean(data, "value")), result.pool.rule_data()
    y = np.maximum(value[learnt], 0.0)

    def advice(predicted: Floats) -> Any:
        return priced(result.pool, predicted * y.mean(), model.basis.cost_floor)

    same, same_asked = (np.column_stack([part.x, part.log_cost, part.past_mean]) for part in (train, asked))
    absent = absent_peers()
    found = {
        name: advice(learner(same, y / y.mean(), same_asked))
        for name, (_, learner) in SAME_FEATURES.items()
        if name not in absent
    }
    last = LastSnapshot(data.market, tables)
    read, categories = last.of_placements(learnt)
    read_asked, _ = last.of_pool(result.pool, briefs)
    read, read_asked = np.column_stack([read, train.log_cost]), np.column_stack([read_asked, asked.log_cost])
    return found | {LAST_SNAPSHOT: advice(_lightgbm(read, y / y.mean(), read_asked, categories))}
