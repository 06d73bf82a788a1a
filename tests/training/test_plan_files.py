import json
import re
import sys
from io import StringIO
from types import SimpleNamespace

import polars as pl
import pytest
from rich.console import Console

from features.errors import DataError
from serving.filters import NothingFits
from tests.serving.hand_made_plan import SCRIPT, plan_answer
from training import cli, plan_files, rank_files
from training.plan_files import PLAN_COLUMNS, plan_file, plan_table, readable
from training.rank_files import COLUMNS

BRIEF = {"goal": "conversion", "budget": 10_000, "plan": {"max_creators": 5, "tier_limits": {"mega": 0}}}


@pytest.fixture
def asked(monkeypatch):
    """A home that plans by hand; what was asked of it."""
    calls = []

    def plan(release, brief, *, request_id, curve=False):
        calls.append(SimpleNamespace(brief=brief, request_id=request_id, curve=curve))
        if brief.brief_id == "infeasible":
            raise NothingFits("no 3 mega creators fit: lower plan.tier_limits.mega.min", field="plan.tier_limits")
        return plan_answer(brief_id=brief.brief_id)

    monkeypatch.setattr(plan_files, "plan", plan)
    monkeypatch.setattr(rank_files, "load_release", lambda _: None)
    return calls


@pytest.fixture
def write(tmp_path):
    def to(name, *briefs):
        path = tmp_path / name
        path.write_text("\n".join(json.dumps(brief) for brief in briefs))
        return path

    return to


# --- reading and planning


def test_every_brief_of_a_file_is_planned_with_its_options(write, asked, tmp_path):
    briefs = write("b.jsonl", {**BRIEF, "brief_id": "spring"}, {"goal": "awareness", "budget": 100})
    answers = plan_file(briefs, tmp_path)
    assert [answer.brief_id for answer in answers] == ["spring", "2"]
    assert [call.brief.plan.max_creators for call in asked] == [5, None]
    assert asked[0].brief.plan.tier_limits["mega"].max == 0
    assert [call.curve for call in asked] == [False, False]


def test_a_brief_that_cannot_be_planned_is_told_of_and_the_others_are_written(write, asked, tmp_path):
    no = {**BRIEF, "brief_id": "infeasible"}
    refused, out = [], tmp_path / "plans.csv"
    briefs = write("b.jsonl", no, {**BRIEF, "brief_id": "one"}, no)
    answers = plan_file(briefs, tmp_path, out=out, refused=refused.append)
    assert [answer.brief_id for answer in answers] == ["one"]
    assert set(pl.read_csv(out)["brief_id"]) == {"one"}
    assert [str(error) for error in refused] == [
        f"b.jsonl, brief {number}: no 3 mega creators fit: lower plan.tier_limits.mega.min" for number in (1, 3)
    ]
    out.unlink()
    with pytest.raises(DataError, match="brief 1"):
        plan_file(write("b.jsonl", no, no), tmp_path, out=out, refused=refused.append)
    assert not out.exists()
    assert len(refused) == 2


@pytest.mark.parametrize(
    ("brief", "words", "field"),
    [
        ({**BRIEF, "plan": {"risk": 2}}, ["b.jsonl, line 2: plan.risk", "at most 1"], "plan.risk"),
        ({**BRIEF, "plan": {"risks": 1}}, ["did you mean plan.risk?"], "plan.risks"),
        ({**BRIEF, "brief_id": "infeasible"}, ["b.jsonl, brief 2: no 3 mega", "lower plan"], "plan.tier_limits"),
    ],
)
def test_a_brief_that_cannot_be_planned_is_named(write, asked, tmp_path, brief, words, field):
    with pytest.raises(DataError) as error:
        plan_file(write("b.jsonl", BRIEF, brief), tmp_path)
    assert [word for word in words if word not in str(error.value)] == []
    assert error.value.field == field


def test_a_ranking_of_the_same_file_refuses_the_plan(write, tmp_path):
    with pytest.raises(DataError, match=r"b\.json: plan: .*POST /v1/plan and the command plan"):
        rank_files.rank_file(write("b.json", BRIEF), tmp_path)


# --- the table


def test_the_table_has_the_columns_of_a_ranking_and_then_those_of_a_plan():
    table = plan_table([plan_answer()])
    assert dict(table.schema) == PLAN_COLUMNS
    assert table.columns == [
        *COLUMNS, "deliverable", "spend", "value_added", "posting_position", "replacement",
    ]  # fmt: skip
    assert table["rank"].to_list() == [1, 2, 3, 4, 5, 6]
    assert table["deliverable"].to_list() == [None] * 4 + ["video"] * 2
    assert table["posting_position"].to_list() == [2, 1, 3, 4, 5, 5]
    assert table["replacement"].to_list() == ["c9"] + [None] * 5
    assert table["spend"][0] == 2250.0
    assert table["value_added"][0] == 3500.0
    assert table["value"][0] == 3700.0
    assert table["model_version"].unique().to_list() == ["4"]


