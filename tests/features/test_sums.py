"""The compiled sums are those of `Lists.dot` for few entries, to the bit: which of the two is asked must not matter."""

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import encoding
from features.encoding import Lists
from features.sums import weighted_sums

SIZES = st.lists(st.integers(0, 12), min_size=1, max_size=60)


def random_lists(rng, lengths, words):
    lengths = np.asarray(lengths)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    n = int(offsets[-1])
    weights = rng.lognormal(0, 8, n) * rng.choice([-1.0, 1.0, 0.0], n)
    return Lists(offsets, rng.integers(0, words, n), weights)


@settings(max_examples=80, deadline=None)
@given(SIZES, st.integers(0, 2**32 - 1), st.integers(1, 9))
def test_both_ways_to_sum_agree_to_the_bit(lengths, seed, words):
    rng = np.random.default_rng(seed)
    lists, table = random_lists(rng, lengths, words), rng.normal(0, 1, (3, words))
    table[rng.random(table.shape) < 0.2] = 0.0
    which = np.array([rng.integers(0, 3)])
    with patch.object(encoding, "MANY_ENTRIES", 10**9):
        plain = lists.dot(table, which)
    compiled = weighted_sums(lists.offsets, lists.codes, lists.weights, table[which[0]])
    np.testing.assert_array_equal(compiled.view(np.int64), plain.view(np.int64))
    np.testing.assert_array_equal(np.isnan(compiled), np.asarray(lengths) == 0)


def test_many_entries_are_summed_by_the_compiled_way_and_a_brief_a_row_is_not():
    rng = np.random.default_rng(0)
    lists, table = random_lists(rng, rng.integers(0, 9, 12_000), 7), rng.normal(0, 1, (2, 7))
    assert len(lists.codes) > encoding.MANY_ENTRIES
    with patch("features.sums.weighted_sums", wraps=weighted_sums) as asked:
        many = lists.dot(table, np.array([1]))
        assert asked.call_count == 1
        each = lists.dot(table, np.ones(12_000, dtype=np.int64))
        assert asked.call_count == 1
    np.testing.assert_array_equal(many, each)
    few = np.concatenate([lists.span(low, low + 500).dot(table, np.array([1])) for low in range(0, 12_000, 500)])
    np.testing.assert_array_equal(many, few)


def test_mapped_arrays_are_summed_and_left_as_they_are(tmp_path):
    rng = np.random.default_rng(1)
    lists = random_lists(rng, [3, 0, 2], 4)
    parts = []
    for name, part in vars(lists).items():
        np.save(tmp_path / f"{name}.npy", part)
        parts.append(np.asarray(np.load(tmp_path / f"{name}.npy", mmap_mode="r")))
    assert not parts[0].flags.writeable
    np.testing.assert_array_equal(
        weighted_sums(*parts, np.arange(4.0)), weighted_sums(*vars(lists).values(), np.arange(4.0))
    )


@pytest.mark.parametrize(("low", "high"), [(0, 0), (0, 5), (2, 4), (4, 5), (5, 5)])
def test_a_span_is_those_rows_without_a_copy(low, high):
    lists = random_lists(np.random.default_rng(2), [2, 0, 3, 1, 4], 6)
    span, rows = lists.span(low, high), lists.rows(np.arange(low, high))
    for name in ("offsets", "codes", "weights"):
        np.testing.assert_array_equal(getattr(span, name), getattr(rows, name))
    assert span.offsets[0] == 0
    assert np.shares_memory(span.weights, lists.weights) or not len(span.weights)
