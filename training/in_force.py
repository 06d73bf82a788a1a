"""The version in force, as a training run meets it: its artefact, what it was taught on, and what becomes of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.errors import DataError
from serving.model import Model, load_model, save_model
from serving.release_file import read_release_file, store_path
from training.backtest import Backtest
from training.dataset import Dataset
from training.drift import Columns, Drift, drift_of, read_reference, save_reference
from training.duel import TWIN, twin_of
from training.monitor_data import COMPARED, columns, training_reference
from training.split import day_of

Ints = NDArray[np.int64]

ALPHA = 0.05  # chance that any column of data that did not move is said to have


@dataclass(frozen=True)
class InForce:
    """The version that is served.

    Attributes:
        version: its number.
        folder: of its artefact.
        card: its card; None where this program cannot read it.
    """

    version: str
    folder: Path
    card: Mapping[str, Any] | None


def in_force(home: Path) -> InForce | None:
    """The version that a home serves, None where it serves nothing or its release is broken."""
    try:
        release = read_release_file(home)
    except DataError:
        return None  # publishing mends it
    if release is None:
        return None
    folder = store_path(home, release.model)
    try:
        card: Mapping[str, Any] | None = load_model(folder).card
    except DataError:
        card = None
    return InForce(release.model.split(":")[1], folder, card)


def drift_since(champion: InForce, data: Dataset, model: Model, rows: Ints) -> list[Drift] | None:
    """How features and names of the placements since the version in force was trained differ from what taught it.

    None where it keeps no reference, or there is no newer placement.

    Args:
        champion: the version in force.
        data: the placements.
        model: the new one, whose features the columns are of.
        rows: settled placements.
    """
    try:
        reference = read_reference(champion.folder)
    except DataError:
        return None
    fresh = rows[data.market.placements.agreed[rows] >= day_of(str((champion.card or {}).get("as_of", "9999-12-31")))]
    if not len(fresh):
        return None
    found = columns(data, model, fresh)
    # what a model says of placements, and what came of them, is judged elsewhere
    numbers = {name: values for name, values in found.numbers.items() if name in COMPARED}
    return drift_of(reference, Columns(numbers, found.names, found.campaign), ALPHA)


def keep_beside(folder: Path, data: Dataset, model: Model, rows: Ints, result: Backtest | None) -> None:
    """Write beside a model what later runs and `monitor` compare with: its twin of the backtest, and its reference."""
    save_reference(training_reference(data, model, rows), folder)
    if result is not None:
        (folder / TWIN).mkdir()
        save_model(twin_of(result), folder / TWIN)


def what_is_live(champion: InForce | None, promoted: bool) -> str:
    """What is served after a run, in a sentence.

    >>> what_is_live(None, promoted=False)
    'Nothing is served yet.'
    """
    if promoted:
        back = "" if champion is None else f"; before, version {champion.version} was: `influencer-roi rollback`"
        return f"This version was published when the run ended{back}."
    return "Nothing is served yet." if champion is None else f"Version {champion.version} is still served."
