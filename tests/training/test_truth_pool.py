"""Held-out candidates as the served code sees them: every row is the one it says, and no truth reaches the model."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from threadpoolctl import threadpool_limits

from features.brief import parse_brief
from features.build_market import build_market
from features.errors import DataError
from features.money import in_base_currency
from features.reading import typed
from features.settings import Settings, ValueSettings
from features.tables import build
from features.value import GOALS
from serving.candidates import candidates
from serving.catalogue import build_catalogue
from serving.ranking import rank
from serving.release import Release
from training.dataset import build_dataset
from training.funnel_fit import fit_model
from training.intervals import fit_intervals
from training.sample import make_market, tables
from training.sample_held_out import make_truth
from training.sample_hidden import make_hidden
from training.split import labelled, newest_fact
from training.stage_fit import FitOptions
from training.truth_pool import past_means, score_pool

SIZE = {"creators": 300, "placements": 900, "snapshots": 6}
SCORED = ("cost", "value", "roi")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def market():
    raw = make_market(**SIZE)
    frames = {name: typed(name, table)[0] for name, table in raw.items()}
    made = in_base_currency(build(frames, Settings()), Settings())
    return build_market(made, Settings(), newest_fact(made) + 1)


@pytest.fixture(scope="module")
def release(market):
    data, rows = build_dataset(market), labelled(market.placements, market.as_of)
    model = fit_model(market, data.x[rows], data.labels.part(rows), FitOptions(trees=5, threads=1))
    rng = np.random.default_rng(0)
    expected = rng.lognormal(4, 1, 600)
    intervals = fit_intervals(expected * rng.lognormal(-0.3, 0.8, 600), expected, np.repeat(["conversion", "x"], 300))
    return Release(
        replace(model, intervals=intervals, version="7"), build_catalogue(market, market.as_of, market.settings)
    )


@pytest.fixture(scope="module")
def truth():
    """Every third brief has so small a budget that some candidates cost more."""
    made = make_truth(make_hidden(**SIZE), "balanced", briefs=15, pool=90)
    small = [{**brief, "budget": brief["budget"] / 50} if k % 3 == 0 else brief for k, brief in enumerate(made.briefs)]
    return replace(made, briefs=small)


@pytest.fixture(scope="module")
def means(market):
    return past_means(market, market.as_of)


@pytest.fixture(scope="module")
def pool(release, truth, means):
    return score_pool(release, truth, means)


def rows_of(pool, k):
    return range(pool.starts[k], pool.starts[k + 1])


def poorer(truth, k, budget):
    """The same with another budget for the k-th brief."""
    briefs = [{**brief, "budget": budget} if j == k else brief for j, brief in enumerate(truth.briefs)]
    return replace(truth, briefs=briefs)


# --- rows


def test_every_row_is_what_the_served_code_says_of_that_creator_and_brief(release, truth, pool):
    ids = release.catalogue.display["creator_id"].to_list()
    left_out = 0
    for k, payload in enumerate(truth.briefs):
        found = candidates(release, parse_brief(payload))
        place = {ids[row]: j for j, row in enumerate(found.rows)}
        for row in rows_of(pool, k):
            shown = pool.truth.row(row, named=True)
            assert shown["brief_id"] == payload["brief_id"]
            j = place.get(shown["creator_id"])
            if j is None:
                left_out += 1
                assert np.isnan(pool.x[row]).all()
                assert np.isnan([getattr(pool, name)[row] for name in (*SCORED, "inside")]).all()
            else:
                np.testing.assert_array_equal(pool.x[row], found.x[j])
                assert [getattr(pool, name)[row] for name in SCORED] == [
                    getattr(found.scores, name)[j] for name in SCORED
                ]
    assert 20 < left_out < len(pool.truth) / 2


def test_every_row_has_the_figures_of_the_answer_of_its_brief_and_its_draw_lies_where_it_says(release, truth, pool):
    sides = {0.0: 0, 1.0: 0}
    for k, payload in enumerate(truth.briefs):
        answer = rank(release, parse_brief({**payload, "top": 1000, "explain": False}), request_id="r")
        picks = {pick.creator_id: pick for pick in answer.picks}
        for row in rows_of(pool, k):
            pick = picks.get(pool.truth["creator_id"][row])
            assert (pick is None) == np.isnan(pool.roi[row])
            if pick is None:
                continue
            assert (pool.roi[row], pool.value[row]) == pytest.approx((pick.roi, pick.expected.value))
            drawn = pool.truth["drawn_roi"][row]
            hair = 0.02 * (1 + pick.roi_high)  # the answer interpolates between draws
            if pick.roi_low + hair < drawn < pick.roi_high - hair:
                assert pool.inside[row] == 1.0
            elif drawn > pick.roi_high + hair or -1 < drawn < pick.roi_low - hair:
                assert pool.inside[row] == 0.0
            sides[pool.inside[row]] = sides.get(pool.inside[row], 0) + 1
    assert sides[0.0] > 20
    assert sides[1.0] > 200


def test_truth_and_briefs_are_all_there_in_the_order_of_the_briefs(truth, pool):
    assert pool.truth.columns == truth.outcomes.columns
    assert pool.truth.sort("brief_id", "creator_id").equals(truth.outcomes.sort("brief_id", "creator_id"))
    assert (pool.starts[0], pool.starts[-1]) == (0, len(truth.outcomes))
    for k, payload in enumerate(truth.briefs):
        assert set(pool.truth["brief_id"][list(rows_of(pool, k))]) == {payload["brief_id"]}
        assert (GOALS[pool.goal[k]], pool.budget[k]) == (payload["goal"], payload["budget"])


def test_the_order_of_rows_and_briefs_changes_nothing(release, truth, means, pool):
    mixed = replace(truth, outcomes=truth.outcomes.sample(fraction=1, shuffle=True, seed=3), briefs=truth.briefs[::-1])
    again = score_pool(release, mixed, means)

    def by_pair(one):
        columns = {name: getattr(one, name) for name in (*SCORED, "inside", "past_mean")}
        return one.truth.with_columns(
            *(pl.Series(f"own_{name}", values) for name, values in columns.items()),
            pl.Series("x", np.nan_to_num(one.x).sum(axis=1)),
        ).sort("brief_id", "creator_id")

    assert again.truth["brief_id"][0] == truth.briefs[-1]["brief_id"]
    for name, column in by_pair(pool).to_dict().items():
        if column.dtype.is_float():
            np.testing.assert_allclose(by_pair(again)[name], column, rtol=1e-5, atol=1e-5)
        else:
            assert by_pair(again)[name].equals(column)


def test_nothing_given_is_changed(release, truth, means):
    outcomes, briefs, before = truth.outcomes.clone(), [dict(brief) for brief in truth.briefs], means.copy()
    prices = np.array(release.catalogue.state.profile["price"])
    score_pool(release, truth, means)
    assert truth.outcomes.equals(outcomes)
    assert truth.briefs == briefs
    np.testing.assert_array_equal(means, before)
    np.testing.assert_array_equal(release.catalogue.state.profile["price"], prices)


def test_no_true_figure_reaches_what_the_model_says(release, truth, means, pool):
    given = ("brief_id", "creator_id", "goal", "platform", "tier", "past_placements", "drawn_roi")
    spoilt = truth.outcomes.with_columns(
        pl.lit(1e6).alias(name) for name in truth.outcomes.columns if name not in given
    )
    again = score_pool(release, replace(truth, outcomes=spoilt), means)
    for name in ("x", *SCORED, "inside", "past_mean"):
        np.testing.assert_array_equal(getattr(again, name), getattr(pool, name))
    drawn = replace(truth, outcomes=truth.outcomes.with_columns(drawn_roi=pl.lit(1e6)))
    assert set(np.unique(score_pool(release, drawn, means).inside[~np.isnan(pool.inside)])) == {0.0}


# --- briefs that leave out somebody or everybody


def test_who_costs_more_than_the_budget_has_no_figures(release, truth, means):
    k = 2
    found = candidates(release, parse_brief(poorer(truth, k, 1e9).briefs[k]))
    ids = release.catalogue.display["creator_id"].to_list()
    fee = dict(zip([ids[row] for row in found.rows], found.fee, strict=True))
    budget = float(np.median(found.fee))
    less = score_pool(release, poorer(truth, k, budget), means)
    for row in rows_of(less, k):
        assert np.isnan(less.roi[row]) == (fee[less.truth["creator_id"][row]] > budget)


def test_a_brief_whose_budget_leaves_nobody_has_no_figures_and_the_others_keep_theirs(release, truth, means, pool):
    k = 3
    less = score_pool(release, poorer(truth, k, 1e-6), means)
    gone = np.isin(np.arange(len(pool.truth)), rows_of(pool, k))
    assert np.isnan(less.x[gone]).all()
    for name in (*SCORED, "inside"):
        assert np.isnan(getattr(less, name)[gone]).all()
        np.testing.assert_array_equal(getattr(less, name)[~gone], getattr(pool, name)[~gone])
    assert less.budget[k] == 1e-6
    np.testing.assert_array_equal(less.past_mean, pool.past_mean)


def test_a_brief_of_a_goal_the_model_could_not_learn_has_no_figures(release, truth, means, pool):
    stages = {name: stage for name, stage in release.model.stages.items() if name != "net_revenue"}
    less = score_pool(Release(replace(release.model, stages=stages), release.catalogue), truth, means)
    needs_sales = np.isin(np.repeat(pool.goal, np.diff(pool.starts)), [GOALS.index(g) for g in GOALS[2:]])
    assert np.isnan(less.roi[needs_sales]).all()
    assert np.isfinite(less.roi[~needs_sales]).any()


# --- what the rules get


def test_rules_get_goal_cost_features_and_past_of_their_row(pool):
    asked = pool.rule_data()
    np.testing.assert_array_equal(asked.x, pool.x)
    np.testing.assert_array_equal(np.array(GOALS)[asked.goal], pool.truth["goal"])
    known = np.isfinite(pool.cost)
    np.testing.assert_allclose(np.exp(asked.log_cost[known]), pool.cost[known])
    assert np.isnan(asked.log_cost[~known]).all()
    assert asked.past_mean is pool.past_mean
    free = replace(pool, cost=np.where(np.arange(len(pool.cost)) == 0, 0.0, pool.cost))
    assert np.isnan(free.rule_data().log_cost[0])  # no log of nothing, and no warning


def test_members_are_words_of_the_row(pool):
    members = pool.members()
    assert members["tier"].tolist() == pool.truth["tier"].to_list()
    assert members["platform"].tolist() == pool.truth["platform"].to_list()
    words = ["known" if n else "without history" for n in pool.truth["past_placements"]]
    assert members["creator"].tolist() == words
    assert set(words) == {"known", "without history"}


@pytest.mark.parametrize("back", [0, 60])
def test_the_past_mean_is_of_the_creators_settled_values(market, back):
    p, day = market.placements, market.as_of - back
    found = past_means(market, day)
    values = {}
    for row in range(len(p)):
        # as for the rules' training rows: where the cost is unknown, the value does not count either
        if p.settled[row] < day and np.isfinite(p.outcomes["value"][row] + p.cost[row]):
            values.setdefault(int(p.creator[row]), []).append(p.outcomes["value"][row])
    assert len(values) > 30
    for creator in range(len(market.creators)):
        own = values.get(creator)
        assert found[creator] == pytest.approx(
            np.nan if own is None else np.log1p(max(np.mean(own), 0.0)),
            abs=0.006,
            nan_ok=True,  # half a cent
        )


def test_the_past_mean_stands_beside_its_creator(release, pool, means):
    by_id = dict(zip(release.catalogue.display["creator_id"], means, strict=True))
    np.testing.assert_array_equal(pool.past_mean, [by_id[name] for name in pool.truth["creator_id"]])
    assert 0 < np.isnan(pool.past_mean).mean() < 1


# --- truths that do not fit


def test_a_truth_with_creators_of_another_market_is_refused(release, truth, means):
    strangers = sorted(set(truth.outcomes["creator_id"]))[:2]
    renamed = truth.outcomes.with_columns(pl.col("creator_id").replace({strangers[0]: "z1", strangers[1]: "z2"}))
    with pytest.raises(DataError, match=r"another market: 2 of its candidates, such as z1, z2, are not in creators.*"
                                        r"Remove the truth folder.*sample --truth"):  # fmt: skip
        score_pool(release, replace(truth, outcomes=renamed), means)


def test_a_truth_of_a_larger_market_is_refused(release, means):
    other = make_truth(make_hidden(creators=600, placements=900, snapshots=6, seed=1), "balanced", briefs=3, pool=50)
    with pytest.raises(DataError, match="the truth is of another market"):
        score_pool(release, other, means)


@pytest.mark.parametrize("other", [{"seed": 1}, {"placements": 950}])
def test_a_truth_of_another_market_of_the_same_size_is_refused(release, means, other):
    truth = make_truth(make_hidden(**{**SIZE, **other}), "balanced", briefs=10, pool=60)
    with pytest.raises(DataError, match="another market"):
        score_pool(release, truth, means)


def test_a_truth_in_other_money_is_refused(release, truth, means):
    basis = replace(release.model.basis, currency="EUR")
    with pytest.raises(DataError, match="the truth is in USD, the model in EUR: leave base_currency as it is"):
        score_pool(Release(replace(release.model, basis=basis), release.catalogue), truth, means)


@pytest.mark.parametrize("own", [{"cpm": 10.0}, {"cost_floor": 2.0}, {"cpm_by_country": {"SG": 20.0}}])
def test_value_settings_of_ones_own_are_refused(release, truth, means, own):
    settings = release.model.settings.model_copy(update={"value": ValueSettings(**own)})
    with pytest.raises(DataError, match=r"default value settings: use a home without \[value\]"):
        score_pool(Release(replace(release.model, settings=settings), release.catalogue), truth, means)


def test_the_market_of_the_truth_is_that_of_the_tables():
    # the fixtures make both from the same arguments: the tables must be the same
    assert dict(tables(make_hidden(**SIZE)))["placements"].equals(make_market(**SIZE)["placements"])
