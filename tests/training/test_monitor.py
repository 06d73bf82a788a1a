"""Watching a served model on a small SYNTHETIC market: what is said, recorded and refused."""

import json
import shutil
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
import typer
from threadpoolctl import threadpool_limits
from typer.testing import CliRunner

from features.asof import NEVER, days
from features.context import placement_context
from features.errors import DataError
from features.matrix import FEATURES
from features.settings import Settings
from features.value import AWARENESS, GOALS
from serving.catalogue import build_catalogue
from serving.release import NoRelease
from serving.release_file import store_path
from serving.slate_reader import read_slates
from training import cli_monitor, mlflow_store, publish, tracking
from training.backtest import backtest, outcome, predict
from training.bucket import bucket
from training.dataset import build_dataset
from training.drift import FILE, State, save_reference
from training.judgeable import judgeable
from training.monitor import monitor
from training.monitor_data import COMPARED, columns, training_reference
from training.monitor_outcomes import WAIT, closing_days, coverage, promise_kept, settled
from training.monitor_picks import promised_by_slates
from training.monitor_report import Monitored, frame
from training.monitor_rows import PARTS, look, watched
from training.pipeline import fit_served
from training.sample import write_sample
from training.source import load
from training.split import day_number, iso, labelled, time_split
from training.stage_fit import FitOptions

TAUGHT = date(2026, 3, 1)
DAY = day_number(TAUGHT)
ALPHA = 0.05


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("market")
    write_sample(path, creators=400, placements=2400, snapshots=9, fmt="parquet")
    return path


@pytest.fixture(scope="module")
def loaded(folder):
    return load(folder, Settings(), None)


@pytest.fixture(scope="module")
def data(loaded):
    return build_dataset(loaded.market)


@pytest.fixture(scope="module")
def snapshots(loaded):
    return loaded.tables.creator_snapshots


@pytest.fixture(scope="module")
def model(data):
    p = data.market.placements
    options = FitOptions()
    fitted = fit_served(data, labelled(p, DAY), backtest(data, time_split(p, DAY), options), options)
    return replace(fitted, card={"as_of": iso(DAY), "synthetic": True}).with_version("1")


@pytest.fixture(scope="module")
def reference(data, model):
    return training_reference(data, model, labelled(data.market.placements, DAY))


@pytest.fixture(scope="module")
def served(data, model, reference, tmp_path_factory):
    """A home that serves the model. Tests copy it."""
    home = tmp_path_factory.mktemp("served")
    catalogue = build_catalogue(data.market, DAY, data.market.settings)
    stored = replace(model, card={**model.card, "catalogue": publish.store_catalogue(home, catalogue)})
    publish.keep_version(home, stored, {"version": "1"}, catalogue, serve=True)
    save_reference(reference, store_path(home, "influencer-roi-model:1"))
    return home


@pytest.fixture
def home(served, tmp_path):
    return shutil.copytree(served, tmp_path / "home", symlinks=True)


@pytest.fixture
def unrecorded(monkeypatch):
    """The records that would be logged."""
    records = []
    monkeypatch.setattr(tracking, "log_run", lambda _, record: records.append(record))
    return records


def rows_of(found, part):
    return [row for row in found if row.part == part]


def slates(home, market, promised, rows, *, currency="USD", days=0, brief_id=None, creator_id=None):
    """A slate log that showed each placement `days` after the day it was agreed, with its promised value; under another
    brief_id, or of another creator, where that is given."""
    p = market.placements
    ids, campaigns = market.creators.frame["creator_id"], market.campaign_frame["campaign_id"]
    (home / "slates").mkdir()
    lines = []
    for row, value in zip(rows, promised, strict=True):
        time = datetime(1970, 1, 1, 12, tzinfo=UTC) + timedelta(days=int(p.agreed[row]) + days)
        pick = {
            "rank": 1, "creator_id": creator_id or ids[int(p.creator[row])], "fee": 1.0,
            "fee_source": "paid", "value": float(value),
            "roi": 0.0, "roi_low": -1.0, "roi_high": 1.0, "p_profit": 0.5, "expected": {"impressions": 1.0},
            "explore": False, "propensity": 1.0,
        }  # fmt: skip
        brief = {"brief_id": brief_id or campaigns[int(p.campaign[row])], "goal": "launch", "budget": 1.0}
        line = {
            "time": time.isoformat(), "request_id": "r", "brief": brief, "model_version": "1", "data_as_of": "x",
            "feature_schema": "x", "currency": currency, "considered": 1, "filtered_out": {}, "picks": [pick],
        }  # fmt: skip
        lines.append(json.dumps(line))
    (home / "slates" / "slates-1.jsonl").write_text("\n".join(lines) + "\n")


