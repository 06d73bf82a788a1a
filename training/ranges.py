"""How sure the figures of later placements are: 90 % intervals that resample whole campaigns."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.stage import Floats
from training.backtest import MODEL, Backtest
from training.metrics import TOP, tweedie

Ints = NDArray[np.int64]

DRAWS = 400
CAPTURED_AT = (0.05, TOP, 0.2, 0.3)


@dataclass(frozen=True)
class Range:
    """A figure with its 90 % interval."""

    figure: float
    low: float
    high: float


@dataclass(frozen=True)
class Ranges:
    """Of one prediction.

    Attributes:
        gain: mean deviance of the prediction minus the model's, on the same rows: above 0 the model is better.
        calibration: predicted / actual, in sum.
        captured: by share of the rows, the share of the actual outcome on those predicted best.
    """

    gain: Range
    calibration: Range
    captured: Mapping[float, Range]


def history_ranges(result: Backtest, campaign: Ints, seed: int = 0) -> dict[str, Ranges]:
    """Intervals of every prediction of a backtest.

    Args:
        result: with n judged rows.
        campaign: campaign of each judged row, shape (n,).
        seed: of the resampling.
    """
    unique, group = np.unique(campaign, return_inverse=True)
    drawn = np.random.default_rng(seed).integers(0, len(unique), (DRAWS, len(unique)))
    times = np.stack([np.bincount(one, minlength=len(unique)) for one in drawn]).astype(np.float64)

    def ratio(top: Floats, bottom: Floats) -> Range:
        tops, bottoms = (np.bincount(group, weights=part, minlength=len(unique)) for part in (top, bottom))
        below = times @ bottoms
        figure = float(top.sum() / bottom.sum()) if bottom.sum() > 0 else np.nan
        return _range(figure, (times @ tops)[below > 0] / below[below > 0])

    own = tweedie(result.actual, result.predicted[MODEL])
    ones = np.ones(len(group))
    return {
        name: Ranges(
            gain=ratio(tweedie(result.actual, predicted) - own, ones),
            calibration=ratio(predicted, result.actual),
            captured={share: _captured(result.actual, predicted, share, times, group) for share in CAPTURED_AT},
        )
        for name, predicted in result.predicted.items()
    }


def _captured(actual: Floats, predicted: Floats, share: float, times: Floats, group: Ints) -> Range:
    order = np.argsort(-predicted, kind="stable")
    y, group = actual[order], group[order]
    found = []
    for row in (np.ones(times.shape[1]), *times):
        weight = row[group]
        running = np.cumsum(weight)
        # the last row of the share counts in part, so that the figure does not jump
        inside = np.clip(share * running[-1] - (running - weight), 0.0, weight)
        total = float(weight @ y)
        found.append(float(inside @ y) / total if total > 0 else np.nan)
    return _range(found[0], np.array(found[1:]))


def _range(figure: float, draws: Floats) -> Range:
    known = draws[np.isfinite(draws)]
    if not len(known):
        return Range(figure, np.nan, np.nan)
    low, high = np.quantile(known, [0.05, 0.95])
    return Range(figure, float(low), float(high))
