"""A whole backtest of a folder: what is said on the terminal and what is recorded, also where little can be said."""

import io
import re
import shutil
from contextlib import contextmanager
from datetime import date
from types import SimpleNamespace

import matplotlib.image
import numpy as np
import polars as pl
import pytest
from rich.console import Console
from threadpoolctl import threadpool_limits

from features.errors import DataError
from training import tracking
from training.backtest import MODEL
from training.baselines import RIDGE, RULES
from training.evaluate import evaluate
from training.evaluate_report import CANNOT_TELL, TRUTH_COLUMNS, history_frame, show, truth_frame, truth_slice_frame
from training.sample import write_sample
from training.split import iso
from training.tier_table import tier_sentences

EVERYBODY = {MODEL, *RULES, RIDGE}
SIZE = {"creators": 300, "placements": 1600, "snapshots": 9, "fmt": "parquet"}
SMALL = {"creators": 120, "placements": 600, "snapshots": 7, "fmt": "parquet"}
# what MLflow allows in the name of a metric
ALLOWED = re.compile(r"[0-9A-Za-z_./ -]+")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    with threadpool_limits(1):
        yield


@contextmanager
def recorded():
    """Records instead of MLflow runs: the store takes seconds, and another test reads it."""
    records = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracking, "log_run", lambda _, record: records.append(record) or (None, "run"))
        yield records


def judged(folder, home, **options):
    """A backtest of a folder: what was found, recorded, said on the way and shown on a terminal."""
    said = []
    with recorded() as records:
        found = evaluate(folder, home, say=said.append, **options)
    (record,) = records
    parts = list(show(found))
    return SimpleNamespace(found=found, record=record, said=said, parts=parts, shown=text(*parts))


def text(*parts):
    out = io.StringIO()
    console = Console(file=out, width=200)
    for part in parts:
        console.print(part, markup=not isinstance(part, str), highlight=False, soft_wrap=isinstance(part, str))
    return out.getvalue()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("evaluated")


@pytest.fixture(scope="module")
def market(place):
    write_sample(place / "market", **SIZE, truth=(12, 150))
    return place / "market"


@pytest.fixture(scope="module")
def full(market, place):
    """With the truth."""
    return judged(market, place / "home")


@pytest.fixture(scope="module")
def bare(market, place):
    """The same tables without the truth."""
    folder = shutil.copytree(market, place / "bare", ignore=shutil.ignore_patterns("truth"))
    return judged(folder, place / "home")


@pytest.fixture(scope="module")
def small(place):
    """A market that can just be judged, with its truth, for what need not be judged well."""
    write_sample(place / "small", **SMALL, truth=(4, 60))
    return place / "small"


@pytest.fixture(scope="module")
def plain(small, place):
    """The small market without its truth."""
    return shutil.copytree(small, place / "plain", ignore=shutil.ignore_patterns("truth"))


@pytest.fixture(scope="module")
def little(place):
    """Too few placements to judge anything on."""
    write_sample(place / "little", creators=60, placements=90, snapshots=6)
    return judged(place / "little", place / "home")


# --- with the truth


def test_every_rule_stands_in_every_table(full):
    truth, history = full.found.truth, full.found.history
    assert set(truth_frame(truth)["picked_by"]) == set(history_frame(history, full.found.ranges)["prediction"])
    assert set(truth_frame(truth)["picked_by"]) == set(truth_slice_frame(truth)["picked_by"]) == EVERYBODY
    assert set(full.found.ranges) == set(history.metrics) == EVERYBODY
    for name in EVERYBODY:
        assert len(re.findall(rf"^│ {re.escape(name)} +│", full.shown, re.MULTILINE)) == 2, name


def test_the_model_comes_first_and_the_rules_by_what_they_are_worth(full):
    by_truth = truth_frame(full.found.truth)
    assert by_truth["picked_by"][0] == MODEL
    assert by_truth["oracle_share"][1:].is_sorted(descending=True)
    title, *rows = re.findall(r"^│ (\S.*?) +│ +(-?[\d.]+) ", text(full.parts[0]), re.MULTILINE)
    assert [name for name, _ in (title, *rows)] == by_truth["picked_by"].to_list()


