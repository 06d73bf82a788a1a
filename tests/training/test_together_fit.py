from dataclasses import fields, replace

import numpy as np
import polars as pl
import pytest
from scipy.stats import norm
from threadpoolctl import threadpool_limits

from features.settings import Settings
from serving.interval import LEVELS, Interval
from serving.together import USUAL_SHARED, Together
from training.backtest import backtest, outcome
from training.card import together_text
from training.dataset import build_dataset
from training.judgeable import judgeable
from training.pipeline import fit_served
from training.sample import write_sample
from training.source import load
from training.split import labelled, time_split
from training.stage_fit import FitOptions
from training.together_fit import MIN_CAMPAIGNS, MIN_SHARED, MOST_LOSS, MOST_SHARED, Booked, fit_together

SPREAD = 1.2  # of log actual / promised


def ratio(luck, zeros):
    """Actual / promised at quantiles of luck: a log-normal of mean 1 with some zeros."""
    above = np.clip((luck - zeros) / (1 - zeros), 1e-9, 1 - 1e-9)
    return np.where(luck < zeros, 0.0, np.exp(SPREAD * norm.ppf(above) - SPREAD**2 / 2) / (1 - zeros))


def past(seed=0, campaigns=300, most=24, shared=0.1, zeros=0.0, beside=1.0, small_first=1.0):
    """Campaigns of 1 to `most` placements whose luck is partly in common, and the interval that is right for them.

    Args:
        beside: factor on small creators' value in campaigns with a big one.
        small_first: factor on campaigns of both in which a small one posted first.
    """
    rng = np.random.default_rng(seed)
    campaign = np.repeat(np.arange(campaigns), rng.integers(1, most + 1, campaigns))
    n = len(campaign)
    common, own = rng.normal(size=campaigns)[campaign], rng.normal(size=n)
    promised = rng.lognormal(6, 1, n)
    actual = promised * ratio(norm.cdf(np.sqrt(shared) * common + np.sqrt(1 - shared) * own), zeros)
    big = (rng.random(n) < rng.choice([0.0, 0.2, 0.5], campaigns)[campaign]).astype(float)
    posted = rng.integers(20_000, 20_030, n).astype(float)
    first = np.full((2, campaigns), np.inf)
    for size in (0, 1):
        np.minimum.at(first[size], campaign[big == size], posted[big == size])
    actual *= np.where((big == 0) & np.isfinite(first[1])[campaign], beside, 1.0)
    actual *= np.where(((first[0] < first[1]) & np.isfinite(first[1]))[campaign], small_first, 1.0)
    impressions = rng.lognormal(9, 1, n).round()
    booked = Booked(
        campaign, np.full(n, "any"), actual, promised, big, posted, (0.7 * impressions).round(), impressions
    )
    return booked, {"any": Interval(np.array([]), ratio(LEVELS, zeros)[None, :], n)}


def changed(booked, **columns):
    return Booked(**{**vars(booked), **columns})


# --- luck


@pytest.mark.parametrize("zeros", [0.0, 0.5, 0.85])
@pytest.mark.parametrize("shared", [0.0, 0.1, 0.3])
def test_luck_in_common_is_recovered(shared, zeros):
    found = [fit_together(*past(seed, shared=shared, zeros=zeros)).shared for seed in range(8)]
    assert np.mean(found) == pytest.approx(shared, abs=0.015 + 0.1 * shared)
    assert np.std(found) < 0.06


def test_a_large_campaign_does_not_decide_alone():
    booked, intervals = past(campaigns=80, most=6, shared=0.0)
    n = 400
    one = Booked(
        **{f.name: np.concatenate([getattr(booked, f.name), getattr(booked, f.name)[:1].repeat(n)])
           for f in fields(Booked)}
    )  # fmt: skip
    rng = np.random.default_rng(1)
    campaign, actual, promised = one.campaign.copy(), one.actual.copy(), one.promised.copy()
    campaign[-n:] = 80
    actual[-n:] = promised[-n:] * 3.0 * rng.lognormal(0, 0.3, n)
    # of all pairs it has 99 %, and a correlation of about 1
    assert fit_together(changed(one, campaign=campaign, actual=actual), intervals).shared < 0.4
    assert fit_together(booked, intervals).shared < 0.1


def test_what_is_measured_on_little_is_near_the_usual():
    few = [abs(fit_together(*past(s, campaigns=14, most=3, shared=0.3)).shared - USUAL_SHARED) for s in range(10)]
    many = [abs(fit_together(*past(s, campaigns=300, shared=0.3)).shared - USUAL_SHARED) for s in range(10)]
    assert np.mean(few) < 0.5 * np.mean(many)
    assert fit_together(*past(shared=0.95)).shared == MOST_SHARED


