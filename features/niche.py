"""Niche: whether the creator talks about what the brief is about."""

import numpy as np

from features.declare import Context, Family, Feature, Floats, ratio


def _shared(c: Context) -> Floats:
    """Number of the brief's niches the creator has; NaN where either names none."""
    shared = c.dot("niches", "niches")
    return np.where(c.number("niche_count") > 0, shared, np.nan)


def _jaccard(c: Context) -> Floats:
    shared = _shared(c)
    return ratio(shared, c.lists["niches"].lengths + c.number("niche_count") - shared)


def _interest(c: Context) -> Floats:
    interest = c.dot("interest", "niches")
    return np.where(c.number("niche_count") > 0, interest, np.nan)


def _breadth(c: Context) -> Floats:
    lengths = c.lists["niches"].lengths
    return np.where(lengths > 0, lengths, np.nan).astype(np.float64)


FEATURES = (
    Feature("niche_match", Family.NICHE, "pair", lambda c: ratio(_shared(c), c.number("niche_count")),
            "share of the brief's niches covered", "percent", 1),
    Feature("niche_similarity", Family.NICHE, "pair", _jaccard, "niche similarity", "percent"),
    Feature("audience_interest", Family.NICHE, "pair", _interest, "audience interested in the niche", "percent"),
    Feature("niche_breadth", Family.NICHE, "creator", _breadth, "niches covered"),
)  # fmt: skip