def test_figures_on_the_terminal_are_those_of_the_frames(full):
    row = truth_frame(full.found.truth).row(0, named=True)
    line = next(line for line in full.shown.splitlines() if line.startswith("│ model"))
    cells = [cell.strip() for cell in line.split("│")[2:-1]]
    assert len(cells) == len(TRUTH_COLUMNS) == 8
    assert cells[0] == f"{row['oracle_share']:.3f} [{row['oracle_low']:.2f}, {row['oracle_high']:.2f}]"
    shown = dict(zip(TRUTH_COLUMNS, cells, strict=True))
    for name in ("lift", "ndcg", "promise", "decile_error", "coverage", "coverage_picks"):
        assert float(shown[name]) == pytest.approx(row[name], abs=6e-3 if name == "lift" else 6e-4), name
    assert float(shown["regret"].replace(",", "")) == pytest.approx(row["regret"], abs=0.6)
    without = next(line for line in full.shown.splitlines() if line.startswith("│ followers"))
    assert [cell.strip() for cell in without.split("│")[-3:-1]] == ["-", "-"]  # a rule has no intervals


def test_history_with_its_intervals_on_the_terminal(full):
    found = full.found
    frame = history_frame(found.history, found.ranges)
    lines = text(full.parts[2]).splitlines()
    line = next(line for line in lines if line.startswith("│ model"))
    deviance, gain, calibration, captured, correlation = (cell.strip() for cell in line.split("│")[2:-1])
    row = frame.row(by_predicate=pl.col("prediction") == MODEL, named=True)
    assert (float(deviance), float(correlation)) == pytest.approx((row["deviance"], row["spearman"]), abs=6e-4)
    assert gain == "-"
    assert calibration == f"{row['calibration']:.3f} [{row['calibration_low']:.2f}, {row['calibration_high']:.2f}]"
    assert captured.startswith(f"{row['captured_0.10']:.3f} [")
    for name, metrics in found.history.metrics.items():
        row = frame.row(by_predicate=pl.col("prediction") == name, named=True)
        assert row["gain"] == pytest.approx(metrics.deviance - found.history.metrics[MODEL].deviance)
        assert row["calibration"] == pytest.approx(metrics.calibration)
        assert row["calibration_low"] <= row["calibration"] <= row["calibration_high"]


def test_slices_show_the_best_rule_beside_the_model(full):
    truth, shown = full.found.truth, text(full.parts[1])
    assert f"By slice: model ({truth.best_rule})" in shown
    for kind, members in truth.slices.items():
        for member, by_name in members.items():
            row = re.search(rf"^│ {kind} +│ {re.escape(member)} +│ +(\d+) │ +(\S+) \((\S+)\)", shown, re.MULTILINE)
            assert row, (kind, member)
            assert int(row[1]) == by_name[MODEL].briefs
            assert float(row[2]) == pytest.approx(by_name[MODEL].oracle_share, abs=6e-3)
            assert float(row[3]) == pytest.approx(by_name[truth.best_rule].oracle_share, abs=6e-3)


def test_synthetic_is_written_wherever_the_truth_is(full):
    title = " ".join(text(full.parts[0]).split("┏")[0].split())
    assert f"truth of {full.found.truth.figures[MODEL].briefs} held-out briefs of the SYNTHETIC world balanced" in title
    assert "the SYNTHETIC sample market" in full.record.description
    assert full.record.tags["synthetic"] == "true"
    assert full.record.dicts["truth.json"]["warning"].startswith("SYNTHETIC")
    assert "SYNTHETIC" in full.record.figures["truth_calibration"].axes[0].get_title()


def test_what_history_cannot_tell_is_said_with_the_tiers_and_the_log(full):
    assert [part for part in full.parts if part == CANNOT_TELL] == [CANNOT_TELL]
    for sentence in (*tier_sentences(full.found.tiers), "Following the model:", *full.found.follow.sentences()):
        assert sentence in full.parts
    notes = full.record.texts["notes.txt"]
    for sentence in (*tier_sentences(full.found.tiers), *full.found.follow.sentences(), CANNOT_TELL):
        assert sentence in notes.splitlines()


# --- the record


def test_the_record_names_what_was_judged_and_registers_nothing(full):
    record, found = full.record, full.found
    assert record.model is None
    assert record.name == f"backtest {iso(found.as_of)} market"
    assert record.description.endswith("judged on value and on the truth.")
    assert (record.tags["kind"], record.tags["judged"]) == ("backtest", "value")
    assert (record.params["world"], record.params["seed"]) == ("balanced", 0)
    assert (record.params["rows_backtest_train"], record.params["rows_window"]) == (
        len(found.split.train), len(found.split.test)
    )  # fmt: skip
    assert set(record.datasets) == {"placements", "campaigns", "creators"}


