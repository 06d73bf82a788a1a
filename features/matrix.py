"""The ordered feature list, its schema hash, and the matrix: one definition offline and online.

>>> len(FEATURES) >= 35
True
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features import content_style, cost, engagement, geography, goal_fit, niche, track_record
from features.context import (
    PAIR_CODES,
    PAIR_PROFILE,
    CreatorState,
    brief_totals,
    creator_view,
    deliverable_prices,
    placement_context,
)
from features.declare import Context, Family, Feature
from features.market import Market

Matrix = NDArray[np.float32]

FEATURES: tuple[Feature, ...] = (
    *engagement.FEATURES,
    *niche.FEATURES,
    *geography.FEATURES,
    *cost.FEATURES,
    *content_style.FEATURES,
    *goal_fit.FEATURES,
    *track_record.FEATURES,
)
NAMES = tuple(feature.name for feature in FEATURES)
STATIC = tuple(feature for feature in FEATURES if feature.scope == "creator")


def schema_hash(features: Sequence[Feature] = FEATURES) -> str:
    """Hash of the ordered list of names, families, scopes and signs; a model refuses features of another hash."""
    declared = [[f.name, f.family.value, f.scope, f.sign] for f in features]
    return hashlib.sha256(json.dumps(declared).encode()).hexdigest()[:16]


def matrix(context: Context, rows: int, features: Sequence[Feature] = FEATURES) -> Matrix:
    """Features in order, shape (rows, len(features)), float32, NaN where unknown."""
    out = np.empty((rows, len(features)), dtype=np.float32)
    for position, feature in enumerate(features):
        out[:, position] = feature.define(context)
    return out


def define_features(
    context: Context, rows: int, positions: Sequence[int], dtype: type[np.floating[Any]] = np.float32
) -> NDArray[Any]:
    """Some of FEATURES, one after the other, shape (len(positions), rows).

    Args:
        context: what they may look at.
        rows: how many rows it has.
        positions: in FEATURES.
        dtype: float64 gives them as defined, before they are rounded to what models read.
    """
    out = np.empty((len(positions), rows), dtype=dtype)
    for place, position in enumerate(positions):
        out[place] = FEATURES[position].define(context)
    return out


def placement_matrix(market: Market, rows: NDArray[np.int64] | None = None) -> Matrix:
    """Features of past placements, each as of the day it was agreed; one row out for each row in."""
    rows = np.arange(len(market.placements)) if rows is None else rows
    return matrix(placement_context(market, rows), len(rows))


def creator_state(market: Market, day: int) -> CreatorState:
    """What is served about every creator of the market when deciding on `day`."""
    creator = np.arange(len(market.creators))
    days = np.full(len(creator), day)
    view = creator_view(market, creator, days)
    # features of scope `creator` read nothing of the brief, so the first campaign stands in for it
    context = Context(view.profile, view.codes, view.lists, view.records, market.campaigns, np.zeros(1, dtype=np.int64))
    prices, sources = deliverable_prices(market, creator, days)
    return CreatorState(
        day=day,
        profile={name: view.profile[name] for name in PAIR_PROFILE},
        codes={name: view.codes[name] for name in PAIR_CODES},
        lists=view.lists,
        static=matrix(context, len(creator), STATIC),
        totals=brief_totals(market, day),
        deliverable_prices=prices,
        deliverable_sources=sources,
    )


def fill(out: Matrix, context: Context, family: Family) -> None:
    """Compute the features of one family again, into the matrix `out` of all FEATURES."""
    for position, feature in enumerate(FEATURES):
        if feature.family is family:
            out[:, position] = feature.define(context)


def brief_matrix(state: CreatorState, context: Context) -> Matrix:
    """Features of every creator of a catalogue for one brief, in the order of FEATURES."""
    out = np.empty((len(state), len(FEATURES)), dtype=np.float32)
    static = 0
    for position, feature in enumerate(FEATURES):
        if feature.scope == "creator":
            out[:, position] = state.static[:, static]
            static += 1
        else:
            out[:, position] = feature.define(context)
    return out
