"""Fitting one stage: a linear base on logs, LightGBM on its residual and LightGBM alone, blended by later data."""

from dataclasses import dataclass, replace

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import PoissonRegressor, Ridge, RidgeCV, TweedieRegressor

from features.matrix import FEATURES
from serving.stage import MAX_LOG, Floats, Matrix, Scaler, Stage, Trees
from training.metrics import tweedie

MIN_ROWS = 50
MIN_ROWS_FOR_TREES = 400
DENSE = 0.9  # share of positive outcomes from which logs are fitted
OVERDISPERSION = 1.0  # variance of the relative noise of a count; weights saturate at 1 / OVERDISPERSION
VALIDATION = 0.2  # latest share of the training rows that decides the blend
VALIDATION_ROWS = 60_000  # latest rows among which it is decided: more of them do not change two numbers
PENALTY_ROWS = 10_000
# the penalty on rare outcomes is that of so many events a coefficient's unit of variance, whatever the number of rows:
# on synthetic markets of 2,000 placements it picks 2 points of oracle share better than 10, from 8,000 on as well
PENALTY_EVENTS = 300.0
# what is tried: how much of the trees on the base's residual is added, and the share of an ensemble without a base
BLENDS = (0.0, 0.5, 1.0)
DIRECT = (0.0, 0.3, 0.5, 0.7, 1.0)
DIRECT_TREES = 1.5  # trees of the ensemble without a base, per tree on the residual: it has more to learn
FEW_ROWS, MANY_ROWS = 5_000, 50_000
RARE = 0.001
WORTHWHILE = 0.005  # share by which trees must lower the loss on later rows to be kept
SLOPES = (0.5, 1.5)  # bounds of the calibration slope in logs


