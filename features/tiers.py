"""Tiers by size: `tier` is the same everywhere, `tier_local` follows the platform's own table."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from features.settings import Settings, Tier

UNKNOWN = "unknown"


def tier_names(settings: Settings) -> tuple[str, ...]:
    """Tier names by code, smallest first; the last one stands for unknown followers.

    >>> tier_names(Settings())
    ('nano', 'micro', 'macro', 'mega', 'unknown')
    """
    return (*(tier.name for tier in settings.tiers), UNKNOWN)


def tier_codes(followers: NDArray[np.float64], settings: Settings) -> NDArray[np.int64]:
    """Code into `tier_names` for each follower count; NaN is unknown.

    >>> [tier_names(Settings())[c] for c in tier_codes(np.array([9_999, 10_000, 1e6, np.nan]), Settings())]
    ['nano', 'micro', 'mega', 'unknown']
    """
    return _codes(followers, settings.tiers)


def local_tiers(
    platforms: Sequence[str], followers: NDArray[np.float64], reads: NDArray[np.float64], settings: Settings
) -> list[str]:
    """The platform's own word for each creator's size; a platform without a table keeps `tier`.

    Args:
        platforms: platform of each creator.
        followers: follower counts, NaN where unknown.
        reads: median views, used instead of followers on the platforms in `settings.tier_by_reads`.
        settings: the tables.

    >>> local_tiers(["douyin", "wechat", "x"], np.array([2e6, 5e6, 5e3]), np.array([1.0, 6e3, 1.0]), Settings())
    ['head', 'waist', 'nano']
    """
    named, of = np.unique(np.array(platforms, dtype=str), return_inverse=True)
    out = np.full(len(platforms), UNKNOWN, dtype=object)
    for number, platform in enumerate(named.tolist()):
        rows = np.flatnonzero(of == number)
        table = settings.local_tiers.get(platform, settings.tiers)
        sizes = reads if platform in settings.tier_by_reads else followers
        words = np.array([*(tier.name for tier in table), UNKNOWN], dtype=object)
        out[rows] = words[_codes(sizes[rows], table)]
    return out.tolist()


def _codes(sizes: NDArray[np.float64], table: tuple[Tier, ...]) -> NDArray[np.int64]:
    edges = np.array([tier.below for tier in table if tier.below is not None], dtype=np.float64)
    return np.where(np.isnan(sizes), len(table), np.searchsorted(edges, sizes, side="right"))
