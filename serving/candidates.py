"""What the model says, exactly, of the creators who may be picked for one brief."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.brief import Brief
from features.brief_columns import BriefColumns, encode_briefs
from features.context import CreatorState, brief_context
from features.declare import Context, Family
from features.errors import DataError
from features.geography import target_share, value_share
from features.matrix import brief_matrix, fill
from features.value import GOALS, placement_value, roi
from serving.fees import ESTIMATED, fees, moves_with_value, one_roi
from serving.filters import Removed, fee_filters, profile_filters
from serving.interval import roi_draws
from serving.model import Model
from serving.release import Release
from serving.stage import Floats, Matrix

Ints = NDArray[np.int64]

GOAL_CODES = {goal: code for code, goal in enumerate(GOALS)}
QUANTITIES = ("impressions", "engagements", "conversions")
ROWS_AT_ONCE = 65_536  # creators whose features are held at a time


@dataclass(frozen=True)
class Scores:
    """What the model says about n candidates; costs and ROI are NaN where the data hold no fee at all."""

    expected: Mapping[str, Floats]
    value: Floats
    cost: Floats
    roi: Floats


@dataclass(frozen=True)
class Candidates:
    """n creators of the catalogue, as a brief sees them.

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

    def part(self, positions: Ints) -> "Candidates":
        """Some of them, in the order asked for."""
        scores = self.scores
        arrays = ("rows", "x", "fee", "fee_spread", "source", "share", "credibility", "order")
        return replace(
            self,
            **{name: getattr(self, name)[positions] for name in arrays},
            scores=Scores(
                {name: values[positions] for name, values in scores.expected.items()},
                scores.value[positions], scores.cost[positions], scores.roi[positions],
            ),
        )  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """A brief, encoded for the release that answers it."""

    release: Release
    brief: Brief
    briefs: BriefColumns
    deliverable: int

    def context(self, state: CreatorState) -> Context:
        """What features may look at, a row a creator."""
        catalogue = self.release.catalogue
        return brief_context(state, self.briefs, self.deliverable, catalogue.words, len(catalogue.tier_names))


def ask(release: Release, brief: Brief, *, tell_budget: bool = True) -> Asked:
    """Encode a brief.

    Args:
        release: model and catalogue.
        brief: what is asked for.
        tell_budget: whether the model may read the budget; filters do in any case.

    Raises:
        DataError: it asks for something this data cannot answer (`field` names it).
    """
    _check(release, brief)
    words = release.catalogue.words
    told = _with_start(brief, release) | ({} if tell_budget else {"budget": None})
    briefs = encode_briefs([told], words, release.catalogue.cpm_factors)
    return Asked(release, brief, briefs, words.deliverable.code_in_any_case(brief.deliverable))


def candidates(release: Release, brief: Brief) -> Candidates:
    """Everybody who passes a brief's filters, scored exactly: the plain path, which `serving.shortlist` is held to.

    Raises:
        DataError: the brief asks for something this data cannot answer (`field` names it).
        NothingFits: the filters leave nobody.
    """
    asked = ask(release, brief)
    rows, removed = eligible(asked)
    found = scored(asked, rows)
    keep = removed.take(np.ones(len(rows), dtype=bool), fee_filters(brief, found.fee, found.source != ESTIMATED))
    if not keep.any():
        removed.refuse_nobody()
    return replace(found.part(np.flatnonzero(keep)), removed=removed.counts)


def eligible(asked: Asked) -> tuple[Ints, Removed]:
    """Rows of the creators whom the brief's filters leave, whatever their fee, ascending; and whom they remove.

    Raises:
        NothingFits: nobody is left.
    """
    catalogue, brief = asked.release.catalogue, asked.brief
    considered = len(catalogue.state)
    # nobody but those named, if any is there, need be looked at
    named = catalogue.rows_of(brief.filters.creator_ids or ())
    seen = catalogue.part(named) if len(named) else catalogue
    removed = Removed(considered, considered - len(seen.state))
    filters = profile_filters(
        seen, brief, lambda: np.broadcast_to(target_share(asked.context(seen.state)), len(seen.state))
    )
    if len(named):
        del filters["creator_ids"]
    rows = np.flatnonzero(removed.take(np.ones(len(seen.state), dtype=bool), filters))
    if not len(rows):
        removed.refuse_nobody()
    return (named[rows] if len(named) else rows), removed


