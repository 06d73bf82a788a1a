"""Who may be picked for a brief: each creator is counted once, under the first filter that removes it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.brief import Brief
from features.codes import primary_language
from features.encoding import Vocabulary
from features.errors import DataError
from serving.catalogue import Catalogue

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


class NothingFits(DataError):
    """The filters leave nobody; the message names the one to relax."""


@dataclass(frozen=True)
class Candidate:
    """What filters look at beside the catalogue, shape (n,) each."""

    fee: Floats
    fee_known: Mask
    target_share: Floats


def apply_filters(catalogue: Catalogue, brief: Brief, candidate: Candidate) -> tuple[Mask, dict[str, int]]:
    """Which creators remain, and how many each filter removed.

    Raises:
        NothingFits: nobody remains.
    """
    keep = np.ones(len(catalogue.state), dtype=bool)
    removed: dict[str, int] = {}
    for reason, allowed in _filters(catalogue, brief, candidate).items():
        rejected = keep & ~allowed()
        count = int(rejected.sum())
        if count:
            removed[reason] = count
            keep &= ~rejected
    if not keep.any():
        raise NothingFits(_nobody(removed, len(keep)), field=_field(max(removed, key=removed.__getitem__)))
    return keep, removed


def _filters(catalogue: Catalogue, brief: Brief, candidate: Candidate) -> dict[str, Callable[[], Mask]]:
    """The filters the brief asks for, cheapest first."""
    f, state, words = brief.filters, catalogue.state, catalogue.words
    followers = state.profile["follower_count"]

    def coded(codes: NDArray[np.int64], vocabulary: Vocabulary, wanted: tuple[str, ...]) -> Mask:
        return np.isin(codes, [code for text in wanted if (code := vocabulary.code(text)) >= 0])

    def named(ids: tuple[str, ...]) -> Mask:
        return catalogue.display["creator_id"].is_in(pl.Series(list(ids), dtype=pl.String).implode()).to_numpy()

    def has_niche() -> Mask:
        wanted = np.zeros((1, len(words.niche)))
        for niche in f.niches:
            if (code := words.niche.code(niche)) >= 0:
                wanted[0, code] = 1.0
        return np.nan_to_num(state.lists["niches"].dot(wanted, np.zeros(1, dtype=np.int64))) > 0

    asked: list[tuple[str, object, Callable[[], Mask]]] = [
        ("creator_ids", f.creator_ids, lambda: named(f.creator_ids or ())),
        ("exclude_creator_ids", f.exclude_creator_ids, lambda: ~named(f.exclude_creator_ids)),
        ("brief_platforms", brief.platforms, lambda: coded(state.codes["platform"], words.platform, brief.platforms)),
        ("platforms", f.platforms, lambda: coded(state.codes["platform"], words.platform, f.platforms)),
        ("tiers", f.tiers, lambda: np.isin(state.codes["tier"], [catalogue.tier_names.index(t) for t in f.tiers])),
        ("countries", f.countries, lambda: coded(state.codes["country"], words.country, f.countries)),
        ("languages", f.languages, lambda: coded(
            state.codes["language"], words.language, tuple(primary_language(tag) for tag in f.languages))),
        ("niches", f.niches, has_niche),
        # an unknown number does not pass a bound: nobody can say that it is met
        ("min_followers", f.min_followers, lambda: followers >= (f.min_followers or 0)),
        ("max_followers", f.max_followers is not None, lambda: followers <= (f.max_followers or 0)),
        ("min_credibility", f.min_credibility,
         lambda: state.profile["audience_credibility"] >= (f.min_credibility or 0)),
        ("min_target_share", f.min_target_share, lambda: candidate.target_share >= (f.min_target_share or 0)),
        ("known_price_only", f.known_price_only, lambda: candidate.fee_known),
        ("max_fee", f.max_fee is not None, lambda: candidate.fee <= (f.max_fee or 0)),
        ("over_budget", True, lambda: ~(candidate.fee > brief.budget)),
    ]  # fmt: skip
    return {reason: allowed for reason, wanted, allowed in asked if wanted}


def _field(reason: str) -> str:
    return {"over_budget": "budget", "brief_platforms": "platforms"}.get(reason, f"filters.{reason}")


def _nobody(removed: dict[str, int], considered: int) -> str:
    counts = ", ".join(f"{_field(reason)} removed {count}" for reason, count in removed.items())
    most = _field(max(removed, key=removed.__getitem__))
    return f"no creator is left of {considered}: {counts}. Relax {most} first"
