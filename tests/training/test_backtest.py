import json
import re
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from threadpoolctl import threadpool_limits

from features.build_market import build_market
from features.money import in_base_currency
from features.reading import typed
from features.settings import Settings
from features.tables import build
from features.value import GOALS
from serving.promise import Promise
from training.backtest import (
    MIN_JUDGED,
    MODEL,
    MOST_MEMBERS,
    _largest,
    backtest,
    outcome,
    predict,
    rule_data,
    slice_members,
)
from training.baselines import RIDGE, RULES
from training.dataset import build_dataset
from training.judgeable import judgeable
from training.pipeline import fit_served
from training.report import backtest_frame, card_metrics, flat_metrics, plain, slice_frame, worst_misses
from training.sample import make_market
from training.split import labelled, newest_fact, time_split
from training.stage_fit import FitOptions

OPTIONS = FitOptions(trees=20, threads=1)
OUTCOMES = ("impressions", "likes", "comments", "shares", "saves", "clicks", "conversions", "revenue", "refunds")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def frames():
    raw = make_market(creators=400, placements=2500, snapshots=9, seed=1)
    return {name: typed(name, table)[0] for name, table in raw.items()}


def dataset(frames, as_of=None):
    tables = in_base_currency(build(frames, Settings()), Settings())
    as_of = newest_fact(tables) + 1 if as_of is None else as_of
    return build_dataset(build_market(tables, Settings(), as_of)), as_of


@pytest.fixture(scope="module")
def data(frames):
    return dataset(frames)


@pytest.fixture(scope="module")
def result(data):
    return backtest(data[0], time_split(data[0].market.placements, data[1]), OPTIONS)


def with_placements(frames, *changes):
    return {**frames, "placements": frames["placements"].with_columns(*changes)}


# --- what it says


def test_the_model_beats_every_rule(result):
    assert result.target == "value"
    assert result.metrics.keys() == {MODEL, *RULES, RIDGE}
    for name in (*RULES, RIDGE):
        assert result.metrics[MODEL].deviance < result.metrics[name].deviance, name
    assert result.gain[0] > 0
    assert result.metrics[result.best_rule].deviance == min(result.metrics[n].deviance for n in (*RULES, RIDGE))


def test_coverage_is_near_four_fifths(result):
    assert 0.7 < result.coverage < 0.9


def test_what_is_served_promises_and_is_sure_as_later_placements_say(data, result, monkeypatch):
    shy = Promise(1.0, 0.4)
    monkeypatch.setattr("training.backtest.fit_promise", lambda *_: shy)
    dataset_, as_of = data
    judged = backtest(dataset_, result.split, OPTIONS)
    assert judged.promise == shy
    # the metrics are of what is expected; the intervals of what is promised, from which outcomes fall less short
    assert judged.metrics == result.metrics
    assert judged.intervals["any"].ratios.mean() > 1.05 * result.intervals["any"].ratios.mean()
    served = fit_served(dataset_, labelled(dataset_.market.placements, as_of), judged, OPTIONS)
    assert (served.promise, served.intervals) == (shy, judged.intervals)


def test_judged_are_test_rows_with_a_known_outcome(data, result):
    p = data[0].market.placements
    assert set(result.judged) < set(result.split.test)
    assert np.isfinite(result.actual).all()
    assert (p.agreed[result.judged] >= result.split.opens).all()
    assert (p.settled[result.split.train] < result.split.opens).all()
    np.testing.assert_array_equal(result.actual, outcome(data[0], "value")[result.judged])
    for prediction in result.predicted.values():
        # where nobody of the audience is in the target, awareness is worth nothing
        assert (prediction >= 0).all()
        assert (prediction > 0).mean() > 0.9


