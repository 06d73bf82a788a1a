"""Goal fit: whether this size of creator on this platform serves this goal and this product."""

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
    shrunk_log_mean,
    shrunk_log_ratio,
)
from features.value import GOALS


def _is_goal(goal: int) -> Definition:
    return lambda c: np.asarray(c.goal() == goal, dtype=np.float64)


def _on_platform(c: Context) -> Floats:
    weight = c.weight_of(c.codes["platform"], c.briefs.platforms)
    return np.where(c.number("platform_count") > 0, weight, np.nan)


def _feature(name: str, define: Definition, phrase: str, show: Show = "plain", scope: Scope = "brief") -> Feature:
    return Feature(name, Family.GOAL_FIT, scope, define, phrase, show)


FEATURES = (
    *(
        _feature(f"goal_is_{goal}", _is_goal(code), f"goal {goal}", "yes_no")
        for code, goal in enumerate(GOALS)
    ),
    _feature("tier_for_goal",
             lambda c: shrunk_log_ratio(c.records["goal_tier"], c.records["goal"], "value", "cost"),
             "past return of this tier for the goal", "exp_percent", "kind"),
    _feature("platform_for_goal",
             lambda c: shrunk_log_ratio(c.records["goal_platform"], c.records["goal"], "value", "cost"),
             "past return of this platform for the goal", "exp_percent", "kind"),
    _feature("goal_engagement_rate",
             lambda c: shrunk_log_ratio(c.records["goal"], c.records["market"], "engagements", "engaged_views"),
             "past engagement for the goal", "exp_percent"),
    _feature("platform_views",
             lambda c: shrunk_log_mean(c.records["platform"], c.records["market"], "log_views", "viewed"),
             "past views on the platform", "exp_percent", "creator"),
    _feature("platform_engagement_rate",
             lambda c: shrunk_log_ratio(c.records["platform"], c.records["market"], "engagements", "engaged_views"),
             "past engagement on the platform", "exp_percent", "creator"),
    _feature("platform_conversion_rate",
             lambda c: shrunk_log_ratio(c.records["platform"], c.records["market"], "conversions", "sold_views"),
             "past conversion on the platform", "exp_percent", "creator"),
    _feature("platform_in_brief", _on_platform, "platform is in the brief", "yes_no", "kind"),
    _feature("is_new_product", lambda c: c.number("is_new_product"), "new product", "yes_no"),
    _feature("log_product_price", lambda c: log_positive(c.number("product_price")), "product price", "exp"),
    _feature("log_budget", lambda c: log_positive(c.number("budget")), "budget", "exp"),
    _feature("season_sin", lambda c: c.number("season_sin"), "season"),
    _feature("season_cos", lambda c: c.number("season_cos"), "season"),
)  # fmt: skip
