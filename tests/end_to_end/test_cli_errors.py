"""What people get wrong, through the commands: exit code, words on stderr, and nothing half written."""

import json
import shutil

import polars as pl
import pytest

BRIEF = {"goal": "conversion", "budget": 20000, "target_countries": {"SG": 0.7, "MY": 0.3}, "top": 5}


def state(home):
    """What is served, and what could be."""
    names = ("release.json", "mlflow/mlflow.db") if home.exists() else ()
    stored = sorted(str(path.relative_to(home)) for path in home.rglob("model.yaml")) if home.exists() else []
    return stored, {name: (home / name).read_bytes() for name in names if (home / name).exists()}


def cell(table, column, value):
    """Set the first cell of a column."""

    def spoil(folder):
        path = folder / f"{table}.csv"
        frame = pl.read_csv(path, infer_schema=False)
        first = pl.int_range(pl.len()) == 0
        frame.with_columns(pl.when(first).then(pl.lit(value)).otherwise(column).alias(column)).write_csv(path)

    return spoil


def gbk(folder):
    path = folder / "creators.csv"
    text = path.read_text().replace("beauty", "美妆")
    path.write_bytes(text.encode("gbk"))


def semicolons(folder):
    path = folder / "campaigns.csv"
    path.write_text(path.read_text().replace(",", ";"))


def emptied(folder):
    for path in folder.iterdir():
        path.unlink()


BAD_DATA = {
    "folder missing": (shutil.rmtree, ["is not there", "creators, campaigns and placements"]),
    "folder empty": (emptied, ["holds no table", "<table>.csv"]),
    "table missing": (lambda folder: (folder / "campaigns.csv").unlink(), ["campaigns", "required table is missing"]),
    "file empty": (lambda folder: (folder / "placements.csv").write_text(""), ["placements.csv is empty"]),
    "semicolons": (semicolons, ["campaigns.csv", "separated by", "commas are expected"]),
    "not UTF-8": (gbk, ["creators.csv is not UTF-8", "GBK"]),
    "unknown goal": (cell("campaigns", "goal", "sales"), ["campaigns.goal", "sales", "m00000"]),
    "negative fee": (cell("placements", "fee", "-5"), ["placements.fee", "x0000000"]),
    "bad date": (cell("campaigns", "starts_on", "31/12/2025"), ["campaigns.starts_on", "31/12/2025", "m00000"]),
    "broken Parquet": (
        lambda folder: ((folder / "fx.csv").unlink(), (folder / "fx.parquet").write_bytes(b"PAR1")),
        ["fx.parquet", "not a complete Parquet file"],
    ),
}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    from training.sample import write_sample  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("small") / "market"
    write_sample(folder, creators=60, placements=120, snapshots=6)
    return folder


@pytest.mark.parametrize(("spoil", "words"), BAD_DATA.values(), ids=BAD_DATA)
@pytest.mark.parametrize("name", ["check", "train", "catalogue"])
def test_data_that_cannot_be_used_are_refused_and_the_release_stays(small, home, command, tmp_path, spoil, words, name):
    market, before = shutil.copytree(small, tmp_path / "market"), state(home)
    spoil(market)
    code, out, err = command(name, market, "--home", home)
    text = " ".join((out + err).split()) if name == "check" else " ".join(err.split())
    assert code == 1
    assert err.rstrip().splitlines()[-1].startswith("error: ")
    assert [word for word in words if word not in text] == []
    assert "Traceback" not in out + err
    assert state(home) == before


def test_a_first_training_that_is_refused_leaves_no_home(place, tmp_path, small):
    """In a process of its own: also what happens at import and at exit counts."""
    market = shutil.copytree(small, tmp_path / "market")
    cell("placements", "fee", "-5")(market)
    ran = place.run("train", market, home=tmp_path / "home")
    assert ran.returncode == 1
    assert "placements.fee" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert not (tmp_path / "home").exists()


