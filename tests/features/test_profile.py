import math
from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from features.encoding import Vocabulary
from features.local_level import level_changes, local_level
from features.profile import GROWTH_DAYS, LEVELS, NOISY, NOISY_LOGS, build_audience

EPOCH = date(1970, 1, 1)
START = datetime(2026, 1, 1)
FIRST = (START.date() - EPOCH).days
LAST = ("follower_count", "following_count", "content_count", "posts_per_week")
NUMBERS = (*LAST, *NOISY_LOGS, *NOISY)
CREATORS = [f"c{i}" for i in range(6)]


def random_readings(seed, rows=90):
    """Few days, so that ties are common; late arrivals, repeated rows, gaps, undated rows, unknown creators."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(rows):
        taken = START + timedelta(days=int(rng.integers(0, 150)), hours=int(rng.integers(0, 24)))
        row = {"creator_id": str(rng.choice([*CREATORS[:5], "stranger"])), "snapshot_at": taken, "known_at": None}
        if rng.random() < 0.5:
            row["known_at"] = taken + timedelta(days=int(rng.choice([0, 1, 30])))
        if rng.random() < 0.05:
            row["snapshot_at"] = row["known_at"] = None
        for name in NUMBERS:
            high = 1.0 if name in NOISY else 1e5
            row[name] = None if rng.random() < 0.3 else round(float(rng.random() * high), 3)
        row["last_post_at"] = None if rng.random() < 0.3 else taken - timedelta(days=int(rng.integers(0, 40)))
        out.append(row)
        if rng.random() < 0.1:
            out.append({**row, "follower_count": 7.0})
    return out


def kept_readings(readings, creator, day=math.inf):
    """Readings that count, in the order they became known: day known, when taken, the row."""
    known = []
    for row in readings:
        seen_on = row["known_at"] or row["snapshot_at"]
        known_day = 0 if seen_on is None else (seen_on.date() - EPOCH).days
        if row["creator_id"] == creator and known_day < day:
            known.append((known_day, row["snapshot_at"] or datetime(1, 1, 1), row))

    def rank(entry):
        known_day, taken, row = entry
        post = row["last_post_at"]
        numbers = [row[name] for name in LAST]
        numbers += [None if post is None else (post.date() - EPOCH).days]
        numbers += [row[name] for name in (*NOISY_LOGS, *NOISY)]
        return known_day, taken, [(n is not None, n or 0) for n in numbers]

    kept, newest = [], datetime(1, 1, 1)
    for known_day, taken, row in sorted(known, key=rank):
        if taken >= newest:
            kept.append((known_day, taken, row))
            newest = taken
    return kept


def slow_levels(readings, name):
    """Levels of one signal after each reading, by creator: (day known, level)."""
    kept = {creator: kept_readings(readings, creator) for creator in CREATORS}
    rows = [(number, known_day, max((taken.date() - EPOCH).days, 0), row[name])
            for number, creator in enumerate(CREATORS) for known_day, taken, row in kept[creator]]  # fmt: skip
    who, known_day, read_day = (np.array([row[k] for row in rows]) for k in range(3))
    amounts = np.array([math.nan if row[3] is None else row[3] for row in rows])
    amounts = np.log1p(amounts) if name in NOISY_LOGS else amounts
    usual = {"usual_noise": 0.0} if name == "price" else {}
    readings = who, known_day, read_day, amounts
    levels = local_level(*readings, level_changes(*readings), **usual).mean
    levels = np.expm1(levels) if name in NOISY_LOGS else levels
    return {
        creator: list(zip(known_day[who == number], levels[who == number], strict=True))
        for number, creator in enumerate(CREATORS)
    }


def slow_profile(readings, creator, day, levels):
    """What the reading rules say, one row at a time."""
    kept = [row for _, _, row in kept_readings(readings, creator, day)]
    out = {}
    for name in LAST:
        out[name] = next((row[name] for row in reversed(kept) if row[name] is not None), math.nan)
    for name in (*NOISY_LOGS, *NOISY):
        known = [level for known_day, level in levels[name][creator] if known_day < day]
        out[name] = known[-1] if known else math.nan
    posts = [row["last_post_at"] for row in kept if row["last_post_at"] is not None]
    out["last_post_age"] = max(day - (posts[-1].date() - EPOCH).days, 0) if posts else math.nan
    taken = kept[-1]["snapshot_at"] if kept else None
    out["snapshot_age"] = math.nan if taken is None else day - (taken.date() - EPOCH).days
    return out


def frames(**tables):
    return {
        "creators": pl.DataFrame(
            {"creator_id": CREATORS, "platform": ["x"] * 6, "country": ["SG", "VN", "SG", None, "VN", "SG"]}
        ),
        "campaigns": pl.DataFrame(
            {"campaign_id": ["k"], "brand_id": ["b"], "goal": ["awareness"], "starts_on": ["2026-01-01"]}
        ),
        **{name: pl.DataFrame(rows, infer_schema_length=None) for name, rows in tables.items()},
    }


@pytest.mark.parametrize("seed", range(6))
def test_profile_equals_a_slow_loop(encode, seed):
    readings = random_readings(seed)
    market = encode(frames(creator_snapshots=readings), FIRST + 200)
    asked = [(c, day) for c in range(6) for day in (1, FIRST, FIRST + 1, *range(FIRST + 20, FIRST + 200, 13))]
    creator, day = (np.array(column) for column in zip(*asked, strict=True))
    got = market.profile(creator, day)
    levels = {name: slow_levels(readings, name) for name in (*NOISY_LOGS, *NOISY)}
    slow = [slow_profile(readings, CREATORS[c], d, levels) for c, d in asked]
    for name in (*NUMBERS, "last_post_age", "snapshot_age"):
        expected = np.array([one[name] for one in slow], dtype=float)
        assert np.isfinite(expected).any(), name
        # rounded to four places: the two may fall on either side of a half
        exact = 1.01e-4 if name in NOISY_LOGS else 1e-12
        np.testing.assert_allclose(got[name], expected, rtol=1e-11, atol=exact, err_msg=name)
    earlier = [slow_profile(readings, CREATORS[c], d - GROWTH_DAYS, levels)["follower_count"] for c, d in asked]
    now = np.array([one["follower_count"] for one in slow])
    np.testing.assert_allclose(got["follower_growth"], np.log(now) - np.log(earlier), rtol=1e-12)
    assert np.isfinite(got["follower_growth"]).any()


def test_levels_are_what_the_loop_covers():
    assert set(LEVELS) - {"last_post_day"} == set(LAST)


def test_a_reading_that_arrives_late_says_nothing_of_the_present(encode):
    rows = [
        {"creator_id": "c0", "snapshot_at": "2026-02-01", "known_at": "2026-02-01", "follower_count": 200.0},
        {"creator_id": "c0", "snapshot_at": "2026-01-01", "known_at": "2026-02-05", "follower_count": 100.0},
    ]
    market = encode(frames(creator_snapshots=rows), FIRST + 200)
    followers = market.profile(np.zeros(2, dtype=int), np.array([FIRST + 32, FIRST + 60]))["follower_count"]
    assert followers.tolist() == [200.0, 200.0]


@pytest.mark.parametrize(("before", "growth"), [(100.0, math.log(3)), (0.0, None), (None, None)])
def test_growth_over_ninety_days(encode, before, growth):
    rows = [
        {"creator_id": "c0", "snapshot_at": "2026-01-01", "follower_count": before},
        {"creator_id": "c0", "snapshot_at": "2026-03-20", "follower_count": 300.0},
    ]
    market = encode(frames(creator_snapshots=rows), FIRST + 200)
    # known on 1 January: seen ninety days before the ninety-first day after it, not a day earlier
    got = market.profile(np.zeros(2, dtype=int), np.array([FIRST + 90, FIRST + 91]))["follower_growth"]
    np.testing.assert_allclose(got, [np.nan, np.nan if growth is None else growth])


def random_audience(seed, rows=160):
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(rows):
        dimension = str(rng.choice(["country", "interest", "age"]))
        codes = {"country": ["SG", "VN", "MY", "sg"], "interest": ["beauty", "food"], "age": ["18-24", "25-34"]}
        dated = rng.random() < 0.8
        out.append(
            {
                "creator_id": str(rng.choice([*CREATORS[:5], "stranger"])),
                "snapshot_at": START + timedelta(days=int(rng.integers(0, 6)) * 20, hours=3) if dated else None,
                "dimension": dimension,
                "code": str(rng.choice(codes[dimension])),
                "weight": round(float(rng.random()), 3),
            }
        )
    return out


def slow_audience(rows, creator, dimension, day):
    """The newest set known before the day: largest weight of repeated codes, scaled down where they exceed 1."""
    sets = {}
    for row in rows:
        known = 0 if row["snapshot_at"] is None else (row["snapshot_at"].date() - EPOCH).days
        if (row["creator_id"], row["dimension"]) == (creator, dimension) and known < day:
            code = row["code"].upper() if dimension == "country" else row["code"]
            at = sets.setdefault(known, {})
            at[code] = max(at.get(code, 0.0), row["weight"])
    if not sets:
        return {}
    newest = sets[max(sets)]
    total = max(sum(newest.values()), 1.0)
    return {code: weight / total for code, weight in newest.items()}


@pytest.mark.parametrize("seed", range(4))
def test_audience_equals_a_slow_loop(encode, seed):
    rows = random_audience(seed)
    market = encode(frames(creator_audience=rows), FIRST + 200)
    asked = [(c, day) for c in range(6) for day in range(FIRST - 20, FIRST + 140, 10)]
    creator, day = (np.array(column) for column in zip(*asked, strict=True))
    lists = market.lists(creator, day)
    sizes = set()
    for dimension, words in (("country", market.words.country), ("interest", market.words.niche)):
        got = lists[dimension]
        for row, (c, d) in enumerate(asked):
            part = slice(got.offsets[row], got.offsets[row + 1])
            as_dict = {
                words.values[code]: weight for code, weight in zip(got.codes[part], got.weights[part], strict=True)
            }
            assert as_dict == pytest.approx(slow_audience(rows, CREATORS[c], dimension, d))
            sizes.add(len(as_dict))
    assert {0, 1, 2} <= sizes


def test_a_new_audience_replaces_the_old_one_whole(encode):
    rows = [
        {"creator_id": "c0", "snapshot_at": None, "dimension": "country", "code": "SG", "weight": 0.9},
        {"creator_id": "c0", "snapshot_at": "2026-01-05", "dimension": "country", "code": "VN", "weight": 0.3},
    ]
    market = encode(frames(creator_audience=rows), FIRST + 200)
    lists = market.lists(np.zeros(2, dtype=int), np.array([FIRST + 4, FIRST + 5]))["country"]
    assert [market.words.country.values[code] for code in lists.codes] == ["SG", "VN"]
    assert lists.weights.tolist() == [0.9, 0.3]


def test_variants_of_one_language_add_up(encode):
    rows = [
        {"creator_id": "c0", "dimension": "language", "code": code, "weight": weight}
        for code, weight in (("zh-Hans", 0.3), ("zh-Hant", 0.25), ("zh-Hant", 0.25), ("en", 0.2))
    ]
    market = encode(frames(creator_audience=rows), FIRST + 200)
    lists = market.lists(np.zeros(1, dtype=int), np.array([FIRST]))["language"]
    shares = {market.words.language.values[c]: w for c, w in zip(lists.codes, lists.weights, strict=True)}
    assert shares == pytest.approx({"zh": 0.55, "en": 0.2})


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_readings_alike_but_for_the_price_source_come_out_in_one_order(encode, order):
    rows = [
        {"creator_id": "c0", "snapshot_at": "2026-01-01", "price": 5.0, "price_source": source}
        for source in ("quoted", "estimated")
    ]
    market = encode(frames(creator_snapshots=[rows[i] for i in order]), FIRST + 200)
    assert market.profile(np.zeros(1, dtype=int), np.array([FIRST + 9]))["price_source"].tolist() == [2.0]


def test_an_unchanged_price_comes_back_to_the_cent(encode):
    """Or a creator who asks for 100 would be over a budget of 100."""
    prices = [1.0, 100.0, 250.0, 1234.5, 99_999.99, 1e9]
    rows = [
        {"creator_id": creator, "snapshot_at": f"2026-01-{day:02}", "price": price}
        for creator, price in zip(CREATORS, prices, strict=True)
        for day in range(1, 8)
    ]
    market = encode(frames(creator_snapshots=rows), FIRST + 200)
    for day in range(FIRST + 1, FIRST + 9):
        assert market.profile(np.arange(6), np.full(6, day))["price"].tolist() == prices


def test_a_breakdown_is_the_same_to_the_bit_alone_and_among_others():
    rng = np.random.default_rng(0)
    words = Vocabulary(tuple("abcdefghijklmnop"))
    frame = pl.DataFrame({
        "creator": np.repeat(np.arange(120), 16), "snapshot_at": datetime(2025, 1, 1), "dimension": "country",
        "code": list(words.values) * 120, "weight": rng.random(120 * 16) * 0.3,
    }).with_columns(pl.col("snapshot_at").cast(pl.Datetime("us")))  # fmt: skip
    together = build_audience(frame, frame["creator"].to_numpy(), "country", words).lists
    for creator in range(120):
        own = frame.filter(pl.col("creator") == creator)
        alone = build_audience(own, np.zeros(own.height, dtype=np.int64), "country", words).lists
        assert alone.weights.tobytes() == together.rows(np.array([creator])).weights.tobytes()