def test_features_that_are_compared_read_nothing_that_grows(data):
    context = placement_context(data.market, np.arange(50))
    without = replace(context, records={})
    for feature in FEATURES:
        if feature.name in COMPARED:
            feature.define(without)  # a record would be missed


def test_columns_are_of_the_rows_asked_for(data, model):
    rows = np.array([5, 3, 900])
    some, everything = columns(data, model, rows), columns(data, model, np.arange(len(data.x)))
    for name, x in everything.numbers.items():
        np.testing.assert_allclose(some.numbers[name], x[rows], rtol=1e-9, equal_nan=True)
    for name, words in everything.names.items():
        assert some.names[name].tolist() == words[rows].tolist()
    platforms = data.market.creators.frame["platform"].to_list()
    assert everything.names["platform"].tolist() == [platforms[c] for c in data.market.placements.creator]


def test_a_campaign_counts_once_it_is_settled_and_only_if_nothing_was_learnt_from_it(data):
    p = data.market.placements
    settled_late = p.settled.copy()
    settled_late[::50] = NEVER  # never settled: waited for, but not for ever
    p = replace(p, settled=settled_late)
    for as_of in (DAY + 20, DAY + 60, DAY + 122):
        found = closing_days(p, as_of, DAY)
        for campaign in np.unique(p.campaign):
            mine = np.flatnonzero((p.campaign == campaign) & (p.agreed < as_of))
            if len(mine) == 0 or any(p.agreed[i] < DAY and p.settled[i] < DAY for i in mine):
                closes = NEVER
            else:
                closes = min(max(p.settled[mine]), max(p.agreed[mine]) + WAIT)
            for i in np.flatnonzero(p.campaign == campaign):
                counts = i in mine and closes < as_of and p.settled[i] <= closes
                assert found[i] == (closes if counts else NEVER)


def test_what_counted_counts_the_same_on_later_days(data):
    p = data.market.placements
    early, late = closing_days(p, DAY + 70, DAY), closing_days(p, DAY + 120, DAY)
    # unless a campaign books again after it had settled
    booked_again = np.unique(p.campaign[(p.agreed >= DAY + 70)])
    same = (early < NEVER) & ~np.isin(p.campaign, booked_again)
    assert same.sum() > 50
    assert (early[same] == late[same]).all()


@pytest.fixture(scope="module")
def known(data):
    day = closing_days(data.market.placements, DAY + 122, DAY)
    rows = np.flatnonzero(day < NEVER)
    return rows, day[rows]


def drawn(data, model, known, factor, seed=0):
    """Campaigns whose values are drawn from what the model says is likely, times a factor."""
    rows, day = known
    promised = predict(data, model, rows, "value")
    goals = np.array(["awareness", "engagement", "conversion", "launch", "local"])[data.labels.goal[rows]]
    rng = np.random.default_rng(seed)
    actual = np.array([
        rng.choice(model.intervals.get(goal, model.intervals["any"]).draws(np.array([value]))[0])
        for goal, value in zip(goals, promised, strict=True)
    ])  # fmt: skip
    return settled(data.market, model, rows, day, actual * factor, promised)


def test_values_as_promised_are_well(data, model, known):
    for seed in range(10):
        found = drawn(data, model, known, 1.0, seed)
        assert promise_kept(found, ALPHA).state is State.OK
        assert coverage(found, ALPHA).state is State.OK
        assert 0.75 < found.inside.mean() < 0.85


@pytest.mark.parametrize("factor", [0.35, 3.0])
def test_values_far_from_the_promise_alarm(data, model, known, factor):
    verdict = promise_kept(drawn(data, model, known, factor), ALPHA)
    assert verdict.state is State.DRIFT
    assert verdict.wealth >= verdict.alarm_at


