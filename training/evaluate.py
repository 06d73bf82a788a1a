"""`influencer-roi backtest`: everything the data can say about the model, beside the rules, without publishing one."""

from datetime import date
from pathlib import Path

import numpy as np

from features.settings import load_settings
from features.value import GOALS
from serving.slate_reader import read_slates
from training import tracking
from training.backtest import backtest
from training.dataset import build_dataset
from training.evaluate_record import evaluation_record
from training.evaluation import Evaluation
from training.funnel_fit import TooLittle
from training.off_policy import off_policy
from training.pipeline import Say, config_path, fit_served
from training.ranges import history_ranges
from training.sample_truth import FOLDER, read_truth
from training.slate_propensity import propensities
from training.source import load
from training.split import iso, labelled, time_split
from training.stage_fit import FitOptions
from training.tier_table import tier_table
from training.truth_judge import judge_by_truth


def evaluate(
    folder: Path, home: Path, *, as_of: date | None = None, seed: int = 0, say: Say = lambda _: None
) -> Evaluation:
    """Judge the model on later placements, on the log of choices and, where there is one, by the truth; record it all.

    Args:
        folder: the tables; `truth` in it is what `sample --truth` wrote.
        home: where the run is recorded, and whose slate log tells propensities that the data do not.
        as_of: decide as if on this day; default: the day after the newest fact.
        seed: of the trees and of what is resampled.
        say: told what is being done.

    Raises:
        DataError: the data cannot be used, or the truth is of another market.
    """
    truth = read_truth(folder / FOLDER) if (folder / FOLDER).is_dir() else None
    say(f"checking {folder}")
    loaded = load(folder, load_settings(config_path(home)), as_of)
    market, options = loaded.market, FitOptions(seed=seed)
    data = build_dataset(market)
    rows, split = labelled(market.placements, loaded.as_of), time_split(market.placements, loaded.as_of)
    say(f"backtest: {len(split.train)} placements settled before {iso(split.opens)}, {len(split.test)} after")
    history = backtest(data, split, options)
    goals, ranges, follow = np.array([], dtype=str), {}, None
    if history is not None:
        goals = np.array(GOALS)[data.labels.goal[history.judged]]
        ranges = history_ranges(history, market.placements.campaign[history.judged], seed)
        say("what following the model would have returned")
        known = propensities(market, read_slates(home))
        if known.warning is not None:
            say(f"warning: {known.warning}")
        follow = off_policy(data, history, seed, propensity=known.chance, from_slates=known.from_slates)
    say("comparing tiers")
    tiers = tier_table(data, rows)
    judged, no_truth = None, None
    if truth is not None:
        say(f"picking for {len(truth.briefs)} held-out briefs whose truth is known")
        try:
            judged = judge_by_truth(data, rows, fit_served(data, rows, history, options), truth)
        except TooLittle as error:
            no_truth = f"Picks could not be judged by the truth: {error}"
    found = Evaluation(folder, loaded.report, loaded.as_of, split, history, goals, ranges, follow, tiers, judged,
                       no_truth)  # fmt: skip
    say("logging to MLflow")
    tracking.log_run(home, evaluation_record(found, loaded.tables.by_name(), options))
    return found
