"""Tuning the trees inside the training window of the backtest, so that the backtest judges what it never saw.

The training rows are split once more by time: what had settled before an inner window opened teaches, the placements
agreed in it judge, by the code that is served. Optuna is imported on first use: only tuning needs it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from features.market import Placements
from serving.model import Model
from training.backtest import TARGETS, outcome, predict
from training.dataset import Dataset
from training.funnel_fit import TooLittle, fit_model
from training.judgeable import judgeable
from training.metrics import tweedie
from training.split import Split, iso, time_split
from training.stage_fit import MIN_ROWS_FOR_TREES, FitOptions

if TYPE_CHECKING:
    import optuna

Say = Callable[[str], None]

MIN_JUDGED = 200  # on fewer placements one setting beats another by luck
# bounds of the search, on a log scale but for the leaves, which are few
WHOLE = {"trees": (40, 300), "leaves": (4, 16), "min_rows_in_leaf": (20, 200)}
LEARNING_RATE = (0.02, 0.15)


@dataclass(frozen=True)
class Trial:
    """A setting that was tried and its mean Tweedie deviance on the inner window; less is better."""

    options: FitOptions
    deviance: float


@dataclass(frozen=True)
class Tuned:
    """What tuning came to.

    Attributes:
        trials: in the order tried, the defaults first; none where there was too little to tune on.
        why: why nothing was tried, or None.
        target: what the inner window was judged by, or None.
        opens: day the inner window opens, or None.
        learnt: rows that taught.
        judged: rows of the inner window that judged.
    """

    trials: tuple[Trial, ...] = ()
    why: str | None = None
    target: str | None = None
    opens: int | None = None
    learnt: int = 0
    judged: int = 0

    @property
    def best(self) -> Trial:
        """The first of the trials with the least deviance: the defaults unless something beat them."""
        return min(self.trials, key=lambda trial: trial.deviance)

    def text(self) -> str:
        """What was chosen, beside the defaults, as a sentence."""
        if self.why is not None or self.opens is None:
            return f"Not tuned, the defaults are kept: {self.why}."
        first, best = self.trials[0], self.best
        where = (
            f"{self.target} of {self.judged} placements of the training window agreed from {iso(self.opens)}, "
            f"taught by {self.learnt} settled before"
        )
        if best is first:
            beaten = f"none of {len(self.trials)} trials beat the defaults"
            return f"Tuned: {beaten}, deviance {first.deviance:.4f} ({where})."
        return (
            f"Tuned: {described(best.options)}; deviance {best.deviance:.4f}, of the defaults {first.deviance:.4f}, "
            f"best of {len(self.trials)} trials ({where})."
        )


def tune(
    data: Dataset, split: Split, options: FitOptions, trials: int, seed: int, say: Say = lambda _: None
) -> tuple[FitOptions, Tuned]:
    """Search for better trees than those of `options`, on rows of `split.train` only.

    Args:
        data: every placement.
        split: of the backtest; its window is not looked at.
        options: the defaults: the first trial, and the answer where nothing beats them.
        trials: how many settings to try, the defaults among them; at least 1.
        seed: of the search; the same seed on the same data finds the same.
        say: told of every trial.

    Returns:
        The options to fit with, and what was tried.
    """
    inner = inner_split(data.market.placements, split)
    if inner is None:
        return options, Tuned(why="the training window of the backtest holds no settled placements to split again")
    try:
        model = _fitted(data, inner, options)
    except TooLittle:
        return options, Tuned(why=_too_little(data, inner))
    found = _judges(data, inner, model)
    if found is None:
        return options, Tuned(why=_too_little(data, inner))
    target, known = found
    actual = outcome(data, target)

    def deviance(tried: FitOptions) -> float:
        fitted = model if tried == options else _fitted(data, inner, tried)
        return float(tweedie(actual[inner.test][known], predict(data, fitted, inner.test, target)[known]).mean())

    done = search(deviance, options, trials, seed, say)
    learnt = int(judgeable(data.market, inner.train, actual[inner.train]).sum())
    tuned = Tuned(done, target=target, opens=inner.opens, learnt=learnt, judged=int(known.sum()))
    return tuned.best.options, tuned


def inner_split(placements: Placements, split: Split) -> Split | None:
    """The rows of `split.train` split again by time, with the same gap; None where that leaves either side empty."""
    if len(split.train) == 0:
        return None
    inner = time_split(placements, split.opens)
    # a row settled by then is a training row; whatever else the backtest left out stays out
    train, test = (np.intersect1d(part, split.train) for part in (inner.train, inner.test))
    return Split(inner.opens, train, test) if len(train) and len(test) else None


def searched(options: FitOptions) -> dict[str, float]:
    """What tuning may change, by name.

    >>> searched(FitOptions())
    {'trees': 40, 'leaves': 12, 'min_rows_in_leaf': 40, 'learning_rate': 0.1}
    """
    return {name: getattr(options, name) for name in (*WHOLE, "learning_rate")}


def described(options: FitOptions) -> str:
    """The tuned settings in words.

    >>> described(FitOptions())
    '40 trees of 12 leaves at rate 0.1, at least 40 rows in a leaf'
    """
    return (
        f"{options.trees} trees of {options.leaves} leaves at rate {options.learning_rate:.3g}, "
        f"at least {options.min_rows_in_leaf} rows in a leaf"
    )


def search(
    deviance: Callable[[FitOptions], float], options: FitOptions, trials: int, seed: int, say: Say
) -> tuple[Trial, ...]:
    """Trials of Optuna's TPE sampler, one after another and kept in memory, the defaults first."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed), direction="minimize")
    study.enqueue_trial(searched(options))
    done: list[Trial] = []
    for number in range(1, trials + 1):
        asked = study.ask()
        tried = _suggested(asked, options)
        done.append(Trial(tried, deviance(tried)))
        study.tell(asked, done[-1].deviance)
        best = min(trial.deviance for trial in done)
        say(f"trial {number} of {trials}: deviance {done[-1].deviance:.4f} (best {best:.4f}), {described(tried)}")
    return tuple(done)


