"""Geography: how much of the audience is where the brief wants to be heard."""

import numpy as np

from features.brief_columns import BriefColumns
from features.country_prior import CountryPrior
from features.declare import Context, Definition, Family, Feature, Floats, Ints, Scope, Show, Sign, log_positive
from features.encoding import Lists


def value_share(audience: Lists, home: Ints, briefs: BriefColumns, which: Ints, prior: CountryPrior) -> Floats:
    """g of the value formula, shape (n,): the known share, else what country and market lead one to expect.

    1 where the brief names no target, or where nothing is known about any audience.
    """
    share = audience.dot(briefs.value_weights, which)
    used, of = np.unique(which, return_inverse=True)
    # row by row, where a product of matrices may round by how many rows there are
    market = (briefs.value_weights[used] * prior.weights).sum(axis=1)[of]
    at_home = np.zeros(len(home))
    if briefs.value_weights.shape[1]:
        at_home = np.where(home >= 0, briefs.value_weights[which, np.maximum(home, 0)], 0.0)
    guess = np.where(home >= 0, prior.home_share * at_home + (1.0 - prior.home_share) * market, market)
    share = np.where(np.isnan(share), guess if prior.known else 1.0, share)
    return np.where(briefs.numbers["target_count"][which] > 0, share, 1.0)


def target_share(c: Context) -> Floats:
    """Share of the audience in the target countries, weighted as in the contract; NaN where unknown.

    1 where the brief names no target.
    """
    share = c.dot("country", "targets")
    return np.where(c.number("target_count") > 0, share, 1.0)


def home_in_target(c: Context) -> Floats:
    """Weight the brief gives to the creator's own country; NaN where either is not named."""
    weight = c.weight_of(c.codes["country"], c.briefs.targets)
    return np.where(c.number("target_count") > 0, weight, np.nan)


def _known_or_home(c: Context) -> Floats:
    share = target_share(c)
    return np.where(np.isnan(share), home_in_target(c), share)


def _speaks(c: Context) -> Floats:
    weight = c.weight_of(c.codes["language"], c.briefs.languages)
    return np.where(c.number("language_count") > 0, weight, np.nan)


def _audience_speaks(c: Context) -> Floats:
    share = c.dot("language", "languages")
    return np.where(c.number("language_count") > 0, share, np.nan)


def _target_views(c: Context) -> Floats:
    return log_positive(c.profile["median_views"] * _known_or_home(c))


def _home_share(c: Context) -> Floats:
    return c.profile["home_share"]


def _concentration(c: Context) -> Floats:
    """Herfindahl index of the audience's countries."""
    lists = c.lists["country"]
    owner = np.repeat(np.arange(len(lists.lengths)), lists.lengths)
    squares = np.bincount(owner, weights=lists.weights**2, minlength=len(lists.lengths))
    return np.where(lists.lengths > 0, squares, np.nan)


def _feature(
    name: str, scope: Scope, define: Definition, phrase: str, show: Show = "percent", sign: Sign = 0
) -> Feature:
    return Feature(name, Family.GEOGRAPHY, scope, define, phrase, show, sign)


FEATURES = (
    _feature("target_share", "pair", target_share, "audience in the target countries", sign=1),
    _feature("home_in_target", "kind", home_in_target, "home country is a target"),
    _feature("log_target_views", "pair", _target_views, "views in the target countries", "exp"),
    _feature("speaks_language", "kind", _speaks, "speaks the brief's language", "yes_no"),
    _feature("audience_speaks_language", "pair", _audience_speaks, "audience that speaks the language"),
    _feature("home_share", "creator", _home_share, "audience in the home country"),
    _feature("audience_concentration", "creator", _concentration, "concentration of the audience"),
)