def test_metrics_have_names_mlflow_takes_and_every_recommender(full):
    metrics, truth = full.record.metrics, full.found.truth
    assert [name for name in metrics if not ALLOWED.fullmatch(name)] == []
    assert np.isfinite(list(metrics.values())).all()
    assert metrics["truth/oracle_share"] == truth.figures[MODEL].oracle_share
    assert metrics["truth/rule/creators_past_mean/lift"] == truth.figures["creator's past mean"].lift
    assert metrics["truth/goal/conversion/ndcg"] == truth.slices["goal"]["conversion"][MODEL].ndcg
    assert metrics["truth/creator/known/briefs"] == truth.slices["creator"]["known"][MODEL].briefs
    assert metrics["deviance"] == full.found.history.metrics[MODEL].deviance
    rules = [name for name in metrics if re.fullmatch("truth/rule/[^/]+/oracle_share", name)]
    assert len(rules) == len(RULES) + 1
    assert sum(name.startswith("off_policy/") for name in metrics) == len(full.found.follow.estimates)


def test_tables_of_the_record_are_those_shown(full):
    tables, found = full.record.tables, full.found
    assert {"tiers", "history", "slices", "truth", "truth_slices"} <= set(tables)
    assert ("off_policy" in tables) == bool(found.follow.estimates)
    assert tables["truth"].equals(truth_frame(found.truth))
    assert tables["history"].equals(history_frame(found.history, found.ranges))
    cells = sum(len(by_name) for members in found.truth.slices.values() for by_name in members.values())
    assert tables["truth_slices"].height == cells
    for table in tables.values():
        assert pl.read_csv(io.StringIO(table.write_csv())).height == table.height


def test_plots_show_something(full):
    figures = full.record.figures
    assert set(figures) == {
        "calibration", "captured", "deviance_by_slice", "truth_calibration", "oracle_share_by_slice", "coverage"
    }  # fmt: skip
    for name, figure in figures.items():
        (axes,) = figure.axes
        drawn = len(axes.lines) + len(axes.patches)
        assert drawn >= 2, name
        out = io.BytesIO()
        figure.savefig(out, format="png", dpi=40)
        image = matplotlib.image.imread(io.BytesIO(out.getvalue()), format="png")
        assert len(np.unique((image[..., :3] * 255).astype(int) @ [65536, 256, 1])) > 10, name
    shares = figures["oracle_share_by_slice"].axes[0]
    slices = [by_name[MODEL].oracle_share for of in full.found.truth.slices.values() for by_name in of.values()]
    assert [bar.get_width() for bar in shares.patches][: len(slices)] == pytest.approx(slices)


def test_bars_of_the_coverage_are_the_shares_inside_by_goal(full):
    axes, found = full.record.figures["coverage"].axes[0], full.found
    goals = [label.get_text() for label in axes.get_xticklabels()]
    history, everybody, picks = ([bar.get_height() for bar in bars] for bars in axes.containers)
    for k, goal in enumerate(goals):
        inside = found.history.inside[(found.goals == goal) & np.isfinite(found.history.inside)]
        assert history[k] == pytest.approx(inside.mean() if len(inside) else 0.0)
        by_name = found.truth.slices["goal"].get(goal)
        if by_name is not None:
            assert (everybody[k], picks[k]) == pytest.approx((by_name[MODEL].coverage, by_name[MODEL].coverage_picks))


# --- without the truth


def test_the_truth_changes_nothing_that_history_says(full, bare):
    one, other = full.found, bare.found
    assert one.history.metrics == other.history.metrics
    assert one.ranges == other.ranges
    assert one.follow.sentences() == other.follow.sentences()
    assert one.tiers.frame().equals(other.tiers.frame())
    assert [part for part in full.parts if isinstance(part, str)] == [p for p in bare.parts if isinstance(p, str)]


def test_without_a_truth_nothing_of_it_is_shown_or_recorded(bare):
    assert bare.found.truth is None
    assert not isinstance(bare.parts[0], str)
    assert text(bare.parts[0]).startswith("Later placements: value of ")
    assert "share of oracle" not in bare.shown
    assert CANNOT_TELL in bare.parts
    record = bare.record
    assert record.description.endswith("judged on value.")
    assert (record.dicts, "world" in record.params) == ({}, False)
    assert not {"truth", "truth_slices"} & set(record.tables)
    assert not any("truth" in name for name in (*record.metrics, *record.figures))
    assert set(record.figures) == {"calibration", "captured", "deviance_by_slice", "coverage"}


def test_the_teams_own_data_are_not_called_synthetic(plain, place):
    folder = shutil.copytree(plain, place / "own")
    campaigns = pl.read_parquet(folder / "campaigns.parquet")
    campaigns.with_columns(pl.col("brand_id").str.replace("synthetic", "brand")).write_parquet(
        folder / "campaigns.parquet"
    )
    own = judged(folder, place / "home")
    assert "the team's own data" in own.record.description
    assert own.record.tags["synthetic"] == "false"
    assert "SYNTHETIC" not in own.shown + own.record.texts["notes.txt"] + own.record.description


