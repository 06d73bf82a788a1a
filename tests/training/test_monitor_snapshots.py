"""Whether snapshots still come with what they came with."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl

from features.contract import schema
from training.drift import MIN_CAMPAIGNS, State
from training.monitor_snapshots import WATCHED, snapshot_drifts

TAUGHT = 20_000
DAY0 = datetime(1970, 1, 1)
ALPHA = 0.01


def snapshots(seed=0, creators=100, months=12, missing=0.3, since=None, late=0):
    """A reading a creator and month, half of them before TAUGHT; of price a share is missing, `since` then another."""
    rng = np.random.default_rng(seed)
    creator = np.repeat(np.arange(creators), months)
    day = TAUGHT - 30 * (months // 2) + 30 * np.tile(np.arange(months), creators) + rng.integers(0, 30, len(creator))
    share = np.where(day >= TAUGHT, missing if since is None else since, missing)
    columns = {
        "creator_id": [f"c{k}" for k in creator],
        "snapshot_at": [DAY0 + timedelta(days=int(one)) for one in day],
        "known_at": [DAY0 + timedelta(days=int(one) + late) for one in day],
        "price": np.where(rng.random(len(day)) < share, np.nan, 5.0),
        "follower_count": np.full(len(day), 7.0),
    }
    frame = pl.DataFrame(columns).with_columns(pl.col("price").fill_nan(None))
    kinds = schema("creator_snapshots")
    return frame.select(
        pl.col(name).cast(kind) if name in frame.columns else pl.lit(None, dtype=kind).alias(name)
        for name, kind in kinds.items()
    )


def of(found, column):
    (one,) = [one for one in found if one.column == column]
    return one


def test_every_watched_column_is_one_of_the_contract():
    assert set(WATCHED) <= set(schema("creator_snapshots"))
    assert {"price", "audience_credibility", "median_views", "last_post_at"} <= set(WATCHED)


def test_a_column_that_ends_is_found_and_another_is_well():
    found = snapshot_drifts(snapshots(since=1.0), TAUGHT, TAUGHT + 30, ALPHA)
    price = of(found, "price")
    assert (price.state, price.missing, price.campaigns) == (State.DRIFT, 1.0, 100)
    assert 0.25 < price.missing_before < 0.35
    assert of(found, "follower_count").state is State.OK


def test_columns_that_never_came_are_left_out():
    assert [one.column for one in snapshot_drifts(snapshots(), TAUGHT, TAUGHT + 60, ALPHA)] == [
        "follower_count", "price"
    ]  # fmt: skip


def test_less_missing_or_little_more_is_no_drift():
    for since in (0.0, 0.38):
        assert of(snapshot_drifts(snapshots(since=since), TAUGHT, TAUGHT + 180, ALPHA), "price").state is State.OK


def test_chance_alone_raises_no_alarm_on_any_day():
    for seed in range(8):
        frame = snapshots(seed, creators=60, missing=0.5)
        for as_of in range(TAUGHT + 5, TAUGHT + 180, 5):
            found = snapshot_drifts(frame, TAUGHT, as_of, ALPHA)
            assert of(found, "price").state is not State.DRIFT, (seed, as_of)


def test_a_creator_counts_once_whatever_its_number_of_snapshots():
    frame = snapshots(since=0.0)
    # one account is read a thousand times a day, without a price
    loud = pl.concat([frame, *[frame.filter(creator_id="c0").with_columns(price=pl.lit(None, pl.Float64))] * 300])
    price = of(snapshot_drifts(loud, TAUGHT, TAUGHT + 180, ALPHA), "price")
    assert price.missing < 0.011
    assert price.rows > 1000


def test_a_look_sees_nothing_that_became_known_later():
    as_of = TAUGHT + 60
    frame = snapshots(since=0.3, late=5)
    later = pl.col("known_at") >= DAY0 + timedelta(days=as_of)
    emptied = frame.with_columns(pl.when(~later).then("price").alias("price"))
    assert emptied["price"].null_count() > frame["price"].null_count()
    assert repr(snapshot_drifts(frame, TAUGHT, as_of, ALPHA)) == repr(snapshot_drifts(emptied, TAUGHT, as_of, ALPHA))


def test_taken_before_and_known_since_is_from_before():
    price = of(snapshot_drifts(snapshots(since=1.0, late=5), TAUGHT, TAUGHT + 90, ALPHA), "price")
    assert price.missing == 1.0


def test_few_creators_say_nothing():
    found = snapshot_drifts(snapshots(creators=MIN_CAMPAIGNS - 1, since=1.0), TAUGHT, TAUGHT + 180, ALPHA)
    assert {one.state for one in found} == {State.TOO_FEW}
    nothing_new = snapshot_drifts(snapshots(), TAUGHT, TAUGHT, ALPHA)
    assert {(one.state, one.rows) for one in nothing_new} == {(State.TOO_FEW, 0)}


def test_undated_rows_are_from_before():
    frame = snapshots().with_columns(
        snapshot_at=pl.lit(None, pl.Datetime("us")), known_at=pl.lit(None, pl.Datetime("us"))
    )
    (_, price) = snapshot_drifts(frame, TAUGHT, TAUGHT + 30, ALPHA)
    assert (price.rows, price.state) == (0, State.TOO_FEW)
    assert 0.25 < price.missing_before < 0.35
