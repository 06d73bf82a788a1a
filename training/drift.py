"""Whether data still look like those a model was trained on: the population stability index (PSI) by column.

A `Reference` keeps, for every column, bins and how the training data filled them. Placements of a campaign are alike,
so a campaign, not a placement, is an observation: each counts once, whatever its size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.errors import DataError
from serving.artefact import read_json, write_json
from training.drift_bins import LEAST_SHARE, NEVER_SEEN, Bins, Means, bin_of, bins_of_names, bins_of_numbers, measured

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Texts = NDArray[np.str_]

FILE = "reference.json"
FORMAT = 1
PSI_LIMIT = 0.2  # the usual bound of a shift that matters
MISSING_LIMIT = 0.1  # by how much more may be missing; less is no harm
NEW_LIMIT = 0.05  # share of names never seen in training
MIN_CAMPAIGNS = 20


class State(StrEnum):
    """What is said of a figure."""

    OK = "OK"
    DRIFT = "DRIFT"
    TOO_FEW = "TOO FEW"
    NOT_TESTED = "NOT TESTED"


@dataclass(frozen=True)
class Columns:
    """n placements as columns.

    Attributes:
        numbers: by name, NaN where missing, shape (n,) each.
        names: words by name, empty where missing, shape (n,) each.
        campaign: of each placement, shape (n,).
    """

    numbers: Mapping[str, Floats]
    names: Mapping[str, Texts]
    campaign: Ints

    def part(self, which: Sequence[str], rows: NDArray[np.bool_]) -> "Columns":
        """Some of the columns, of some of the rows; `rows` has shape (n,)."""
        return Columns(
            {name: x[rows] for name, x in self.numbers.items() if name in which},
            {name: words[rows] for name, words in self.names.items() if name in which},
            self.campaign[rows],
        )


@dataclass(frozen=True)
class Reference:
    """The training data as later data are compared with: bins by column, and what the data are."""

    columns: Mapping[str, Bins]
    about: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """For reference.json."""
        columns = {
            name: {
                "edges": list(bins.edges),
                "names": None if bins.names is None else list(bins.names),
                "filled": bins.filled.to_json(),
                "apart": bins.apart.to_json(),
            }
            for name, bins in self.columns.items()
        }
        return {"format": FORMAT, "about": dict(self.about), "columns": columns}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Reference":
        """The inverse of `to_json`.

        Raises:
            ValueError, KeyError, TypeError: it is none, or of another format.
        """
        if data["format"] != FORMAT:
            raise ValueError(f"format {data['format']} is not {FORMAT}")
        columns = {
            name: Bins(
                edges=tuple(one["edges"]),
                names=None if one["names"] is None else tuple(one["names"]),
                filled=Means.from_json(one["filled"]),
                apart=Means.from_json(one["apart"]),
            )
            for name, one in data["columns"].items()
        }
        return cls(columns, data["about"])


@dataclass(frozen=True)
class Drift:
    """One column of new data beside the training data.

    Attributes:
        column: its name.
        state: DRIFT where what is known moved (PSI from its limit on), more is missing, or names are new, by enough to
            matter and by more than chance, however often looked at.
        psi: of what is known, beyond what chance gives with so few campaigns; NaN where there are too few.
        missing, missing_before: shares of what is missing, now and in training.
        new: share of names never seen in training.
        new_names: these names, the most frequent first.
        rows, campaigns: compared.
    """

    column: str
    state: State
    psi: float
    missing: float
    missing_before: float
    new: float
    new_names: tuple[str, ...]
    rows: int
    campaigns: int


def reference_of(columns: Columns, about: Mapping[str, Any] | None = None) -> Reference:
    """What later data are to be compared with.

    Args:
        columns: of the placements a model was trained on.
        about: kept beside it, JSON-able.
    """
    found = {name: bins_of_numbers(x, columns.campaign) for name, x in columns.numbers.items()}
    found |= {name: bins_of_names(words, columns.campaign) for name, words in columns.names.items()}
    return Reference(found, dict(about or {}))


def psi(shares: Floats, before: Floats) -> float:
    """Population stability index of two sets of shares: the sum of (p - q) log(p / q).

    >>> round(psi(np.array([0.5, 0.5]), np.array([0.5, 0.5])), 3), round(psi(np.array([0.8, 0.2]), np.full(2, 0.5)), 3)
    (0.0, 0.416)
    """
    p, q = np.maximum(shares, LEAST_SHARE), np.maximum(before, LEAST_SHARE)
    return float(((p - q) * np.log(p / q)).sum())


def drift_of(reference: Reference, columns: Columns, alpha: float) -> list[Drift]:
    """Every column that the reference knows, beside what it was in training.

    Args:
        reference: of the training data.
        columns: of later placements.
        alpha: chance that any column is ever called DRIFT where nothing changed, however often this is asked while
            placements are added (nearly so: by the normal law of means over campaigns).
    """
    known = {**columns.numbers, **columns.names}
    asked = [name for name in known if name in reference.columns]
    return [_drift(name, reference.columns[name], known[name], columns.campaign, alpha / len(asked)) for name in asked]


def save_reference(reference: Reference, folder: Path) -> None:
    """Write reference.json into the folder of a model's artefact."""
    write_json(folder, FILE, reference.to_json())