def test_figures_are_those_of_the_placements(data, model, known):
    rows, day = known
    promised, actual = predict(data, model, rows, "value"), outcome(data, "value")[rows]
    found = settled(data.market, model, rows, day, actual, promised)
    some = np.flatnonzero(promised > 0)
    both = some[judgeable(data.market, rows[some], actual[some], day[some])]
    assert found.rows == len(both)
    assert promise_kept(found, ALPHA).figure == pytest.approx(actual[both].sum() / promised[both].sum())
    assert len(found.day) == len(np.unique(data.market.placements.campaign[rows[both]]))
    assert (np.diff(found.day) >= 0).all()


def test_what_is_no_longer_measured_is_not_taken_for_worthless(data, model, known):
    """A feed without impressions: of awareness only what was not delivered is known, and worth nothing."""
    rows, day = known
    promised, actual = predict(data, model, rows, "value"), outcome(data, "value")[rows]
    market, p = data.market, data.market.placements
    lost = (market.campaigns.goal[p.campaign[rows]] == AWARENESS) & (p.delivered[rows] > 0)
    assert (p.delivered[rows][market.campaigns.goal[p.campaign[rows]] == AWARENESS] == 0).any()
    found = settled(market, model, rows, day, np.where(lost, np.nan, actual), promised)
    others = market.campaigns.goal[p.campaign[rows]] != AWARENESS
    same = settled(market, model, rows[others], day[others], actual[others], promised[others])
    for name in ("actual", "promised", "rank_if_less", "inside"):
        np.testing.assert_array_equal(getattr(found, name), getattr(same, name))


def test_values_as_promised_are_well_where_most_is_missing(data, model, monkeypatch):
    """Values drawn from their intervals: what came to nothing was not delivered, of the rest 15 % are measured."""
    p, rng = data.market.placements, np.random.default_rng(3)
    rows = np.flatnonzero(p.agreed >= DAY)
    promised = predict(data, model, rows, "value")
    goals = np.array(GOALS)[data.labels.goal[rows]]
    actual = np.array([
        rng.choice(model.intervals.get(goal, model.intervals["any"]).draws(np.array([value]))[0])
        for goal, value in zip(goals, promised, strict=True)
    ])  # fmt: skip
    delivered = p.delivered.copy()
    delivered[rows] = actual > 0
    market = replace(data.market, placements=replace(p, delivered=delivered))
    measured = np.where((rng.random(len(rows)) < 0.15) | (actual == 0), actual, np.nan)
    found = settled(market, model, rows, p.settled[rows], measured, promised)
    assert promise_kept(found, ALPHA).state is State.OK
    assert coverage(found, ALPHA).state is State.OK
    # were all that is known judged, as much again would seem to have come to nothing
    monkeypatch.setattr("training.monitor_outcomes.judgeable", lambda *args: np.isfinite(args[2]))
    assert promise_kept(settled(market, model, rows, p.settled[rows], measured, promised), ALPHA).state is State.DRIFT


def test_the_evidence_of_a_look_is_kept_by_later_looks(data, model):
    """However much goes missing later: campaigns counted by then count the same."""
    p, actual = data.market.placements, outcome(data, "value")
    promised = predict(data, model, np.arange(len(p)), "value")
    actual = np.where((p.settled > DAY + 80) & (p.delivered > 0), np.nan, actual)
    booked_again = np.unique(p.campaign[p.agreed >= DAY + 80])
    looks = []
    for as_of in (DAY + 80, DAY + 122):
        day = closing_days(p, as_of, DAY)
        rows = np.flatnonzero((day < NEVER) & ~np.isin(p.campaign, booked_again))
        looks.append(settled(data.market, model, rows, day[rows], actual[rows], promised[rows]))
    early, late = looks
    assert len(early.day) > 10
    for name in ("day", "actual", "promised", "rank_if_less", "inside"):
        np.testing.assert_array_equal(getattr(late, name)[: len(early.day)], getattr(early, name))


def test_nothing_settled_says_nothing(data, model):
    none = settled(data.market, model, *(np.zeros(0, dtype=np.int64),) * 2, *(np.zeros(0),) * 2)
    for verdict in (promise_kept(none, ALPHA), coverage(none, ALPHA)):
        assert (verdict.state, verdict.campaigns) == (State.TOO_FEW, 0)
        assert np.isnan(verdict.figure)