# --- as of a day, and the seed


@pytest.fixture(scope="module")
def first(small, place):
    return judged(small, place / "home")


def test_an_earlier_day_sees_only_what_had_settled(small, place, first):
    earlier = judged(small, place / "home", as_of=date(2026, 6, 1)).found
    assert iso(earlier.as_of) == "2026-06-01"
    assert earlier.split.opens < first.found.split.opens
    assert len(earlier.split.train) + len(earlier.split.test) < len(first.found.split.train) + len(
        first.found.split.test
    )
    assert earlier.tiers.used < first.found.tiers.used
    assert set(earlier.truth.figures) == EVERYBODY


def test_the_same_seed_says_the_same_and_another_resamples(small, place, first):
    again, other = (judged(small, place / "home", seed=seed) for seed in (0, 1))
    assert again.shown == first.shown
    assert again.record.metrics == first.record.metrics
    assert other.record.params["seed"] == 1
    one, another = (run.found.ranges["followers"].calibration for run in (first, other))
    assert one.figure == another.figure
    assert one.low != another.low


# --- where little can be said


def test_too_few_to_judge_is_said_in_words_with_the_counts(little):
    found = little.found
    assert (found.history, found.follow, found.truth, dict(found.ranges), len(found.goals)) == (None, None, None, {}, 0)
    rows = f"of {len(found.split.train)} placements settled before the window and {len(found.split.test)} inside it"
    assert re.search(rf"nothing could be backtested: {rows}.*at least 50 of each", little.parts[0])
    assert "too little data to compare tiers" in little.shown
    assert not re.search(r"\bnan\b", little.shown)
    assert CANNOT_TELL not in little.parts  # there is no table it could be misread in


def test_too_few_to_judge_is_recorded_as_nothing(little):
    record = little.record
    assert (record.tags["judged"], record.tags["kind"]) == ("nothing", "backtest")
    assert record.description.endswith("judged on nothing.")
    assert (dict(record.metrics), dict(record.figures), set(record.tables)) == ({}, {}, {"tiers"})


def test_the_truth_judges_also_where_history_cannot(place):
    write_sample(place / "few", creators=120, placements=150, snapshots=6, truth=(8, 120))
    few = judged(place / "few", place / "home")
    assert few.found.history is None
    assert few.found.truth.figures[MODEL].briefs > 3
    assert "SYNTHETIC" in text(few.parts[0])
    assert "nothing could be backtested" in few.parts[2]
    assert few.record.description.endswith("judged on nothing and on the truth.")
    assert {"truth", "truth_slices", "tiers"} == set(few.record.tables)
    assert "truth_calibration" in few.record.figures


def test_a_truth_without_a_model_to_judge_says_what_is_lacking(place):
    write_sample(place / "none", creators=60, placements=30, snapshots=6, truth=(3, 60))
    none = judged(place / "none", place / "home")
    assert none.found.truth is None
    assert "too few settled outcomes to learn from: at least 50" in none.found.no_truth
    assert none.found.no_truth in none.parts
    assert set(none.record.tables) == {"tiers"}


def test_a_truth_with_too_few_candidates_to_pick_from_is_shown_as_nothing_judged(place):
    write_sample(place / "short", **SMALL, truth=(5, 12))
    short = judged(place / "short", place / "home")
    assert short.found.truth.figures[MODEL].briefs == 0
    assert "0 held-out briefs" in " ".join(text(short.parts[0]).split())
    assert not re.search(r"\bnan\b", text(*short.parts[:2]))


# --- refused


@pytest.mark.parametrize("name", ["briefs.jsonl", "outcomes.parquet", "truth.json"])
def test_a_truth_that_is_not_whole_is_refused_before_anything_is_learnt(small, tmp_path, name):
    folder = shutil.copytree(small, tmp_path / "market")
    (folder / "truth" / name).unlink()
    said = []
    with recorded() as records, pytest.raises(DataError, match=r"holds no truth that can be read.*sample --truth"):
        evaluate(folder, tmp_path / "home", say=said.append)
    assert (records, said) == ([], [])


def test_value_settings_of_ones_own_are_refused_beside_a_truth_and_fine_without(small, plain, tmp_path):
    (tmp_path / "config.toml").write_text("[value]\ncpm = 10.0\n")
    with recorded() as records, pytest.raises(DataError, match="default value settings"):
        evaluate(small, tmp_path)
    assert records == []
    own, usual = judged(plain, tmp_path), judged(plain, tmp_path / "elsewhere")
    assert own.found.history.actual.sum() < usual.found.history.actual.sum()
