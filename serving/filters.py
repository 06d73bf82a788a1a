"""Who may be picked for a brief: each creator is counted once, under the first filter that removes it."""

from collections.abc import Callable, Iterable, Mapping
from typing import NoReturn

import numpy as np
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


class Removed:
    """How many creators each filter removed, in the order in which filters are asked; each is counted once.

    >>> removed = Removed()
    >>> removed.take(np.array([True, True, False]), {"tiers": lambda: np.array([True, False, False])}).tolist()
    [True, False, False]
    >>> removed.counts
    {'tiers': 1}
    """

    def __init__(self, considered: int = 0, unnamed: int = 0) -> None:
        """Of `considered` creators, `unnamed` are not among those whom the brief names."""
        self._considered, self._unnamed = considered, unnamed
        self._asked: dict[str, int] = {}

    @property
    def counts(self) -> dict[str, int]:
        """By reason, those that removed somebody."""
        return {reason: n for reason, n in {"creator_ids": self._unnamed, **self._asked}.items() if n}

    def take(self, keep: Mask, filters: Mapping[str, Callable[[], Mask]]) -> Mask:
        """Who of those kept passes the filters as well, shape (n,); what each removes is counted."""
        for reason, allowed in filters.items():
            left = keep & allowed()
            gone = int(np.count_nonzero(keep)) - int(np.count_nonzero(left))
            self._asked[reason] = self._asked.get(reason, 0) + gone
            keep = left
        return keep

    def refuse_nobody(self) -> NoReturn:
        """Refuse an answer without anybody.

        Raises:
            NothingFits: naming the filter to relax; not the list of names, if anybody named was there.
        """
        counts = {reason: n for reason, n in self._asked.items() if n}
        considered = self._considered - self._unnamed
        most = _field(max(counts, key=counts.__getitem__))
        said = ", ".join(f"{_field(reason)} removed {count}" for reason, count in counts.items())
        raise NothingFits(f"no creator is left of {considered}: {said}. Relax {most} first", field=most)


def profile_filters(
    catalogue: Catalogue, brief: Brief, target_share: Callable[[], Floats]
) -> dict[str, Callable[[], Mask]]:
    """What the brief asks of a creator whatever the fee: masks of shape (n,) by reason, cheapest first.

    Args:
        catalogue: n creators.
        brief: says which filters are asked for.
        target_share: audience in the target, shape (n,), NaN where unknown.
    """
    f, state, words = brief.filters, catalogue.state, catalogue.words
    followers = state.profile["follower_count"]

    def coded(codes: NDArray[np.int64], vocabulary: Vocabulary, wanted: Iterable[str]) -> Mask:
        return _among(codes, (vocabulary.code(text) for text in wanted), len(vocabulary))

    def named(ids: tuple[str, ...]) -> Mask:
        mask = np.zeros(len(state), dtype=bool)
        mask[catalogue.rows_of(ids)] = True
        return mask

    def has_niche() -> Mask:
        wanted = np.zeros((1, len(words.niche)))
        for niche in f.niches:
            if (code := words.niche.code(niche)) >= 0:
                wanted[0, code] = 1.0
        return state.lists["niches"].dot(wanted, np.zeros(1, dtype=np.int64)) > 0

    tiers = [catalogue.tier_names.index(tier) for tier in f.tiers]
    languages = [primary_language(tag) for tag in f.languages]
    asked: list[tuple[str, object, Callable[[], Mask]]] = [
        ("creator_ids", f.creator_ids, lambda: named(f.creator_ids or ())),
        ("exclude_creator_ids", f.exclude_creator_ids, lambda: ~named(f.exclude_creator_ids)),
        ("brief_platforms", brief.platforms, lambda: coded(state.codes["platform"], words.platform, brief.platforms)),
        ("platforms", f.platforms, lambda: coded(state.codes["platform"], words.platform, f.platforms)),
        ("tiers", f.tiers, lambda: _among(state.codes["tier"], tiers, len(catalogue.tier_names))),
        ("countries", f.countries, lambda: coded(state.codes["country"], words.country, f.countries)),
        ("languages", f.languages, lambda: coded(state.codes["language"], words.language, languages)),
        ("niches", f.niches, has_niche),
        # an unknown number does not pass a bound: nobody can say that it is met
        ("min_followers", f.min_followers, lambda: followers >= (f.min_followers or 0)),
        ("max_followers", f.max_followers is not None, lambda: followers <= (f.max_followers or 0)),
        ("min_credibility", f.min_credibility,
         lambda: state.profile["audience_credibility"] >= (f.min_credibility or 0)),
        ("min_target_share", f.min_target_share, lambda: target_share() >= (f.min_target_share or 0)),
    ]  # fmt: skip
    return {reason: allowed for reason, wanted, allowed in asked if wanted}


def fee_filters(brief: Brief, fee: Floats, known: Mask) -> dict[str, Callable[[], Mask]]:
    """What the brief asks of a fee: masks of shape (n,) by reason.

    Args:
        brief: says which filters are asked for.
        fee: to expect, NaN where nothing tells.
        known: whether it is more than an estimate.
    """
    asked: list[tuple[str, object, Callable[[], Mask]]] = [
        ("known_price_only", brief.filters.known_price_only, lambda: known),
        ("max_fee", brief.filters.max_fee is not None, lambda: fee <= (brief.filters.max_fee or 0)),
        ("over_budget", True, lambda: ~(fee > brief.budget)),
    ]
    return {reason: allowed for reason, wanted, allowed in asked if wanted}


def fee_bounds(brief: Brief) -> tuple[float, ...]:
    """Amounts at which a fee begins to be filtered."""
    return (brief.budget,) if brief.filters.max_fee is None else (brief.budget, brief.filters.max_fee)


def _among(codes: NDArray[np.int64], wanted: Iterable[int], size: int) -> Mask:
    """Whether each code, -1 for unknown, is a wanted one; shape (n,)."""
    table = np.zeros(size + 1, dtype=bool)
    table[[code for code in wanted if code >= 0]] = True
    table[-1] = False
    return table[codes]


def _field(reason: str) -> str:
    elsewhere = {"over_budget": "budget", "brief_platforms": "platforms", "unknown_fee": "fees nothing tells"}
    elsewhere |= {name: f"plan.{name}" for name in ("per_creator_cap", "per_person_cap")}
    return elsewhere.get(reason, f"filters.{reason}")
