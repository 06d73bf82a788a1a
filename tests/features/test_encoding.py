import math
from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.brief_columns import Vocabularies, encode_briefs
from features.encoding import Lists, Vocabulary

WORDS = Vocabularies(
    platform=Vocabulary.of(["tiktok", "x"]),
    country=Vocabulary.of(["SG", "MY", "VN"]),
    language=Vocabulary.of(["en", "zh"]),
    niche=Vocabulary.of(["beauty", "food"]),
    brand=Vocabulary.of(["b1"]),
    deliverable=Vocabulary.of(["reel"]),
)
ENTRIES = st.lists(st.tuples(st.integers(-1, 5), st.integers(-1, 3), st.floats(0, 1)), max_size=30)


def as_lists(entries, n):
    row, code, weight = ([e[i] for e in entries] for i in range(3))
    return Lists.of(np.array(row, dtype=np.int64), np.array(code, dtype=np.int64), np.array(weight, dtype=float), n)


@settings(max_examples=80, deadline=None)
@given(ENTRIES, st.lists(st.integers(-1, 5), min_size=1, max_size=8), st.booleans())
def test_lists_equal_plain_dicts_of_rows(entries, index, one_brief):
    lists = as_lists(entries, 6)
    plain = [sorted((c, w) for r, c, w in entries if r == row and c >= 0) for row in range(6)]
    chosen = lists.rows(np.array(index))
    assert lists.lengths.tolist() == [len(row) for row in plain]
    rng = np.random.default_rng(len(entries))
    table = rng.random((3, 4))
    which = np.array([1]) if one_brief else rng.integers(0, 3, len(index))
    got = chosen.dot(table, which)
    for position, asked in enumerate(index):
        row = plain[asked] if asked >= 0 else []
        part = slice(chosen.offsets[position], chosen.offsets[position + 1])
        assert sorted(zip(chosen.codes[part].tolist(), chosen.weights[part].tolist(), strict=True)) == row
        brief = 1 if one_brief else which[position]
        expected = sum(w * table[brief, c] for c, w in row) if row else math.nan
        np.testing.assert_allclose(got[position], expected, rtol=1e-12, atol=1e-300)


def test_lists_without_any_row():
    empty = as_lists([], 0).rows(np.array([-1, -1]))
    assert empty.lengths.tolist() == [0, 0]
    assert np.isnan(empty.dot(np.ones((1, 4)), np.array([0]))).all()


@pytest.mark.parametrize(
    ("texts", "codes"),
    [(["b", "a", None, "z", "b"], [1, 0, -1, -1, 1]), ([], []), ([None], [-1])],
)
def test_codes_keep_order_and_length(texts, codes):
    vocabulary = Vocabulary.of(["b", None, "a"])
    assert vocabulary.codes(pl.Series(texts, dtype=pl.String)).tolist() == codes
    assert [vocabulary.code(text) for text in texts] == codes
    assert Vocabulary(()).codes(pl.Series(texts, dtype=pl.String)).tolist() == [-1] * len(texts)


@pytest.mark.parametrize(
    ("targets", "weights", "count"),
    [
        ({"SG": 0.7, "MY": 0.35}, {"SG": 1.0, "MY": 0.5}, 2),
        ({"SG": 2.0, "MY": 3.0}, {"SG": 2 / 3, "MY": 1.0}, 2),
        ({"SG": 1.0, "MY": 1.0}, {"SG": 1.0, "MY": 1.0}, 2),
        ({"US": 1.0, "VN": 0.5}, {"VN": 0.5}, 2),
        ({}, {}, 0),
        (None, {}, 0),
    ],
)
def test_target_weights_are_divided_by_the_largest(targets, weights, count):
    brief = encode_briefs([{"goal": "awareness", "target_countries": targets}], WORDS, {"MY": 0.25})
    row = {country: brief.targets[0, WORDS.country.code(country)] for country in WORDS.country.values}
    assert row == pytest.approx({**dict.fromkeys(WORDS.country.values, 0.0), **weights})
    factor = {"MY": 0.25}
    priced = {c: brief.value_weights[0, WORDS.country.code(c)] for c in weights}
    assert priced == pytest.approx({c: w * factor.get(c, 1.0) for c, w in weights.items()})
    assert brief.numbers["target_count"].tolist() == [count]


def test_a_brief_as_numbers():
    given = {
        "goal": "local", "brand_id": "b1", "niches": ["food", "nowhere"], "languages": ["zh-Hant-TW", "fr"],
        "platforms": ["x", "y"], "starts_on": date(2026, 4, 2), "budget": 500, "product_price": 9.5,
        "product_margin": 0.4, "is_new_product": False,
    }  # fmt: skip
    bare = {"goal": "awareness", "brand_id": "stranger"}
    briefs = encode_briefs([given, bare], WORDS)
    assert len(briefs) == 2
    assert (briefs.goal.tolist(), briefs.brand.tolist(), briefs.niche.tolist()) == ([4, 0], [0, -1], [1, -1])
    assert briefs.niches.tolist() == [[0, 1], [0, 0]]
    assert briefs.languages.tolist() == [[0, 1], [0, 0]]
    assert briefs.platforms.tolist() == [[0, 1], [0, 0]]
    angle = 2 * math.pi * 92 / 365.25
    expected = {
        "budget": 500, "product_price": 9.5, "product_margin": 0.4, "is_new_product": 0, "niche_count": 2,
        "language_count": 2, "platform_count": 2, "target_count": 0, "season_sin": math.sin(angle),
        "season_cos": math.cos(angle),
    }  # fmt: skip
    assert {name: column[0] for name, column in briefs.numbers.items()} == pytest.approx(expected)
    missing = {name for name, column in briefs.numbers.items() if np.isnan(column[1])}
    assert missing == {name for name in expected if not name.endswith("_count")}


def test_words_given_twice_count_once():
    once = encode_briefs(
        [{"goal": "local", "niches": ["food", "beauty"], "platforms": ["x"], "languages": ["zh"]}], WORDS
    )
    twice = encode_briefs(
        [{"goal": "local", "niches": ["food", "beauty", "food"], "platforms": ["x", "x"],
          "languages": ["zh", "zh"]}], WORDS
    )  # fmt: skip
    for name in ("niche_count", "platform_count", "language_count"):
        np.testing.assert_array_equal(twice.numbers[name], once.numbers[name])
    np.testing.assert_array_equal(twice.niches, once.niches)


def test_a_creators_niche_given_twice_counts_once(encode):
    frames = {
        "creators": pl.DataFrame(
            {"creator_id": ["a", "b"], "platform": ["x", "x"], "niches": ["food|food|beauty", None]}
        ),
        "campaigns": pl.DataFrame(
            {"campaign_id": ["k"], "brand_id": ["b"], "goal": ["awareness"], "starts_on": ["2026-01-01"]}
        ),
    }
    assert encode(frames, date(2026, 3, 1)).creators.niches.lengths.tolist() == [2, 0]