def test_where_much_is_missing_the_undelivered_are_no_larger_a_part(frames, data):
    """Of 70 % of the delivered placements, drawn at random, nothing is known."""
    hidden = pl.Series(np.random.default_rng(0).random(frames["placements"].height) < 0.7)
    given = [name for name in (*OUTCOMES, "engagements") if name in frames["placements"].columns]
    lost = [pl.when(~hidden).then(pl.col(name)).alias(name) for name in given]
    sparse, as_of = dataset(with_placements(frames, *lost), data[1])
    p, split = sparse.market.placements, time_split(sparse.market.placements, as_of)
    asked = []

    def seen(*args):
        asked.append(args[1])
        return rule_data(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.backtest.rule_data", seen)
        judged = backtest(sparse, split, OPTIONS)
    assert judged.target == "value"
    np.testing.assert_array_equal(asked[1], judged.judged)
    for among, found in ((split.train, asked[0]), (split.test, judged.judged)):
        truth, value = (p.delivered[among] == 0).mean(), outcome(sparse, "value")[among]
        known = among[np.isfinite(value)]
        assert (p.delivered[known] == 0).mean() > 2.0 * truth
        assert (p.delivered[found] == 0).mean() < 0.5 * (p.delivered[known] == 0).mean()
        np.testing.assert_array_equal(found, among[judgeable(sparse.market, among, value)])
    assert judged.metrics[MODEL].rows == len(judged.judged) == len(judged.ranks[0])


def test_rows_of_slices_add_up(data, result):
    members = slice_members(data[0], result.judged)
    assert members.keys() == result.slices.keys() == {"goal", "tier", "platform", "country", "creator"}
    for kind, of in members.items():
        sizes = dict(zip(*np.unique(of, return_counts=True), strict=True))
        shown = {member: by_name[MODEL].rows for member, by_name in result.slices[kind].items()}
        enough = {member: n for member, n in sizes.items() if n >= MIN_JUDGED // 2}
        assert len(shown) == min(len(enough), MOST_MEMBERS)
        assert shown.items() <= enough.items()
        assert min(shown.values()) >= max([n for member, n in enough.items() if member not in shown], default=0)
        np.testing.assert_array_equal(result.members[kind], of)
        assert sum(sizes.values()) == len(result.judged)
    assert set(result.slices["goal"]) <= set(GOALS)
    assert set(members["creator"]) == {"known", "without history"}


def test_slices_are_of_the_facts_of_the_placement(data, frames, result):
    ids = data[0].market.placements.ids.gather(result.judged).to_list()
    rows = pl.DataFrame({"placement_id": ids}).join(
        frames["placements"], on="placement_id", how="left", maintain_order="left"
    )
    goals = rows.join(frames["campaigns"], on="campaign_id", how="left", maintain_order="left")["goal"]
    creators = rows.join(frames["creators"], on="creator_id", how="left", maintain_order="left")
    members = slice_members(data[0], result.judged)
    assert members["goal"].tolist() == goals.to_list()
    assert members["platform"].tolist() == creators["platform"].to_list()
    assert members["country"].tolist() == creators["country"].fill_null("unknown").to_list()


def test_of_many_members_the_largest_are_slices():
    many = np.repeat([f"m{k:02}" for k in range(15)], np.arange(20, 35))
    found = _largest(many)
    assert list(found) == [f"m{k:02}" for k in range(5, 15)]
    assert [rows.sum() for rows in found.values()] == list(range(25, 35))
    assert (many[found["m07"]] == "m07").all()


def test_not_delivered_is_an_outcome_of_nothing(data):
    p = data[0].market.placements
    lost = np.flatnonzero(p.delivered == 0)
    assert len(lost) > 20
    for target in ("value", "impressions", "net_revenue"):
        assert set(outcome(data[0], target)[lost]) == {0.0}


def test_the_report_shows_the_same_figures(result):
    frame = backtest_frame(result)
    assert frame["prediction"][0] == MODEL
    assert frame["deviance"][1:].is_sorted()
    assert dict(frame.select("prediction", "deviance").iter_rows()) == {
        name: metrics.deviance for name, metrics in result.metrics.items()
    }
    slices = slice_frame(result)
    judged = slices.filter(pl.col("slice") == "goal", pl.col("prediction") == MODEL)
    assert judged["rows"].sum() == sum(by_name[MODEL].rows for by_name in result.slices["goal"].values())
    assert (judged["gain_low"] < judged["gain"]).all()
    assert slices.filter(pl.col("prediction") != MODEL)["gain"].null_count() == (
        slices.height - slices.filter(pl.col("prediction") == MODEL).height
    )


def test_metrics_have_their_baselines_and_intervals(result):
    flat = flat_metrics(result)
    model, rule = result.metrics[MODEL], result.metrics[result.best_rule]
    assert (flat["deviance"], flat["deviance_best_rule"]) == (model.deviance, rule.deviance)
    assert flat["gain_over_best_rule"] == pytest.approx(rule.deviance - model.deviance)
    assert (flat["gain_over_best_rule_low"], flat["gain_over_best_rule_high"]) == result.gain
    assert flat["calibration_low"] < flat["calibration"] < flat["calibration_high"]
    assert flat["captured_low"] < flat["captured"] < flat["captured_high"]
    assert (flat["coverage_80"], flat["coverage_80_rows"]) == (result.coverage, result.covered_rows)
    assert (flat["coverage_80_low"], flat["coverage_80_high"]) == result.coverage_interval
    assert flat["rule/creators past mean/deviance".replace(" ", "_")] > flat["deviance"]
    for kind, members in result.slices.items():
        for member, by_name in members.items():
            prefix = f"{kind}/{plain(member)}"
            assert flat[f"{prefix}/deviance"] == by_name[MODEL].deviance
            assert flat[f"{prefix}/deviance_best_rule"] == by_name[result.best_rule].deviance
            assert flat[f"{prefix}/gain_low"] < flat[f"{prefix}/gain"] < flat[f"{prefix}/gain_high"]
    assert "country" in {name.split("/")[0] for name in flat}
    assert all(np.isfinite(value) for value in flat.values())
    assert all(re.fullmatch(r"[\w./ -]{1,250}", name) for name in flat)


def test_worst_misses_name_what_they_were(data, frames, result):
    misses = worst_misses(result, data[0], frames["placements"], most=10)
    assert misses["error"].abs().to_list() == sorted(np.abs(result.actual - result.predicted[MODEL]))[:-11:-1]
    same = misses.select("placement_id").join(frames["placements"], on="placement_id", maintain_order="left")
    assert misses["creator_id"].to_list() == same["creator_id"].to_list()
    assert misses["campaign_id"].to_list() == same["campaign_id"].to_list()
    assert misses["delivered"].to_list() == same["delivered"].fill_null(value=True).to_list()


def test_the_card_holds_the_same_figures(result):
    card = json.loads(json.dumps(card_metrics(result)))
    assert card["model"]["deviance"] == result.metrics[MODEL].deviance
    assert (card["best_rule"], card["coverage_80"]) == (result.best_rule, result.coverage)
    assert [card["gain_over_best_rule"][end] for end in ("low", "high")] == list(result.gain)
    assert [(one["kind"], one["member"]) for one in card["slices"]] == [
        (kind, member) for kind, members in result.slices.items() for member in members
    ]
    assert card_metrics(None)["judged"] is None


# --- nothing leaks


def wild(frames, data, hit):
    """The same placements with absurd outcomes in the rows `hit`."""
    ids = data.market.placements.ids.filter(pl.Series(hit))
    mask = pl.col("placement_id").is_in(ids.implode())
    return with_placements(
        frames,
        *(
            pl.when(mask).then((pl.col(name).fill_null(3) * 37 + 11).cast(frames["placements"].schema[name]))
            .otherwise(pl.col(name)).alias(name)
            for name in OUTCOMES if name in frames["placements"].columns
        ),
        pl.when(mask).then(~pl.col("delivered")).otherwise(pl.col("delivered")).alias("delivered"),
    )  # fmt: skip


def same_model(one, other):
    assert one.stages.keys() == other.stages.keys()
    for name, stage in one.stages.items():
        assert stage.to_json() == other.stages[name].to_json(), name
        assert stage.trees == other.stages[name].trees, name
    assert one.fee.to_json() == other.fee.to_json()
    assert (one.levels, one.extra_cost, one.typical_fee) == (other.levels, other.extra_cost, other.typical_fee)


def test_outcomes_not_settled_when_the_window_opened_do_not_reach_the_model(frames, data, result):
    before, as_of = data
    p = before.market.placements
    hit = p.settled >= result.split.opens
    gap = hit & (p.agreed < result.split.opens)
    assert gap.sum() > 50
    changed, _ = dataset(wild(frames, before, hit), as_of)
    assert not np.array_equal(outcome(changed, "impressions"), outcome(before, "impressions"), equal_nan=True)
    split = time_split(changed.market.placements, as_of)
    for part in ("train", "test"):
        np.testing.assert_array_equal(getattr(split, part), getattr(result.split, part))
    again = backtest(changed, split, OPTIONS)
    same_model(again.model, result.model)
    # a row agreed before any of them settled sees none of them, whatever came of it
    first = p.settled[hit].min()
    early = split.test[p.agreed[split.test] <= first]
    assert len(early) > 0
    np.testing.assert_array_equal(
        predict(changed, again.model, early, "value"), predict(before, result.model, early, "value")
    )


@pytest.mark.parametrize("share", [0.0, 0.4, 0.8, 1.0])
def test_no_prediction_sees_an_outcome_settled_on_its_day_or_later(frames, data, result, share):
    before, as_of = data
    p = before.market.placements
    day = int(np.quantile(p.agreed[result.split.test], share, method="lower"))
    changed, _ = dataset(wild(frames, before, p.settled >= day), as_of)
    rows = np.flatnonzero(p.agreed <= day)
    np.testing.assert_array_equal(changed.x[rows], before.x[rows])
    test = result.split.test[p.agreed[result.split.test] <= day]
    assert len(test) > 0
    for target in ("value", "impressions", "net_revenue"):
        np.testing.assert_array_equal(
            predict(changed, result.model, test, target), predict(before, result.model, test, target)
        )


def test_the_perturbation_would_be_seen_if_it_were_known(frames, data, result):
    before, as_of = data
    p = before.market.placements
    changed, _ = dataset(wild(frames, before, p.settled < result.split.opens), as_of)
    test = result.split.test
    assert (predict(changed, result.model, test, "value") != predict(before, result.model, test, "value")).mean() > 0.5


def test_a_prediction_of_a_sale_does_not_read_the_sale(data, result):
    # the labels of the rows to predict are not an input at all
    hidden = replace(data[0], labels=data[0].labels.part(np.arange(len(data[0].labels.day))))
    hidden.labels.columns["net_revenue"][result.split.test] = np.nan
    np.testing.assert_array_equal(
        predict(hidden, result.model, result.split.test, "net_revenue"),
        predict(data[0], result.model, result.split.test, "net_revenue"),
    )


def test_order_of_placements_changes_no_feature(frames, data):
    mixed, _ = dataset({**frames, "placements": frames["placements"].sample(fraction=1, shuffle=True, seed=4)}, data[1])
    row_of = {name: row for row, name in enumerate(data[0].market.placements.ids)}
    order = [row_of[name] for name in mixed.market.placements.ids]
    np.testing.assert_array_equal(mixed.x, data[0].x[order])
    np.testing.assert_array_equal(mixed.seen.credibility, data[0].seen.credibility[order])


# --- what can be judged


def test_without_early_sales_it_falls_back_to_impressions_and_says_why(frames, data, result):
    early = pl.col("agreed_on").dt.epoch("d") < result.split.opens
    lost = [
        pl.when(~early).then(pl.col(name)).alias(name)
        for name in ("clicks", "conversions", "revenue", "refunds") if name in frames["placements"].columns
    ]  # fmt: skip
    sales_only = frames["campaigns"].with_columns(pl.lit("conversion").alias("goal"))
    changed, as_of = dataset({**with_placements(frames, *lost), "campaigns": sales_only}, data[1])
    judged = backtest(changed, time_split(changed.market.placements, as_of), OPTIONS)
    assert judged.target == "impressions"
    assert "value could not be judged" in judged.missing
    assert f"at least {MIN_JUDGED} of each" in judged.missing
    assert judged.intervals == {}
    assert np.isnan(judged.metrics[MODEL].top_roi)
    assert judged.metrics[MODEL].deviance < judged.metrics["random"].deviance


def test_where_nothing_can_be_judged_there_is_no_backtest(data):
    before, as_of = data
    split = time_split(before.market.placements, as_of)
    assert backtest(before, replace(split, test=split.test[:0]), OPTIONS) is None
    assert backtest(before, replace(split, train=split.train[:0]), OPTIONS) is None
    assert backtest(before, replace(split, test=split.test[: MIN_JUDGED // 2]), OPTIONS) is None


def test_as_of_earlier_uses_only_what_had_settled(frames, data):
    earlier, _ = dataset(frames, data[1] - 60)
    p = earlier.market.placements
    split = time_split(p, data[1] - 60)
    assert set(split.train) | set(split.test) <= set(labelled(p, data[1] - 60))
    assert max(p.settled[split.test]) < data[1] - 60
