"""Ranked picks for one brief: the same code for the service, the command line and the backtest."""

import numpy as np

from features.brief import Brief
from features.matrix import schema_hash
from features.profile import PRICE_SOURCES
from serving.answers import Confidence, Expected, FeeSource, Pick, QuoteWorthAsking, RankAnswer
from serving.candidates import Scores, possible_rois
from serving.explore import PLACEMENTS, known_well
from serving.fees import ESTIMATED
from serving.filters import NothingFits
from serving.interval import roi_interval
from serving.model import Model
from serving.quotes import worth_asking
from serving.reasons import Factors, explain
from serving.release import Release
from serving.shortlist import Shortlist, shortlist
from serving.steps import step


def rank(release: Release, brief: Brief, *, request_id: str) -> RankAnswer:
    """The best creators of the catalogue for a brief.

    Raises:
        DataError: the brief asks for something this data cannot answer (`field` names it).
        NothingFits: the filters leave nobody.
    """
    model, catalogue = release.model, release.catalogue
    short = shortlist(release, brief)
    found, picks = short.found, short.picks
    rows, scores = found.rows, found.scores
    reasons = None
    if brief.explain:
        with step("explain"):
            explained = brief.rank_by if np.isnan(scores.value).all() else brief.goal
            reasons = explain(model, explained, found.x, _factors(model, brief, short), picks, short.sample)
    low, high, profit = roi_interval(possible_rois(model, brief.goal, found, picks))
    known = known_well(found.x[picks, PLACEMENTS], found.source[picks])
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
                fee=_known(found.fee[pick]),
                fee_source=_fee_source(found.source[pick]),
                expected=_expected(scores, pick),
                roi=_known(scores.roi[pick]),
                roi_low=_known(low[position]),
                roi_high=_known(high[position]),
                p_profit=_known(profit[position]),
                confidence=_confidence(known[position], found.x[pick, PLACEMENTS], found.source[pick], followers),
                reasons=() if reasons is None else reasons[position],
                explore=position >= len(picks) - short.explored,
                propensity=short.chance if position >= len(picks) - short.explored else 1.0,
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
        considered=found.considered,
        filtered_out=dict(found.removed),
        picks=tuple(answered),
        quotes_worth_asking=_quotes(release, brief, short),
    )


def value_basis(model: Model, goal: str) -> dict[str, object]:
    """What every number of an answer rests on."""
    basis = model.basis.describe(goal)
    if goal in model.overridden_goals:
        basis["formula"] = "value as given in the data (placements.value)"
    return {
        **basis,
        "cost": "fee + level x (fee / typical_fee) ^ elasticity of extra_cost: product and other cost",
        "extra_cost": vars(model.extra_cost),
        "commission_rate": model.commission_rate,
        "interval": "80 %",
        "synthetic": bool(model.card.get("synthetic", False)),
    }


def _quotes(release: Release, brief: Brief, short: Shortlist) -> tuple[QuoteWorthAsking, ...]:
    found, picks = short.found, short.picks
    asked, gains = worth_asking(release.model, brief.rank_by, found, short.best)
    names = release.catalogue.display["creator_id"].gather(found.rows[asked])
    return tuple(
        QuoteWorthAsking(
            creator_id=name,
            fee=float(found.fee[position]),
            fee_source=_fee_source(found.source[position]),
            gain=float(gain),
            picked=bool(position in picks),
        )
        for name, position, gain in zip(names, asked, gains, strict=True)
    )


def _factors(model: Model, brief: Brief, short: Shortlist) -> Factors:
    """What of the formula, beside the funnel, makes candidates differ."""
    found, sample = short.found, short.sample
    scores, share, credibility = found.scores, found.share, found.credibility
    known_credibility = np.where(np.isnan(credibility), model.basis.unknown_credibility, credibility)
    by_reach = 0.0
    # a value given by the data knows nothing of the formula's share and credibility
    if brief.goal in ("awareness", "launch") and brief.goal not in model.overridden_goals:
        by_reach = 1.0
        usual = scores.value[sample].sum()
        if brief.goal == "launch" and usual > 0:
            reach = scores.expected["impressions"] * share * known_credibility * (model.basis.cpm or 0.0) / 1000.0
            by_reach = float(np.clip(model.basis.launch_awareness * reach[sample].sum() / usual, 0.0, 1.0))
    cost = np.maximum(np.nan_to_num(scores.cost, nan=1.0), model.basis.cost_floor)
    return Factors(
        # a commission moves with the sale: nobody is dear or cheap
        cost=np.log(cost) if model.commission_rate is None else np.zeros(len(cost)),
        geography=np.log(np.maximum(share, 1e-3)),
        credibility=np.log(np.maximum(known_credibility, 1e-3)),
        by_reach=by_reach,
    )


def _expected(scores: Scores, pick: int) -> Expected:
    names = ("impressions", "engagements", "clicks", "conversions")
    known = {name: float(scores.expected[name][pick]) for name in names if name in scores.expected}
    return Expected(**known, value=_known(scores.value[pick]))


def _fee_source(source: float) -> FeeSource:
    return PRICE_SOURCES[int(source)]  # type: ignore[return-value]


def _confidence(known: bool, log_placements: float, source: float, followers: float) -> Confidence:
    if known:
        return "high"
    if np.expm1(log_placements) < 0.5 and (source == ESTIMATED or np.isnan(followers)):
        return "low"
    return "medium"


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


__all__ = ["NothingFits", "rank", "value_basis"]
