"""Engagement: how large an audience is, and how much it responds."""

import numpy as np

from features.declare import Context, Family, Feature, Floats, log_positive, ratio


def engagements(c: Context) -> Floats:
    """Likes, comments, shares and saves of a usual post; hidden ones are left out, NaN when all are."""
    parts = np.stack([c.profile[name] for name in ("avg_likes", "avg_comments", "avg_shares", "avg_saves")])
    return np.where(np.isnan(parts).all(axis=0), np.nan, np.nansum(parts, axis=0))


def _following_ratio(c: Context) -> Floats:
    return log_positive(ratio(c.profile["following_count"] + 1.0, c.profile["follower_count"]))


def _sponsored_response(c: Context) -> Floats:
    organic = ratio(engagements(c), c.profile["follower_count"])
    return log_positive(ratio(c.profile["engagement_rate_sponsored"], organic))


def _saves_and_shares(c: Context) -> Floats:
    return ratio(c.profile["avg_shares"] + c.profile["avg_saves"], engagements(c))


def _feature(name: str, define, phrase: str, show="plain", sign=0) -> Feature:  # type: ignore[no-untyped-def]
    return Feature(name, Family.ENGAGEMENT, "creator", define, phrase, show, sign)


FEATURES = (
    _feature("log_followers", lambda c: log_positive(c.profile["follower_count"]), "followers", "exp"),
    _feature("log_median_views", lambda c: log_positive(c.profile["median_views"]), "median views", "exp"),
    _feature(
        "log_views_per_follower",
        lambda c: log_positive(ratio(c.profile["median_views"], c.profile["follower_count"])),
        "views per follower", "exp_percent",
    ),
    _feature(
        "log_engagement_per_follower",
        lambda c: log_positive(ratio(engagements(c), c.profile["follower_count"])),
        "engagement rate by follower", "exp_percent",
    ),
    _feature(
        "log_engagement_per_view",
        lambda c: log_positive(ratio(engagements(c), c.profile["median_views"])),
        "engagement rate by view", "exp_percent",
    ),
    _feature("log_engagements", lambda c: log_positive(engagements(c)), "engagements a post", "exp"),
    _feature("comment_share", lambda c: ratio(c.profile["avg_comments"], engagements(c)), "comment share", "percent"),
    _feature("save_and_share_share", _saves_and_shares, "share of saves and shares", "percent"),
    _feature("sponsored_response", _sponsored_response, "sponsored against usual engagement", "exp_percent"),
    _feature("follower_growth", lambda c: c.profile["follower_growth"], "follower growth in 90 days", "expm1"),
    _feature("audience_credibility", lambda c: c.profile["audience_credibility"], "credible audience", "percent", 1),
    _feature("log_following_ratio", _following_ratio, "accounts followed per follower", "exp_percent"),
    _feature("last_post_age", lambda c: np.log1p(c.profile["last_post_age"]), "days since the last post", "expm1"),
    _feature("snapshot_age", lambda c: np.log1p(c.profile["snapshot_age"]), "age of the profile in days", "expm1"),
)  # fmt: skip
