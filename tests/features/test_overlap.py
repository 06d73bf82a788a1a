from collections import defaultdict
from dataclasses import fields
from datetime import date
from itertools import combinations

import numpy as np
import polars as pl
import pytest

from features.overlap import PSEUDO_PAIRS, Overlap, OverlapLevels, Traits, learn_overlap, text_codes
from features.settings import PlanSettings, Settings
from serving.catalogue import build_catalogue
from training.sample import make_market

PLAN = PlanSettings()
KINDS = ("same_person", "same_platform_niche", "same_niche")


# --- the slow oracle: one pair after the other


def kind(person, platform, country, niche, i, j):
    """Name of the kind of a pair, or None; arguments are sequences in which None is not known."""
    if person[i] is not None and person[i] == person[j]:
        return "same_person"
    if None in (country[i], niche[i]) or (country[i], niche[i]) != (country[j], niche[j]):
        return None
    return "same_platform_niche" if platform[i] is not None and platform[i] == platform[j] else "same_niche"


def listed_means(a, b, share):
    found = defaultdict(list)
    for i, j, overlap in zip(a, b, share, strict=True):
        if i != j:
            found[frozenset((i, j))].append(overlap)
    return {pair: sum(each) / len(each) for pair, each in found.items()}


def slow_levels(listed, traits, plan):
    named = sorted(set().union(*listed))
    total, possible = dict.fromkeys(KINDS, 0.0), dict.fromkeys(KINDS, 0)
    for i, j in combinations(named, 2):
        if found := kind(*traits, i, j):
            total[found] += listed.get(frozenset((i, j)), 0.0)
            possible[found] += 1
    prior = {name: getattr(plan, f"overlap_{name}") for name in KINDS}
    return {name: (total[name] + 50 * prior[name]) / (possible[name] + 50) for name in KINDS}


def slow_among(rows, listed, levels, traits):
    named = set().union(*listed)
    found = []
    for a, b in combinations(range(len(rows)), 2):
        i, j = rows[a], rows[b]
        if i == j:
            continue
        if frozenset((i, j)) in listed:
            share, measured = listed[frozenset((i, j))], True
        elif i in named and j in named:
            continue
        else:
            name = kind(*traits, i, j)
            share, measured = levels[name] if name else 0.0, False
        if share > 0:
            found.append((a, b, share, measured))
    return found


def known(codes):
    return [None if code < 0 else int(code) for code in codes]


