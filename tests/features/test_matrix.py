from dataclasses import fields, is_dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from features.brief_columns import encode_briefs
from features.build_market import build_market
from features.context import placement_context
from features.declare import Family
from features.matrix import FEATURES, NAMES, STATIC, creator_state, fill, matrix, placement_matrix, schema_hash
from features.money import in_base_currency
from features.reading import read_folder
from features.settings import Settings

AS_OF = date(2026, 7, 1)
REAL = Path(__file__).parents[3] / "shared" / "data" / "tiktokshop-vn" / "contract"


def different(a, b):
    """Features that differ in any bit (NaN equals NaN)."""
    assert a.dtype == b.dtype == np.float32
    assert a.shape == b.shape
    unequal = ((a != b) & ~(np.isnan(a) & np.isnan(b))).any(axis=0)
    return [name for name, bad in zip(NAMES, unequal, strict=True) if bad]


def test_offline_equals_online_to_the_bit(encode, messy_frames, online_rows):
    market = encode(messy_frames, AS_OF)
    rows = np.random.default_rng(0).permutation(len(market.placements))[:120]
    assert len(set(market.placements.agreed[rows])) > 20
    assert different(placement_matrix(market, rows), online_rows(market, rows)) == []


def test_offline_equals_online_on_real_data(online_rows):
    if not REAL.is_dir():
        pytest.skip(f"the TikTok Shop data set is not at {REAL}")
    settings = Settings()
    market = build_market(in_base_currency(read_folder(REAL, settings)[0], settings), settings, 20_500)
    days = np.quantile(market.placements.agreed, [0.1, 0.4, 0.6, 0.9], method="nearest")
    rows = np.concatenate([np.flatnonzero(market.placements.agreed == day)[:25] for day in days])
    assert len(rows) >= 60
    offline = placement_matrix(market, rows)
    assert different(offline, online_rows(market, rows)) == []
    assert np.nanstd(offline[:, NAMES.index("creator_views")]) > 0


@pytest.mark.parametrize("subset", [[], [0], [5, 3, 3, 399], range(400)])
def test_a_row_out_for_each_row_in_and_in_its_order(encode, messy_frames, subset):
    market = encode(messy_frames, AS_OF)
    every = placement_matrix(market)
    assert every.shape == (400, len(FEATURES))
    rows = np.array(subset, dtype=np.int64)
    assert different(placement_matrix(market, rows), every[rows]) == []
    assert market.placements.ids.to_list() == messy_frames["placements"]["placement_id"].to_list()


@pytest.mark.parametrize("seed", [1, 2])
def test_the_order_of_the_tables_rows_changes_nothing(encode, messy_frames, seed):
    shuffled = {n: frame.sample(fraction=1, shuffle=True, seed=seed) for n, frame in messy_frames.items()}
    first, second = encode(messy_frames, AS_OF), encode(shuffled, AS_OF)
    position = {placement: row for row, placement in enumerate(second.placements.ids)}
    same = np.array([position[placement] for placement in first.placements.ids])
    assert (same != np.arange(len(same))).any()
    assert different(placement_matrix(first), placement_matrix(second)[same]) == []
    one, other = creator_state(first, 20_600), creator_state(second, 20_600)
    assert one.static.tobytes() == other.static.tobytes()
    for name, column in one.profile.items():
        np.testing.assert_array_equal(column, other.profile[name])


def test_inputs_are_not_changed(encode, messy_frames):
    before = {name: frame.clone() for name, frame in messy_frames.items()}
    market = encode(messy_frames, AS_OF)
    freeze(market)
    # writing into a read-only array raises
    placement_matrix(market)
    freeze(creator_state(market, 20_600))
    for name, frame in before.items():
        assert_frame_equal(messy_frames[name], frame)


def freeze(thing):
    if isinstance(thing, np.ndarray):
        thing.setflags(write=False)
    elif is_dataclass(thing):
        for field in fields(thing):
            freeze(getattr(thing, field.name))
    elif isinstance(thing, dict):
        for value in thing.values():
            freeze(value)


def test_features_of_one_creator_do_not_depend_on_the_others_rows(encode, messy_frames):
    market = encode(messy_frames, AS_OF)
    rows = np.arange(0, 400, 7)
    one_by_one = np.concatenate([placement_matrix(market, rows[i : i + 1]) for i in range(len(rows))])
    assert different(one_by_one, placement_matrix(market, rows)) == []


@pytest.mark.parametrize("table", ["creator_snapshots", "creator_audience", "fx", "creator_prices", "audience_overlap"])
def test_a_missing_table_is_a_missing_feature(encode, messy_frames, table):
    frames = {name: frame for name, frame in messy_frames.items() if name != table}
    frames["placements"] = frames["placements"].with_columns(pl.lit("USD").alias("currency"))
    frames["campaigns"] = frames["campaigns"].with_columns(pl.lit("USD").alias("currency"))
    frames = {
        name: frame.with_columns(pl.lit("USD").alias("price_currency")) if "price" in frame.columns else frame
        for name, frame in frames.items()
    }
    x = placement_matrix(encode(frames, AS_OF))
    assert x.shape == (400, len(FEATURES))
    empty = {NAMES[i] for i in np.flatnonzero(np.isnan(x).all(axis=0))}
    if table == "creator_snapshots":
        assert {"log_followers", "content_polish"} <= empty
    elif table == "creator_audience":
        assert {"audience_interest", "home_share", "audience_concentration"} <= empty
    else:
        assert empty == set()


