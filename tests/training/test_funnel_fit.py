from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from threadpoolctl import threadpool_limits

from features.build_market import build_market
from features.errors import DataError
from features.matrix import NAMES
from features.money import in_base_currency
from features.reading import typed
from features.settings import Settings
from features.tables import build
from serving.model import CHAIN
from training.dataset import build_dataset
from training.funnel_fit import FEE_BLIND, SEASON, fit_model
from training.funnel_fit import labels as labels_of
from training.sample import make_market
from training.split import labelled, newest_fact
from training.stage_fit import MIN_ROWS, FitOptions, level_shift

OPTIONS = FitOptions(trees=5, threads=1)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def frames():
    raw = make_market(creators=120, placements=800, snapshots=7, seed=2)
    return {name: typed(name, table)[0] for name, table in raw.items()}


def encoded(frames):
    tables = in_base_currency(build(frames, Settings()), Settings())
    as_of = newest_fact(tables) + 1
    data = build_dataset(build_market(tables, Settings(), as_of))
    return data, labelled(data.market.placements, as_of)


@pytest.fixture(scope="module")
def data(frames):
    return encoded(frames)


@pytest.fixture(scope="module")
def model(data):
    return fit(*data)


def fit(data, rows, options=OPTIONS, **columns):
    known = data.labels.part(rows)
    known = replace(known, columns={**known.columns, **{name: column[rows] for name, column in columns.items()}})
    return fit_model(data.market, data.x[rows], known, options)


def test_each_stage_is_taught_by_the_rows_that_know_it(data, model):
    labels, rows = data[0].labels.part(data[1]), len(data[1])
    columns = labels.columns
    assert model.stages["delivery"].rows == rows
    for quantity, stage in model.stages.items():
        exposure = columns[stage.exposure]
        knows = np.isfinite(columns[quantity]) & (columns[quantity] >= 0) & (np.nan_to_num(exposure) > 0)
        assert stage.rows == knows.sum(), quantity
    assert model.stages["net_revenue"].rows < model.stages["impressions"].rows < rows


def test_labels_are_unknown_where_nothing_was_delivered(data):
    market = data[0].market
    # as if somebody had counted views of a post that was never delivered
    counted = {**market.placements.outcomes, "impressions": np.nan_to_num(market.placements.outcomes["impressions"])}
    p = replace(market.placements, outcomes=counted)
    labels = labels_of(replace(market, placements=p), data[0].seen.price, data[0].seen.price_source)
    lost = p.delivered == 0
    assert lost.sum() > 10
    assert np.isnan(labels.columns["impressions"][lost]).all()
    assert set(labels.columns["delivery"][lost]) == {0.0}
    known = ~lost & np.isfinite(p.outcomes["impressions"])
    np.testing.assert_array_equal(labels.columns["impressions"][known], p.outcomes["impressions"][known])


def test_the_order_of_the_rows_does_not_matter(data, model):
    # rows of one day keep the order they came in, so days are made distinct
    full, rows = data
    days = replace(full.labels, day=full.labels.day * 10_000 + np.arange(len(full.labels.day)))
    shuffled = np.random.default_rng(0).permutation(rows)
    one, other = (fit(replace(full, labels=days), r) for r in (rows, shuffled))
    for name, stage in one.stages.items():
        assert stage.to_json() == other.stages[name].to_json(), name
        assert stage.trees == other.stages[name].trees, name


def test_stages_come_in_the_order_of_the_chain_and_rest_on_one_before(model):
    names = list(model.stages)
    assert names == [name for name in CHAIN if name in names]
    for name, stage in model.stages.items():
        assert stage.exposure in CHAIN[name]
        assert stage.exposure == "one" or names.index(stage.exposure) < names.index(name)


@pytest.mark.parametrize(("rows", "there"), [(MIN_ROWS, True), (MIN_ROWS - 1, False)])
def test_a_stage_needs_enough_rows(data, rows, there):
    full, chosen = data
    engaged = full.labels.columns["engagements"].copy()
    keep = chosen[np.flatnonzero(engaged[chosen] > 0)[:rows]]
    engaged[np.setdiff1d(np.arange(len(engaged)), keep)] = np.nan
    assert ("engagements" in fit(full, chosen, engagements=engaged).stages) == there


def test_an_outcome_that_was_always_zero_is_not_a_stage(data):
    full, rows = data
    assert "clicks" not in fit(full, rows, clicks=full.labels.columns["clicks"] * 0).stages


def test_an_exposure_with_outcomes_beside_it_is_passed_over(data):
    full, rows = data
    clicks = full.labels.columns["clicks"].copy()
    clicks[::3] = 0.0
    model = fit(full, rows, clicks=clicks)
    assert model.stages["conversions"].exposure == "impressions"


