import numpy as np
import polars as pl
import pytest

from features.brief import parse_brief
from features.brief_columns import Vocabularies
from features.context import CreatorState
from features.country_prior import CountryPrior
from features.encoding import Lists, Vocabulary
from features.settings import Settings
from features.tiers import tier_codes, tier_names
from serving.catalogue import Catalogue
from serving.filters import NothingFits, Removed, fee_filters, profile_filters

#   id, platform, country, language, niches, followers, credibility, fee, fee known, target share
ROWS = [
    ("a", "tiktok", "SG", "en", ["beauty", "food"], 5_000.0, 0.9, 100.0, True, 0.8),
    ("b", "tiktok", "MY", "ms", ["food"], 10_000.0, 0.7, 200.0, True, 0.5),
    ("c", "instagram", "SG", "zh", [], 99_999.0, np.nan, 300.0, False, np.nan),
    ("d", "instagram", None, None, ["beauty"], 100_000.0, 0.5, np.nan, False, 0.0),
    ("e", "youtube", "VN", "vi", ["tech"], np.nan, 0.8, 500.0, True, 0.2),
    ("f", "youtube", "SG", "en", ["tech"], 2_000_000.0, 1.0, 5_000.0, True, 1.0),
]


@pytest.fixture(scope="module")
def catalogue():
    ids, platform, country, language, niches, followers, credibility, *_ = zip(*ROWS, strict=True)
    niche_of = Vocabulary.of(n for listed in niches for n in listed)
    words = Vocabularies(
        Vocabulary.of(platform), Vocabulary.of(country), Vocabulary.of(language), niche_of, Vocabulary(()),
        Vocabulary(()),
    )  # fmt: skip
    row = np.array([i for i, listed in enumerate(niches) for _ in listed], dtype=np.int64)
    code = np.array([niche_of.code(n) for listed in niches for n in listed], dtype=np.int64)
    followers = np.array(followers)
    state = CreatorState(
        day=20_000,
        profile={"follower_count": followers, "audience_credibility": np.array(credibility)},
        codes={
            "platform": words.platform.codes(pl.Series(platform)),
            "country": words.country.codes(pl.Series(country)),
            "language": words.language.codes(pl.Series(language)),
            "tier": tier_codes(followers, Settings()),
        },
        lists={"niches": Lists.of(row, code, np.ones(len(row)), len(ROWS))},
        static=np.zeros((len(ROWS), 1), dtype=np.float32),
        totals={},
        deliverable_prices=np.zeros((len(ROWS), 0)),
        deliverable_sources=np.zeros((len(ROWS), 0)),
    )
    display = pl.DataFrame({"creator_id": ids})
    prior = CountryPrior(np.zeros(len(words.country)), 0.6, known=False)
    return Catalogue(state, display, words, prior, {}, tier_names(Settings()), "USD", ())


@pytest.fixture(scope="module")
def candidate():
    columns = list(zip(*ROWS, strict=True))
    return np.array(columns[7]), np.array(columns[8]), np.array(columns[9])


def apply(catalogue, candidate, budget=1e6, brief_platforms=(), **filters):
    brief = parse_brief({"goal": "awareness", "budget": budget, "platforms": list(brief_platforms), "filters": filters})
    fee, known, share = candidate
    removed = Removed(len(ROWS))
    keep = removed.take(np.ones(len(ROWS), dtype=bool), profile_filters(catalogue, brief, lambda: share))
    keep = removed.take(keep, fee_filters(brief, fee, known))
    if not keep.any():
        removed.refuse_nobody()
    return "".join(catalogue.display["creator_id"].filter(pl.Series(keep))), removed.counts


