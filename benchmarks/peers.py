"""Other learners to judge beside the model, on the same rows: what people would reach for first."""

from typing import Any

import lightgbm as lgb
import numpy as np

from training.backtest import outcome, past_mean, rule_data
from training.truth_judge import priced

PARAMS = {
    "objective": "tweedie", "tweedie_variance_power": 1.5, "num_leaves": 31, "learning_rate": 0.05,
    "min_data_in_leaf": 40, "feature_fraction": 0.7, "bagging_fraction": 0.8, "bagging_freq": 1, "lambda_l2": 5.0,
    "seed": 0, "deterministic": True, "force_row_wise": True, "num_threads": 2, "verbosity": -1,
}  # fmt: skip
ROUNDS = 300


def peer_advice(data: Any, rows: Any, result: Any, model: Any) -> dict[str, Any]:
    """Advice of each peer for the pool of a truth result, by name."""
    value = outcome(data, "value")
    learnt = rows[np.isfinite(value[rows])]
    past = past_mean(data, "value")
    train, asked = rule_data(data, learnt, past), result.pool.rule_data()
    y = np.maximum(value[learnt], 0.0)
    x, x_asked = (np.column_stack([part.x, part.log_cost, part.past_mean]) for part in (train, asked))
    booster = lgb.train(PARAMS, lgb.Dataset(x, label=y / y.mean()), num_boost_round=ROUNDS)
    predicted = np.asarray(booster.predict(x_asked)) * y.mean()
    return {"LightGBM Tweedie, same features": priced(result.pool, predicted, model.basis.cost_floor)}