def text(content, name="brief.json"):
    return lambda folder: (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def asks(**fields):
    return text(json.dumps({**BRIEF, **fields}))


def lines(*briefs):
    return text("\n".join(json.dumps(brief) for brief in briefs), "brief.jsonl")


NOBODY = {"niches": ["beauty"], "max_fee": 0.001, "tiers": ["nano"]}
BAD_BRIEFS = {
    "no file": (lambda _: None, ["there is no file", "brief.json"]),
    "a folder": (lambda folder: (folder / "brief.json").mkdir(), ["brief.json", "directory"]),
    "empty": (text(""), ["brief.json", "empty", '"goal"']),
    "not JSON": (text("goal: awareness"), ["brief.json", "not valid JSON"]),
    "not UTF-8": (text('{"goal": "awareness", "brand_id": "美妆"}'.encode("gbk")), ["not UTF-8"]),
    "a list": (text("[]"), ["JSON object", "a list"]),
    "unknown field": (asks(budgt=1), ["brief.json: budgt", "did you mean budget"]),
    "unknown filter": (asks(filters={"max_price": 3}), ["filters.max_price", "no such field"]),
    "unknown goal": (asks(goal="sales"), ["goal", "'awareness'", "'sales'"]),
    "unknown country": (asks(target_countries=["XX"]), ["target_countries", "'XX'", "country code"]),
    "budget 0": (asks(budget=0), ["budget", "above 0"]),
    "top 0": (asks(top=0), ["top", "at least 1"]),
    "another currency": (asks(currency="EUR"), ["currency", "EUR", "USD"]),
    "nobody left": (asks(filters=NOBODY), ["no creator is left of 600", "Relax filters."]),
    "nobody is so cheap": (asks(budget=0.001), ["no creator is left", "Relax budget"]),
    "only strangers": (asks(filters={"creator_ids": ["nobody"]}), ["no creator is left", "Relax filters.creator_ids"]),
    "line 2 wrong": (lines(BRIEF, {**BRIEF, "budget": -1}, BRIEF), ["brief.jsonl, line 2: budget", "above 0"]),
    "no line fits anybody": (lines(*[{**BRIEF, "filters": NOBODY}] * 2), ["brief.jsonl, brief 1", "Relax"]),
    "no lines": (text("\n\n", "brief.jsonl"), ["brief.jsonl holds no brief"]),
    "another ending": (text("goal,budget", "brief.csv"), ["brief.csv", ".json", ".jsonl"]),
}


@pytest.mark.parametrize(("write", "words"), BAD_BRIEFS.values(), ids=BAD_BRIEFS)
def test_a_brief_that_cannot_be_answered_is_refused_and_nothing_is_written(command, tmp_path, write, words):
    write(tmp_path)
    given = next(iter(tmp_path.glob("brief.*")), tmp_path / "brief.json")
    code, out, err = command("rank", given, "--out", tmp_path / "picks.csv")
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert [word for word in words if word.lower() not in err.lower()] == []
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith("brief.")] == []


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("picks.xlsx", ["picks.xlsx", ".csv, .parquet or .json"]),
        ("picks", [".csv, .parquet or .json"]),
        ("missing/picks.csv", ["missing/picks.csv", "cannot be written", "No such file"]),
        ("taken.csv", ["taken.csv", "directory"]),
        ("/proc/picks.json", ["/proc/picks.json", "cannot be written"]),
    ],
)
def test_an_out_that_cannot_be_written_is_refused(command, brief, tmp_path, out, words):
    given = brief()
    (tmp_path / "taken.csv").mkdir()
    code, _, err = command("rank", given, "--out", out)
    assert code == 1
    assert [word for word in words if word.lower() not in err.lower()] == []
    assert {path.name for path in tmp_path.iterdir()} == {"brief.json", "taken.csv"}


