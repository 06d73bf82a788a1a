"""Briefs and campaigns (the same fields) as arrays, encoded against a market's vocabularies."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.codes import primary_language
from features.encoding import Vocabulary
from features.value import GOALS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Vocabularies:
    """The words of one market; codes in arrays mean positions in these."""

    platform: Vocabulary
    country: Vocabulary
    language: Vocabulary
    niche: Vocabulary
    brand: Vocabulary
    deliverable: Vocabulary


@dataclass(frozen=True)
class BriefColumns:
    """m briefs: numbers of shape (m,), and weights by code of shape (m, vocabulary)."""

    goal: Ints
    brand: Ints
    niche: Ints
    numbers: Mapping[str, Floats]
    niches: Floats
    targets: Floats
    value_weights: Floats
    languages: Floats
    platforms: Floats

    def __len__(self) -> int:
        return len(self.goal)


def encode_briefs(
    briefs: Sequence[Mapping[str, Any]], words: Vocabularies, cpm_factors: Mapping[str, float] | None = None
) -> BriefColumns:
    """Encode briefs or campaign rows.

    Args:
        briefs: mappings with the contract's names: goal, brand_id, niches, target_countries (code -> weight),
            languages, platforms, starts_on, budget, product_price, product_margin, is_new_product; any but goal
            may be missing or None. Money is in base currency.
        words: the market's vocabularies; a word not in them matches nothing.
        cpm_factors: cpm of a country / the general cpm, for `value_weights`.

    Weights of target countries are divided by the largest of the brief (contract: weight / largest weight).
    """
    m = len(briefs)
    factors = cpm_factors or {}
    niches, targets = np.zeros((m, len(words.niche))), np.zeros((m, len(words.country)))
    value_weights = np.zeros((m, len(words.country)))
    languages, platforms = np.zeros((m, len(words.language))), np.zeros((m, len(words.platform)))
    numbers = {name: np.full(m, np.nan) for name in NUMBERS}
    for row, brief in enumerate(briefs):
        _mark(niches[row], words.niche, brief.get("niches"))
        _mark(platforms[row], words.platform, brief.get("platforms"))
        _mark(languages[row], words.language, [primary_language(tag) for tag in brief.get("languages") or ()])
        wanted = brief.get("target_countries") or {}
        largest = max(wanted.values(), default=1.0)
        for country, weight in wanted.items():
            code = words.country.code(country)
            if code >= 0:
                targets[row, code] = weight / largest
                value_weights[row, code] = weight / largest * factors.get(country, 1.0)
        for name, value in _numbers(brief).items():
            numbers[name][row] = value
    return BriefColumns(
        goal=np.array([GOALS.index(brief["goal"]) for brief in briefs], dtype=np.int64),
        brand=np.array([words.brand.code(brief.get("brand_id")) for brief in briefs], dtype=np.int64),
        niche=np.array(
            [words.niche.code(next(iter(brief.get("niches") or ()), None)) for brief in briefs], dtype=np.int64
        ),
        numbers=numbers,
        niches=niches,
        targets=targets,
        value_weights=value_weights,
        languages=languages,
        platforms=platforms,
    )


NUMBERS = (
    "budget", "product_price", "product_margin", "is_new_product", "season_sin", "season_cos",
    "niche_count", "target_count", "language_count", "platform_count",
)  # fmt: skip


def _numbers(brief: Mapping[str, Any]) -> dict[str, float]:
    starts_on = brief.get("starts_on")
    angle = math.nan if starts_on is None else 2 * math.pi * starts_on.timetuple().tm_yday / 365.25
    return {
        "budget": _number(brief.get("budget")),
        "product_price": _number(brief.get("product_price")),
        "product_margin": _number(brief.get("product_margin")),
        "is_new_product": _number(brief.get("is_new_product")),
        "season_sin": math.sin(angle),
        "season_cos": math.cos(angle),
        "niche_count": float(len(set(brief.get("niches") or ()))),
        "target_count": float(len(brief.get("target_countries") or ())),
        "language_count": float(len(set(brief.get("languages") or ()))),
        "platform_count": float(len(set(brief.get("platforms") or ()))),
    }


def _number(value: object) -> float:
    return math.nan if value is None else float(value)  # type: ignore[arg-type]


def _mark(row: Floats, vocabulary: Vocabulary, texts: Iterable[str] | None) -> None:
    for text in texts or ():
        code = vocabulary.code(text)
        if code >= 0:
            row[code] = 1.0