def test_past_picks_are_found_by_brief_and_creator(data, home):
    market, p = data.market, data.market.placements
    rows = np.flatnonzero(p.agreed >= DAY)[:40]
    slates(home, market, rows + 1000.0, rows)
    found = promised_by_slates(market, read_slates(home).picks)
    pair = p.campaign * len(market.creators) + p.creator
    for i in range(len(p)):
        shown = [row for row in rows if pair[row] == pair[i] and p.agreed[row] <= p.agreed[i]]
        if shown:
            assert found[i] in [row + 1000.0 for row in shown if p.agreed[row] == max(p.agreed[shown])]
        else:
            assert np.isnan(found[i])


@pytest.mark.parametrize("change", [{"days": 1}, {"currency": "EUR"}])
def test_later_slates_and_other_money_promised_nothing(data, home, change):
    rows = np.flatnonzero(data.market.placements.agreed >= DAY)[:1]
    slates(home, data.market, [5.0], rows, **change)
    assert np.isnan(promised_by_slates(data.market, read_slates(home).picks)[rows]).all()


def test_every_part_is_there_every_day(data, snapshots, model, reference):
    seen = watched(data, model, np.full(len(data.x), np.nan), DAY, snapshots)
    for as_of in (DAY + 1, DAY + 45, DAY + 122):
        rows = look(seen, reference, as_of)
        assert sorted({row.part for row in rows}) == sorted(PARTS)
        assert len({(row.part, row.what) for row in rows}) == len(rows)
        none = (State.TOO_FEW, State.NOT_TESTED)
        assert all((row.state in none) == np.isnan(row.figure) for row in rows if row.campaigns == 0)
    assert [row.state for row in rows_of(rows, "past picks")] == [State.TOO_FEW, State.NOT_TESTED]
    assert all(row.campaigns == len(data.market.creators) for row in rows_of(rows, "snapshots"))


def test_a_look_sees_nothing_later(data, snapshots, model, reference):
    """Placements agreed and settled later change nothing of an earlier look."""
    as_of, p = DAY + 60, data.market.placements
    later = p.settled >= as_of
    outcomes = {name: np.where(later, 1e6, x) for name, x in p.outcomes.items()}
    changed = replace(data, market=replace(data.market, placements=replace(p, outcomes=outcomes)))
    unpicked = np.full(len(data.x), np.nan)
    known_later = days(snapshots["known_at"]) >= as_of
    assert known_later.any()
    emptied = snapshots.with_columns(pl.when(~pl.Series(known_later)).then("price").alias("price"))
    looks = [
        look(watched(one, model, unpicked, DAY, readings), reference, as_of)
        for one, readings in ((data, snapshots), (changed, emptied))
    ]
    assert repr(looks[0]) == repr(looks[1])


def test_a_look_is_printed_and_recorded(folder, home, data, unrecorded):
    p = data.market.placements
    rows = np.flatnonzero(p.agreed >= DAY)
    slates(home, data.market, np.full(len(rows), 1e7), rows)  # far more than anyone is worth
    said = []
    found = monitor(folder, home, say=said.append)
    row, ever = rows_of(found.rows, "past picks")
    assert row.state is State.DRIFT
    assert ever.state is State.NOT_TESTED
    assert ever.campaigns > row.campaigns  # those that the model had learnt a part of
    assert found.alarm
    assert found.verdict.startswith("ALARM. Version 1, trained as of 2026-03-01")
    assert "actual / promised value (past picks)" in found.verdict
    (record,) = unrecorded
    assert (record.tags["kind"], record.tags["model_version"], record.tags["alarm"]) == ("monitor", "1", "true")
    assert record.tags["synthetic"] == "true"
    assert record.metrics["past_picks/actual__promised_value"] == pytest.approx(row.figure)
    assert all(np.isfinite(value) for value in record.metrics.values())
    counted = {state: sum(one.state is state for one in found.rows) for state in State}
    assert record.metrics["count/ok"] == counted[State.OK]
    assert record.metrics["count/not_tested"] == counted[State.NOT_TESTED] == 1
    price = next(one for one in rows_of(found.rows, "snapshots") if one.what == "price")
    assert record.metrics["missing/snapshots/price"] == price.missing > 0
    assert "psi/snapshots/price" not in record.metrics
    platform_row = next(one for one in rows_of(found.rows, "features") if one.what == "platform")
    assert record.metrics["never_seen/features/platform"] == platform_row.new == 0.0
    assert record.metrics["psi/features/platform"] == platform_row.figure
    table = record.tables["monitor"]
    assert table.filter(part="snapshots", what="price")["missing"].item() == price.missing
    assert table.filter(part="promise")["missing"].item() is None
    assert record.tables["monitor"].height == len(found.rows)
    assert record.texts["monitor.txt"].rstrip().endswith(found.verdict)
    assert "SYNTHETIC" in record.figures["drift"].axes[0].get_title()
    table, *rest = found.parts()
    assert table.row_count < len(found.rows)
    assert table.row_count + int(rest[0].split()[0]) == len(found.rows)


