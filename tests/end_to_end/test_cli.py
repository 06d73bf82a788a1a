"""The commands as a user runs them, from the synthetic market to picks in a file."""

import json
import re
import shutil
from dataclasses import replace

import polars as pl
import pytest
import typer

from serving.model import load_model
from serving.release import load_release
from serving.release_file import read_release_file, store_path
from training import cli
from training.gate import judge_promotion

EARLIER = "2026-05-01"  # as in conftest
RULES = [
    "ridge on logs", "geo-adjusted views per cost", "engagement per cost", "engagement rate", "random",
    "followers", "creator's past mean"
]  # fmt: skip
# the contract's columns, written out: a test that reads them from the program would follow every mistake
COLUMNS = [
    "brief_id", "rank", "creator_id", "tier", "platform", "fee", "fee_source", "value", "roi", "roi_low", "roi_high",
    "p_profit", "expected_impressions", "expected_engagements", "expected_conversions", "model_version",
]  # fmt: skip
PLAN_COLUMNS = ["deliverable", "spend", "value_added", "posting_position", "replacement"]
BRIEF = {"goal": "conversion", "budget": 20000, "target_countries": {"SG": 0.7, "MY": 0.3}, "top": 5}
NEAR = {"countries": ["SG", "MY", "ID"]}  # few enough that the best plan is found long before time is up
OPTIONS = {
    "sample": ["--creators", "--placements", "--snapshots", "--seed", "--format", "--world", "--truth"],
    "train": ["--as-of", "--promote", "--seed", "--trials", "--engine", "--scheduler"],
    "backtest": ["--as-of", "--seed"],
    "bucket": ["--buckets"],
    "catalogue": ["--as-of", "--engine", "--scheduler"],
    "prune": ["--keep", "--dry-run"],
    "plan": ["--out"],
    "rank": ["--out"],
    "serve": ["--host", "--port", "--workers"],
    "ui": ["--host", "--port"],
}
COMMANDS = sorted(typer.main.get_command(cli.app).commands)


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_every_promised_command_is_there():
    assert set(OPTIONS) | {"check", "models", "promote", "rollback"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_lists_the_options(place, name):
    said = place.done(name, "--help")
    assert [option for option in ["--home", *OPTIONS.get(name, [])] if option not in said] == []


def test_sample_and_check_say_what_there_is_and_what_is_next(place):
    assert "synthetic market of 600 creators and 2500 placements" in place.said["sample"]
    assert "influencer-roi train" in place.said["sample"]
    rows = {line.split()[0]: line.split()[1] for line in place.said["check"].splitlines()[1:9]}
    assert (rows["creators"], rows["placements"], rows["creator_prices"]) == ("600", "2,500", "none")
    assert "Usable" in place.said["check"]


def test_train_prints_the_backtest_beside_every_baseline_and_the_verdict(place):
    said = place.said["train"]
    table = {line.split("│")[1].strip(): line.split("│")[2:] for line in said.splitlines() if line.startswith("│")}
    assert set(table) == {"model", *RULES}
    assert all(float(cells[0]) > 0 for cells in table.values())
    assert "Version 1: PROMOTE" in said
    verdict = re.search(r"deviance of value on (\d+) later placements ([\d.]+), below ([\d.]+) of the best rule", said)
    assert f"Backtest: value of {verdict[1]} placements" in said
    best = min(float(table[rule][0]) for rule in RULES)
    assert [float(table["model"][0]), best] == pytest.approx([float(verdict[2]), float(verdict[3])], abs=6e-4)
    assert f"influencer-roi serve --home {place.home}" in said


def test_train_writes_release_model_and_catalogue_into_the_home_and_nothing_elsewhere(place):
    release = json.loads(place.said["release"])
    assert release["model"] == "influencer-roi-model:1"
    assert release["previous"] == []
    for tag in (release["model"], release["catalogue"]):
        folder = store_path(place.home, tag)
        assert (folder / "model.yaml").is_file()
        assert len(files(folder)) > 2
    assert {path.name for path in place.home.iterdir()} <= {
        "bentoml", "mlflow", "matplotlib", "prepared", "release.json",
    }  # fmt: skip
    assert (files(place.user), files(place.cwd)) == ([], [])


def test_no_pickle_is_written(place):
    assert [name for name in files(place.home) if name.endswith((".pkl", ".pickle", ".joblib"))] == []


def test_train_as_of_a_day_uses_nothing_known_on_it_or_after(place):
    card = load_model(store_path(place.home, "influencer-roi-model:2")).card
    placements = pl.read_csv(place.market / "placements.csv", try_parse_dates=True)
    day = pl.lit(EARLIER).str.to_date()
    settled = placements.filter(pl.col("agreed_on") < day, pl.col("settled_at") < day)
    assert (card["as_of"], card["version"], card["synthetic"]) == (EARLIER, "2", True)
    assert card["catalogue"].startswith(f"influencer-roi-catalogue:{EARLIER}-")
    assert card["data"]["placements_settled"] == settled.height
    assert card["data"]["agreed_to"] == str(settled["agreed_on"].max())
    assert card["metrics"]["window_opens"] < EARLIER


def test_train_promote_never_leaves_the_release_as_it_is(place):
    assert "Version 2: PROMOTE" in place.said["train again"]  # the gate would have let it
    assert "Not published. By hand: influencer-roi promote 2" in place.said["train again"]
    assert (place.home / "release.json").read_text() == place.said["release"]


@pytest.mark.parametrize("mode", ["dry-run", "auto"])
def test_train_promote_dry_run_publishes_nothing_even_if_the_gate_would(command, tmp_path, monkeypatch, mode):
    home, market = tmp_path / "home", tmp_path / "market"
    monkeypatch.setattr(
        "training.pipeline.judge_promotion", lambda *args, **more: replace(judge_promotion(*args, **more), promote=True)
    )
    assert command("sample", market, "--creators", 80, "--placements", 300, "--snapshots", 6)[0] == 0
    code, said, err = command("train", market, "--promote", mode, "--home", home)
    assert code == 0, err
    assert "Version 1: PROMOTE\n- data checks passed\n" in said
    assert (home / "release.json").exists() is (mode == "auto")
    assert ("Not published. By hand: influencer-roi promote 1" in said) is (mode == "dry-run")
    assert ("Served" in command("models", "--home", home)[1]) is (mode == "auto")
    assert command("promote", 1, "--home", home)[0] == 0
    assert load_release(home).model_version == "1"


def test_models_lists_versions_aliases_and_what_is_served(place):
    said = place.done("models")
    newest, live = (line for line in said.splitlines() if line.startswith("│"))
    assert ("challenger" in newest, "champion" in newest, "live" in newest) == (True, False, False)
    assert ("challenger" in live, "champion" in live, "live" in live) == (False, True, True)
    assert f"Served: influencer-roi-model:1 with {json.loads(place.said['release'])['catalogue']}" in said


def test_rank_prints_a_table_for_people(place, brief):
    said = place.done("rank", brief())
    assert "Brief 1: 5 picks of 600 creators, goal conversion" in said
    assert "SYNTHETIC DATA" in said
    assert "P(profit)" in said
    assert "value = net revenue x product margin" in said


def test_rank_writes_the_contracts_columns_in_every_format(place, command, brief, tmp_path):
    read = {".csv": pl.read_csv, ".parquet": pl.read_parquet, ".json": pl.read_json}
    place.done("rank", brief(), "--out", tmp_path / "picks.parquet")
    for ending in (".csv", ".json"):
        code, said, _ = command("rank", brief(), "--out", tmp_path / f"picks{ending}")
        assert (code, said) == (0, f"Wrote 5 picks of 1 briefs to {tmp_path / 'picks'}{ending}.\n")
    tables = {ending: reader(tmp_path / f"picks{ending}") for ending, reader in read.items()}
    assert [table.columns for table in tables.values()] == [COLUMNS] * 3
    assert tables[".parquet"]["rank"].to_list() == [1, 2, 3, 4, 5]
    assert tables[".parquet"]["roi"].is_sorted(descending=True)
    assert (tables[".parquet"]["roi_low"] <= tables[".parquet"]["roi_high"]).all()
    assert set(tables[".parquet"]["model_version"]) == {"1"}
    for ending in (".csv", ".json"):
        assert tables[ending]["value"].to_list() == pytest.approx(tables[".parquet"]["value"].to_list(), rel=1e-12)
        assert tables[ending]["creator_id"].to_list() == tables[".parquet"]["creator_id"].to_list()
    assert {path.name for path in tmp_path.iterdir()} == {"brief.json", *(f"picks{ending}" for ending in read)}


def test_rank_answers_the_briefs_that_it_can(command, brief, tmp_path):
    fine, nobody = {"goal": "awareness", "budget": 5000, "top": 2}, {"filters": {"creator_ids": ["nobody"]}}
    path = brief("\n".join(map(json.dumps, [{**fine, **nobody}, fine])) + "\n", "briefs.jsonl")
    code, said, wrong = command("rank", path, "--out", "picks.csv")
    assert (code, said) == (1, "Wrote 2 picks of 1 briefs to picks.csv.\n")
    assert "1 of 2 briefs are not answered, the others are:" in wrong
    assert "briefs.jsonl, brief 1: no creator is left" in wrong
    assert "Traceback" not in wrong
    assert pl.read_csv(tmp_path / "picks.csv")["brief_id"].to_list() == [2, 2]


def test_rank_answers_every_line_of_a_jsonl(command, brief, tmp_path):
    lines = [
        {"goal": "awareness", "budget": 5000, "brief_id": "spring", "top": 2},
        {"goal": "engagement", "budget": 900, "top": 3, "filters": {"platforms": ["tiktok"]}},
        {"goal": "local", "budget": 3000, "brief_id": "town", "top": 1, "target_countries": ["IN"]},
    ]
    path = brief("\n\n".join(map(json.dumps, lines)) + "\n", "briefs.jsonl")
    assert command("rank", path, "--out", "picks.csv")[0] == 0
    picks = pl.read_csv(tmp_path / "picks.csv")
    assert picks["brief_id"].to_list() == ["spring"] * 2 + ["2"] * 3 + ["town"]
    assert set(picks.filter(pl.col("brief_id") == "2")["platform"]) == {"tiktok"}
    assert (picks.filter(pl.col("brief_id") == "2")["fee"] <= 900).all()


def test_plan_prints_a_plan_for_people(place, brief):
    said = place.done("plan", brief())
    head, spend = said.splitlines()[:2]
    assert re.match(r"Brief 1: \d+ picks of 600 creators, goal conversion, amounts in USD, data as of 2026-07-01", head)
    assert head.endswith("model 1 - SYNTHETIC DATA")
    assert re.match(r"Spend [\d,]+ of 20,000 USD .*expected value [\d,]+ \(80 %: ", spend)
    words = ("this plan", "micro only", "macro only", "best single tier", "Posting order:", "fees 20 % higher", "Note:")
    assert [word for word in words if word not in said] == []
    assert "value = net revenue x product margin" in said


def test_plan_writes_every_format_and_answers_every_line_of_a_jsonl(command, brief, tmp_path):
    lines = [
        {**BRIEF, "filters": NEAR, "plan": {"max_creators": 3}},
        {"goal": "awareness", "budget": 2000, "brief_id": "town", "filters": NEAR,
         "plan": {"max_creators": 6, "tier_limits": {"micro": {"min": 2}}}},
    ]  # fmt: skip
    path = brief("\n".join(map(json.dumps, lines)), "plans.jsonl")
    read = {".csv": pl.read_csv, ".parquet": pl.read_parquet, ".json": pl.read_json}
    tables = {}
    for ending, reader in read.items():
        code, said, err = command("plan", path, "--out", f"plan{ending}")
        assert code == 0, err
        tables[ending] = reader(tmp_path / f"plan{ending}")
        assert said == f"Wrote {tables[ending].height} picks of 2 plans to plan{ending}.\n"
    assert [table.columns for table in tables.values()] == [[*COLUMNS, *PLAN_COLUMNS]] * 3
    picks = tables[".parquet"]
    assert picks["brief_id"].unique(maintain_order=True).to_list() == ["1", "town"]
    first, second = picks.partition_by("brief_id", maintain_order=True)
    assert (first.height <= 3, second.filter(tier="micro").height >= 2) == (True, True)
    assert (first["spend"].sum() <= 20000, second["spend"].sum() <= 2000) == (True, True)
    assert first["posting_position"].sort().to_list() == list(range(1, first.height + 1))
    for ending in (".csv", ".json"):
        for name in ("creator_id", "replacement", "posting_position"):
            assert tables[ending][name].to_list() == picks[name].to_list()
        assert tables[ending]["value_added"].to_list() == pytest.approx(picks["value_added"].to_list(), rel=1e-12)
    page = command("plan", path, "--out", "plan.html")
    assert page[:2] == (0, f"Wrote {picks.height} picks of 2 plans to plan.html.\n")
    html = (tmp_path / "plan.html").read_text()
    assert re.findall(r"<h2>Brief (\w+):", html) == ["1", "town"]
    assert "SYNTHETIC" in html
    assert html.count("<svg") >= 4
    assert not re.search(r"(src|href)=\W?http", html)
    names = ["plans.jsonl", "plan.html", *(f"plan{ending}" for ending in read)]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_a_plan_that_cannot_be_made_says_which_brief_and_which_limit(command, brief, tmp_path):
    lines = [BRIEF, {**BRIEF, "budget": 1000, "plan": {"tier_limits": {"micro": {"min": 60}}}}]
    path = brief("\n".join(map(json.dumps, lines)), "plans.jsonl")
    code, said, err = command("plan", path, "--out", "plan.csv")
    assert (code, said.endswith("picks of 1 plans to plan.csv.\n")) == (1, True)
    assert err.startswith("error: 1 of 2 briefs are not answered, the others are:\nplans.jsonl, brief 2: ")
    assert "smallest budget is" in err
    assert set(pl.read_csv(tmp_path / "plan.csv")["brief_id"]) == {1}
    code, _, err = command("plan", brief({**BRIEF, "plan": {"max_creator": 3}}))
    assert code == 1
    assert err.startswith("error: brief.json: plan.max_creator: there is no such field; did you mean plan.max_creators")


def test_catalogue_as_of_changes_the_day_and_nothing_else(place, command, brief, home):
    before = read_release_file(home)
    said = place.done("catalogue", place.market, "--as-of", EARLIER, home=home)
    after = read_release_file(home)
    assert f"Catalogue {after.catalogue} is in force" in said
    assert (before.model, load_release(home).data_as_of) == (after.model, EARLIER)
    assert f"data as of {EARLIER}, model 1" in command("rank", brief(), "--home", home)[1]


def test_catalogue_as_of_a_day_ignores_what_became_known_on_it_or_later(place, command, home, tmp_path):
    """The tag holds a digest of the content: wild facts from the day on must leave it as it is."""
    wild = shutil.copytree(place.market, tmp_path / "wild")
    snapshots = pl.read_csv(wild / "creator_snapshots.csv", infer_schema=False)
    late = pl.col("known_at") >= EARLIER
    numbers = {name: pl.when(late).then(pl.lit("7")).otherwise(name) for name in ("follower_count", "median_views")}
    snapshots.with_columns(**numbers).write_csv(wild / "creator_snapshots.csv")
    placements = pl.read_csv(wild / "placements.csv", infer_schema=False)
    late = pl.col("settled_at") >= EARLIER
    placements.with_columns(pl.when(late).then(pl.lit("99")).otherwise("impressions").alias("impressions")).write_csv(
        wild / "placements.csv"
    )
    tags = {}
    for day in (EARLIER, "2026-06-28"):
        for folder in (place.market, wild):
            code, said, err = command("catalogue", folder, "--as-of", day, "--home", home)
            assert code == 0, err
            tags[day, folder] = said.split()[1]
    assert tags[EARLIER, place.market] == tags[EARLIER, wild]
    # the same facts do count on a later day, so the first comparison could have failed
    assert tags["2026-06-28", place.market] != tags["2026-06-28", wild]


def test_catalogue_without_a_model_does_not_claim_to_be_in_force(place, command, tmp_path):
    code, said, _ = command("catalogue", place.market, "--home", tmp_path / "home")
    assert (code, "no model is published yet" in said) == (0, True)


def test_promote_and_rollback_switch_what_is_served_and_the_alias(place, command, brief, home):
    before = read_release_file(home)
    assert "Serving influencer-roi-model:2" in place.done("promote", 2, home=home)
    assert load_release(home).model_version == "2"
    # the catalogue in force is newer than version 2's own
    assert load_release(home).data_as_of == "2026-07-01"
    assert "model 2" in command("rank", brief(), "--home", home)[1]
    newest, older = (line for line in command("models", "--home", home)[1].splitlines() if line.startswith("│"))
    assert ("live" in newest, "champion" in newest) == (True, True)
    assert ("live" in older, "champion" in older, "challenger" in older) == (False, False, True)

    assert "Back to influencer-roi-model:1" in place.done("rollback", home=home)
    back = read_release_file(home)
    assert (back.model, back.catalogue) == (before.model, before.catalogue)
    newest, older = (line for line in command("models", "--home", home)[1].splitlines() if line.startswith("│"))
    assert ("challenger" in newest, "champion" in older) == (True, True)
    assert command("rollback", "--home", home)[0] == 1


def test_promote_mends_a_broken_release_file(place, command, home):
    (home / "release.json").write_text('{"model": ')
    code, said, err = command("models", "--home", home)
    assert (code, "influencer-roi promote VERSION" in err) == (1, True)
    assert [line.split("│")[1].strip() for line in said.splitlines() if line.startswith("│")] == ["2", "1"]
    ran = place.run("promote", 1, home=home)
    assert (ran.returncode, "`rollback` does not reach it" in ran.stderr) == (0, True)
    assert load_release(home).model_version == "1"
