"""Challenger and champion on the same placements, which neither had seen.

What is trained to be served has seen the latest window. So a version keeps, beside the model, its twin of the backtest:
the same recipe, taught only what had settled before its window opened. The challenger's twin meets the champion itself
where the champion is older than the window, else the champion's twin.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from features.errors import DataError
from serving.model import Model, load_model
from serving.promise import Promise
from serving.stage import Floats
from training.backtest import MODEL, Backtest, outcome, predict, slice_members
from training.dataset import Dataset
from training.metrics import bootstrap, judge, tweedie
from training.split import day_of, iso

Ints = NDArray[np.int64]

TWIN = "backtest"  # folder of the twin beside the model
OPENS = "opens"  # of its card: the day its window opened
MIN_ROWS, MIN_CAMPAIGNS = 100, 20
SLICE_ROWS, SLICE_CAMPAIGNS = 60, 10
SLICE_KINDS = ("goal", "tier", "platform")
ALPHA = 0.05  # chance that any slice of an equal model looks significantly worse


@dataclass(frozen=True)
class SliceGain:
    """What the challenger gains in one slice, and by how many standard errors."""

    kind: str
    member: str
    rows: int
    gain: float
    z: float


@dataclass(frozen=True)
class Duel:
    """Challenger against champion; deviances are of the same target, divided by the same mean.

    Attributes:
        champion: its version.
        basis: which model of the champion was judged, in words.
        rows, campaigns: that both were judged on.
        challenger_deviance, champion_deviance: mean Tweedie deviance; less is better.
        gain: the champion's minus the challenger's.
        interval: 90 % of the gain, bootstrap by campaign.
        challenger_calibration, champion_calibration: predicted / actual.
        slices: goals, tiers and platforms with enough placements.
        slice_bar: z below which a slice is significantly worse, all slices together at ALPHA (Bonferroni).
    """

    champion: str
    basis: str
    rows: int
    campaigns: int
    challenger_deviance: float
    champion_deviance: float
    gain: float
    interval: tuple[float, float]
    challenger_calibration: float
    champion_calibration: float
    slices: tuple[SliceGain, ...]
    slice_bar: float


def twin_of(result: Backtest) -> Model:
    """The model of a backtest, with the day from which on it had seen nothing."""
    return replace(result.model, card={**result.model.card, OPENS: iso(result.split.opens)})


def duel(data: Dataset, result: Backtest, version: str, folder: Path) -> Duel | str:
    """Let the model of a backtest meet the version in force; why they cannot meet, in words, where they cannot.

    Args:
        data: the placements.
        result: the challenger's backtest.
        version: of the champion.
        folder: of its artefact.
    """
    try:
        champion = load_model(folder)
        twin = load_model(folder / TWIN) if (folder / TWIN).is_dir() else None
    except DataError as error:
        return f"version {version} cannot be read by this program ({error})"
    if champion.basis.currency != data.market.basis.currency:
        return f"version {version} is in {champion.basis.currency}, the data are in {data.market.basis.currency}"
    agreed = data.market.placements.agreed[result.judged]
    served = agreed >= day_of(champion.card["as_of"])
    options = [(champion, served, "as served")]
    if twin is not None:
        unseen = agreed >= day_of(twin.card[OPENS])
        options.append((twin, unseen, "its twin of the backtest"))
    # the champion itself where it had seen nothing of the window; else whoever can be judged on more of it
    model, rows, basis = max(options, key=lambda option: int(option[1].sum()))
    return meet(data, result, model, np.flatnonzero(rows), version, basis)


def meet(data: Dataset, result: Backtest, champion: Model, rows: Ints, version: str, basis: str) -> Duel | str:
    """Judge a backtest's model and another on some of the judged rows.

    Args:
        data: the placements.
        result: the challenger's backtest.
        champion: the other model; value is reckoned by the data's present settings.
        rows: positions in `result.judged` that neither has seen.
        version, basis: what to call the other.
    """
    judged = result.judged[rows]
    same = replace(champion, basis=data.market.basis, settings=data.market.settings, promise=Promise())
    theirs = predict(data, same, judged, result.target)
    known = np.isfinite(theirs)
    judged, rows, theirs = judged[known], rows[known], theirs[known]
    campaign = data.market.placements.campaign[judged]
    campaigns = len(np.unique(campaign))
    if len(rows) < MIN_ROWS or campaigns < MIN_CAMPAIGNS:
        return (
            f"only {len(rows)} placements of {campaigns} campaigns are new to version {version} and have settled "
            f"({MIN_ROWS} of {MIN_CAMPAIGNS} are needed)"
        )
    actual, ours = outcome(data, result.target)[judged], result.predicted[MODEL][rows]
    gain = tweedie(actual, theirs) - tweedie(actual, ours)
    mine, other = judge(actual, ours), judge(actual, theirs)
    slices = _slices(gain, campaign, {k: m for k, m in slice_members(data, judged).items() if k in SLICE_KINDS})
    return Duel(
        champion=version, basis=basis, rows=len(rows), campaigns=campaigns, challenger_deviance=mine.deviance,
        champion_deviance=other.deviance, gain=float(gain.mean()), interval=bootstrap(gain, campaign),
        challenger_calibration=mine.calibration, champion_calibration=other.calibration, slices=slices,
        slice_bar=float(norm.ppf(ALPHA / max(len(slices), 1))),
    )  # fmt: skip


def _slices(gain: Floats, campaign: Ints, members: dict[str, NDArray[np.str_]]) -> tuple[SliceGain, ...]:
    found = []
    for kind, names in members.items():
        for member in np.unique(names):
            rows = np.flatnonzero(names == member)
            if len(rows) >= SLICE_ROWS and len(np.unique(campaign[rows])) >= SLICE_CAMPAIGNS:
                mean, error = clustered_mean(gain[rows], campaign[rows])
                z = mean / error if error > 0 else 0.0
                found.append(SliceGain(kind, str(member), len(rows), mean, z))
    return tuple(found)


def clustered_mean(values: Floats, groups: Ints) -> tuple[float, float]:
    """A mean and its standard error where the rows of a group are alike (Liang and Zeger 1986).

    >>> mean, error = clustered_mean(np.array([1.0, 1.0, 3.0, 3.0]), np.array([0, 0, 1, 1]))
    >>> mean, round(error, 3)
    (2.0, 1.0)
    """
    _, of = np.unique(groups, return_inverse=True)
    mean = float(values.mean())
    sums = np.bincount(of, weights=values - mean)
    count = len(sums)
    return mean, float(np.sqrt((sums**2).sum() * count / max(count - 1, 1)) / len(values))
