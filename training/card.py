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
from training.backtest import Backtest
from training.gate import Verdict
from training.report import card_metrics
from training.split import iso

SYNTHETIC = "synthetic-"  # how every brand of the sample market is named


def model_card(
    model: Model, market: Market, checked: Report, folder: Path, as_of: int, rows: NDArray[np.int64],
    result: Backtest | None, verdict: Verdict,
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
        "verdict": {"promote": verdict.promote, "lines": list(verdict.lines)},
        "stages": {
            name: {"per": stage.exposure, "rows": stage.rows, "tree_weights": [t.weight for t in stage.trees]}
            for name, stage in model.stages.items()
        },
        "features": list(NAMES),
        "feature_schema": schema_hash(),
        "value_configuration": vars(model.basis),
    }


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
