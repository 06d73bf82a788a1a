"""Simple rules a team could use instead, each turned into a prediction of the outcome on the same rows."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge, TweedieRegressor

from features.matrix import NAMES
from serving.stage import Floats, Matrix
from training.metrics import POWER
from training.stage_fit import fit_scaler

MIN_ROWS_A_GOAL = 50


@dataclass(frozen=True)
class RuleData:
    """What a rule may use, n rows: features, goal, log cost (NaN unknown) and the creator's past mean outcome."""

    x: Matrix
    goal: NDArray[np.int64]
    log_cost: Floats
    past_mean: Floats


def _feature(name: str, sign: float = 1.0) -> Callable[[RuleData], Floats]:
    return lambda data: sign * data.x[:, NAMES.index(name)].astype(np.float64)


# score of each rule in logs, NaN where it has nothing to say
RULES: dict[str, Callable[[RuleData], Floats]] = {
    "random": lambda data: np.zeros(len(data.goal)),
    "followers": _feature("log_followers"),
    "engagement rate": _feature("log_engagement_per_follower"),
    "engagement per cost": _feature("log_price_per_engagement", -1.0),
    "geo-adjusted views per cost": _feature("log_price_per_target_view", -1.0),
    "creator's past mean": lambda data: data.past_mean,
}
# by what each rule picks creators, where that is not its score
ORDERS: dict[str, Callable[[RuleData], Floats]] = {
    "random": lambda data: np.random.default_rng(0).random(len(data.goal)),
    "creator's past mean": lambda data: data.past_mean - data.log_cost,
}
RIDGE = "ridge on logs"


def rule_predictions(train: RuleData, y: Floats, test: RuleData) -> dict[str, Floats]:
    """Predicted outcome of the test rows by rule.

    A rule's score becomes an outcome through a Tweedie regression on the score and the log cost, one a goal, fitted
    on the training rows: the best that can be made of the rule. `random` knows goal and cost only.

    Args:
        train: training rows.
        y: their outcomes, not negative.
        test: rows to predict.
    """
    predictions = {name: _calibrated(score, train, y, test) for name, score in RULES.items()}
    predictions[RIDGE] = _ridge(train, y, test)
    return predictions


def rule_orders(data: RuleData) -> dict[str, Floats]:
    """What each simple rule would rank creators by for the most ROI, shape (n,); NaN where it has nothing to say."""
    return {name: ORDERS.get(name, score)(data) for name, score in RULES.items()}


def _calibrated(score: Callable[[RuleData], Floats], train: RuleData, y: Floats, test: RuleData) -> Floats:
    inputs = np.column_stack([score(train), train.log_cost])
    asked = np.column_stack([score(test), test.log_cost])
    pooled = _tweedie(inputs, y, asked)
    out = pooled.copy()
    for goal in np.unique(test.goal):
        rows, wanted = train.goal == goal, test.goal == goal
        if rows.sum() >= MIN_ROWS_A_GOAL and y[rows].sum() > 0:
            out[wanted] = _tweedie(inputs[rows], y[rows], asked[wanted])
    return out


def _tweedie(inputs: Floats, y: Floats, asked: Floats) -> Floats:
    scaler = fit_scaler(inputs.astype(np.float32))
    mean = float(y.mean())
    model = TweedieRegressor(power=POWER, alpha=1e-3, link="log", solver="newton-cholesky", max_iter=100)
    model.fit(scaler.design(inputs.astype(np.float32)).astype(np.float64), y / mean)
    return np.asarray(model.predict(scaler.design(asked.astype(np.float32)).astype(np.float64)) * mean)


def _ridge(train: RuleData, y: Floats, test: RuleData) -> Floats:
    """Ridge on log outcome over every feature and the log cost, brought to the level of the data by goal."""
    scaler = fit_scaler(np.column_stack([train.x, train.log_cost]).astype(np.float32))

    def design(data: RuleData) -> Floats:
        return scaler.design(np.column_stack([data.x, data.log_cost]).astype(np.float32)).astype(np.float64)

    positive = y[y > 0]
    floor = float(np.quantile(positive, 0.05)) if len(positive) else 1.0
    ridge = Ridge(alpha=100.0).fit(design(train), np.log(y + floor))
    fitted, predicted = np.exp(ridge.predict(design(train))), np.exp(ridge.predict(design(test)))
    out = predicted * (y.sum() / fitted.sum())
    for goal in np.unique(test.goal):
        rows = train.goal == goal
        if rows.sum() >= MIN_ROWS_A_GOAL and y[rows].sum() > 0:
            out[test.goal == goal] = predicted[test.goal == goal] * (y[rows].sum() / fitted[rows].sum())
    return np.asarray(out)
