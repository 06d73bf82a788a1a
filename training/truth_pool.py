"""Every candidate of a synthetic market's held-out briefs, scored by the code that is served."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.brief import parse_brief
from features.errors import DataError
from features.market import Market
from features.matrix import NAMES
from features.settings import ValueSettings
from features.value import GOALS
from serving.candidates import Candidates, candidates, possible_rois
from serving.interval import share_inside
from serving.model import Model
from serving.release import Release
from serving.stage import Floats, Matrix
from training.baselines import RuleData
from training.sample_truth import Truth

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Pool:
    """The candidates of b held-out briefs; n rows, those of a brief side by side.

    Attributes:
        starts: first row of each brief and the end of the last, shape (b + 1,).
        goal: goal code of each brief, shape (b,).
        budget: of each brief, shape (b,).
        truth: `Truth.outcomes` in the order of the rows.
        x: features, NaN throughout where the model may not pick the creator; shape (n, f).
        cost, value, roi: what the model expects, NaN likewise; shape (n,).
        inside: share of the drawn ROI inside the 80 % interval, NaN likewise; shape (n,).
        past_mean: log of the creator's mean past value, NaN without any; shape (n,).
    """

    starts: Ints
    goal: Ints
    budget: Floats
    truth: pl.DataFrame
    x: Matrix
    cost: Floats
    value: Floats
    roi: Floats
    inside: Floats
    past_mean: Floats

    @property
    def unanswered(self) -> int:
        """Briefs for which the model may pick nobody: it could not learn their goal, or nobody fits."""
        answered = np.add.reduceat(np.isfinite(self.value), self.starts[:-1]) if len(self.value) else np.zeros(0)
        return int((answered == 0).sum())

    def rule_data(self) -> RuleData:
        """What a rule may use."""
        log_cost = np.where(self.cost > 0, np.log(np.where(self.cost > 0, self.cost, 1.0)), np.nan)
        return RuleData(self.x, np.repeat(self.goal, np.diff(self.starts)), log_cost, self.past_mean)

    def members(self) -> dict[str, NDArray[np.str_]]:
        """Tier, platform and cold start of each row, as words: slices within which creators are picked too."""
        known = self.truth["past_placements"].to_numpy() > 0
        return {
            "tier": self.truth["tier"].to_numpy().astype(str),
            "platform": self.truth["platform"].to_numpy().astype(str),
            "creator": np.where(known, "known", "without history"),
        }


def score_pool(release: Release, truth: Truth, past_mean: Floats) -> Pool:
    """Score every candidate of every held-out brief.

    Args:
        release: model and catalogue.
        truth: of the same market.
        past_mean: log of the mean past value of each creator of the catalogue.

    Raises:
        DataError: the truth is of another market, or its money is not the model's.
    """
    _same_market(release, truth, past_mean)
    ids = release.catalogue.display["creator_id"]
    row_of = pl.DataFrame({"creator_id": ids, "row": np.arange(len(ids))})
    outcomes = truth.outcomes.with_columns(
        pl.col("brief_id").replace_strict({brief["brief_id"]: k for k, brief in enumerate(truth.briefs)}).alias("brief")
    ).sort("brief", maintain_order=True)
    row = outcomes.join(row_of, on="creator_id", how="left", maintain_order="left")["row"].to_numpy()
    starts = np.searchsorted(outcomes["brief"].to_numpy(), np.arange(len(truth.briefs) + 1))
    n = len(row)
    x = np.full((n, len(NAMES)), np.nan, dtype=np.float32)
    cost, value, roi, inside = (np.full(n, np.nan) for _ in range(4))
    drawn = outcomes["drawn_roi"].to_numpy()
    for k, payload in enumerate(truth.briefs):
        brief = parse_brief(payload)
        try:
            found = candidates(release, brief)
        except DataError:
            continue  # nobody fits, or the goal could not be learnt: a brief without an answer
        place = np.full(len(ids), -1)
        place[row[starts[k] : starts[k + 1]]] = np.arange(starts[k], starts[k + 1])
        at = place[found.rows]
        x[at], cost[at], value[at], roi[at] = found.x, found.scores.cost, found.scores.value, found.scores.roi
        inside[at] = _inside(release.model, brief.goal, found, drawn[at])
    return Pool(
        starts=starts,
        goal=np.array([GOALS.index(str(brief["goal"])) for brief in truth.briefs]),
        budget=np.array([float(str(brief["budget"])) for brief in truth.briefs]),
        truth=outcomes.drop("brief"),
        x=x,
        cost=cost,
        value=value,
        roi=roi,
        inside=inside,
        past_mean=past_mean[row],
    )


def past_means(market: Market, day: int) -> Floats:
    """Log of the mean value of each creator's placements of known value and cost that settled before a day.

    NaN for a creator without any; shape (creators,).
    """
    creator = np.arange(len(market.creators))
    own = market.histories["creator"].at(creator, np.full(len(creator), day))
    mean = np.where(own["valued"] > 0, own["value"] / np.maximum(own["valued"], 1.0), np.nan)
    return np.asarray(np.log1p(np.maximum(mean, 0.0)))


def _inside(model: Model, goal: str, found: Candidates, drawn: Floats) -> Floats:
    draws = possible_rois(model, goal, found, np.arange(len(found.rows)))
    below = (draws < drawn[:, None]).mean(axis=1)
    upto = (draws <= drawn[:, None]).mean(axis=1)
    return np.where(np.isnan(draws[:, 0]), np.nan, share_inside(below, upto))


def _same_market(release: Release, truth: Truth, past_mean: Floats) -> None:
    shown = release.catalogue.display.select("creator_id", own="platform", valued=pl.Series(np.isfinite(past_mean)))
    asked = truth.outcomes.select("creator_id", "platform", "past_placements").unique()
    found = asked.join(shown, on="creator_id", how="left")
    # creators are numbered alike in every sample market
    other = (pl.col("own").is_null() | (pl.col("own") != pl.col("platform"))
             | (pl.col("valued") & (pl.col("past_placements") == 0)))  # fmt: skip
    strangers = found.filter(other)["creator_id"].sort().to_list()
    if strangers:
        raise DataError(
            f"the truth is of another market: {len(strangers)} of its candidates, such as {', '.join(strangers[:3])}, "
            "are not in creators, or are others there. Remove the truth folder, or write both again with sample --truth"
        )
    if release.model.basis.currency != truth.facts["currency"]:
        raise DataError(
            f"the truth is in {truth.facts['currency']}, the model in {release.model.basis.currency}: "
            "leave base_currency as it is for a sample market"
        )
    if release.model.settings.value != ValueSettings():
        raise DataError("the truth is of the default value settings: use a home without [value] in its config.toml")
