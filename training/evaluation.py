"""What a backtest came to: everything that is printed and logged of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from features.check import Report
from training.backtest import Backtest
from training.off_policy_answer import OffPolicy
from training.ranges import Ranges
from training.split import Split
from training.tier_table import TierTable
from training.truth_judge import TruthResult


@dataclass(frozen=True)
class Evaluation:
    """What a backtest came to.

    Attributes:
        folder: where the data lie.
        report: of the check.
        as_of: the day decided on.
        split: the window and what had settled before it.
        history: what later placements say; None where nothing could be judged.
        goals: goal of each judged row of `history`; empty without it.
        ranges: intervals of its figures, by prediction; empty without it.
        follow: what following the model would have returned by the log; None without `history`.
        tiers: which tier returned more.
        truth: what the truth says; None without one.
        no_truth: why a truth that is there says nothing, or None.
    """

    folder: Path
    report: Report
    as_of: int
    split: Split
    history: Backtest | None
    goals: NDArray[np.str_]
    ranges: Mapping[str, Ranges]
    follow: OffPolicy | None
    tiers: TierTable
    truth: TruthResult | None
    no_truth: str | None