@pytest.mark.parametrize(
    ("asked", "remain", "removed"),
    [
        ({}, "abcdef", {}),
        ({"tiers": ["nano"]}, "a", {"tiers": 5}),
        ({"tiers": ["micro", "macro"]}, "bcd", {"tiers": 3}),
        ({"tiers": ["unknown"]}, "e", {"tiers": 5}),
        ({"min_followers": 10_000}, "bcdf", {"min_followers": 2}),
        ({"min_followers": 10_001}, "cdf", {"min_followers": 3}),
        ({"max_followers": 10_000}, "ab", {"max_followers": 4}),
        ({"min_followers": 1, "max_followers": 9_999}, "a", {"min_followers": 1, "max_followers": 4}),
        ({"max_fee": 200}, "ab", {"max_fee": 4}),
        ({"max_fee": 199.99}, "a", {"max_fee": 5}),
        ({"min_credibility": 0.8}, "aef", {"min_credibility": 3}),
        ({"min_target_share": 0.5}, "abf", {"min_target_share": 3}),
        ({"platforms": ["TikTok", "youtube"]}, "abef", {"platforms": 2}),
        ({"platforms": ["tiktok", "unheard of"]}, "ab", {"platforms": 4}),
        ({"niches": ["beauty"]}, "ad", {"niches": 4}),
        ({"niches": ["beauty", "tech", "unheard of"]}, "adef", {"niches": 2}),
        ({"countries": ["sg"]}, "acf", {"countries": 3}),
        ({"countries": ["MY", "VN"]}, "be", {"countries": 4}),
        ({"languages": ["en-SG"]}, "af", {"languages": 4}),
        ({"languages": ["zh-Hant", "vi"]}, "ce", {"languages": 4}),
        ({"creator_ids": ["a", "f", "nobody"]}, "af", {"creator_ids": 4}),
        ({"exclude_creator_ids": ["a", "nobody"]}, "bcdef", {"exclude_creator_ids": 1}),
        ({"known_price_only": True}, "abef", {"known_price_only": 2}),
        ({"known_price_only": False}, "abcdef", {}),
        ({"budget": 500}, "abcde", {"over_budget": 1}),
        ({"budget": 499}, "abcd", {"over_budget": 2}),
        ({"brief_platforms": ["tiktok"]}, "ab", {"brief_platforms": 4}),
        ({"brief_platforms": ["tiktok", "youtube"], "platforms": ["youtube"]}, "ef",
         {"brief_platforms": 2, "platforms": 2}),
    ],
)  # fmt: skip
def test_who_remains_and_what_is_counted(catalogue, candidate, asked, remain, removed):
    filters = {k: v for k, v in asked.items() if k not in ("budget", "brief_platforms")}
    found = apply(catalogue, candidate, asked.get("budget", 1e6), asked.get("brief_platforms", ()), **filters)
    assert found == (remain, removed)


def test_everybody_is_counted_once_under_the_first_filter(catalogue, candidate):
    asked = {"countries": ["SG"], "min_followers": 6_000, "max_fee": 1_000, "exclude_creator_ids": ["a", "b"]}
    remain, removed = apply(catalogue, candidate, **asked)
    assert (remain, removed) == ("c", {"exclude_creator_ids": 2, "countries": 2, "max_fee": 1})
    assert sum(removed.values()) == len(ROWS) - len(remain)


def test_counts_add_up_for_any_filters(catalogue, candidate):
    rng = np.random.default_rng(0)
    choices = {
        "tiers": [["nano"], ["micro", "unknown"], ["macro", "mega"]],
        "min_followers": [1, 50_000],
        "max_fee": [150, 400],
        "countries": [["SG"], ["MY", "SG"]],
        "min_credibility": [0.6],
        "known_price_only": [True],
    }
    nobody = 0
    for _ in range(200):
        names = rng.choice(list(choices), rng.integers(1, 4), replace=False)
        asked = {name: choices[name][rng.integers(len(choices[name]))] for name in names}
        try:
            remain, removed = apply(catalogue, candidate, float(rng.choice([250, 1e6])), **asked)
        except NothingFits:
            nobody += 1
            continue
        assert sum(removed.values()) == len(ROWS) - len(remain)
        assert all(removed.values())
    assert 0 < nobody < 150


@pytest.mark.parametrize(
    ("asked", "field", "words"),
    [
        ({"creator_ids": ["nobody"]}, "filters.creator_ids", ["no creator is left of 6", "removed 6"]),
        ({"niches": ["unheard of"]}, "filters.niches", ["Relax filters.niches first"]),
        ({"min_followers": 1e9}, "filters.min_followers", ["Relax filters.min_followers first"]),
        ({"max_fee": 0}, "filters.max_fee", ["Relax filters.max_fee first"]),
        ({"tiers": ["nano"], "platforms": ["youtube"]}, "filters.platforms",
         ["filters.platforms removed 4", "filters.tiers removed 2", "Relax filters.platforms first"]),
        ({"budget": 1, "exclude_creator_ids": ["d"]}, "budget", ["budget removed 5", "Relax budget first"]),
        ({"brief_platforms": ["myspace"]}, "platforms", ["platforms removed 6", "Relax platforms first"]),
    ],
)  # fmt: skip
def test_when_nobody_is_left_the_filter_to_relax_is_named(catalogue, candidate, asked, field, words):
    filters = {k: v for k, v in asked.items() if k not in ("budget", "brief_platforms")}
    with pytest.raises(NothingFits) as error:
        apply(catalogue, candidate, asked.get("budget", 1e6), asked.get("brief_platforms", ()), **filters)
    assert error.value.field == field
    for word in words:
        assert word in str(error.value)
