"""The creators who may be picked for one brief, and what the model says of each: the part that is costly at scale."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.brief import Brief
from features.brief_columns import BriefColumns, encode_briefs
from features.context import brief_context
from features.declare import Family
from features.errors import DataError
from features.geography import target_share, value_share
from features.matrix import brief_matrix, fill
from features.profile import PRICE_SOURCES
from features.value import GOALS, placement_value, roi
from serving.catalogue import Catalogue
from serving.filters import Candidate, apply_filters
from serving.interval import roi_draws
from serving.model import Model
from serving.release import Release
from serving.stage import Floats, Matrix

Ints = NDArray[np.int64]

ESTIMATED = float(PRICE_SOURCES.index("estimated"))
GOAL_CODES = {goal: code for code, goal in enumerate(GOALS)}
QUANTITIES = ("impressions", "engagements", "conversions")


@dataclass(frozen=True)
class Scores:
    """What the model says about n candidates; costs and ROI are NaN where the data hold no fee at all."""

    expected: Mapping[str, Floats]
    value: Floats
    cost: Floats
    roi: Floats


@dataclass(frozen=True)
class Candidates:
    """The n creators of the catalogue that pass a brief's filters.

    Attributes:
        rows: their rows in the catalogue, ascending.
        x: features, shape (n, f).
        fee, fee_spread, source: fee to expect, NaN where nothing tells, the spread of its log, and where it is from, a
            code into PRICE_SOURCES.
        share, credibility: g and q of the value formula; q is NaN where unknown.
        scores: what the model says.
        order: what `rank_by` asks to be highest.
        considered: creators of the catalogue.
        removed: creators by the filter that removed them.
    """

    rows: Ints
    x: Matrix
    fee: Floats
    fee_spread: Floats
    source: Floats
    share: Floats
    credibility: Floats
    scores: Scores
    order: Floats
    considered: int
    removed: Mapping[str, int]

    def best(self, top: int) -> Ints:
        """Positions of the picks, best first, the first row first among equals; NaN last."""
        return np.argsort(-np.nan_to_num(self.order, nan=-np.inf), kind="stable")[:top]


def candidates(release: Release, brief: Brief) -> Candidates:
    """Score the creators that pass a brief's filters.

    Raises:
        DataError: the brief asks for something this data cannot answer (`field` names it).
        NothingFits: the filters leave nobody.
    """
    model = release.model
    _check(release, brief)
    named = _named(release.catalogue, brief)
    catalogue = release.catalogue if named is None else release.catalogue.part(named)
    briefs = encode_briefs([_with_start(brief, release)], catalogue.words, catalogue.cpm_factors)
    deliverable = catalogue.words.deliverable.code_in_any_case(brief.deliverable)
    context = brief_context(catalogue.state, briefs, deliverable, catalogue.words, len(catalogue.tier_names))
    x = brief_matrix(catalogue.state, context)
    fee, fee_spread, source = _fees(catalogue, model, x, deliverable)
    if model.commission_rate is None:
        # what a fee buys is judged at the fee of the answer, estimated ones included
        fill(x, replace(context, profile={**context.profile, "price": fee}), Family.COST)
    asked = Candidate(fee, source != ESTIMATED, np.broadcast_to(target_share(context), (len(x),)))
    keep, removed = apply_filters(catalogue, brief, asked)
    rows = np.flatnonzero(keep)
    share = value_share(
        context.lists["country"].rows(rows), catalogue.state.codes["country"][rows], briefs, context.which,
        catalogue.prior,
    )  # fmt: skip
    credibility = catalogue.state.profile["audience_credibility"][rows]
    scores = score(model, x[rows], fee[rows], briefs, share, credibility)
    considered = len(release.catalogue.state)
    if named is not None and considered > len(x):
        removed = {"creator_ids": considered - len(x), **removed}
    return Candidates(
        rows=rows if named is None else named[rows],
        x=x[rows],
        fee=fee[rows],
        fee_spread=fee_spread[rows],
        source=source[rows],
        share=share,
        credibility=credibility,
        scores=scores,
        order=_order(scores, brief),
        considered=considered,
        removed=removed,
    )


def score(
    model: Model, x: Matrix, fee: Floats, briefs: BriefColumns, share: Floats, credibility: Floats,
    which: NDArray[np.int64] | None = None,
) -> Scores:  # fmt: skip
    """Expected quantities, value, cost and ROI of n candidates.

    Args:
        model: the funnel.
        x: features, shape (n, f).
        fee: fee in base currency, NaN where there is none to go by; shape (n,).
        briefs: encoded briefs, and `which` of them each row is for (default: the first).
        share: g of the value formula, shape (n,).
        credibility: audience credibility, NaN where unknown, shape (n,).
    """
    which = np.zeros(len(x), dtype=np.int64) if which is None else which
    expected = model.expected(x)
    unknown = np.full(len(x), np.nan)
    goal = briefs.goal[which]
    margin = briefs.numbers["product_margin"][which]
    value = placement_value(
        goal, expected.get("impressions", unknown), expected.get("engagements", unknown),
        expected.get("net_revenue", unknown), share, credibility, margin, model.basis,
    )  # fmt: skip
    if "value" in expected:
        given = np.isin(goal, [GOAL_CODES[name] for name in model.overridden_goals])
        value = np.where(given, expected["value"], value)
    cost = fee + model.extra_cost.at(fee)
    if model.commission_rate is None:
        value = model.promise.kept(value, np.maximum(cost, model.basis.cost_floor))
    return Scores(expected, value, cost, roi(value, cost, model.basis.cost_floor))


def possible_rois(model: Model, goal: str, found: Candidates, picks: Ints) -> Floats:
    """Equally likely ROIs of some candidates, shape (m, draws); NaN where value or cost is unknown."""
    if model.commission_rate is not None:
        # the cost moves with the sale, so ROI is the same whatever is sold
        return found.scores.roi[picks][:, None]
    interval = model.intervals.get(goal, model.intervals["any"])
    value, cost = found.scores.value[picks], found.scores.cost[picks]
    return roi_draws(interval.draws(value), cost, found.fee_spread[picks], model.basis.cost_floor)


def _named(catalogue: Catalogue, brief: Brief) -> Ints | None:
    """Rows of the creators that the brief names, None where it names none: nobody else need be scored."""
    if not brief.filters.creator_ids:
        return None
    ids = pl.Series(list(brief.filters.creator_ids), dtype=pl.String)
    rows = np.flatnonzero(catalogue.display["creator_id"].is_in(ids.implode()).to_numpy())
    return rows if len(rows) else None


def _check(release: Release, brief: Brief) -> None:
    model = release.model
    if brief.rank_by in QUANTITIES and brief.rank_by in model.stages and brief.goal not in model.overridden_goals:
        # the order asked for can be had even where the data cannot tell the value yet
        model.basis.require(brief.goal)
    else:
        model.require(brief.goal)
    base = model.basis.currency
    if brief.currency is not None and brief.currency != base:
        raise DataError(
            f"currency: amounts are read and answered in the base currency {base}, not {brief.currency}: "
            f"convert budget and max_fee to {base}, or leave currency out",
            field="currency",
        )
    if brief.rank_by in QUANTITIES and brief.rank_by not in model.stages:
        raise DataError(
            f"rank_by: the training data held too few {brief.rank_by} to predict them; choose another order",
            field="rank_by",
        )
    words = release.catalogue.words.deliverable
    priced_apart = release.catalogue.state.deliverable_prices.shape[1] > 0
    if brief.deliverable is not None and priced_apart and words.code_in_any_case(brief.deliverable) < 0:
        raise DataError(
            f"deliverable: {brief.deliverable} is not in the data, where deliverables are priced apart; "
            f"known are {', '.join(words.values[:10])}",
            field="deliverable",
        )
    no_cost = model.fee is None and model.typical_fee is None and model.commission_rate is None
    if brief.rank_by in ("roi", "profit") and no_cost and np.isnan(release.catalogue.state.profile["price"]).all():
        raise DataError("rank_by: no fee and no price is known, so ROI cannot be computed; use value", field="rank_by")


def _with_start(brief: Brief, release: Release) -> dict[str, object]:
    starts_on = brief.starts_on or date.fromisoformat(release.data_as_of)
    return {**brief.model_dump(), "starts_on": starts_on}


def expected_fee(model: Model, price: Floats, source: Floats, x: Matrix) -> tuple[Floats, Floats]:
    """Fee to expect and the spread of its log, shape (n,) each; a commission is that of the expected sales.

    Args:
        model: the funnel.
        price: known beforehand, NaN where none is.
        source: of the price, a code into PRICE_SOURCES.
        x: features, shape (n, f).
    """
    if model.commission_rate is None:
        return model.expected_fee(price, source, x)
    sales = model.expected(x).get("net_revenue", np.full(len(x), np.nan))
    return model.commission_rate * sales, np.zeros(len(x))


def _fees(catalogue: Catalogue, model: Model, x: Matrix, deliverable: int) -> tuple[Floats, Floats, Floats]:
    """Fee of each creator, the spread of its log and where it is from: priced for the deliverable, known, estimated."""
    state = catalogue.state
    price = np.asarray(state.profile["price"])
    source = np.where(np.isnan(price), ESTIMATED, np.nan_to_num(state.profile["price_source"]))
    fee, spread = expected_fee(model, price, source, x)
    if model.commission_rate is not None:
        return fee, spread, np.full(len(x), ESTIMATED)
    if 0 <= deliverable < state.deliverable_prices.shape[1]:
        # a price list says what this very deliverable costs
        listed = state.deliverable_prices[:, deliverable]
        priced = ~np.isnan(listed)
        fee, spread = np.where(priced, listed, fee), np.where(priced, 0.0, spread)
        source = np.where(priced, state.deliverable_sources[:, deliverable], source)
    return fee, spread, source


def _order(scores: Scores, brief: Brief) -> Floats:
    if brief.rank_by == "roi":
        return scores.roi
    if brief.rank_by == "profit":
        return scores.value - scores.cost
    if brief.rank_by == "value":
        return scores.value
    return scores.expected[brief.rank_by]