def test_picks_that_the_model_learnt_from_are_told_but_not_tested(data, snapshots, model, reference):
    p = data.market.placements
    picked = np.where(p.settled < DAY, 1e7, np.nan)
    row, ever = rows_of(look(watched(data, model, picked, DAY, snapshots), reference, DAY + 60), "past picks")
    day, value = closing_days(p, DAY + 60, 0), outcome(data, "value")
    rows = np.flatnonzero((p.settled < DAY) & (day < NEVER))
    known = rows[judgeable(data.market, rows, value[rows], day[rows])]
    assert (row.campaigns, ever.rows) == (0, len(known))
    assert (ever.state, ever.limit) == (State.NOT_TESTED, "")
    assert ever.figure == pytest.approx(value[known].mean() / 1e7)


def test_a_look_lands_in_mlflow(folder, home):
    monitor(folder, home)
    with mlflow_store.connected(home) as mlflow:
        (run,) = mlflow.search_runs(experiment_names=[mlflow_store.EXPERIMENT], output_format="list")
        files = {file.path for file in mlflow.MlflowClient().list_artifacts(run.info.run_id)}
    assert run.data.tags["kind"] == "monitor"
    assert {"plots", "tables", "monitor.txt"} <= files


def test_mlflow_that_does_not_answer_stops_nothing(folder, home, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    said = []
    found = monitor(folder, home, say=said.append)
    assert len(found.rows) > 50
    assert any(line.startswith("warning: this look is not recorded: MLflow at http") for line in said)


def test_an_empty_slate_log_is_told(folder, home, unrecorded):
    found = monitor(folder, home)
    assert any("slate log is empty" in note and "campaign_id" in note for note in found.notes)
    assert rows_of(found.rows, "past picks")[0].state is State.TOO_FEW


NOBODY = "nobody they showed was booked"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"days": 1}, ["written later than the UTC day its booking was agreed on"]),
        ({"currency": "EUR"}, ["amounts are in EUR, the data in USD"]),
        ({"brief_id": "summer"}, ["No brief_id in the slate log is a campaign_id", "as brief_id"]),
        ({"creator_id": "somebody"}, [NOBODY]),
    ],
)
def test_why_past_picks_are_not_found_is_told(folder, home, data, unrecorded, change, words):
    p = data.market.placements
    # a creator booked twice by a campaign could have been shown before the second booking
    pair = p.campaign * len(data.market.creators) + p.creator
    once = np.flatnonzero(np.isin(pair, np.flatnonzero(np.bincount(pair) == 1)) & (p.agreed >= DAY))[:3]
    slates(home, data.market, [5.0] * len(once), once, **change)
    (note,) = monitor(folder, home).notes
    assert note.startswith("Past picks cannot be judged.")
    assert all(word in note for word in words)


def test_a_feed_without_prices_is_told(folder, home, snapshots, unrecorded, tmp_path):
    changed = shutil.copytree(folder, tmp_path / "changed")
    raw = pl.read_parquet(changed / "creator_snapshots.parquet")
    later = pl.col("snapshot_at").cast(pl.String).str.slice(0, 10) >= TAUGHT.isoformat()
    raw.with_columns(pl.when(~later).then("price").alias("price")).write_parquet(changed / "creator_snapshots.parquet")
    assert not any(row.state is State.DRIFT for row in rows_of(monitor(folder, home).rows, "snapshots"))
    found = monitor(changed, home)
    (row,) = [row for row in rows_of(found.rows, "snapshots") if row.state is State.DRIFT]
    # a month after the feed ended features still read the last price
    assert not any(row.state is State.DRIFT and "price" in row.what for row in rows_of(found.rows, "features"))
    assert (row.what, row.missing, row.figure) == ("price", 1.0, 1.0)
    before = snapshots.filter(pl.col("snapshot_at") < datetime(2026, 3, 1))
    share = before.group_by("creator_id").agg(pl.col("price").is_null().mean())["price"].mean()
    assert row.missing_before == pytest.approx(share)
    assert row.note == f"missing 100% since 2026-03-01, was {share:.0%}"
    assert "price (snapshots)" in found.verdict
    axes = unrecorded[-1].figures["drift"].axes[0]
    assert axes.get_yticklabels()[0].get_text() == "price (snapshots)"
    assert axes.texts[0].get_text() == f"missing 100 %, was {share * 100:.0f} %"


