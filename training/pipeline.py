"""From a folder of tables to a published model and catalogue, and the steps in between."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from features.check import Report
from features.errors import DataError
from features.matrix import NAMES, schema_hash
from features.settings import load_settings
from features.value import GOALS
from serving.interval import Interval
from serving.model import Model, save_model
from serving.release import Release
from serving.stage import Floats
from serving.together import BIG
from training import mlflow_store, publish, registry, tracking
from training.backtest import Backtest, backtest, outcome, predict
from training.card import model_card
from training.dataset import Dataset
from training.duel import duel
from training.engine import EngineName, engine
from training.exposure import exposure_of, recent_briefs
from training.funnel_fit import TooLittle, fit_model
from training.gate import Verdict, judge_promotion
from training.in_force import drift_since, in_force, keep_beside, what_is_live
from training.intervals import MIN_ROWS, fit_intervals
from training.judgeable import judgeable
from training.run_record import Training, run_record, with_trials
from training.source import Source, catalogue_source, source
from training.split import iso, labelled, time_split
from training.stage_fit import FitOptions
from training.tier_table import tier_table
from training.together_fit import Booked, fit_together
from training.tune import Tuned, searched, tune

Promote = Literal["auto", "dry-run", "never"]
Say = Callable[[str], None]
Ints = NDArray[np.int64]

FOLDS = 5


@dataclass(frozen=True)
class Trained:
    """What a training run came to."""

    version: str
    run_id: str
    report: Report
    result: Backtest | None
    verdict: Verdict
    promoted: bool
    tuned: Tuned | None


def config_path(home: Path) -> Path:
    """The one file of settings."""
    return home / "config.toml"


def train(
    folder: Path, home: Path, *, as_of: date | None = None, promote: Promote = "auto", trials: int = 0, seed: int = 0,
    engine_name: EngineName = "local", scheduler: str | None = None, say: Say = lambda _: None,
) -> Trained:  # fmt: skip
    """Check, features, tuning if asked for, backtest, fit, log, register, gate, and publish model and catalogue.

    Args:
        folder: the tables, or what `influencer-roi bucket` made of them.
        home: where everything is written.
        as_of: train as if deciding on this day; default: the day after the newest fact.
        promote: `auto` serves the model if the gate lets it, `dry-run` and `never` do not.
        trials: settings of the trees to try inside the training window of the backtest; 0 keeps the defaults.
        seed: of the trees, and of what is tried.
        engine_name, scheduler: where features are computed (`training.engine`); models are fitted on this machine.
        say: told what is being done.

    Raises:
        DataError: the data cannot be used; nothing is published then.
    """
    settings = load_settings(config_path(home))
    if mlflow_store.recorded(home):
        # a store that does not answer is told before the work, not after it
        mlflow_store.prepare(home)
    with engine(engine_name, home, scheduler) as runner, source(folder, settings, as_of, home, runner, say) as found:
        return _train(found, folder, home, promote, trials, FitOptions(seed=seed), say)


def _train(
    found: Source, folder: Path, home: Path, promote: Promote, trials: int, options: FitOptions, say: Say
) -> Trained:
    data, market = found.data, found.data.market
    split = time_split(market.placements, found.as_of)
    tuned = None
    if trials:
        say(f"tuning: {trials} trials inside the {len(split.train)} placements settled before {iso(split.opens)}")
        options, tuned = tune(data, split, options, trials, options.seed, say)
    say(f"backtest: {len(split.train)} placements settled before {iso(split.opens)}, {len(split.test)} after")
    result = backtest(data, split, options)
    rows = labelled(market.placements, found.as_of)
    say(f"fitting on {len(rows)} settled placements")
    model = fit_served(data, rows, result, options)
    champion = in_force(home)
    met = None if champion is None or result is None else duel(data, result, champion.version, champion.folder)
    verdict = judge_promotion(found.report.ok, result, (len(split.train), len(split.test)), met)
    promoted = promote == "auto" and verdict.promote
    say("storing the catalogue")
    catalogue_tag = publish.store_catalogue(home, found.catalogue)
    tiers = tier_table(data, rows)
    card = model_card(model, market, found.report, folder, found.as_of, rows, result, verdict, tiers)
    model = replace(
        model, card={**card, "catalogue": catalogue_tag, "options": {**searched(options), "seed": options.seed}}
    )
    say("logging to MLflow")
    with tempfile.TemporaryDirectory() as temporary:
        artefact = Path(temporary) / "artefact"
        artefact.mkdir()
        save_model(model, artefact)
        training = Training(
            model, data, found.recorded, found.report, rows, result, verdict, options, met,
            champion=None if champion is None else champion.card,
            drift=None if champion is None else drift_since(champion, data, model, rows),
            exposure=exposure_of(Release(model, found.catalogue), recent_briefs(market)),
            live=what_is_live(champion, promoted),
        )  # fmt: skip
        record = run_record(training, artefact)
        if tuned is not None:
            record = with_trials(record, tuned)
        version, run_id = tracking.log_run(home, record, say)
    assert version is not None  # the record holds a model
    model = model.with_version(version)
    labels = {"version": version, "run_id": run_id, "feature_schema": schema_hash()}
    say(f"{'publishing' if promoted else 'storing'} version {version}")
    publish.keep_version(
        home, model, labels, found.catalogue, serve=promoted,
        beside=lambda folder: keep_beside(folder, data, model, rows, result),
    )  # fmt: skip
    try:
        registry.set_aliases(home)
    except DataError as error:
        # the version is stored, and may be served, whatever MLflow says of it
        say(f"warning: the aliases were not moved: {error}")
    return Trained(version, run_id, found.report, result, verdict, promoted, tuned)


def rebuild_catalogue(
    folder: Path, home: Path, as_of: date | None = None, *, engine_name: EngineName = "local",
    scheduler: str | None = None, say: Say = lambda _: None,
) -> str:  # fmt: skip
    """Rebuild only what is served about creators, for the model in force; returns the catalogue's tag.

    Arguments as of `train`.

    Raises:
        DataError: the data cannot be used, or their base currency is not the model's.
    """
    settings = load_settings(config_path(home))
    with (
        engine(engine_name, home, scheduler) as runner,
        catalogue_source(folder, settings, as_of, home, runner, say) as catalogue,
    ):
        return publish.serve_catalogue(home, catalogue)


def fit_served(data: Dataset, rows: Ints, result: Backtest | None, options: FitOptions) -> Model:
    """The model to serve: fitted on all labelled rows; intervals and what sets share measured on rows it had not seen.

    Args:
        data: features and labels.
        rows: placements that may be labels.
        result: the backtest, None where nothing could be judged.
        options: size of the trees.
    """
    model = fit_model(data.market, data.x[rows], data.labels.part(rows), options)
    if result is not None and result.intervals:
        held, promised = result.judged, result.promised
        model = replace(model, promise=result.promise, intervals=result.intervals)
    else:
        held, promised = _held_out(data, rows, options)
        model = replace(model, intervals=_intervals(data, held, promised))
    return replace(model, together=fit_together(_booked(data, rows, held, promised), model.intervals))


def _held_out(data: Dataset, rows: Ints, options: FitOptions) -> tuple[Ints, Floats]:
    """Rows that may be judged by value, each predicted by a model of the other folds by campaign; none if too few."""
    valued = rows[judgeable(data.market, rows, outcome(data, "value")[rows])]
    campaign = data.market.placements.campaign
    found: list[tuple[Ints, Floats]] = [(valued[:0], np.zeros(0))]
    for fold in range(FOLDS):
        held = valued[campaign[valued] % FOLDS == fold]
        rest = rows[campaign[rows] % FOLDS != fold]
        if len(held) == 0 or len(rest) == 0:
            continue
        try:
            fitted = fit_model(data.market, data.x[rest], data.labels.part(rest), options)
        except TooLittle:
            continue
        predicted = predict(data, fitted, held, "value")
        found.append((held[np.isfinite(predicted)], predicted[np.isfinite(predicted)]))
    if sum(len(held) for held, _ in found) < MIN_ROWS:
        return found[0]
    return np.concatenate([held for held, _ in found]), np.concatenate([predicted for _, predicted in found])


def _intervals(data: Dataset, held: Ints, predicted: Floats) -> dict[str, Interval]:
    if len(held) == 0:
        # nothing to measure an interval on: as wide as one placement usually is (80 % spans 20 x)
        spread = np.exp(np.linspace(-1.5, 1.5, 100))
        return {"any": Interval(np.array([]), (spread / spread.mean())[None, :], 0)}
    return fit_intervals(outcome(data, "value")[held], predicted, np.array(GOALS)[data.labels.goal[held]])


def _booked(data: Dataset, rows: Ints, held: Ints, promised: Floats) -> Booked:
    """The labelled rows, with what those that were held out were promised."""
    p = data.market.placements
    by_row = np.full(len(p), np.nan)
    by_row[held] = promised
    followers = data.x[rows, NAMES.index("log_followers")]
    delivered = p.delivered[rows] > 0
    return Booked(
        campaign=p.campaign[rows],
        goal=np.array(GOALS)[data.labels.goal[rows]],
        actual=outcome(data, "value")[rows],
        promised=by_row[rows],
        big=np.where(np.isnan(followers), np.nan, followers >= np.float32(np.log(BIG))),
        posted=p.posted[rows],
        reach=np.where(delivered, p.reach[rows], np.nan),
        impressions=np.where(delivered, p.outcomes["impressions"][rows], np.nan),
    )
