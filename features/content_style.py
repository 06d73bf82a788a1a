"""Content style: how the creator makes and posts, whatever the brief."""

import numpy as np

from features.declare import Definition, Family, Feature, Show, Sign, log_positive


def _feature(name: str, define: Definition, phrase: str, show: Show = "plain", sign: Sign = 0) -> Feature:
    return Feature(name, Family.CONTENT_STYLE, "creator", define, phrase, show, sign)


FEATURES = (
    _feature("content_polish", lambda c: c.profile["content_polish"], "polish of the content", "percent"),
    # originality and posting rate have an optimum (Leung et al. 2022), so no sign
    _feature("log_posts_per_week", lambda c: log_positive(c.profile["posts_per_week"]), "posts a week", "exp"),
    # each sponsored video costs about 0.19 % of subscribers (Cheng & Zhang 2025)
    _feature("sponsored_share", lambda c: c.profile["sponsored_share"], "share of sponsored posts", "percent", -1),
    _feature("log_content_count", lambda c: np.log1p(c.profile["content_count"]), "posts so far", "expm1"),
    _feature("is_verified", lambda c: c.profile["is_verified"], "verified account", "yes_no"),
)
