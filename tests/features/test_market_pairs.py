"""The market's pairs of successive placements, against a slow loop over the tables."""

import math
import statistics
from datetime import date

import numpy as np
import polars as pl
import pytest

from features.record import PAIRED, PAIRS, STAGES

AS_OF = date(2026, 7, 1)
LOGS = {"views": ("compared", "log_views_beyond"), "engagement": ("compared_rates", "log_rate_beyond")}
COUNTS = {"clicks": ("seen", "seen_clicks", "seen_views"), "sales": ("sold", "sold_orders", "sold_clicks")}


def slow_pairs(book, totals):
    """Products by entity, stage and day, placement by placement: [(entity_stage_what, day, amount)]."""
    by_time = sorted(book, key=lambda placement: (placement["settled"], placement["id"]))
    own = {placement["id"]: totals([placement]) for placement in by_time}
    residuals = {}
    for placement in by_time:
        before = [own[other["id"]] for other in by_time if other["settled"] < placement["settled"]]
        mine = own[placement["id"]]
        for stage, (count, total) in LOGS.items():
            past = [other[total] for other in before if other[count]]
            if mine[count] and len(past) > 1 and statistics.pstdev(past) > 0:
                z = (mine[total] - statistics.fmean(past)) / statistics.pstdev(past)
                residuals[placement["id"], stage] = max(-6.0, min(6.0, z)), 1.0
        for stage, (count, events, exposure) in COUNTS.items():
            seen = math.fsum(other[exposure] for other in before)
            if not mine[count] or not seen:
                continue
            expected = mine[exposure] * math.fsum(other[events] for other in before) / seen
            most, unit = 6 * (1 + expected), 1 + expected / 3
            if expected:
                beyond = max(-most, min(most, mine[events] - expected))
                residuals[placement["id"], stage] = beyond / unit, expected / unit
    out = []
    for entity in PAIRED:
        for stage in STAGES:
            last = {}
            for placement in by_time:
                who = placement[entity]
                if who is None or (placement["id"], stage) not in residuals:
                    continue
                previous = last.get(who)
                last[who] = placement
                if previous is None or (entity == "person" and previous["creator"] == placement["creator"]):
                    continue
                a, b = residuals[previous["id"], stage], residuals[placement["id"], stage]
                out.append((f"{entity}_{stage}_products", placement["settled"], a[0] * b[0]))
                out.append((f"{entity}_{stage}_weights", placement["settled"], a[1] * b[1]))
    return out


def with_odd_values(frames, number):
    """A few outcomes of each kind that cannot be."""
    rng = np.random.default_rng(3)
    placements = frames["placements"].with_columns(
        pl.when(pl.Series(rng.random(400) < 0.02)).then(number).otherwise(pl.col(name)).alias(name)
        for name in ("impressions", "engagements", "clicks", "conversions")
    )
    return {**frames, "placements": placements}


@pytest.mark.parametrize("number", [None, 1e9, 1e-3])
def test_the_markets_pairs_equal_a_slow_loop(encode, messy_frames, make_book, slow_totals, number):
    frames = messy_frames if number is None else with_odd_values(messy_frames, number)
    market = encode(frames, AS_OF)
    expected = slow_pairs(make_book(market, frames), slow_totals)
    days = np.unique(market.placements.settled)[::7]
    days = np.concatenate([days, days + 1])
    got = market.histories["market"].at(np.zeros(len(days), dtype=np.int64), days)
    for column in PAIRS:
        want = [math.fsum(x for name, settled, x in expected if name == column and settled < day) for day in days]
        size = math.fsum(abs(x) for name, _, x in expected if name == column)
        # amounts are kept in millionths, so a residual of them is rounded too
        np.testing.assert_allclose(got[column], want, rtol=0, atol=1e-4 + 2e-6 * size, err_msg=column)
    assert {name for name, _, amount in expected if amount} == set(PAIRS)


def test_the_order_of_the_tables_changes_no_total_of_the_market(encode, messy_frames):
    shuffled = {name: frame.sample(fraction=1, shuffle=True, seed=5) for name, frame in messy_frames.items()}
    one_market, other = encode(messy_frames, AS_OF), encode(shuffled, AS_OF)
    assert one_market.placements.ids.to_list() != other.placements.ids.to_list()
    for name, history in one_market.histories.items():
        np.testing.assert_array_equal(history.running, other.histories[name].running, err_msg=name)