@dataclass(frozen=True)
class FitOptions:
    """Size and seed of the trees on the residual of a stage with FEW_ROWS to MANY_ROWS rows.

    Small is as good there on top of a sound base (docs/quality.md). With more rows twice the trees with twice the
    leaves pay, with fewer they learn slower and with half the leaves.
    """

    trees: int = 40
    leaves: int = 12
    learning_rate: float = 0.1
    min_rows_in_leaf: int = 40
    seed: int = 0
    threads: int = 2
    signed: bool = True  # monotone where the sign of a feature is declared

    def without_base(self) -> "FitOptions":
        """What an ensemble is fitted with that has no base to stand on."""
        return replace(self, trees=int(DIRECT_TREES * self.trees))

    def for_rows(self, rows: int) -> "FitOptions":
        """What a stage with so many rows is fitted with."""
        if rows < FEW_ROWS:
            return replace(self, leaves=max(self.leaves // 2 + 1, 2), learning_rate=0.6 * self.learning_rate)
        if rows < MANY_ROWS:
            return self
        return replace(self, trees=2 * self.trees, leaves=2 * self.leaves)


@dataclass(frozen=True)
class StageData:
    """Labelled rows of a stage in time order: features, their standardised design, outcome and exposure > 0."""

    x: Matrix
    design: Matrix
    y: Floats
    exposure: Floats

    def part(self, rows: slice) -> "StageData":
        """Some of the rows."""
        return StageData(self.x[rows], self.design[rows], self.y[rows], self.exposure[rows])

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class _Base:
    intercept: float
    coef: Floats

    def log_rate(self, design: Matrix) -> Floats:
        return np.clip(design.astype(np.float64) @ self.coef + self.intercept, -MAX_LOG, MAX_LOG)


@dataclass(frozen=True)
class _Blend:
    """What is made of the parts: `residual` of the trees on the base, `direct` the share of the trees without one."""

    residual: float = 0.0
    direct: float = 0.0

    def __call__(self, base: Floats, residual: Floats, direct: Floats) -> Floats:
        return (1.0 - self.direct) * (base + self.residual * residual) + self.direct * direct


def fit_scaler(x: Matrix) -> Scaler:
    """Mean, standard deviation and range of each feature over its known values; constant ones get scale 1.

    The range leaves out the outermost RARE share at either end, since a few odd rows say little about a slope.
    """
    known = ~np.isnan(x)
    count = np.maximum(known.sum(axis=0), 1)
    low, high = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for column in np.flatnonzero(known.any(axis=0)):
        low[column], high[column] = np.quantile(x[known[:, column], column], [RARE, 1 - RARE])
    clipped = np.clip(x, low.astype(np.float32), high.astype(np.float32))
    mean = np.where(known, clipped, 0.0).sum(axis=0, dtype=np.float64) / count
    variance = np.where(known, (clipped - mean) ** 2, 0.0).sum(axis=0, dtype=np.float64) / count
    scale = np.sqrt(variance)
    return Scaler(mean, np.where(scale > 1e-9, scale, 1.0), low, high)


def fit_stage(quantity: str, exposure: str, data: StageData, options: FitOptions) -> Stage:
    """Fit a stage on rows in time order.

    Args:
        quantity: what is predicted.
        exposure: what it is a rate of.
        data: labelled rows, oldest first; at least MIN_ROWS with a positive outcome somewhere.
        options: size of the trees.

    Returns:
        The stage. Where nearly every outcome is positive its logs are fitted, else its mean. The latest fifth of the
        rows, predicted by base and trees fitted on the rows before, choose blend and slope.
    """
    # a yes or no has no log-normal noise, however many say yes
    dense = float((data.y > 0).mean()) >= DENSE and quantity != "delivery"
    # signs are declared for what a placement brings, not for what it costs or whether it appears
    options = replace(options.for_rows(len(data)), signed=quantity not in ("fee", "delivery"))
    blend, slope = _Blend(), 1.0
    if len(data) >= MIN_ROWS_FOR_TREES:
        recent = data.part(slice(max(len(data) - VALIDATION_ROWS, 0), None))
        cut = int(len(recent) * (1 - VALIDATION))
        past, later = recent.part(slice(0, cut)), recent.part(slice(cut, None))
        blend, slope = _validate(past, later, dense, options)
    base = _fit_base(data, dense)
    linear, level = base.log_rate(data.design), _log_mean(data)
    trees, log_rate = [], (1.0 - blend.direct) * linear + blend.direct * level
    # the base has no say beside trees that need none
    parts = ((blend.residual * (1.0 - blend.direct), linear), (blend.direct, np.full(len(data), level)))
    for weight, start in parts:
        if weight > 0:
            booster = _fit_trees(data, start, dense, options if start is linear else options.without_base())
            log_rate = log_rate + weight * booster.predict(data.x, raw_score=True)
            trees.append(Trees(booster.model_to_string(), slope * weight))
    log_rate = slope * log_rate
    shift = level_shift(data.y, np.exp(log_rate) * data.exposure)
    positive = data.y > 0
    residual = np.log(np.where(positive, data.y, 1.0) / data.exposure) - log_rate
    share = slope * (1.0 - blend.direct)
    return Stage(
        quantity=quantity,
        exposure=exposure,
        intercept=share * base.intercept + slope * blend.direct * level + shift,
        coef=share * base.coef,
        trees=tuple(trees),
        spread=float(residual[positive].std()) if positive.any() else 0.0,
        rows=len(data),
    )


def saturating_weights(expected: Floats, exposure: Floats) -> Floats:
    """Weights of rates y / exposure whose variance is expected + OVERDISPERSION x expected^2, mean 1.

    A count of 10 tells more than one of 1, but one of a million hardly more than one of ten thousand.
    """
    weights = exposure / (1.0 + OVERDISPERSION * expected)
    return np.asarray(weights / weights.mean())


def _validate(past: StageData, later: StageData, dense: bool, options: FitOptions) -> tuple[_Blend, float]:
    """The blend and the slope of the log rate that later rows want, of parts fitted on the rows before."""
    if len(later) == 0 or past.y.sum() <= 0 or later.y.sum() <= 0:
        return _Blend(), 1.0
    base, level = _fit_base(past, dense), _log_mean(past)
    fitted = base.log_rate(past.design)
    residual = _fit_trees(past, fitted, dense, options)
    direct = _fit_trees(past, np.full(len(past), level), dense, options.without_base())
    parts = [
        (base.log_rate(part.design), residual.predict(part.x, raw_score=True),
         level + direct.predict(part.x, raw_score=True))
        for part in (past, later)
    ]  # fmt: skip
    tried = []
    for blend in (_Blend(weight, share) for share in DIRECT for weight in BLENDS if share < 1 or weight == 0):
        seen, log_rate = (blend(*part) for part in parts)
        shift = level_shift(past.y, np.exp(seen) * past.exposure)
        loss = (
            _log_loss(later, log_rate)
            if dense
            else float(tweedie(later.y, np.exp(log_rate + shift) * later.exposure).mean())
        )
        tried.append((loss, blend, _slope(later, log_rate)))
    without = tried[0]
    best = min(tried, key=lambda one: one[0])
    return (best if best[0] < (1 - WORTHWHILE) * without[0] else without)[1:]


def _log_mean(data: StageData) -> float:
    return float(np.log(data.y.sum() / data.exposure.sum()))


def _log_loss(data: StageData, log_rate: Floats) -> float:
    """Variance of the log residual: under fat tails a far steadier judge than a deviance of means."""
    positive = data.y > 0
    return float(np.var(np.log(data.y[positive] / data.exposure[positive]) - log_rate[positive]))


def _slope(later: StageData, log_rate: Floats) -> float:
    """How far later outcomes follow the predicted log rate: below 1 where high predictions are too high.

    The slope of a Tweedie regression (power 1.5) of outcome on log prediction, bounded by SLOPES.
    """
    mean = float(later.y.sum() / later.exposure.sum())
    rate = later.y / later.exposure / mean
    x = log_rate - log_rate.mean()
    if x.std() < 1e-6 or len(later) < MIN_ROWS:
        return 1.0
    regression = TweedieRegressor(power=1.5, alpha=0.0, link="log", solver="newton-cholesky", max_iter=100)
    weights = np.sqrt(later.exposure / later.exposure.mean())
    regression.fit((x / x.std())[:, None], rate, weights)
    return float(np.clip(regression.coef_[0] / x.std(), *SLOPES))


def _fit_base(data: StageData, dense: bool) -> _Base:
    """The linear base. A column that never varies belongs to the intercept: serving may see another value in it."""
    base = _regress(data, dense)
    constant = np.ptp(data.design, axis=0) == 0
    intercept = base.intercept + float(base.coef[constant] @ data.design[0, constant])
    return _Base(intercept, np.where(constant, 0.0, base.coef))


def _regress(data: StageData, dense: bool) -> _Base:
    mean = float(data.y.sum() / data.exposure.sum())
    if dense:
        keep = data.y > 0
        target = np.log(data.y[keep] / data.exposure[keep])
        weights = saturating_weights(mean * data.exposure[keep], data.exposure[keep])
        weights = np.minimum(weights * data.exposure[keep].mean() / data.exposure[keep], 10.0)
        ridge = _ridge(data.design[keep].astype(np.float64), target, weights)
        return _Base(float(ridge.intercept_), np.asarray(ridge.coef_, dtype=np.float64))
    weights = saturating_weights(mean * data.exposure, data.exposure)
    alpha = PENALTY_EVENTS / max(float((data.y > 0).sum()), 1.0)
    poisson = PoissonRegressor(alpha=alpha, solver="newton-cholesky", max_iter=100)
    poisson.fit(data.design.astype(np.float64), data.y / data.exposure / mean, weights)
    return _Base(float(poisson.intercept_ + np.log(mean)), np.asarray(poisson.coef_, dtype=np.float64))


def _ridge(design: Floats, target: Floats, weights: Floats) -> Ridge:
    """A ridge whose penalty is chosen by leave-one-out on some rows: the best hardly moves with their number."""
    some = slice(None, None, max(len(target) // PENALTY_ROWS, 1))
    chosen = RidgeCV(alphas=np.logspace(0, 4, 9)).fit(design[some], target[some], weights[some])
    if len(target) < 2 * PENALTY_ROWS:
        return chosen
    return Ridge(alpha=float(chosen.alpha_), solver="cholesky").fit(design, target, weights)


def _fit_trees(data: StageData, log_rate: Floats, dense: bool, options: FitOptions) -> lgb.Booster:
    signed = options.signed and data.x.shape[1] == len(FEATURES)
    params = {
        "objective": "regression" if dense else "poisson",
        "num_leaves": options.leaves,
        "learning_rate": options.learning_rate,
        "min_data_in_leaf": options.min_rows_in_leaf,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "feature_fraction": 0.7,
        "lambda_l2": 5.0,
        "max_bin": 127,
        "seed": options.seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": options.threads,
        "verbosity": -1,
        "monotone_constraints": [feature.sign for feature in FEATURES] if signed else None,
    }
    x, start = data.x, log_rate
    if dense:
        keep = data.y > 0
        x, start = data.x[keep], log_rate[keep]
        label = np.log(data.y[keep] / data.exposure[keep])
        weights = np.ones(int(keep.sum()))
    else:
        mean = float(data.y.sum() / data.exposure.sum())
        label, start = data.y / data.exposure / mean, log_rate - np.log(mean)
        weights = saturating_weights(np.exp(log_rate) * data.exposure, data.exposure)
    dataset = lgb.Dataset(x, label=label, weight=weights, init_score=start)
    return lgb.train(params, dataset, num_boost_round=options.trees)


def level_shift(actual: Floats, expected: Floats, counts: Floats | float = 1.0) -> float:
    """What to add in logs so that expected and actual outcomes agree in sum, at a Tweedie (1.5) compromise.

    The score equation of the intercept: sum of counts (actual - a expected) / sqrt(expected) = 0.
    """
    weights = counts / np.sqrt(np.maximum(expected, 1e-12))
    return float(np.log((weights * actual).sum() / (weights * expected).sum()))


def in_time_order(day: NDArray[np.int64]) -> NDArray[np.int64]:
    """Row order by day, ties as they came."""
    return np.argsort(day, kind="stable")
