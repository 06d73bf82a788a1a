"""Ranked picks for one brief: the same code for the service, the command line and the backtest."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
from numpy.typing import NDArray

from features.brief import Brief
from features.brief_columns import BriefColumns, encode_briefs
from features.context import brief_context
from features.declare import Family
from features.errors import DataError
from features.geography import target_share, value_share
from features.matrix import NAMES, brief_matrix, fill, schema_hash
from features.profile import PRICE_SOURCES
from features.value import GOALS, placement_value, roi
from serving.answers import Confidence, Expected, FeeSource, Pick, RankAnswer
from serving.filters import Candidate, NothingFits, apply_filters
from serving.interval import roi_interval
from serving.model import Model
from serving.reasons import Factors, explain
from serving.release import Release
from serving.stage import Floats, Matrix

ESTIMATED = float(PRICE_SOURCES.index("estimated"))
GOAL_CODES = {goal: code for code, goal in enumerate(GOALS)}
QUANTITIES = ("impressions", "engagements", "conversions")
KNOWN_WELL = 3  # settled placements from which a creator's own record counts as known


@dataclass(frozen=True)
class Scores:
    """What the model says about n candidates; costs and ROI are NaN where the data hold no fee at all."""

    expected: Mapping[str, Floats]
    value: Floats
    cost: Floats
    roi: Floats


def rank(release: Release, brief: Brief, *, request_id: str) -> RankAnswer:
    """The best creators of the catalogue for a brief.

    Raises:
        DataError: the brief asks for something this data cannot answer (`field` names it).
        NothingFits: the filters leave nobody.
    """
    model, catalogue = release.model, release.catalogue
    _check(release, brief)
    briefs = encode_briefs([_with_start(brief, release)], catalogue.words, catalogue.cpm_factors)
    deliverable = catalogue.words.deliverable.code_in_any_case(brief.deliverable)
    context = brief_context(catalogue.state, briefs, deliverable, catalogue.words, len(catalogue.tier_names))
    x = brief_matrix(catalogue.state, context)
    fee, source = _fees(release, x, deliverable)
    if model.commission_rate is None:
        # what a fee buys is judged at the fee of the answer, estimated ones included
        fill(x, replace(context, profile={**context.profile, "price": fee}), Family.COST)
    candidate = Candidate(fee, source != ESTIMATED, np.broadcast_to(target_share(context), (len(x),)))
    keep, removed = apply_filters(catalogue, brief, candidate)

    rows = np.flatnonzero(keep)
    share = value_share(
        context.lists["country"].rows(rows), catalogue.state.codes["country"][rows], briefs, context.which,
        catalogue.prior,
    )  # fmt: skip
    credibility = catalogue.state.profile["audience_credibility"][rows]
    scores = score(model, x[rows], fee[rows], briefs, share, credibility)
    picks = rows_by(_order(scores, brief), brief.top)
    factors = _factors(model, brief, scores, share, credibility)
    explained = brief.rank_by if np.isnan(scores.value).all() else brief.goal
    reasons = explain(model, explained, x[rows], factors, picks) if brief.explain else [()] * len(picks)
    low, high, profit = _intervals(model, brief, scores, source[rows], picks)
    display = catalogue.display[rows[picks]].to_dicts()
    answered = []
    for position, (pick, shown) in enumerate(zip(picks, display, strict=True)):
        row = int(rows[pick])
        followers = catalogue.state.profile["follower_count"][row]
        answered.append(
            Pick(
                rank=position + 1,
                creator_id=shown["creator_id"],
                person_id=shown["person_id"],
                username=shown["username"],
                platform=shown["platform"],
                tier=shown["tier"],
                tier_local=shown["tier_local"],
                follower_count=None if np.isnan(followers) else round(followers),
                fee=_known(fee[row]),
                fee_source=_fee_source(source[row]),
                expected=_expected(scores, pick),
                roi=_known(scores.roi[pick]),
                roi_low=_known(low[position]),
                roi_high=_known(high[position]),
                p_profit=_known(profit[position]),
                confidence=_confidence(x[row], source[row], followers),
                reasons=reasons[position],
            )
        )
    return RankAnswer(
        request_id=request_id,
        brief_id=brief.brief_id,
        model_version=model.version,
        feature_schema=schema_hash(),
        data_as_of=release.data_as_of,
        currency=model.basis.currency,
        value_basis={
            **value_basis(model, brief.goal),
            "margin": model.basis.unknown_margin if brief.product_margin is None else brief.product_margin,
            "target_countries": brief.target_countries,
        },
        considered=len(x),
        filtered_out=removed,
        picks=tuple(answered),
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
    cost = fee + model.extra_cost
    return Scores(expected, value, cost, roi(value, cost, model.basis.cost_floor))


def value_basis(model: Model, goal: str) -> dict[str, object]:
    """What every number of an answer rests on."""
    basis = model.basis.describe(goal)
    if goal in model.overridden_goals:
        basis["formula"] = "value as given in the data (placements.value)"
    return {
        **basis,
        "cost": "fee + usual product and other cost",
        "extra_cost": model.extra_cost,
        "commission_rate": model.commission_rate,
        "interval": "80 %",
        "synthetic": bool(model.card.get("synthetic", False)),
    }


def rows_by(order: Floats, top: int) -> NDArray[np.int64]:
    """Rows of the highest values, first row first among equals; NaN last."""
    return np.argsort(-np.nan_to_num(order, nan=-np.inf), kind="stable")[:top]


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


def _fees(release: Release, x: Matrix, deliverable: int) -> tuple[Floats, Floats]:
    """Fee of each creator and where it is from: priced for the deliverable, else known, else estimated."""
    state, model = release.catalogue.state, release.model
    if model.commission_rate is not None:
        sales = model.expected(x).get("net_revenue", np.full(len(x), np.nan))
        return model.commission_rate * sales, np.full(len(x), ESTIMATED)
    fee = np.array(state.profile["price"])
    source = np.where(np.isnan(fee), ESTIMATED, np.nan_to_num(state.profile["price_source"]))
    if 0 <= deliverable < state.deliverable_prices.shape[1]:
        priced = state.deliverable_prices[:, deliverable]
        source = np.where(np.isnan(priced), source, state.deliverable_sources[:, deliverable])
        fee = np.where(np.isnan(priced), fee, priced)
    unknown = np.flatnonzero(np.isnan(fee))
    if len(unknown):
        estimated = model.estimated_fee(x[unknown])
        if estimated is not None:
            fee[unknown] = estimated
    return fee, source


def _order(scores: Scores, brief: Brief) -> Floats:
    if brief.rank_by == "roi":
        return scores.roi
    if brief.rank_by == "profit":
        return scores.value - scores.cost
    if brief.rank_by == "value":
        return scores.value
    return scores.expected[brief.rank_by]


def _factors(model: Model, brief: Brief, scores: Scores, share: Floats, credibility: Floats) -> Factors:
    """What of the formula, beside the funnel, makes candidates differ."""
    known_credibility = np.where(np.isnan(credibility), model.basis.unknown_credibility, credibility)
    by_reach = 0.0
    # a value given by the data knows nothing of the formula's share and credibility
    if brief.goal in ("awareness", "launch") and brief.goal not in model.overridden_goals:
        by_reach = 1.0
        if brief.goal == "launch" and scores.value.sum() > 0:
            reach = scores.expected["impressions"] * share * known_credibility * (model.basis.cpm or 0.0) / 1000.0
            by_reach = float(np.clip(model.basis.launch_awareness * reach.sum() / scores.value.sum(), 0.0, 1.0))
    cost = np.maximum(np.nan_to_num(scores.cost, nan=1.0), model.basis.cost_floor)
    return Factors(
        # a commission moves with the sale: nobody is dear or cheap
        cost=np.log(cost) if model.commission_rate is None else np.zeros(len(cost)),
        geography=np.log(np.maximum(share, 1e-3)),
        credibility=np.log(np.maximum(known_credibility, 1e-3)),
        by_reach=by_reach,
    )


def _intervals(
    model: Model, brief: Brief, scores: Scores, source: Floats, picks: NDArray[np.int64]
) -> tuple[Floats, Floats, Floats]:
    if model.commission_rate is not None:
        # the cost moves with the sale, so ROI is the same whatever is sold
        constant = scores.roi[picks]
        return constant, constant, (constant > 0).astype(np.float64)
    interval = model.intervals.get(brief.goal, model.intervals["any"])
    spread = 0.0 if model.fee is None else model.fee.spread
    cost_spread = np.where(source[picks] == ESTIMATED, spread, 0.0)
    draws = interval.draws(scores.value[picks])
    low, high, profit = roi_interval(draws, scores.cost[picks], cost_spread, model.basis.cost_floor)
    return low, high, profit


def _expected(scores: Scores, pick: int) -> Expected:
    names = ("impressions", "engagements", "clicks", "conversions")
    known = {name: float(scores.expected[name][pick]) for name in names if name in scores.expected}
    return Expected(**known, value=_known(scores.value[pick]))


def _fee_source(source: float) -> FeeSource:
    return PRICE_SOURCES[int(source)]  # type: ignore[return-value]


def _confidence(row: Matrix, source: float, followers: float) -> Confidence:
    placements = float(np.expm1(row[NAMES.index("creator_placements")]))
    priced = source != ESTIMATED
    if placements >= KNOWN_WELL - 0.5 and priced:
        return "high"
    if placements < 0.5 and (not priced or np.isnan(followers)):
        return "low"
    return "medium"


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


__all__ = ["NothingFits", "Scores", "rank", "rows_by", "score", "value_basis"]