def _suggested(trial: "optuna.Trial", options: FitOptions) -> FitOptions:
    """The next setting to try; the bounds give way to defaults outside them."""
    whole: dict[str, Any] = {}
    for name, (low, high) in WHOLE.items():
        default = getattr(options, name)
        whole[name] = trial.suggest_int(name, min(low, default), max(high, default), log=name != "leaves")
    slow, fast = min(LEARNING_RATE[0], options.learning_rate), max(LEARNING_RATE[1], options.learning_rate)
    return replace(options, learning_rate=trial.suggest_float("learning_rate", slow, fast, log=True), **whole)


def _fitted(data: Dataset, inner: Split, options: FitOptions) -> Model:
    return fit_model(data.market, data.x[inner.train], data.labels.part(inner.train), options)


def _judges(data: Dataset, inner: Split, model: Model) -> tuple[str, NDArray[np.bool_]] | None:
    """What to judge by, nearest to money first as in the backtest, and which rows of the inner window know it."""
    for target in TARGETS:
        actual = outcome(data, target)
        known = judgeable(data.market, inner.test, actual[inner.test])
        known &= np.isfinite(predict(data, model, inner.test, target))
        learnt = judgeable(data.market, inner.train, actual[inner.train]).sum()
        # where fewer teach no trees are fitted at all: every setting would give the same model
        if known.sum() >= MIN_JUDGED and learnt >= MIN_ROWS_FOR_TREES and actual[inner.test][known].sum() > 0:
            return target, known
    return None


def _too_little(data: Dataset, inner: Split) -> str:
    learnt, judged = max(
        (
            [int(judgeable(data.market, rows, outcome(data, target)[rows]).sum()) for rows in (inner.train, inner.test)]
            for target in TARGETS
        ),
        key=sum,
    )
    return (
        f"{learnt} placements with a known outcome had settled before the inner window opened on {iso(inner.opens)} "
        f"and {judged} in it know theirs (at least {MIN_ROWS_FOR_TREES} and {MIN_JUDGED} are needed)"
    )