def test_a_market_without_placements_still_serves_its_creators(encode):
    frames = {
        "creators": pl.DataFrame({"creator_id": ["a", "b"], "platform": ["x", "y"]}),
        "campaigns": pl.DataFrame(
            {"campaign_id": ["k"], "brand_id": ["b"], "goal": ["awareness"], "starts_on": ["2026-01-01"]}
        ),
    }
    market = encode(frames, AS_OF)
    assert placement_matrix(market).shape == (0, len(FEATURES))
    state = creator_state(market, 20_600)
    assert state.static.shape == (2, len(STATIC))
    assert state.static[:, [f.name for f in STATIC].index("creator_placements")].tolist() == [0.0, 0.0]


def test_declarations():
    assert len(NAMES) == len(set(NAMES)) >= 35
    assert {feature.family for feature in FEATURES} == set(Family)
    assert all(feature.phrase for feature in FEATURES)
    assert {feature.scope for feature in FEATURES} == {"creator", "brief", "kind", "pair"}


def test_the_schema_hash_follows_the_ordered_list():
    first = FEATURES[0]
    changed = {
        "renamed": (replace(first, name="renamed"), *FEATURES[1:]),
        "reordered": (FEATURES[1], FEATURES[0], *FEATURES[2:]),
        "removed": FEATURES[1:],
        "family": (replace(first, family=Family.COST), *FEATURES[1:]),
        "sign": (replace(first, sign=-1), *FEATURES[1:]),
    }
    hashes = {name: schema_hash(features) for name, features in changed.items()}
    assert len({schema_hash(), *hashes.values()}) == len(hashes) + 1
    # what people read is not what a model was trained on
    assert schema_hash((replace(first, phrase="other words"), *FEATURES[1:])) == schema_hash(tuple(FEATURES))


BRIEFS = (
    {"goal": "awareness", "starts_on": date(2026, 1, 1), "budget": 100.0},
    {
        "goal": "local", "brand_id": "b", "niches": ["beauty"], "target_countries": {"SG": 1.0}, "languages": ["en"],
        "platforms": ["tiktok"], "starts_on": date(2026, 8, 1), "budget": 9e6, "product_price": 5.0,
        "product_margin": 0.1, "is_new_product": True,
    },
)  # fmt: skip


def test_creator_features_do_not_depend_on_the_brief(encode, messy_frames):
    market = encode(messy_frames, AS_OF)
    rows = np.arange(400)
    context = placement_context(market, rows)
    briefs = [encode_briefs([brief], market.words) for brief in BRIEFS]
    one, other = (matrix(replace(context, briefs=brief, which=np.zeros(400, dtype=np.int64)), 400) for brief in briefs)
    moved = set(different(one, other))
    assert moved.isdisjoint(feature.name for feature in STATIC)
    assert {"goal_is_awareness", "target_share", "niche_match", "log_budget", "season_sin"} <= moved


def test_creator_features_do_not_depend_on_records_of_the_brief_or_on_the_fee(encode, messy_frames):
    # the catalogue holds them once: nothing that only a placement knows may enter
    market = encode(messy_frames, AS_OF)
    rows = np.arange(400)
    context = placement_context(market, rows)
    by_brief = set(context.records) - {"creator", "creator_recent", "person_others", "market", "platform"}
    kept = {name: totals for name, totals in context.records.items() if name not in by_brief}
    assert {"brand", "niche", "goal", "deliverable"} <= by_brief
    price = np.full(400, 1e9)
    bare = replace(context, records=kept, profile={**context.profile, "price": price})
    assert matrix(bare, 400, STATIC).tobytes() == matrix(context, 400, STATIC).tobytes()


def test_fill_computes_one_family_again_and_leaves_the_rest(encode, messy_frames):
    market = encode(messy_frames, AS_OF)
    rows = np.arange(400)
    context = placement_context(market, rows)
    before = matrix(context, 400)
    after = before.copy()
    fill(after, replace(context, profile={**context.profile, "price": context.profile["price"] * 2}), Family.COST)
    cost = {feature.name for feature in FEATURES if feature.family is Family.COST}
    assert set(different(before, after)) == cost
    np.testing.assert_allclose(after[:, NAMES.index("log_price")], before[:, NAMES.index("log_price")] + np.log(2))


@pytest.mark.parametrize("number", [0.0, 1e-6, 1.0, 1e9])
def test_values_are_finite_or_unknown_never_infinite(encode, messy_frames, number):
    """Every count and amount set to one extreme in a third of the rows."""
    rng = np.random.default_rng(int(number) % 97)
    frames = dict(messy_frames)
    for table in ("creator_snapshots", "placements", "campaigns", "creator_prices"):
        frame = frames[table]
        numeric = [name for name, dtype in frame.schema.items() if dtype == pl.Float64 and name != "weight"]
        share = {"sponsored_share", "engagement_rate_sponsored", "audience_credibility", "content_polish",
                 "product_margin", "propensity"}  # fmt: skip
        frames[table] = frame.with_columns(
            pl.when(pl.Series(rng.random(frame.height) < 0.33))
            .then(min(number, 1.0) if name in share else number)
            .otherwise(pl.col(name))
            .alias(name)
            for name in numeric
        )
    market = encode(frames, AS_OF)
    x = placement_matrix(market)
    assert [NAMES[i] for i in np.flatnonzero(np.isinf(x).any(axis=0))] == []
    assert np.isfinite(x).any(axis=0).all()
    assert not np.isinf(creator_state(market, 20_600).static).any()