def test_only_pairs_within_a_campaign_say_something():
    booked, intervals = past(campaigns=400, most=1, shared=0.3)
    alone = fit_together(booked, intervals)
    assert (alone.shared, alone.shared_campaigns, alone.shared_t) == (USUAL_SHARED, 0, None)
    pairs = changed(booked, campaign=np.minimum(booked.campaign, MIN_SHARED - 2 + np.arange(400) // 2))
    assert fit_together(pairs, intervals).shared_campaigns == len(
        [c for c in np.unique(pairs.campaign) if (pairs.campaign == c).sum() > 1]
    )


# --- big and small


@pytest.mark.parametrize("zeros", [0.0, 0.6])
def test_without_an_effect_nothing_is_said(zeros):
    found = [fit_together(*past(seed, zeros=zeros, shared=0.15)) for seed in range(20)]
    assert sum(f.small_beside_big == 1.0 for f in found) >= 19
    assert sum(not f.small_first for f in found) >= 19
    assert all(f.beside_t is not None and f.first_t is not None for f in found)
    assert min(f.beside_campaigns for f in found) >= MIN_CAMPAIGNS


def test_a_large_loss_beside_big_ones_is_found():
    found = [fit_together(*past(seed, beside=0.65)) for seed in range(10)]
    assert all(MOST_LOSS <= f.small_beside_big < 0.95 and f.beside_t < -2.4 for f in found)
    assert np.mean([f.small_beside_big for f in found]) == pytest.approx(0.69, abs=0.05)
    assert fit_together(*past(beside=0.2)).small_beside_big == MOST_LOSS


def test_a_gain_beside_big_ones_is_not_promised():
    gain = fit_together(*past(beside=1.8))
    assert gain.beside_t > 3
    assert gain.small_beside_big == 1.0


def test_a_better_order_is_found_and_a_worse_one_is_the_default():
    found = [fit_together(*past(seed, campaigns=600, small_first=1.8)) for seed in range(10)]
    assert all(f.small_first and f.first_t > 2.4 for f in found)
    worse = fit_together(*past(campaigns=600, small_first=0.5))
    assert worse.first_t < -2.4
    assert not worse.small_first


@pytest.mark.parametrize("campaigns", [MIN_CAMPAIGNS, 300])
def test_too_few_campaigns_on_a_side_are_not_compared(campaigns):
    booked, intervals = past(campaigns=campaigns, beside=0.3, small_first=3.0)
    if campaigns == 300:
        booked = changed(booked, big=np.where(booked.campaign < MIN_CAMPAIGNS - 1, booked.big, 1.0))
    found = fit_together(booked, intervals)
    assert (found.small_beside_big, found.beside_t, found.small_first, found.first_t) == (1.0, None, False, None)


def test_sizes_and_days_that_are_unknown_say_nothing():
    booked, intervals = past(beside=0.5, small_first=2.0)
    blind = changed(booked, big=np.full(len(booked.big), np.nan))
    found = fit_together(blind, intervals)
    assert (found.small_beside_big, found.beside_campaigns, found.apart_campaigns) == (1.0, 0, 0)
    undated = fit_together(changed(booked, posted=np.full(len(booked.big), np.nan)), intervals)
    assert (undated.small_first, undated.small_first_campaigns, undated.big_first_campaigns) == (False, 0, 0)
    assert undated.small_beside_big < 1.0


def test_whom_a_campaign_booked_is_known_from_placements_that_were_not_judged():
    booked, intervals = past(beside=0.5)
    judged = changed(booked, promised=np.where(booked.big == 1, np.nan, booked.promised))
    whole, part = fit_together(booked, intervals), fit_together(judged, intervals)
    assert part.beside_t == pytest.approx(whole.beside_t)
    assert part.shared_placements < whole.shared_placements


# --- reach


def test_reach_per_impression_is_of_placements_that_know_both():
    booked, intervals = past(campaigns=30)
    n = len(booked.reach)
    assert fit_together(booked, intervals).reach_per_impression == pytest.approx(0.7, abs=1e-3)
    some = changed(booked, reach=np.where(np.arange(n) < 5, 0.4 * booked.impressions, np.nan))
    found = fit_together(some, intervals)
    assert (found.reach_per_impression, found.reach_placements) == (pytest.approx(0.4), 5)
    assert fit_together(changed(booked, reach=2 * booked.impressions), intervals).reach_per_impression == 1.0
    none = fit_together(changed(booked, reach=np.full(n, np.nan)), intervals)
    assert (none.reach_per_impression, none.reach_placements) == (None, 0)


# --- all of it


@pytest.mark.parametrize("rows", [0, 1, 8])
def test_hardly_any_data_give_the_defaults(rows):
    booked, intervals = past()
    keep = np.arange(len(booked.big)) < rows
    unread = changed(booked, reach=np.full(len(booked.big), np.nan))
    found = fit_together(unread.part(keep), intervals)
    assert (found.shared, found.small_beside_big, found.small_first) == (USUAL_SHARED, 1.0, False)
    assert found.reach_per_impression is None
    unjudged = fit_together(changed(unread, promised=np.full(len(booked.big), np.nan)), intervals)
    assert unjudged == Together()


def test_the_order_of_rows_and_the_numbers_of_campaigns_change_nothing():
    booked, intervals = past(beside=0.5, small_first=1.5, zeros=0.3)
    order = np.random.default_rng(3).permutation(len(booked.big))
    shuffled = Booked(**{f.name: getattr(booked, f.name)[order] for f in fields(Booked)})
    shuffled = changed(shuffled, campaign=10_007 - 3 * shuffled.campaign)
    again, found = vars(fit_together(shuffled, intervals)), vars(fit_together(booked, intervals))
    assert again == pytest.approx(found)
    assert found["small_beside_big"] < 1.0


def test_nothing_is_mutated():
    booked, intervals = past(campaigns=50)
    before = {name: column.copy() for name, column in vars(booked).items()}
    fit_together(booked, intervals)
    for name, column in vars(booked).items():
        np.testing.assert_array_equal(column, before[name], err_msg=name)


# --- as trained


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    folder = tmp_path_factory.mktemp("market")
    write_sample(folder, creators=200, placements=1400, snapshots=6, seed=3, fmt="csv")
    return folder


@pytest.mark.parametrize("backtested", [True, False])
def test_a_model_learns_it_from_placements_it_had_not_seen(market, backtested):
    loaded = load(market, Settings(), None)
    data, options = build_dataset(loaded.market), FitOptions(trees=5, threads=1)
    p = loaded.market.placements
    result = backtest(data, time_split(p, loaded.as_of), options) if backtested else None
    rows = labelled(p, loaded.as_of)
    model = fit_served(data, rows, result, options)
    found = model.together
    table = pl.read_csv(market / "placements.csv").filter(pl.col("reach").is_not_null())
    assert found.reach_placements == table.height
    assert found.reach_per_impression == pytest.approx(table["reach"].sum() / table["impressions"].sum())
    judged = rows[judgeable(loaded.market, rows, outcome(data, "value")[rows])] if result is None else result.judged
    assert model.intervals["any"].rows == len(judged)
    _, counts = np.unique(p.campaign[judged], return_counts=True)
    assert found.shared_placements == pytest.approx(counts[counts > 1].sum(), rel=0.05)
    assert found.small_first_campaigns + found.big_first_campaigns > 0
    unknown = np.full(len(p), np.nan)
    data = replace(data, market=replace(loaded.market, placements=replace(p, posted=unknown, reach=unknown)))
    without = fit_served(data, rows, result, options).together
    assert (without.small_first_campaigns, without.big_first_campaigns, without.reach_per_impression) == (0, 0, None)
    assert without.shared == found.shared


# --- as said


def test_what_is_said_names_what_it_rests_on():
    measured = Together(0.12, 40, 500, 3.1, 0.8, 31, 42, -2.7, True, 30, 33, 2.9, 0.78, 400)
    luck, beside, first, reach = together_text(measured)
    for words, text in [
        (("12% of their luck", "500 later placements of 40 campaigns"), luck),
        (("80% of their value", "31 campaigns with and 42 without", "t -2.7"), beside),
        (("small creators", "30 campaigns began with a small one, 33 with a big one", "t 2.9", "beyond chance"), first),
        (("0.78", "400 placements"), reach),
    ]:
        for word in words:
            assert word in text
    luck, beside, first, reach = together_text(Together())
    assert "5% of their luck in common (assumed" in luck
    assert "full value; too few past campaigns" in beside
    assert "big creators; too few past campaigns" in first
    assert "not known" in reach
    _, beside, first, _ = together_text(Together(beside_t=-0.4, first_t=1.0))
    assert "full value; from 0 campaigns with" in beside
    assert "big creators; small ones first did better (t 1.0), not enough" in first
