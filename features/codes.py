"""Country, currency and language codes (ISO 3166-1, ISO 4217, BCP-47 primary tags)."""

from functools import cache

import polars as pl
import pycountry

# Kosovo has no official code; XK is what platforms report.
_EXTRA_COUNTRIES = frozenset({"XK"})


@cache
def countries() -> frozenset[str]:
    """Every ISO 3166-1 alpha-2 code, upper case.

    >>> "SG" in countries(), "XX" in countries()
    (True, False)
    """
    return frozenset(c.alpha_2 for c in pycountry.countries) | _EXTRA_COUNTRIES


@cache
def currencies() -> frozenset[str]:
    """Every ISO 4217 code, upper case.

    >>> "CNY" in currencies(), "RMB" in currencies()
    (True, False)
    """
    return frozenset(c.alpha_3 for c in pycountry.currencies)


@cache
def country_hint(text: str) -> str | None:
    """The code somebody probably meant by a country's name, or None.

    >>> country_hint("Vietnam"), country_hint("nowhere")
    ('VN', None)
    """
    try:
        return str(pycountry.countries.lookup(text.strip()).alpha_2)
    except LookupError:
        return None


def primary_languages(tags: pl.Series) -> pl.Series:
    """`primary_language` of a column.

    >>> primary_languages(pl.Series(["zh-Hant-TW", " EN_us", None])).to_list()
    ['zh', 'en', None]
    """
    parts = tags.str.strip_chars().str.replace_all("_", "-", literal=True).str.split("-")
    return parts.list.first().str.to_lowercase()


def primary_language(tag: str) -> str:
    """The primary part of a BCP-47 tag, lower case: `zh-Hant-TW` -> `zh`.

    >>> primary_language("zh-Hant-TW")
    'zh'
    """
    return tag.strip().replace("_", "-").split("-")[0].lower()
