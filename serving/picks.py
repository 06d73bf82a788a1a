"""What every answer shows of the creators it picks, and what its numbers rest on."""

from typing import Any

import numpy as np

from features.brief import Brief
from features.matrix import schema_hash
from features.profile import PRICE_SOURCES
from serving.answers import Confidence, Expected, FeeSource, Reason
from serving.candidates import Candidates, Ints, Scores, possible_rois
from serving.explore import PLACEMENTS, known_well
from serving.fees import ESTIMATED, moves_with_value
from serving.interval import roi_interval
from serving.model import Model
from serving.reasons import Factors, explain
from serving.release import Release


def head_fields(release: Release, brief: Brief, found: Candidates, request_id: str) -> dict[str, Any]:
    """The head of an answer, by the names of `RankAnswer`."""
    model = release.model
    return {
        "request_id": request_id,
        "brief_id": brief.brief_id,
        "model_version": model.version,
        "feature_schema": schema_hash(),
        "data_as_of": release.data_as_of,
        "currency": model.basis.currency,
        "value_basis": {
            **value_basis(model, brief.goal),
            "margin": model.basis.unknown_margin if brief.product_margin is None else brief.product_margin,
            "target_countries": brief.target_countries,
        },
        "considered": found.considered,
        "filtered_out": dict(found.removed),
    }


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


def pick_fields(release: Release, goal: str, found: Candidates, picks: Ints) -> list[dict[str, Any]]:
    """What is known and expected of some candidates, by the names of `Pick`; all but rank and reasons.

    Args:
        release: model and catalogue.
        goal: of the brief.
        found: candidates.
        picks: positions of those to show, shape (m,).
    """
    catalogue, scores = release.catalogue, found.scores
    low, high, profit = roi_interval(possible_rois(release.model, goal, found, picks))
    known = known_well(found.x[picks, PLACEMENTS], found.source[picks])
    display = catalogue.display[found.rows[picks]].to_dicts()
    fields = []
    for position, (pick, shown) in enumerate(zip(picks, display, strict=True)):
        followers = catalogue.state.profile["follower_count"][int(found.rows[pick])]
        fields.append(
            {
                **{name: shown[name] for name in ("creator_id", "person_id", "username", "platform")},
                "tier": shown["tier"],
                "tier_local": shown["tier_local"],
                "follower_count": None if np.isnan(followers) else round(followers),
                "fee": _known(found.fee[pick]),
                "fee_source": fee_source(found.source[pick]),
                "expected": _expected(scores, pick),
                "roi": _known(scores.roi[pick]),
                "roi_low": _known(low[position]),
                "roi_high": _known(high[position]),
                "p_profit": _known(profit[position]),
                "confidence": _confidence(known[position], found.x[pick, PLACEMENTS], found.source[pick], followers),
            }
        )
    return fields


def reasons_of(model: Model, brief: Brief, found: Candidates, picks: Ints, sample: Ints) -> list[tuple[Reason, ...]]:
    """Why each of some candidates, strongest reason first; none where the brief asks for none.

    Args:
        model: the funnel.
        brief: what was asked.
        found: candidates.
        picks: positions to explain.
        sample: positions that stand for the average candidate.
    """
    if not brief.explain:
        return [()] * len(picks)
    explained = brief.rank_by if np.isnan(found.scores.value).all() else brief.goal
    return explain(model, explained, found.x, _factors(model, brief, found, sample), picks, sample)


def _factors(model: Model, brief: Brief, found: Candidates, sample: Ints) -> Factors:
    """What of the formula, beside the funnel, makes candidates differ."""
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
        cost=np.zeros(len(cost)) if moves_with_value(model, brief.goal) else np.log(cost),
        geography=np.log(np.maximum(share, 1e-3)),
        credibility=np.log(np.maximum(known_credibility, 1e-3)),
        by_reach=by_reach,
    )


def _expected(scores: Scores, pick: int) -> Expected:
    names = ("impressions", "engagements", "clicks", "conversions")
    known = {name: float(scores.expected[name][pick]) for name in names if name in scores.expected}
    return Expected(**known, value=_known(scores.value[pick]))


def fee_source(source: float) -> FeeSource:
    """Where a fee is from, of a code into PRICE_SOURCES."""
    return PRICE_SOURCES[int(source)]  # type: ignore[return-value]


def _confidence(known: bool, log_placements: float, source: float, followers: float) -> Confidence:
    if known:
        return "high"
    if np.expm1(log_placements) < 0.5 and (source == ESTIMATED or np.isnan(followers)):
        return "low"
    return "medium"


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
