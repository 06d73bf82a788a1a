"""The model card: what a model was trained on, how it was judged, and what it may be used for."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.check import Report
from features.market import Market
from features.matrix import NAMES, schema_hash
from serving.model import Model
from serving.together import Together
from training.backtest import Backtest
from training.gate import Verdict
from training.report import card_metrics
from training.split import iso
from training.tier_table import TierTable

SYNTHETIC = "synthetic-"  # how every brand of the sample market is named


def model_card(
    model: Model, market: Market, checked: Report, folder: Path, as_of: int, rows: NDArray[np.int64],
    result: Backtest | None, verdict: Verdict, tiers: TierTable,
) -> dict[str, Any]:  # fmt: skip
    """The card as served by `GET /v1/model`, JSON-able.

    Args:
        model: the fitted model with its intervals.
        market: the data it was fitted on.
        checked: their check report.
        folder: where they lie.
        as_of: decision day.
        rows: placements it was fitted on.
        result: the backtest, None where nothing could be judged.
        verdict: of the gate.
        tiers: which tier returned more per cost.
    """
    agreed = market.placements.agreed[rows]
    return {
        "name": "influencer-roi",
        "version": model.version,
        "trained_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "as_of": iso(as_of),
        "synthetic": is_synthetic(market.words.brand.values),
        "data": {
            "folder": folder.resolve().name,
            "digest": folder_digest(folder),
            "rows": checked.rows,
            "placements_settled": len(rows),
            "agreed_from": iso(int(agreed.min())),
            "agreed_to": iso(int(agreed.max())),
            "warnings": [str(finding) for finding in checked.warnings],
        },
        "metrics": card_metrics(result),
        "interval_basis": _interval_basis(result, model),
        "promise": vars(model.promise),
        "together": {**vars(model.together), "text": together_text(model.together)},
        "tiers": {one.goal: {"winner": one.winner, "reason": one.reason, "text": one.text} for one in tiers.verdicts},
        "verdict": {"promote": verdict.promote, "lines": list(verdict.lines)},
        "stages": {
            name: {"per": stage.exposure, "rows": stage.rows, "tree_weights": [t.weight for t in stage.trees]}
            for name, stage in model.stages.items()
        },
        "features": list(NAMES),
        "feature_schema": schema_hash(),
        "value_configuration": vars(model.basis),
    }


def together_text(together: Together) -> list[str]:
    """What placements of one campaign share, a sentence a finding, with what it rests on.

    >>> together_text(Together())[1]
    'Small creators beside a big one: counted at full value; too few past campaigns to compare (0 with, 0 without).'
    """
    t = together
    measured = (
        f"measured on {t.shared_placements} later placements of {t.shared_campaigns} campaigns"
        if t.shared_campaigns
        else "assumed, as too few later campaigns can be measured"
    )
    beside = (
        f"too few past campaigns to compare ({t.beside_campaigns} with, {t.apart_campaigns} without)"
        if t.beside_t is None
        else f"from {t.beside_campaigns} campaigns with and {t.apart_campaigns} without one (t {t.beside_t:.1f})"
    )
    full = "full value" if t.small_beside_big == 1.0 else f"{t.small_beside_big:.0%} of their value"
    first = (
        "too few past campaigns to say otherwise than published research"
        if t.first_t is None
        else f"small ones first did {'better' if t.first_t > 0 else 'worse'} (t {t.first_t:.1f})"
        f"{', beyond chance' if t.small_first else ', not enough to say otherwise than published research'}"
    )
    reach = (
        "not known: no placement has both reach and impressions"
        if t.reach_per_impression is None
        else f"{t.reach_per_impression:.2f}, from {t.reach_placements} placements that know both"
    )
    return [
        f"Placements of one campaign have {t.shared:.0%} of their luck in common ({measured}): the more, the less "
        "many creators even it out.",
        f"Small creators beside a big one: counted at {full}; {beside}.",
        f"Who posts first: {'small' if t.small_first else 'big'} creators; {first} "
        f"({t.small_first_campaigns} campaigns began with a small one, {t.big_first_campaigns} with a big one).",
        f"People reached per impression: {reach}.",
    ]


def is_synthetic(brands: Sequence[str]) -> bool:
    """Whether the data say of themselves that they are synthetic: every brand is named so."""
    return bool(brands) and all(brand.startswith(SYNTHETIC) for brand in brands)


def folder_digest(folder: Path) -> str:
    """Digest of the files of a data folder, by name and content."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file():
            digest.update(path.name.encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _interval_basis(result: Backtest | None, model: Model) -> str:
    if result is not None and result.intervals:
        return "later placements of the backtest"
    if model.intervals["any"].rows:
        return "folds by campaign of the training rows, since value could not be backtested"
    return "assumed: too few placements with a known value to measure one"
