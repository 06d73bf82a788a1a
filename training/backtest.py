"""The backtest: the model and the simple rules on later placements, by the code that is served."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.market import Market
from features.matrix import NAMES
from features.tiers import tier_names
from features.value import GOALS
from serving.candidates import score
from serving.interval import Interval, share_inside
from serving.model import Model
from serving.promise import Promise
from serving.stage import Floats
from training.baselines import RuleData, rule_predictions
from training.dataset import Dataset
from training.funnel_fit import TooLittle, fit_model
from training.intervals import MIN_ROWS as MIN_INTERVAL_ROWS
from training.intervals import fit_intervals, ranks
from training.judgeable import judgeable
from training.metrics import Metrics, bootstrap, bootstrap_ratio, judge, tweedie
from training.promise_fit import fit_promise
from training.split import Split
from training.stage_fit import FitOptions

Ints = NDArray[np.int64]

MIN_JUDGED = 50
MODEL = "model"
MOST_MEMBERS = 10  # of a kind of slice, those with the most rows
# what to judge by, best first: money if it can be, else what stands nearest to it and later placements know
TARGETS = ("value", "net_revenue", "conversions", "clicks", "impressions", "engagements")


@dataclass(frozen=True)
class Backtest:
    """What later placements say.

    Attributes:
        target: what was judged (`value` unless no later placement could be).
        missing: why it is not value, or None.
        split: the window and its rows; `judged` are the test rows that may be judged (`training.judgeable`).
        predicted: by name (`model` or a rule), shape (judged,).
        promised: the model's after `promise`, shape (judged,).
        metrics: by name.
        campaign: of each judged row, shape (judged,).
        members: by kind of slice, the member that each judged row belongs to, shape (judged,).
        slices: by kind and member, the largest of each kind, metrics by name.
        gain: interval (90 %, bootstrap by campaign) of the best rule's deviance minus the model's.
        promise: how far high expected returns were kept, measured on all judged rows; the metrics do without it.
        intervals: of actual / promised value, measured on all judged rows.
        calibration_interval: 90 %, of predicted / actual of the model, bootstrap by campaign.
        ranks: share of each judged row's draws below its value, and of those not above it (`share_inside`), promise
            and interval measured on the earlier half of the judged rows; NaN in that half, and throughout where it is
            too short.
    """

    target: str
    missing: str | None
    split: Split
    judged: Ints
    actual: Floats
    predicted: Mapping[str, Floats]
    promised: Floats
    metrics: Mapping[str, Metrics]
    campaign: Ints
    members: Mapping[str, NDArray[np.str_]]
    slices: Mapping[str, Mapping[str, Mapping[str, Metrics]]]
    gain: tuple[float, float]
    calibration_interval: tuple[float, float]
    promise: Promise
    intervals: Mapping[str, Interval]
    ranks: tuple[Floats, Floats]
    model: Model

    @property
    def best_rule(self) -> str:
        """The rule with the least deviance."""
        rules = {name: m.deviance for name, m in self.metrics.items() if name != MODEL}
        return min(rules, key=rules.__getitem__)

    @property
    def inside(self) -> Floats:
        """Share of each judged value inside its 80 % interval, shape (judged,); NaN where `ranks` are."""
        return np.where(np.isnan(self.ranks[0]), np.nan, share_inside(*self.ranks))

    @property
    def covered_rows(self) -> int:
        """Placements that the coverage is measured on."""
        return int(np.isfinite(self.inside).sum())

    @property
    def coverage_interval(self) -> tuple[float, float]:
        """90 % interval of the coverage, bootstrap by campaign; NaN where there is none."""
        known = np.isfinite(self.inside)
        return bootstrap(self.inside[known], self.campaign[known]) if known.any() else (np.nan, np.nan)

    @property
    def coverage(self) -> float | None:
        """Share of the later half of the judged rows inside intervals measured on the earlier half."""
        return None if np.isnan(self.inside).all() else float(np.nanmean(self.inside))


def backtest(data: Dataset, split: Split, options: FitOptions) -> Backtest | None:
    """Fit on what had settled when the window opened, and judge on the window; None where nothing can be judged."""
    if len(split.train) == 0 or len(split.test) == 0:
        return None
    try:
        model = fit_model(data.market, data.x[split.train], data.labels.part(split.train), options)
    except TooLittle:
        return None
    for target in TARGETS:
        predicted = predict(data, model, split.test, target)
        actual = outcome(data, target)
        known = judgeable(data.market, split.test, actual[split.test]) & np.isfinite(predicted)
        learnt = split.train[judgeable(data.market, split.train, actual[split.train])]
        if known.sum() >= MIN_JUDGED and len(learnt) >= MIN_JUDGED and actual[learnt].sum() > 0:
            judged = split.test[known]
            return _judge(data, split, model, target, judged, learnt, predicted[known])
    return None


def predict(data: Dataset, model: Model, rows: Ints, target: str) -> Floats:
    """Expected target of some placements, by the scoring code that is served; NaN where the model lacks it."""
    market = data.market
    which = market.placements.campaign[rows]
    fee = market.placements.fee[rows]
    scores = score(
        model,
        data.x[rows],
        fee,
        market.campaigns,
        market.placements.value_share[rows],
        data.seen.credibility[rows],
        which,
    )
    return scores.value if target == "value" else scores.expected.get(target, np.full(len(rows), np.nan))


def outcome(data: Dataset, target: str) -> Floats:
    """Actual target of every placement: 0 where it was not delivered, NaN where unknown; shape (p,)."""
    p = data.market.placements
    return np.where(p.delivered > 0, p.outcomes[target], 0.0) if target != "value" else p.outcomes["value"]


def _judge(
    data: Dataset, split: Split, model: Model, target: str, judged: Ints, learnt: Ints, predicted: Floats
) -> Backtest:
    actual = outcome(data, target)
    history = past_mean(data, target)
    rules = rule_predictions(
        rule_data(data, learnt, history), np.maximum(actual[learnt], 0.0), rule_data(data, judged, history)
    )
    by_name = {MODEL: predicted, **rules}
    y = actual[judged]
    cost = data.market.placements.cost[judged] if target == "value" else None
    metrics = {name: judge(y, prediction, cost) for name, prediction in by_name.items()}
    best = min(rules, key=lambda name: metrics[name].deviance)
    gain = tweedie(y, by_name[best]) - tweedie(y, predicted)
    goals = np.array(GOALS)[data.labels.goal[judged]]
    spent, campaign = _spent(data.market, judged, target), data.market.placements.campaign[judged]
    early = judged < 0
    early[np.argsort(data.labels.day[judged], kind="stable")[: len(judged) // 2]] = True
    below, upto = np.full(len(y), np.nan), np.full(len(y), np.nan)
    if early.sum() >= MIN_INTERVAL_ROWS:
        kept = fit_promise(y[early], predicted[early], spent[early], campaign[early]).kept(predicted, spent)
        fitted = fit_intervals(y[early], kept[early], goals[early])
        below[~early], upto[~early] = ranks(fitted, y[~early], kept[~early], goals[~early])
    promise = fit_promise(y, predicted, spent, campaign)
    promised = promise.kept(predicted, spent)
    members = slice_members(data, judged)
    return Backtest(
        target=target,
        missing=None if target == "value" else _why_not_value(data, split),
        split=split,
        judged=judged,
        actual=y,
        predicted=by_name,
        promised=promised,
        metrics=metrics,
        campaign=campaign,
        members=members,
        slices={
            kind: {
                member: {name: judge(y[rows], p[rows]) for name, p in by_name.items()}
                for member, rows in _largest(of).items()
            }
            for kind, of in members.items()
        },
        gain=bootstrap(gain, campaign),
        calibration_interval=bootstrap_ratio(predicted, y, campaign),
        promise=promise,
        intervals=fit_intervals(y, promised, goals) if target == "value" else {},
        ranks=(below, upto),
        model=model,
    )


def _spent(market: Market, rows: Ints, target: str) -> Floats:
    """What returns are measured by, shape (n,); NaN where there is no return, or where all returns are the same."""
    if target != "value" or market.commission_rate is not None:
        return np.full(len(rows), np.nan)
    return np.maximum(market.placements.cost[rows], market.basis.cost_floor)


def _largest(members: NDArray[np.str_]) -> dict[str, NDArray[np.bool_]]:
    """Rows of each member with enough of them, by name; of more than MOST_MEMBERS those with the most."""
    names, counts = np.unique(members, return_counts=True)
    largest = np.sort(np.argsort(-counts, kind="stable")[:MOST_MEMBERS])
    return {str(names[at]): members == names[at] for at in largest if counts[at] >= MIN_JUDGED // 2}


def slice_members(data: Dataset, rows: Ints) -> dict[str, NDArray[np.str_]]:
    """Goal, tier, platform, country of the creator and cold start of each row, as words."""
    market = data.market
    tiers = np.array(tier_names(market.settings))
    platforms = np.array([*market.words.platform.values, "unknown"])
    countries = np.array([*market.words.country.values, "unknown"])
    history = data.x[rows, NAMES.index("creator_placements")] > 0
    return {
        "goal": np.array(GOALS)[data.labels.goal[rows]],
        "tier": tiers[data.seen.tier[rows]],
        "platform": platforms[data.seen.platform[rows]],
        "country": countries[data.seen.country[rows]],
        "creator": np.where(history, "known", "without history"),
    }


def rule_data(data: Dataset, rows: Ints, past_mean: Floats) -> RuleData:
    """What a rule may use of some placements; `past_mean` has a row a placement."""
    cost = data.market.placements.cost[rows]
    if data.market.commission_rate is not None:
        cost = np.full(len(rows), np.nan)  # a commission is known only with the sale
    log_cost = np.where(cost > 0, np.log(np.where(cost > 0, cost, 1.0)), np.nan)
    return RuleData(data.x[rows], data.labels.goal[rows], log_cost, past_mean[rows])


def past_mean(data: Dataset, target: str) -> Floats:
    """Log of the creator's mean outcome over settled placements, as of the day; NaN without any."""
    columns = {
        "value": ("value", "valued"), "net_revenue": ("revenue", "sales"), "conversions": ("conversions", "viewed"),
        "clicks": ("clicks", "viewed"), "engagements": ("engagements", "viewed"), "impressions": ("views", "viewed"),
    }  # fmt: skip
    total, count = (data.seen.past[name] for name in columns[target])
    mean = np.where(count > 0, total / np.maximum(count, 1.0), np.nan)
    return np.asarray(np.log1p(np.maximum(mean, 0.0)))


def _why_not_value(data: Dataset, split: Split) -> str:
    value = outcome(data, "value")
    learnt, judged = (int(judgeable(data.market, rows, value[rows]).sum()) for rows in (split.train, split.test))
    return (
        f"value could not be judged: {learnt} placements with a known value had settled before the window opened and "
        f"{judged} inside it know theirs (at least {MIN_JUDGED} of each are needed)"
    )