def test_refunds_above_revenue_are_not_a_rate(data):
    full, rows = data
    revenue = full.labels.columns["net_revenue"].copy()
    usual = fit(full, rows).stages["net_revenue"]
    taken = rows[np.flatnonzero((revenue[rows] > 0) & (full.labels.columns["conversions"][rows] > 0))[:20]]
    revenue[taken] = -50.0
    assert fit(full, rows, net_revenue=revenue).stages["net_revenue"].rows == usual.rows - 20


def test_levels_bring_the_funnel_to_the_level_of_the_data(data, model):
    full, rows = data
    known = full.labels.part(rows)
    expected = model.expected(full.x[rows])
    for quantity in ("impressions", "engagements", "net_revenue"):
        y = np.where(known.columns["delivery"] > 0, known.columns[quantity], 0.0)
        has = np.isfinite(y)
        assert level_shift(y[has], expected[quantity][has]) == pytest.approx(0, abs=0.02), quantity
    assert "delivery" not in model.levels


def test_levels_do_not_fall_where_outcomes_are_missing(data):
    """All undelivered placements are known to have brought nothing, and of the delivered every sixth is measured."""
    full, rows = data
    delivered = full.labels.columns["delivery"][rows] > 0
    assert delivered.mean() < 0.97
    expected = fit(full, rows).expected(full.x[rows])["impressions"].sum()
    ratios = []
    for seed in range(3):
        lost = np.random.default_rng(seed).random(len(full.x)) > 1 / 6
        few = fit(full, rows, impressions=np.where(lost, np.nan, full.labels.columns["impressions"]))
        ratios.append(few.expected(full.x[rows])["impressions"].sum() / expected)
    assert np.mean(ratios) == pytest.approx(1, abs=0.2)


def test_season_is_not_learnt_from_less_than_a_year(data):
    full, rows = data
    model = fit(full, rows)
    days = full.labels.day[rows]
    assert days.max() - days.min() < 365
    x = full.x[rows].copy()
    x[:, SEASON] = np.random.default_rng(0).normal(0, 9, (len(rows), len(SEASON)))
    for quantity, expected in model.expected(full.x[rows]).items():
        np.testing.assert_array_equal(model.expected(x)[quantity], expected, err_msg=quantity)
    assert {NAMES[i] for i in SEASON} == {"season_sin", "season_cos"}


def test_season_is_learnt_from_a_year(data):
    full, rows = data
    days = replace(full.labels, day=full.labels.day * 4)
    season = full.x.copy()
    season[:, SEASON] = np.random.default_rng(0).normal(0, 1, (len(season), len(SEASON)))
    model = fit(replace(full, labels=days, x=season), rows)
    other = season[rows].copy()
    other[:, SEASON] += 1
    assert (model.expected(other)["impressions"] != model.expected(season[rows])["impressions"]).any()


def test_an_peer_fee_does_not_look_at_prices(data, model):
    full, rows = data
    assert {"log_price", "log_price_per_view", "creator_return"} <= {NAMES[i] for i in FEE_BLIND}
    x = full.x[rows].copy()
    x[:, FEE_BLIND] = np.random.default_rng(0).normal(0, 9, (len(rows), len(FEE_BLIND)))
    np.testing.assert_array_equal(model.peer_fee(x), model.peer_fee(full.x[rows]))
    known = full.labels.fee[rows] > 0
    log_fee, guess = np.log(full.labels.fee[rows][known]), np.log(model.peer_fee(x)[known])
    assert np.corrcoef(log_fee, guess)[0, 1] > 0.5


def test_too_little_is_refused_with_what_is_needed(data):
    full, rows = data
    with pytest.raises(DataError, match=f"too few settled outcomes .* at least {MIN_ROWS} placements"):
        fit(full, rows[: MIN_ROWS - 10])


def test_a_goal_is_overridden_where_half_of_its_placements_are(frames):
    goals = frames["placements"].join(frames["campaigns"], on="campaign_id", how="left", maintain_order="left")["goal"]
    number = pl.int_range(pl.len())
    given = (
        pl.when((goals == "awareness") | ((goals == "local") & (number % 4 > 0)) | ((goals == "launch") & (
            number % 4 == 0))).then(100.0 + number).alias("value")
    )  # fmt: skip
    changed = {**frames, "placements": frames["placements"].with_columns(given)}
    model = fit(*encoded(changed))
    assert model.overridden_goals == ("awareness", "local")
    assert model.stages["value"].exposure == "one"


def test_fitting_leaves_its_input_alone(data):
    full, rows = data
    x, fee = full.x.copy(), full.labels.fee.copy()
    fit(full, rows)
    np.testing.assert_array_equal(full.x, x)
    np.testing.assert_array_equal(full.labels.fee, fee)
