"""The model and the simple rules judged by the truth of a synthetic market's held-out briefs."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.catalogue import build_catalogue
from serving.model import Model
from serving.release import Release
from serving.stage import Floats
from training.backtest import MODEL, outcome, past_mean, rule_data
from training.baselines import RIDGE, rule_orders, rule_predictions
from training.dataset import Dataset
from training.judgeable import judgeable
from training.sample_truth import Truth
from training.truth_figures import Advice, PickFigures, judge_picks, slice_figures
from training.truth_pool import Pool, past_means, score_pool

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class TruthResult:
    """What the truth says.

    Attributes:
        facts: `Truth.facts`.
        pool: the candidates, as the model scored them.
        advice: by recommender, the model first.
        figures: by recommender.
        slices: by kind and member, figures by recommender.
    """

    facts: Mapping[str, object]
    pool: Pool
    advice: Mapping[str, Advice]
    figures: Mapping[str, PickFigures]
    slices: Mapping[str, Mapping[str, Mapping[str, PickFigures]]]

    @property
    def best_rule(self) -> str:
        """The rule with the highest share of oracle."""
        rules = {name: np.nan_to_num(one.oracle_share) for name, one in self.figures.items() if name != MODEL}
        return max(rules, key=rules.__getitem__)


def judge_by_truth(data: Dataset, rows: Ints, model: Model, truth: Truth) -> TruthResult:
    """Let the model and the rules pick for every held-out brief, and look up what the picks are truly worth.

    Args:
        data: the market's placements.
        rows: those that may teach the rules; they taught the model.
        model: as it would be served.
        truth: of the same market.

    Raises:
        DataError: the truth is of another market.
    """
    market = data.market
    catalogue = build_catalogue(market, market.as_of, market.settings)
    pool = score_pool(Release(model, catalogue), truth, past_means(market, market.as_of))
    advice = {MODEL: Advice(pool.roi, pool.value, pool.roi, pool.inside), **rule_advice(data, rows, pool, model)}
    return TruthResult(
        truth.facts,
        pool,
        advice,
        {name: judge_picks(pool, one) for name, one in advice.items()},
        slice_figures(pool, advice),
    )


def rule_advice(data: Dataset, rows: Ints, pool: Pool, model: Model) -> dict[str, Advice]:
    """What each rule says: its order, and the value it expects once fitted on the same placements as the model."""
    value = outcome(data, "value")
    learnt = rows[judgeable(data.market, rows, value[rows])]
    asked = pool.rule_data()
    predicted = rule_predictions(
        rule_data(data, learnt, past_mean(data, "value")), np.maximum(value[learnt], 0.0), asked
    )
    orders = rule_orders(asked)
    return {
        name: priced(pool, expected, model.basis.cost_floor, None if name == RIDGE else orders[name])
        for name, expected in predicted.items()
    }


def priced(pool: Pool, value: Floats, cost_floor: float, order: Floats | None = None) -> Advice:
    """Advice from expected values at the costs the model expects; ordered by ROI unless by something else."""
    known = np.isfinite(pool.value)
    roi = np.where(known, value / np.maximum(pool.cost, cost_floor) - 1.0, np.nan)
    return Advice(np.where(known, roi if order is None else order, -np.inf), np.where(known, value, np.nan), roi)
