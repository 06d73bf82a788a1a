"""Placements as the columns that `influencer-roi monitor` compares: features, predictions and outcomes."""

import numpy as np
from numpy.typing import NDArray

from features.declare import Family
from features.matrix import FEATURES, NAMES
from features.tiers import tier_names
from features.value import GOALS
from serving.model import Model
from serving.stage import Floats
from training.backtest import outcome, predict
from training.dataset import Dataset
from training.drift import Columns, Reference, reference_of

Ints = NDArray[np.int64]
Texts = NDArray[np.str_]

# what moves by itself: the calendar, what is only ever added to, and so every sum over past placements: what becomes
# of them shows in the outcomes
MOVING = (
    "season_sin", "season_cos", "log_content_count", "tier_for_goal", "platform_for_goal", "goal_engagement_rate",
    "platform_views", "platform_engagement_rate", "platform_conversion_rate", "price_against_tier",
    "price_against_peers",
)  # fmt: skip
# what turns with the days on which profiles are read, monthly for most: only whole months are alike
TURNING = ("snapshot_age", "last_post_age")
COMPARED = tuple(f.name for f in FEATURES if f.family is not Family.TRACK_RECORD and f.name not in MOVING)
FEE_BESIDE_PEERS = "fee beside alike creators"
PREDICTED = ("expected value", FEE_BESIDE_PEERS)


def training_reference(data: Dataset, model: Model, rows: Ints) -> Reference:
    """What later data are compared with.

    Args:
        data: features and labels.
        model: fitted on them.
        rows: placements it was fitted on.
    """
    return reference_of(columns(data, model, rows), {"as_of": model.card.get("as_of"), "placements": len(rows)})


def columns(data: Dataset, model: Model, rows: Ints) -> Columns:
    """Some placements as columns: numbers as models read them, what `model` says of them, outcomes, and words."""
    numbers = {name: data.x[rows, NAMES.index(name)].astype(np.float64) for name in COMPARED}
    numbers |= _predictions(data, model, rows) | _outcomes(data, model, rows)
    return Columns(numbers, _words(data, rows), data.market.placements.campaign[rows])


def outcome_names(model: Model) -> tuple[str, ...]:
    """Columns that are known once outcomes have settled."""
    return ("value", *(_rate_name(name, stage.exposure) for name, stage in model.stages.items() if name != "value"))


def _predictions(data: Dataset, model: Model, rows: Ints) -> dict[str, Floats]:
    fee = data.market.placements.fee[rows]
    peers = model.peer_fee(data.x[rows])
    beside = np.full(len(rows), np.nan) if peers is None else np.log(np.maximum(fee, 1e-9) / peers)
    value = predict(data, model, rows, "value")
    return {PREDICTED[0]: np.log1p(np.maximum(value, 0.0)), PREDICTED[1]: np.where(fee > 0, beside, np.nan)}


def _outcomes(data: Dataset, model: Model, rows: Ints) -> dict[str, Floats]:
    """Value and the rates of the stages, in logs that bear zeros."""
    known = data.labels.columns
    found = {"value": np.log1p(np.maximum(outcome(data, "value")[rows], 0.0))}
    for name, stage in model.stages.items():
        if name == "value":
            continue
        per = known[stage.exposure][rows] if stage.exposure != "one" else np.zeros(len(rows))
        top = np.log1p(np.maximum(known[name][rows], 0.0))
        found[_rate_name(name, stage.exposure)] = top - np.log1p(np.maximum(per, 0.0))
    return found


def _rate_name(quantity: str, exposure: str) -> str:
    return quantity if exposure in ("one", "delivery") else f"{quantity} per {exposure}"


def _words(data: Dataset, rows: Ints) -> dict[str, Texts]:
    market, p = data.market, data.market.placements
    seen, words = data.seen, market.words
    return {
        "platform": _named(words.platform.values, seen.platform[rows]),
        "country": _named(words.country.values, seen.country[rows]),
        "language": _named(words.language.values, seen.language[rows]),
        # the last is that of unknown followers
        "tier": _named(tier_names(market.settings)[:-1], seen.tier[rows]),
        "goal": np.array(GOALS)[data.labels.goal[rows]],
        "niche": _named(words.niche.values, market.campaigns.niche[p.campaign[rows]]),
        "deliverable": _named(words.deliverable.values, p.deliverable[rows]),
    }


def _named(values: tuple[str, ...], codes: Ints) -> Texts:
    return np.array([*values, ""], dtype=str)[codes]