def read_reference(folder: Path) -> Reference:
    """The reference of a stored model.

    Raises:
        DataError: the model was stored without one, or it is broken.
    """
    try:
        return Reference.from_json(read_json(folder, FILE)[0])
    except FileNotFoundError as error:
        raise DataError(
            f"model version {folder.name} was stored by an earlier version of this program, without {FILE} to compare "
            "new data with: train again"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{FILE} of model version {folder.name} cannot be read ({error}): train again") from error


def _drift(name: str, bins: Bins, values: Any, campaign: Ints, alpha: float) -> Drift:
    at = bin_of(bins.edges, bins.names, values)
    new = measured(bins.edges, bins.names, at, campaign, bins.shares)
    campaigns = new.filled.campaigns
    unseen, counts = (
        (np.array([]), np.array([])) if bins.names is None else np.unique(values[at == NEVER_SEEN], return_counts=True)
    )
    state, found = State.TOO_FEW, np.nan
    if min(new.apart.campaigns, bins.apart.campaigns) >= MIN_CAMPAIGNS:
        third = alpha / 3.0
        apart = new.apart.moved(bins.apart, third * 2)
        much = new.apart.mean - bins.apart.mean >= (MISSING_LIMIT, NEW_LIMIT)
        drifted = bool((much & (apart > 0)).any())
        if min(campaigns, bins.filled.campaigns) >= MIN_CAMPAIGNS:
            found = _beyond_chance(bins, new)
            drifted |= found >= PSI_LIMIT and bool(new.filled.moved(bins.filled, third).any())
        state = State.DRIFT if drifted else State.OK
    return Drift(
        column=name,
        state=state,
        psi=found,
        missing=float(new.apart.mean[0]),
        missing_before=float(bins.apart.mean[0]),
        new=float(new.apart.mean[1]),
        new_names=tuple(str(word) for word in unseen[np.argsort(-counts, kind="stable")]),
        rows=len(at),
        campaigns=new.apart.campaigns,
    )


def _beyond_chance(bins: Bins, new: Bins) -> float:
    """PSI less what is to be expected of it where nothing changed: sum of the shares' error variances / shares."""
    b = bins.count
    error = new.filled.spread[:b] ** 2 / new.filled.campaigns + bins.filled.spread[:b] ** 2 / bins.filled.campaigns
    seen = bins.shares > 0
    chance = float((error[seen] / np.maximum(bins.shares[seen], LEAST_SHARE)).sum())
    return max(psi(new.shares, bins.shares) - chance, 0.0)
