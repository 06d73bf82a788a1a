"""Track record: how settled placements of the creator, the person, the brand, the niche and the format went.

Only outcomes settled before the decision day count. Rates are relative to the market's on that day and shrunk
towards it. A person's record leaves out the account at hand, so that nothing is counted twice.
"""

import numpy as np

from features.declare import (
    Context,
    Definition,
    Family,
    Feature,
    Floats,
    Scope,
    Show,
    log_positive,
    ratio,
    shrunk_log_mean,
    shrunk_log_ratio,
)
from features.shrinkage import shrunk_beyond, shrunk_rate

SLOPE_PRIOR = 300.0  # placements x variance of log followers: the line is flat until there is that much to go by


def _mean_views(c: Context) -> Floats:
    """Mean log views of the creator's own placements; NaN without any."""
    return ratio(c.records["creator"]["log_views"], c.records["creator"]["viewed"])


def _average_views(c: Context) -> Floats:
    """Log of the mean views of the creator's own placements: unlike the mean of logs it tells of rare hits."""
    return np.log1p(ratio(c.records["creator"]["views"], c.records["creator"]["viewed"]))


def _expected_views(c: Context) -> Floats:
    """Log views to expect from followers, corrected by the creator's own record; NaN without followers.

    Followers enter through the line of log views on log followers over the market's settled placements; the creator's
    mean distance from that line is shrunk by two placements (empirical Bayes), its slope
    by SLOPE_PRIOR.
    """
    market, own = c.records["market"], c.records["creator"]
    n = market["sized_views"]
    x, y = ratio(market["log_followers"], n), ratio(market["sized_log_views"], n)
    variance = ratio(market["log_followers_squared"], n) - x**2
    covariance = ratio(market["log_views_by_log_followers"], n) - x * y
    slope = np.nan_to_num(ratio(n * covariance, n * variance + SLOPE_PRIOR))
    distance = own["sized_log_views"] - own["sized_views"] * (y - slope * x) - slope * own["log_followers"]
    line = y + slope * (log_positive(c.profile["follower_count"]) - x)
    return line + distance / (own["sized_views"] + 2.0)


def _feature(
    name: str, define: Definition, phrase: str, show: Show = "exp_percent", scope: Scope = "creator"
) -> Feature:
    return Feature(name, Family.TRACK_RECORD, scope, define, phrase, show)


def _rates(entity: str, words: str, scope: Scope, others: str | None = None) -> tuple[Feature, ...]:
    """What one entity's placements did beyond what was expected: views, engagement, clicks and orders per click.

    Args:
        entity: whose record.
        words: of whom, for people.
        scope: of the features.
        others: the record towards which it is shrunk, instead of towards the market's.
    """

    def beyond(stage: str) -> Definition:
        return lambda c: shrunk_beyond(
            c.records[entity], c.records["market"], entity, stage, c.records[others] if others else None
        )

    def rate(stage: str) -> Definition:
        return lambda c: shrunk_rate(
            c.records[entity], c.records["market"], entity, stage, c.records[others] if others else None
        )

    return (
        _feature(f"{entity}_views_against_usual", beyond("views"), f"past views {words} against what is usual",
                 scope=scope),
        _feature(f"{entity}_engagement_against_usual", beyond("engagement"),
                 f"past engagement rate {words} against what is usual", scope=scope),
        _feature(f"{entity}_click_rate", rate("clicks"), f"past click rate {words} against the market", scope=scope),
        _feature(f"{entity}_sales_rate", rate("sales"), f"past orders per click {words} against the market",
                 scope=scope),
    )  # fmt: skip


def _raw_rates(entity: str, words: str, scope: Scope) -> tuple[Feature, ...]:
    """Views and rates of one entity against the market, whoever was booked: all there is where no profile is known."""

    def rate(events: str, exposure: str) -> Definition:
        return lambda c: shrunk_log_ratio(c.records[entity], c.records["market"], events, exposure)

    return (
        _feature(f"{entity}_views",
                 lambda c: shrunk_log_mean(c.records[entity], c.records["market"], "log_views", "viewed"),
                 f"past views {words} against the market", scope=scope),
        _feature(f"{entity}_engagement_rate", rate("engagements", "engaged_views"),
                 f"past engagement rate {words} against the market", scope=scope),
        _feature(f"{entity}_conversion_rate", rate("conversions", "sold_views"),
                 f"past conversion rate {words} against the market", scope=scope),
    )  # fmt: skip


FEATURES = (
    _feature("creator_placements", lambda c: np.log1p(c.records["creator"]["placements"]),
             "past placements of the creator", "expm1"),
    *_rates("creator", "of the creator", "creator", others="person_others"),
    *_raw_rates("creator", "of the creator", "creator"),
    _feature("creator_mean_views", _mean_views, "mean views of past placements", "expm1"),
    _feature("creator_expected_views", _expected_views, "views expected from followers and own record", "expm1"),
    _feature("creator_average_views", _average_views, "average views of past placements", "expm1"),
    _feature("creator_recent_views",
             lambda c: shrunk_log_mean(c.records["creator_recent"], c.records["market"], "log_views", "viewed"),
             "views of the last 90 days' placements against the market"),
    _feature("creator_delivery",
             lambda c: shrunk_log_ratio(c.records["creator"], c.records["market"], "delivered", "placements"),
             "share of agreed placements delivered, against the market"),
    _feature("creator_return",
             lambda c: shrunk_log_ratio(c.records["creator"], c.records["market"], "value", "cost"),
             "past value per cost against the market"),
    _feature("person_placements", lambda c: np.log1p(c.records["person_others"]["placements"]),
             "past placements on the person's other accounts", "expm1"),
    _feature("person_return",
             lambda c: shrunk_log_ratio(c.records["person_others"], c.records["market"], "value", "cost"),
             "past value per cost on the person's other accounts"),
    *_rates("brand", "of the brand", "brief"),
    *_rates("deliverable", "of the deliverable", "brief"),
    *_raw_rates("niche", "in the brief's niche", "brief"),
    *_rates("niche_style", "in the niche, on the platform and in the style", "kind"),
    *_rates("goal_tier", "of this tier for the goal", "kind"),
)  # fmt: skip