def random_case(seed):
    """Traits of some creators and a table that names some of them, untidily."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 40))
    some_known = (np.where(rng.random(n) < 0.15, -1, rng.integers(0, most, n)) for most in (1 + n // 4, 2, 2, 2))
    traits = Traits(*some_known)
    some = rng.choice(n, max(2, n // 2), replace=False)
    m = int(rng.integers(1, 40))
    # of few values, zero among them, so that pairs come again in either direction, and with themselves
    return traits, rng.choice(some, m), rng.choice(some, m), rng.integers(0, 5, m) / 4


def answer(pairs):
    return list(zip(pairs.a.tolist(), pairs.b.tolist(), pairs.share.tolist(), pairs.measured.tolist(), strict=True))


def require_same(one, other):
    assert one.levels == other.levels
    for name in ("first", "second", "share", "named"):
        mine, others = getattr(one, name), getattr(other, name)
        assert mine.dtype == others.dtype
        assert mine.tobytes() == others.tobytes(), name


@pytest.mark.parametrize("seed", range(40))
def test_levels_and_pairs_are_those_of_the_slow_oracle(seed):
    traits, a, b, share = random_case(seed)
    overlap = learn_overlap(a, b, share, traits, PLAN)
    texts = [known(getattr(traits, field.name)) for field in fields(traits)]
    listed = listed_means(a.tolist(), b.tolist(), share.tolist())
    if listed:
        assert vars(overlap.levels) == pytest.approx(slow_levels(listed, texts, PLAN), abs=1e-12)
    assert overlap.named.tolist() == sorted(set().union(*listed))
    rng = np.random.default_rng(seed + 1000)
    # some creators are asked for twice
    rows = rng.integers(0, len(traits.person), rng.integers(1, 30))
    expected = slow_among(rows.tolist(), listed, vars(overlap.levels), texts)
    got = answer(overlap.among(rows, traits.rows(rows)))
    assert [(x[0], x[1], x[3]) for x in got] == [(x[0], x[1], x[3]) for x in expected]
    assert [x[2] for x in got] == pytest.approx([x[2] for x in expected], abs=1e-12)


def test_the_random_cases_hold_every_kind_of_pair():
    measured, estimated, kinds, twice = 0, 0, set(), 0
    for seed in range(40):
        traits, a, b, share = random_case(seed)
        rows = np.arange(len(traits.person)).repeat(2)
        pairs = learn_overlap(a, b, share, traits, PLAN).among(rows, traits.rows(rows))
        measured, estimated = measured + pairs.measured.sum(), estimated + (~pairs.measured).sum()
        own = traits.rows(rows).kinds(pairs.a, pairs.b)
        kinds |= set(own[~pairs.measured].tolist())
        twice += len(a) - len({frozenset(pair) for pair in zip(a.tolist(), b.tolist(), strict=True)})
    assert measured > 1000
    assert estimated > 1000
    assert kinds == {0, 1, 2}
    assert twice > 50


# --- what counts as known


NOBODY = Traits(*np.full((4, 5), -1))
ALIKE = Traits(np.full(5, -1), *np.zeros((3, 5), dtype=np.int64))


def listed(*pairs, traits=ALIKE, plan=PLAN):
    a, b, share = (np.array(column) for column in zip(*pairs, strict=True))
    return learn_overlap(a, b, share, traits, plan)


def test_named_creators_who_are_not_listed_as_a_pair_share_nothing():
    overlap = listed((0, 1, 0.3), (2, 3, 0.0))
    rows = np.arange(5)
    pairs = overlap.among(rows, ALIKE)
    level = overlap.levels.same_platform_niche
    assert overlap.named.tolist() == [0, 1, 2, 3]
    # the fifth creator is not named: with anybody it is estimated; a listed 0 is measured and shares nothing
    assert answer(pairs) == [(0, 1, 0.3, True), *((row, 4, level, False) for row in range(4))]
    # six pairs of named creators, one of which overlaps
    assert level == pytest.approx((0.3 + 50 * 0.10) / (6 + 50), abs=1e-15)


def test_creators_of_whom_nothing_is_known_share_nothing():
    assert len(listed((0, 1, 0.3)).among(np.arange(2, 5), NOBODY.rows(np.arange(2, 5)))) == 0
    assert len(Overlap.unmeasured().among(np.arange(5), NOBODY)) == 0


def test_one_person_comes_before_one_niche():
    own = Traits(np.array([3, 3]), *np.zeros((3, 2), dtype=np.int64))
    assert answer(Overlap.unmeasured().among(np.arange(2), own)) == [(0, 1, 0.40, False)]


def test_a_listed_pair_counts_whatever_its_creators_have_in_common():
    assert answer(listed((3, 1, 0.2), traits=NOBODY).among(np.array([3, 1]), NOBODY.rows(np.array([3, 1])))) == [
        (0, 1, 0.2, True)
    ]


def test_directions_repeats_and_a_pair_of_one_creator():
    overlap = listed((1, 0, 0.1), (0, 1, 0.3), (2, 2, 0.9), (4, 3, 0.5), (3, 1, np.nan))
    assert overlap.first.tolist() == [0, 3]
    assert overlap.second.tolist() == [1, 4]
    assert overlap.share.tolist() == [0.2, 0.5]
    assert overlap.named.tolist() == [0, 1, 3, 4]


@pytest.mark.parametrize("seed", range(10))
def test_the_order_of_the_table_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    traits = Traits(*(rng.integers(-1, most, 30) for most in (20, 3, 2, 3)))
    a, b, share = rng.integers(0, 30, 200), rng.integers(0, 30, 200), rng.random(200)
    order, turned = rng.permutation(200), rng.random(200) < 0.5
    other = np.where(turned, b, a)[order], np.where(turned, a, b)[order], share[order]
    require_same(learn_overlap(a, b, share, traits, PLAN), learn_overlap(*other, traits, PLAN))


def test_the_order_of_those_asked_for_changes_nothing_but_positions():
    traits, a, b, share = random_case(3)
    overlap = learn_overlap(a, b, share, traits, PLAN)
    rows = np.random.default_rng(0).permutation(len(traits.person))

    def by_row(rows):
        pairs = overlap.among(rows, traits.rows(rows))
        return {(frozenset((rows[i], rows[j])), s, m) for i, j, s, m in answer(pairs)}

    assert by_row(rows) == by_row(np.sort(rows))
    assert len(by_row(rows)) > 20


@pytest.mark.parametrize("seed", range(10))
def test_a_part_answers_as_the_whole(seed):
    traits, a, b, share = random_case(seed)
    overlap = learn_overlap(a, b, share, traits, PLAN)
    rows = np.random.default_rng(seed).permutation(len(traits.person))[: len(traits.person) * 2 // 3]
    part = overlap.part(rows)
    np.testing.assert_array_equal(np.lexsort((part.second, part.first)), np.arange(len(part.first)))
    assert answer(part.among(np.arange(len(rows)), traits.rows(rows))) == answer(overlap.among(rows, traits.rows(rows)))


# --- levels


def test_without_a_table_levels_are_the_configured_ones():
    none = np.zeros(0, dtype=np.int64)
    plan = PlanSettings(overlap_same_person=0.5, overlap_same_platform_niche=0.2, overlap_same_niche=0.0)
    overlap = learn_overlap(none, none, np.zeros(0), ALIKE, plan)
    assert vars(overlap.levels) == pytest.approx(vars(OverlapLevels(0.5, 0.2, 0.0)))
    require_same(Overlap.unmeasured(plan), Overlap.unmeasured(Settings(plan=plan).plan))
    # two of one niche on different platforms, and nothing is expected of such
    apart = Traits(np.full(2, -1), np.arange(2), np.zeros(2, dtype=np.int64), np.zeros(2, dtype=np.int64))
    assert len(Overlap.unmeasured(plan).among(np.arange(2), apart)) == 0
    assert len(Overlap.unmeasured().among(np.arange(2), apart)) == 1


def test_levels_learnt_from_a_synthetic_market_are_those_counted_pair_by_pair(encode):
    raw = make_market(creators=600, placements=300, snapshots=3, seed=6)
    # a third of the creators are not named by the table
    few = raw["creators"]["creator_id"].gather_every(3).implode()
    table = raw["audience_overlap"].filter(~pl.col("creator_a").is_in(few), ~pl.col("creator_b").is_in(few))
    market = encode({**raw, "audience_overlap": table}, date(2026, 1, 1))
    overlap = build_catalogue(market, market.as_of, Settings()).overlap

    frame = market.creators.frame
    row = {creator: i for i, creator in enumerate(frame["creator_id"])}
    niche = [niches[0] if niches else None for niches in frame["niches"].to_list()]
    traits = [frame[name].to_list() for name in ("person_id", "platform", "country")] + [niche]
    means = listed_means([row[c] for c in table["creator_a"]], [row[c] for c in table["creator_b"]], table["overlap"])
    expected = slow_levels(means, traits, PLAN)
    assert vars(overlap.levels) == pytest.approx(expected, abs=1e-12)
    assert len(overlap.first) == len(means) > 200
    assert all(abs(expected[name] - getattr(PLAN, f"overlap_{name}")) > 0.001 for name in KINDS)
    # few pairs of a niche are listed, so the level is not the mean of those that are
    assert expected["same_platform_niche"] < np.mean(list(means.values()))


def test_many_pairs_outweigh_the_configured_level_and_few_do_not():
    traits = Traits(np.arange(2000) // 2, *np.full((3, 2000), -1))
    a = np.arange(0, 2000, 2)
    many = learn_overlap(a, a + 1, np.full(1000, 0.9), traits, PLAN).levels.same_person
    few = learn_overlap(a[:3], a[:3] + 1, np.full(3, 0.9), traits, PLAN).levels.same_person
    assert many == pytest.approx((900 + PSEUDO_PAIRS * 0.4) / (1000 + PSEUDO_PAIRS))
    assert 0.4 < few < 0.43
    assert many > 0.87


def test_codes_of_texts_keep_the_same_together_and_none_apart():
    codes = text_codes(pl.Series(["ana", None, "bo", "ana", ""]))
    assert codes.dtype == np.int64
    assert (codes[0], codes[1]) == (codes[3], -1)
    assert len(set(codes.tolist())) == 4
    assert text_codes(pl.Series([None, None], dtype=pl.String)).tolist() == [-1, -1]
    assert text_codes(pl.Series([], dtype=pl.String)).tolist() == []
