"""What a look on a day says, row by row: pure functions of data, model, reference and the day."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.asof import NEVER
from features.market import Market
from serving.model import Model
from serving.stage import Floats
from training.backtest import outcome, predict
from training.dataset import Dataset
from training.drift import MIN_CAMPAIGNS, MISSING_LIMIT, PSI_LIMIT, Columns, Drift, Reference, State, drift_of
from training.monitor_data import PREDICTED, TURNING, columns, outcome_names
from training.monitor_outcomes import (
    COVERAGE,
    LEAST,
    MOST,
    Settled,
    Verdict,
    closing_days,
    coverage,
    promise_kept,
    settled,
)
from training.monitor_snapshots import snapshot_drifts
from training.split import iso

Ints = NDArray[np.int64]

PARTS = ("features", "snapshots", "predictions", "outcomes", "promise", "past picks", "coverage")
ALPHA = 0.05  # chance of any alarm, ever, while a model is served and nothing changed
EACH = ALPHA / len(PARTS)
MONTH = 30  # days


@dataclass(frozen=True)
class Row:
    """One thing that is watched.

    Attributes:
        part: one of PARTS.
        what: the column, or what is tested.
        figure: NaN where there are too few.
        limit: from where on it is DRIFT, in words.
        note: anything else worth telling, or nothing.
        rows, campaigns: that it is of; of `snapshots`: snapshots and creators.
        missing, missing_before, new: of a column, as in Drift; NaN of other rows, and where there are none.
    """

    part: str
    what: str
    state: State
    figure: float
    limit: str
    note: str
    rows: int
    campaigns: int
    missing: float = np.nan
    missing_before: float = np.nan
    new: float = np.nan


@dataclass(frozen=True)
class Watched:
    """The n placements that a model did not learn from or that were picked from answers, with all that looks compare.

    Attributes:
        market: all placements.
        model: served.
        learnt_before: UTC day as of which it was trained.
        rows: the placements, ascending, shape (n,).
        columns: of them.
        actual, promised: their value, and what the model expects of it, shape (n,).
        picked: value they were promised when they were picked from an answer, NaN for others, shape (n,).
        snapshots: of all creators, canonical frame.
    """

    market: Market
    model: Model
    learnt_before: int
    rows: Ints
    columns: Columns
    actual: Floats
    promised: Floats
    picked: Floats
    snapshots: pl.DataFrame


def watched(data: Dataset, model: Model, picked: Floats, learnt_before: int, snapshots: pl.DataFrame) -> Watched:
    """What was agreed or settled since a model was trained, or picked at any time.

    Args:
        data: features and labels of every placement.
        model: served.
        picked: see Watched; of every placement, shape (p,).
        learnt_before, snapshots: see Watched.
    """
    p = data.market.placements
    rows = np.flatnonzero((p.agreed >= learnt_before) | (p.settled >= learnt_before) | np.isfinite(picked))
    return Watched(
        market=data.market, model=model, learnt_before=learnt_before, rows=rows, columns=columns(data, model, rows),
        actual=outcome(data, "value")[rows], promised=predict(data, model, rows, "value"), picked=picked[rows],
        snapshots=snapshots,
    )  # fmt: skip


def look(seen: Watched, reference: Reference, as_of: int) -> list[Row]:
    """Everything that is watched, as seen on a day.

    Args:
        seen: placements and snapshots.
        reference: of the model's training data.
        as_of: UTC day of the look; what was agreed or settled on it or later is not seen.
    """
    agreed = seen.market.placements.agreed[seen.rows]
    closes = closing_days(seen.market.placements, as_of, seen.learnt_before)[seen.rows]
    new, known = (agreed >= seen.learnt_before) & (agreed < as_of), closes < NEVER
    # whole months of placements
    months = new & (agreed < as_of - (as_of - seen.learnt_before) % MONTH)
    outcomes, apart = outcome_names(seen.model), (*PREDICTED, *TURNING)
    features = [n for n in (*seen.columns.numbers, *seen.columns.names) if n not in (*outcomes, *apart)]

    def by_campaign(promised: Floats, day: Ints) -> Settled:
        at = day < NEVER
        return settled(seen.market, seen.model, seen.rows[at], day[at], seen.actual[at], promised[at])

    followed, picks = by_campaign(seen.promised, closes), by_campaign(seen.picked, closes)
    ever = by_campaign(seen.picked, closing_days(seen.market.placements, as_of, 0)[seen.rows])
    value, bounds = "actual / promised value", f"beyond {LEAST:.2f} to {MOST:.2f}"
    share, held = "share inside 80 % intervals", f"beyond {COVERAGE[0]:.2f} to {COVERAGE[1]:.2f}"
    return [
        *_moved("features", drift_of(reference, seen.columns.part(features, new), EACH / 2)),
        *_moved("features", drift_of(reference, seen.columns.part(TURNING, months), EACH / 2)),
        *_delivered(snapshot_drifts(seen.snapshots, seen.learnt_before, as_of, EACH), seen.learnt_before),
        *_moved("predictions", drift_of(reference, seen.columns.part(PREDICTED, new), EACH)),
        *_moved("outcomes", drift_of(reference, seen.columns.part(outcomes, known), EACH)),
        _tested("promise", value, bounds, promise_kept(followed, EACH)),
        _tested("past picks", value, bounds, promise_kept(picks, EACH)),
        _told("past picks", f"{value}, whole slate log", promise_kept(ever, EACH)),
        _tested("coverage", share, held, coverage(followed, EACH)),
    ]


def _moved(part: str, drifts: Sequence[Drift]) -> list[Row]:
    """Columns of placements beside those of training."""
    return [_of_column(part, one, one.psi, f"PSI {PSI_LIMIT:.2f}", _drift_note(one)) for one in drifts]


def _delivered(drifts: Sequence[Drift], learnt_before: int) -> list[Row]:
    """Columns of snapshots: the figure is the share that is missing."""
    return [
        _of_column(
            "snapshots", one, np.nan if one.state is State.TOO_FEW else one.missing,
            f"missing {one.missing_before + MISSING_LIMIT:.2f}",
            f"missing {one.missing:.0%} since {iso(learnt_before)}, was {one.missing_before:.0%}" if one.rows else "",
        )
        for one in drifts
    ]  # fmt: skip


def _of_column(part: str, one: Drift, figure: float, limit: str, note: str) -> Row:
    missing, new = (one.missing, one.new) if one.rows else (np.nan, np.nan)
    return Row(part, one.column, one.state, figure, limit, note, one.rows, one.campaigns, missing,
               one.missing_before, new)  # fmt: skip


def _drift_note(one: Drift) -> str:
    notes = []
    if one.new > 0:
        named = ", ".join(one.new_names[:3])
        notes.append(f"{one.new:.0%} never seen in training: {named}")
    if one.campaigns and abs(one.missing - one.missing_before) >= 0.005:
        notes.append(f"missing {one.missing:.0%}, was {one.missing_before:.0%}")
    return "; ".join(notes)


def _tested(part: str, what: str, limit: str, verdict: Verdict) -> Row:
    note = (
        f"evidence {verdict.wealth:.3g} of {verdict.alarm_at:.0f}"
        if verdict.campaigns
        else f"at least {MIN_CAMPAIGNS} campaigns are needed"
    )
    return Row(part, what, verdict.state, verdict.figure, limit, note, verdict.rows, verdict.campaigns)


def _told(part: str, what: str, verdict: Verdict) -> Row:
    """A figure that raises no alarm: the model has learnt from some of it, and an alarm would outlast its cause."""
    return Row(part, what, State.NOT_TESTED, verdict.figure, "", "", verdict.rows, verdict.campaigns)
