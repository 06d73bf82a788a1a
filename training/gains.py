"""For whom the model beats the best rule: its gain in each slice of the backtest, with an interval."""

from dataclasses import dataclass

import numpy as np

from training.backtest import MODEL, Backtest
from training.metrics import bootstrap, tweedie

MIN_CAMPAIGNS = 10  # from which a slice is called better or worse


@dataclass(frozen=True)
class Gain:
    """Deviance of the best rule minus the model's on the rows of one slice; above 0 the model is better.

    Attributes:
        kind, member: the slice, such as `goal` and `launch`.
        rows, campaigns: judged.
        gain: in deviance.
        low, high: 90 % interval, bootstrap by campaign.
        coverage: share of its placements inside their 80 % interval; NaN where none was measured.
    """

    kind: str
    member: str
    rows: int
    campaigns: int
    gain: float
    low: float
    high: float
    coverage: float

    @property
    def state(self) -> str:
        """`better`, `worse`, `level` where the interval holds 0, or `few` campaigns to tell."""
        if self.campaigns < MIN_CAMPAIGNS:
            return "few"
        return "better" if self.low > 0 else "worse" if self.high < 0 else "level"


def slice_gains(result: Backtest) -> tuple[Gain, ...]:
    """The model's gain over the best rule (of all rows) in every slice of a backtest, in its order."""
    rule, model = result.predicted[result.best_rule], result.predicted[MODEL]
    found = []
    for kind, members in result.slices.items():
        for member, by_name in members.items():
            rows = np.flatnonzero(result.members[kind] == member)
            y = result.actual[rows]
            campaign = result.campaign[rows]
            low, high = bootstrap(tweedie(y, rule[rows]) - tweedie(y, model[rows]), campaign)
            inside = result.inside[rows]
            inside = inside[np.isfinite(inside)]
            gain = by_name[result.best_rule].deviance - by_name[MODEL].deviance
            covered = float(inside.mean()) if len(inside) else np.nan
            found.append(Gain(kind, member, len(rows), len(np.unique(campaign)), gain, low, high, covered))
    return tuple(found)