def scored(asked: Asked, rows: Ints) -> Candidates:
    """What the model says of some rows of the catalogue, whoever else is asked about.

    Args:
        asked: the brief.
        rows: of the catalogue, shape (n,).
    """
    parts = [_scored(asked, rows[low : low + ROWS_AT_ONCE]) for low in range(0, max(len(rows), 1), ROWS_AT_ONCE)]
    return parts[0] if len(parts) == 1 else joined(parts)


def _scored(asked: Asked, rows: Ints) -> Candidates:
    model, catalogue = asked.release.model, asked.release.catalogue
    state = catalogue.state.part(rows)
    context = asked.context(state)
    x = brief_matrix(state, context)
    peers = model.peer_fee(x) if model.needs_peers(state.profile["price"]) else None
    sales = None if model.commission_rate is None else model.expected(x).get("net_revenue", np.full(len(x), np.nan))
    fee, fee_spread, source = fees(model, state, peers, sales, asked.deliverable)
    if model.commission_rate is None:
        # what a fee buys is judged at the fee of the answer, estimated ones included
        fill(x, context.at_price(fee), Family.COST)
    share = value_share(
        context.lists["country"], state.codes["country"], asked.briefs, context.which, catalogue.prior
    )  # fmt: skip
    credibility = np.asarray(state.profile["audience_credibility"])
    scores = score(model, x, fee, asked.briefs, share, credibility)
    return Candidates(
        rows=rows, x=x, fee=fee, fee_spread=fee_spread, source=source, share=share, credibility=credibility,
        scores=scores, order=order_of(scores, asked.brief.rank_by), considered=len(catalogue.state), removed={},
    )  # fmt: skip


def joined(parts: Sequence[Candidates]) -> Candidates:
    """Candidates of one brief, a part after the other; whom filters removed is as the first part says."""

    def column(name: str) -> Any:
        return np.concatenate([getattr(part, name) for part in parts])

    first, scores = parts[0], [part.scores for part in parts]
    arrays = ("rows", "x", "fee", "fee_spread", "source", "share", "credibility", "order")
    return replace(
        first,
        **{name: column(name) for name in arrays},
        scores=Scores(
            {name: np.concatenate([s.expected[name] for s in scores]) for name in first.scores.expected},
            *(np.concatenate([getattr(s, name) for s in scores]) for name in ("value", "cost", "roi")),
        ),
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
    return valued(model, model.expected(x), fee, briefs, share, credibility, which)


def valued(
    model: Model, expected: Mapping[str, Floats], fee: Floats, briefs: BriefColumns, share: Floats,
    credibility: Floats, which: NDArray[np.int64],
) -> Scores:  # fmt: skip
    """Value, cost and ROI of expected quantities; see `score`.

    Args:
        expected: from `Model.quantities`, shape (n,) each.
    """
    unknown = np.full(len(fee), np.nan)
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
    if one_roi(model, goal):
        return found.scores.roi[picks][:, None]
    interval = model.intervals.get(goal, model.intervals["any"])
    value, cost = found.scores.value[picks], found.scores.cost[picks]
    drawn = interval.draws(value)
    if moves_with_value(model, goal):
        sold = drawn / np.where(value > 0, value, 1.0)[:, None]
        return roi(drawn, cost[:, None] + found.fee[picks][:, None] * (sold - 1.0), model.basis.cost_floor)
    return roi_draws(drawn, cost, found.fee_spread[picks], model.basis.cost_floor)


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


def order_of(scores: Scores, rank_by: str) -> Floats:
    """What `rank_by` asks to be highest, shape (n,)."""
    if rank_by == "roi":
        return scores.roi
    if rank_by == "profit":
        return scores.value - scores.cost
    if rank_by == "value":
        return scores.value
    return scores.expected[rank_by]
