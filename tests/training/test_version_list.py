"""What `models` lists where registry, store and release do not say the same."""

from dataclasses import replace

import pytest
from typer.testing import CliRunner

from features.errors import DataError
from serving.release_file import FILE, MODEL, ReleaseFile, store_path
from tests.training.test_publish import a_catalogue, a_model, bento_of_its_own
from training.cli import app
from training.publish import store_catalogue, store_model
from training.registry import Version
from training.version_list import Row, list_versions, remarks

__all__ = ["bento_of_its_own"]

CARD = {
    "trained_at": "2026-07-02T03:04:05+00:00", "synthetic": True, "verdict": {"promote": False, "lines": []},
    "metrics": {"judged": "value", "gain_over_best_rule": {"gain": 0.25031, "low": 0.1, "high": 0.4}},
}  # fmt: skip
TAGS = {"verdict": "promote", "synthetic": "false", "judged": "value", "gain_over_best_rule": "0.1234"}
CATALOGUE = "influencer-roi-catalogue:2026-07-01-abc"


@pytest.fixture
def registry(monkeypatch):
    """A function that says what the registry knows."""

    def knows(*found):
        monkeypatch.setattr("training.version_list.versions", lambda _: list(found))

    knows()
    return knows


def version(number, run_id="run", aliases=(), tags=TAGS):
    return Version(number, run_id, "2026-07-01 00:00", aliases, tags)


def store(home, number, run_id="run", card=CARD):
    model = a_model(number)
    store_model(home, replace(model, card={**model.card, **card}), {"version": number, "run_id": run_id})


def serves(number, catalogue=CATALOGUE):
    return ReleaseFile(f"{MODEL}:{number}", catalogue)


def states(home, release):
    return {row.version: row.state for row in list_versions(home, release)}


def test_a_version_is_live_waits_was_pruned_or_is_not_stored(tmp_path, registry):
    registry(version("4"), version("3"), version("2"), version("1", tags={**TAGS, "pruned": "true"}))
    store(tmp_path, "4")
    store(tmp_path, "3")
    assert states(tmp_path, serves("3")) == {"4": "", "3": "live", "2": "not stored", "1": "pruned"}
    assert states(tmp_path, None) == {"4": "", "3": "", "2": "not stored", "1": "pruned"}
    assert list_versions(tmp_path, None)[0] == Row(
        "4", "2026-07-01 00:00", "", (), "promote", "value", "0.1234", "real"
    )


def test_a_tag_that_is_missing_is_unknown(tmp_path, registry):
    registry(version("1", tags={}))
    (row,) = list_versions(tmp_path, None)
    assert (row.verdict, row.data) == ("unknown", "unknown")


def test_a_stored_version_that_the_registry_does_not_know_is_listed_by_its_card(tmp_path, registry):
    store(tmp_path, "10")
    store(tmp_path, "9", card={"metrics": {"judged": None, "why": "too few"}})
    store(tmp_path, "8", card={**CARD, "metrics": {"judged": None, "why": "too few"}, "synthetic": False})
    (store_path(tmp_path, f"{MODEL}:9") / "model.json").write_text("damaged")
    state = "not in the registry"
    assert list_versions(tmp_path, serves("10")) == [
        Row("10", "2026-07-02 03:04", f"live, {state}", (), "do not promote", "value", "0.2503", "synthetic"),
        Row("9", state=state),
        Row("8", "2026-07-02 03:04", state, (), "do not promote", "nothing", "", "real"),
    ]


def test_a_number_of_another_run_is_not_live_and_does_not_lend_its_figures(tmp_path, registry):
    registry(version("1", run_id="another", aliases=("challenger",)))
    store(tmp_path, "1")
    theirs, ours = list_versions(tmp_path, serves("1"))
    assert (theirs.state, theirs.gain, theirs.aliases) == ("not stored", "0.1234", ("challenger",))
    assert (ours.state, ours.gain, ours.aliases) == ("live, not in the registry", "0.2503", ())


def test_what_only_the_release_names_is_listed_too(tmp_path, registry):
    assert list_versions(tmp_path, serves("3")) == [Row("3", state="live, not stored, not in the registry")]
    assert states(tmp_path, serves("by-hand")) == {"by-hand": "live, not stored, not in the registry"}


def test_what_is_served_is_said_or_that_it_is_gone(tmp_path, registry):
    store(tmp_path, "1")
    catalogue = store_catalogue(tmp_path, a_catalogue())
    assert remarks(tmp_path, serves("1", catalogue), []) == [f"Served: {MODEL}:1 with {catalogue}"]
    (said,) = remarks(tmp_path, serves("2", catalogue), [])
    assert said.startswith(f"{MODEL}:2 is named by release.json but not stored")
    (said,) = remarks(tmp_path, serves("2"), [])
    assert said.startswith(f"{MODEL}:2 and {CATALOGUE} are named by release.json but not stored")
    assert "Train again, or promote" in said


def test_a_champion_that_is_not_what_is_served_is_said(tmp_path, registry):
    """As a training leaves it that is killed between its release and the alias."""
    registry(version("2", aliases=("challenger",)), version("1", aliases=("champion",)))
    for number in "12":
        store(tmp_path, number)
    said = remarks(tmp_path, serves("2"), list_versions(tmp_path, serves("2")))
    assert said[1:] == [
        "The alias champion names version 1, but version 2 is served: `influencer-roi promote 2` corrects that"
    ]
    assert len(remarks(tmp_path, serves("1"), list_versions(tmp_path, serves("1")))) == 1


def test_models_lists_versions_although_the_release_cannot_be_read(tmp_path, registry):
    registry(version("2"), version("1"))
    (tmp_path / FILE).write_text('{"model": 5, "catalogue": "x"}')
    ran = CliRunner().invoke(app, ["models", "--home", str(tmp_path)], env={"COLUMNS": "200"})
    assert [line.split("│")[1].strip() for line in ran.stdout.splitlines() if line[:1] == "│"] == ["2", "1"]
    assert isinstance(ran.exception, DataError)
    assert "release.json cannot be read (model is 5" in str(ran.exception)


def test_models_of_an_empty_home_names_the_command(tmp_path, registry):
    ran = CliRunner().invoke(app, ["models", "--home", str(tmp_path)])
    assert (ran.exit_code, "run influencer-roi train DIR" in ran.stdout) == (0, True)