BRIEF_FILE, MARKET, EMPTY, HOME = "BRIEF_FILE", "MARKET", "EMPTY", "HOME"
WRONG_COMMANDS = {
    "rank without a release": (
        ["rank", BRIEF_FILE, "--home", EMPTY],
        ["no model is published", "influencer-roi train"],
    ),
    "promote without a version": (["promote", "1", "--home", EMPTY], ["version 1", "none", "influencer-roi train"]),
    "rollback without a home": (["rollback", "--home", EMPTY], ["no earlier release", "influencer-roi models"]),
    "rollback without history": (["rollback", "--home", HOME], ["no earlier release", "influencer-roi models"]),
    "promote an unknown version": (["promote", "99", "--home", HOME], ["version 99", "stored versions: 1, 2"]),
    "promote a path": (["promote", "../x", "--home", HOME], ["../x", "stored versions: 1, 2"]),
    "promote a tag": (["promote", "influencer-roi-model:1", "--home", HOME], ["stored versions: 1, 2"]),
    "promote nothing": (["promote", "", "--home", HOME], ["stored versions: 1, 2"]),
    "promote an alias": (["promote", "latest", "--home", HOME], ["latest", "stored versions: 1, 2"]),
    "train before any data": (["train", MARKET, "--as-of", "2020-01-01", "--home", HOME], ["2020-01-01", "nothing"]),
    "train before any outcome": (["train", MARKET, "--as-of", "2025-10-20", "--home", HOME], ["2025-10-20", "settled"]),
    "catalogue before any data": (
        ["catalogue", MARKET, "--as-of", "2020-01-01", "--home", HOME],
        ["nothing is known before 2020-01-01", "oldest fact"],
    ),
    "check a file": (["check", BRIEF_FILE], ["is a file, not a folder"]),
    "sample into a file": (["sample", BRIEF_FILE], ["brief.json"]),
    "sample too dense": (["sample", "DIR", "--creators", "5", "--placements", "1000"], ["1000", "creators"]),
}


@pytest.mark.parametrize(("words", "said"), WRONG_COMMANDS.values(), ids=WRONG_COMMANDS)
def test_what_cannot_be_done_is_refused_with_what_to_do_next(place, command, brief, home, tmp_path, words, said):
    meant = {BRIEF_FILE: brief(), MARKET: place.market, EMPTY: tmp_path / "empty", HOME: home}
    before = state(home)
    code, out, err = command(*(meant.get(word, word) for word in words))
    assert code == 1
    assert err.startswith("error: ")
    assert [word for word in said if word not in err] == []
    assert "Traceback" not in out + err
    assert state(home) == before
    assert not (tmp_path / "empty").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], ["Commands"]),
        (["fly"], ["No such command", "fly"]),
        (["train"], ["Missing argument", "DIR"]),
        (["train", MARKET, "--as-of", "yesterday"], ["--as-of", "yesterday", "2026-06-30"]),
        (["train", MARKET, "--as-of", "2026-02-30"], ["--as-of", "2026-02-30"]),
        (["train", MARKET, "--promote", "maybe"], ["--promote", "dry-run"]),
        (["train", MARKET, "--home", BRIEF_FILE], ["--home", "brief.json"]),
        (["models", "--home", BRIEF_FILE], ["--home", "is a file"]),
        (["rank", BRIEF_FILE, "--top", "3"], ["No such option", "--top"]),
        (["sample", "DIR", "--creators", "0"], ["--creators", "greater than or equal to 1"]),
        (["serve", "--port", "70000"], ["--port", "65535"]),
    ],
    ids=lambda value: " ".join(value)[:40],
)
def test_wrong_usage_exits_with_2(place, command, brief, words, said):
    meant = {BRIEF_FILE: brief(), MARKET: place.market}
    code, out, err = command(*(meant.get(word, word) for word in words))
    assert code == 2
    text_ = " ".join((out + err).replace("│", " ").split())
    assert [word for word in said if word not in text_] == []
    assert "Traceback" not in text_


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("base_currency = ", ["config.toml is not valid TOML", "Mend or remove"]),
        ("[value]\ncmp = 9", ["config.toml: value.cmp", "Mend"]),
        ("[value]\ncpm = -1", ["config.toml: value.cpm", "greater than 0"]),
        ("[value]\ncpm = 'a lot'", ["config.toml: value.cpm", "number"]),
    ],
)
@pytest.mark.parametrize("name", ["check", "train", "catalogue"])
def test_a_broken_configuration_is_named(place, command, home, name, config, words):
    (home / "config.toml").write_text(config)
    before = state(home)
    code, _, err = command(name, place.market, "--home", home)
    assert code == 1
    assert [word for word in words if word not in err] == []
    assert state(home) == before


def test_a_refusal_in_a_process_of_its_own(place, brief):
    ran = place.run("rank", brief({**BRIEF, "goal": "sales"}))
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith("error: brief.json: goal: must be one of")
