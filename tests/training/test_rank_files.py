import json
from dataclasses import replace
from io import StringIO

import numpy as np
import polars as pl
import pytest
from rich.console import Console
from threadpoolctl import threadpool_limits

from features.brief import parse_brief, parse_brief_json
from features.build_market import build_market
from features.errors import DataError
from features.money import in_base_currency
from features.reading import typed
from features.settings import Settings
from features.tables import build
from serving.catalogue import build_catalogue, save_catalogue
from serving.model import save_model
from serving.ranking import rank
from serving.release import load_release
from serving.release_file import ReleaseFile, store_path, write_release_file
from training.dataset import build_dataset
from training.funnel_fit import fit_model
from training.rank_files import COLUMNS, rank_file, read_briefs, readable, write_table
from training.sample import make_market
from training.split import labelled, newest_fact
from training.stage_fit import FitOptions

BRIEF = {"goal": "conversion", "budget": 5000, "top": 4}
TAGS = ("influencer-roi-model:4", "influencer-roi-catalogue:2026-01-01-x")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home that serves a model of a tiny market."""
    home = tmp_path_factory.mktemp("home")
    raw = make_market(creators=80, placements=400, snapshots=6, seed=3)
    tables = in_base_currency(build({n: typed(n, t)[0] for n, t in raw.items()}, Settings()), Settings())
    as_of = newest_fact(tables) + 1
    market = build_market(tables, Settings(), as_of)
    data, rows = build_dataset(market), labelled(market.placements, as_of)
    with threadpool_limits(1):
        model = fit_model(market, data.x[rows], data.labels.part(rows), FitOptions(trees=5, threads=1))
    model = replace(model, version="4", card={"synthetic": True})
    for tag, save, part in zip(
        TAGS, (save_model, save_catalogue), (model, build_catalogue(market, as_of, Settings())), strict=True
    ):
        store_path(home, tag).mkdir(parents=True)
        save(part, store_path(home, tag))
    write_release_file(home, ReleaseFile(*TAGS))
    return home


@pytest.fixture
def write(tmp_path):
    def to(name, *briefs):
        path = tmp_path / name
        path.write_text("\n".join(brief if isinstance(brief, str) else json.dumps(brief) for brief in briefs))
        return path

    return to


# --- reading


def test_a_json_file_holds_one_brief(write):
    assert read_briefs(write("b.json", BRIEF), parse_brief_json) == [parse_brief(BRIEF)]
    pretty = write("pretty.json", json.dumps(BRIEF, indent=2))
    assert read_briefs(pretty, parse_brief_json) == [parse_brief(BRIEF)]


def test_a_jsonl_file_holds_a_brief_a_line(write):
    other = {**BRIEF, "goal": "awareness"}
    found = read_briefs(write("b.jsonl", BRIEF, "", "   ", other), parse_brief_json)
    assert found == [parse_brief(BRIEF), parse_brief(other)]


def test_a_byte_order_mark_does_no_harm(tmp_path):
    (tmp_path / "b.json").write_text(json.dumps(BRIEF), encoding="utf-8-sig")
    assert read_briefs(tmp_path / "b.json", parse_brief_json) == [parse_brief(BRIEF)]


@pytest.mark.parametrize(
    ("name", "lines", "words", "field"),
    [
        ("b.csv", ["x"], ["b.csv", ".json file (one) or a .jsonl file"], None),
        ("b", ["x"], [".json file (one) or a .jsonl file"], None),
        ("b.json", [""], ["b.json: the body is empty"], None),
        ("b.json", ["{"], ["b.json", "not valid JSON"], None),
        ("b.json", [[BRIEF]], ["b.json", "a brief is a JSON object"], None),
        ("b.json", [{**BRIEF, "budget": -1}], ["b.json: budget", "above 0"], "budget"),
        ("b.jsonl", ["", "  "], ["b.jsonl holds no brief", "one JSON object a line"], None),
        ("b.jsonl", [BRIEF, "", "{"], ["b.jsonl, line 3", "not valid JSON"], None),
        ("b.jsonl", [BRIEF, {**BRIEF, "filters": {"max_fee": "x"}}], ["b.jsonl, line 2: filters.max_fee"],
         "filters.max_fee"),
    ],
)  # fmt: skip
def test_a_file_that_is_wrong_is_refused(write, name, lines, words, field):
    with pytest.raises(DataError) as error:
        read_briefs(write(name, *lines), parse_brief_json)
    for word in words:
        assert word in str(error.value)
    assert error.value.field == field


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"there is no file .*none\.json"):
        read_briefs(tmp_path / "none.json", parse_brief_json)
    (tmp_path / "b.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"b\.json is not UTF-8: save it as UTF-8"):
        read_briefs(tmp_path / "b.json", parse_brief_json)


# --- ranking


def test_a_row_a_pick_as_the_service_would_answer(write, home):
    briefs = [{**BRIEF, "brief_id": "spring"}, {**BRIEF, "goal": "awareness", "top": 3}]
    answers, table = rank_file(write("b.jsonl", *briefs), home)
    assert dict(table.schema) == COLUMNS
    assert table["brief_id"].to_list() == ["spring"] * 4 + ["2"] * 3
    assert table["rank"].to_list() == [1, 2, 3, 4, 1, 2, 3]
    release = load_release(home)
    served = [rank(release, parse_brief(brief), request_id="x") for brief in briefs]
    picks = [pick for answer in served for pick in answer.picks]
    for row, pick in zip(table.iter_rows(named=True), picks, strict=True):
        for name in ("creator_id", "tier", "platform", "fee", "fee_source", "roi", "roi_low", "roi_high", "p_profit"):
            assert row[name] == getattr(pick, name), name
        assert row["value"] == pick.expected.value
        for name in ("impressions", "engagements", "conversions"):
            assert row[f"expected_{name}"] == getattr(pick.expected, name)
        assert row["model_version"] == "4"
    assert [answer.brief_id for answer in answers] == ["spring", "2"]


@pytest.mark.parametrize(
    ("brief", "words", "field"),
    [
        ({**BRIEF, "filters": {"creator_ids": ["nobody"]}}, ["brief 2: no creator is left"], "filters.creator_ids"),
        ({**BRIEF, "currency": "EUR"}, ["brief 2: currency", "base currency USD"], "currency"),
    ],
)
def test_a_brief_that_cannot_be_answered_is_named(write, home, brief, words, field):
    with pytest.raises(DataError) as error:
        rank_file(write("b.jsonl", BRIEF, brief), home)
    for word in ["b.jsonl", *words]:
        assert word in str(error.value)
    assert error.value.field == field


def test_without_a_release_the_command_is_named(write, tmp_path):
    with pytest.raises(DataError, match="influencer-roi train DIR"):
        rank_file(write("b.json", BRIEF), tmp_path / "elsewhere")


# --- writing


@pytest.mark.parametrize(
    ("ending", "read"), [("csv", pl.read_csv), ("parquet", pl.read_parquet), ("json", pl.read_json)]
)
def test_a_table_is_written_in_every_format(write, home, tmp_path, ending, read):
    _, table = rank_file(write("b.json", {**BRIEF, "brief_id": "spring"}), home)
    path = tmp_path / f"picks.{ending}"
    write_table(table, path)
    again = read(path)
    assert again.columns == table.columns
    assert again["creator_id"].to_list() == table["creator_id"].to_list()
    np.testing.assert_allclose(again["roi"], table["roi"])
    assert not list(tmp_path.glob(".*.part"))


@pytest.mark.parametrize(("name", "words"), [("p.xlsx", ".csv, .parquet or .json"), ("no/p.csv", "cannot be written")])
def test_a_table_that_cannot_be_written_is_said(tmp_path, name, words):
    with pytest.raises(DataError, match=words):
        write_table(pl.DataFrame(schema=COLUMNS), tmp_path / name)


def test_a_readable_answer_shows_picks_reasons_and_basis(write, home):
    brief = {**BRIEF, "brief_id": "spring", "filters": {"tiers": ["nano", "micro"]}}
    (answer,), _ = rank_file(write("b.json", brief), home)
    out = StringIO()
    Console(file=out, width=400).print(readable(answer))
    text = out.getvalue()
    assert "Brief spring: 4 picks of 80 creators, goal conversion, amounts in USD" in text
    assert "SYNTHETIC DATA" in text
    assert f"filtered out: tiers {answer.filtered_out['tiers']}" in text
    for pick in answer.picks:
        assert f"{pick.roi:+.2f}" in text
        assert (pick.username or pick.creator_id) in text
        assert pick.reasons[0].text in " ".join(text.split())


def test_an_unnamed_brief_never_takes_the_name_of_another(tmp_path, home):
    lines = ['{"goal": "conversion", "budget": 500, "brief_id": "2"}', '{"goal": "conversion", "budget": 500}']
    (tmp_path / "b.jsonl").write_text(
        "\n".join(lines).replace("500}", '500, "brand_id": "a\u2028b"}'), encoding="utf-8"
    )
    answers, table = rank_file(tmp_path / "b.jsonl", home)
    assert len({answer.brief_id for answer in answers}) == table["brief_id"].n_unique() == 2


def test_a_name_that_looks_like_markup_is_shown_as_it_is(write, home):
    (answer,), _ = rank_file(write("b.json", {**BRIEF, "brief_id": "[red]"}), home)
    pick = answer.picks[0].model_copy(update={"username": "[/bold] & co"})
    out = StringIO()
    Console(file=out, width=400).print(readable(answer.model_copy(update={"picks": (pick,)})))
    assert "Brief [red]: 1 picks" in out.getvalue()
    assert f"[/bold] & co ({pick.creator_id})" in out.getvalue()