@pytest.mark.parametrize(
    ("ending", "read"), [("csv", pl.read_csv), ("parquet", pl.read_parquet), ("json", pl.read_json)]
)
def test_a_table_is_written_in_every_format(write, asked, tmp_path, ending, read):
    out = tmp_path / f"plan.{ending}"
    answers = plan_file(write("b.jsonl", BRIEF, BRIEF), tmp_path, out=out)
    again = read(out)
    assert again.columns == list(PLAN_COLUMNS)
    assert again.height == 12
    assert again["creator_id"].to_list() == plan_table(answers)["creator_id"].to_list()
    assert [call.curve for call in asked] == [False, False]


def test_charts_hold_every_brief_and_ask_for_the_curve(write, asked, tmp_path):
    out = tmp_path / "plan.html"
    plan_file(write("b.jsonl", {**BRIEF, "brief_id": "one"}, {**BRIEF, "brief_id": "two"}), tmp_path, out=out)
    html = out.read_text(encoding="utf-8")
    assert re.findall(r"<h2>Brief (\w+):", html) == ["one", "two"]
    assert html.count("<svg") == 6
    assert [call.curve for call in asked] == [True, True]
    assert not list(tmp_path.glob(".*.part"))


def test_an_ending_nobody_knows_is_refused_before_anything_is_planned(write, asked, tmp_path):
    with pytest.raises(DataError, match=r"p\.xlsx: write to a \.csv, \.parquet, \.json or \.html file"):
        plan_file(write("b.json", BRIEF), tmp_path, out=tmp_path / "p.xlsx")
    assert asked == []
    with pytest.raises(DataError, match="cannot be written"):
        plan_file(write("b.json", BRIEF), tmp_path, out=tmp_path / "no" / "p.html")


# --- for people


def test_a_readable_plan_shows_picks_alternatives_conclusions_and_order():
    out = StringIO()
    Console(file=out, width=400).print(readable(plan_answer()))
    text = out.getvalue()
    for words in (
        "Brief spring: 6 picks of 3000 creators, goal conversion", "SYNTHETIC DATA", "Spend 9,000 of 10,000 USD",
        SCRIPT, "[/bold] & co", "小红书美妆达人", "this plan", "micro only", "no macro creator is below max_fee",
        "+0.56", "-0.07 to +1.33", "81%", "The data cannot tell micro and macro apart.", "Posting order: ",
        "fees 20 % higher", "Note: Fees of 3 of 5", "value = revenue x margin", "filtered out: over_budget 12",
    ):  # fmt: skip
        assert words in text


# --- the command


@pytest.fixture
def command(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["influencer-roi", "plan", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return ended.value.code or 0, said.out, said.err

    return run


def test_the_command_prints_a_plan_or_says_what_it_wrote(command, write, asked, tmp_path):
    briefs = write("b.json", BRIEF)
    code, out, _ = command(briefs, "--home", tmp_path)
    assert code == 0
    assert "SYNTHETIC DATA" in out
    assert "this plan" in out
    code, out, _ = command(briefs, "--home", tmp_path, "--out", tmp_path / "p.csv")
    assert (code, out) == (0, f"Wrote 6 picks of 1 plans to {tmp_path / 'p.csv'}.\n")


@pytest.mark.parametrize(
    ("brief", "out", "words"),
    [
        ({**BRIEF, "plan": {"tier_limits": {"micro": "3"}}}, "p.csv", "error: b.json: plan.tier_limits.micro: must be"),
        ({**BRIEF, "brief_id": "infeasible"}, "p.csv", "error: b.json, brief 1: no 3 mega creators fit"),
        (BRIEF, "p.txt", "error: p.txt: write to a .csv, .parquet, .json or .html file"),
    ],
)
def test_the_command_says_what_is_wrong_without_a_traceback(command, write, asked, tmp_path, brief, out, words):
    code, said, error = command(write("b.json", brief), "--home", tmp_path, "--out", tmp_path / out)
    assert (code, said) == (1, "")
    assert error.startswith(words)
    assert "Traceback" not in error


def test_without_a_release_the_command_names_the_one_to_run(command, write, tmp_path):
    code, _, error = command(write("b.json", BRIEF), "--home", tmp_path / "elsewhere")
    assert code == 1
    assert "influencer-roi train DIR" in error