def test_no_release_is_told(folder, tmp_path):
    with pytest.raises(NoRelease, match="no model is published"):
        monitor(folder, tmp_path / "nothing")


@pytest.mark.parametrize("as_of", [TAUGHT, date(2025, 12, 1)])
def test_nothing_newer_is_told(folder, home, as_of):
    with pytest.raises(DataError, match=r"nothing is newer than the model: version 1 was trained as of 2026-03-01"):
        monitor(folder, home, as_of)


def test_a_model_without_reference_is_told(folder, home):
    (store_path(home, "influencer-roi-model:1") / FILE).unlink()
    with pytest.raises(DataError, match="train again"):
        monitor(folder, home)


def test_a_home_of_an_older_format_is_told(folder, home):
    path = store_path(home, "influencer-roi-model:1") / "model.json"
    (path.parent / "model.json.sha256").unlink()
    with pytest.raises(DataError, match=r"earlier version.*train again"):
        monitor(folder, home)


def test_data_in_another_currency_are_told(folder, data, model, tmp_path):
    catalogue = replace(build_catalogue(data.market, DAY, data.market.settings), currency="EUR")
    card = {**model.card, "catalogue": publish.store_catalogue(tmp_path, catalogue)}
    other = replace(model, card=card, basis=replace(model.basis, currency="EUR"))
    publish.keep_version(tmp_path, other, {"version": "1"}, catalogue, serve=True)
    save_reference(training_reference(data, model, np.arange(500)), store_path(tmp_path, "influencer-roi-model:1"))
    with pytest.raises(DataError, match="the data are in USD, the served model in EUR"):
        monitor(folder, tmp_path)


def test_a_bucketed_folder_is_told(folder, home, tmp_path):
    bucket(folder, tmp_path / "buckets", Settings())
    with pytest.raises(DataError, match="give the folder it was made from"):
        monitor(tmp_path / "buckets", home)


def looked(data, snapshots, model, reference, as_of, state):
    rows = look(watched(data, model, np.full(len(data.x), np.nan), DAY, snapshots), reference, as_of)
    return Monitored(None, "1", DAY, as_of, True, tuple(replace(row, state=state) for row in rows), ())


def test_the_verdict_says_what_to_do(data, snapshots, model, reference):
    few = looked(data, snapshots, model, reference, DAY + 1, State.TOO_FEW)
    assert few.verdict.startswith("TOO FEW.")
    assert not few.alarm
    well = looked(data, snapshots, model, reference, DAY + 1, State.OK)
    assert well.verdict.endswith("nothing drifted.")
    alarm = looked(data, snapshots, model, reference, DAY + 1, State.DRIFT)
    assert "more drifted" in alarm.verdict
    assert "train again" in alarm.verdict
    assert frame(alarm.rows)["state"].unique().to_list() == ["DRIFT"]


@pytest.mark.parametrize(("state", "code"), [(State.DRIFT, 3), (State.OK, 0), (State.TOO_FEW, 0)])
def test_the_exit_code_tells_cron(data, snapshots, model, reference, monkeypatch, tmp_path, state, code):
    found = looked(data, snapshots, model, reference, DAY + 1, state)
    asked = []
    monkeypatch.setattr("training.monitor.monitor", lambda *words: asked.append(words[:3]) or found)
    app = typer.Typer()
    app.command()(cli_monitor.monitor)
    done = CliRunner().invoke(app, [str(tmp_path), "--as-of", "2026-04-01", "--home", str(tmp_path)])
    assert done.exit_code == code
    assert asked == [(tmp_path, tmp_path, date(2026, 4, 1))]
    assert found.verdict.split(".")[0] in done.output
