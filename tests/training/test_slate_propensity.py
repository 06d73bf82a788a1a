"""Propensities from the slate log: which slate a placement goes back to, and a backtest that reads them."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from threadpoolctl import threadpool_limits

from features.brief import parse_brief
from features.build_market import build_market
from features.money import in_base_currency
from features.reading import typed
from features.settings import Settings
from features.tables import build
from serving.answers import Expected, Pick, RankAnswer
from serving.slate_reader import read_slates
from serving.slates import FOLDER, SlateLog
from training import tracking
from training.evaluate import evaluate
from training.sample import write_sample
from training.slate_propensity import propensities

CREATORS = ["c1", "c2", "c3"]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    with threadpool_limits(1):
        yield


@pytest.fixture
def show(monkeypatch):
    """A function that logs slates, each (moment, campaign, propensity by creator), as if at their moments."""

    def shows(home, *shown):
        slates = SlateLog(home / FOLDER, sync_seconds=3600)
        for moment, campaign, chances in shown:
            monkeypatch.setattr("serving.slates.datetime", SimpleNamespace(now=lambda _, then=moment: then))
            brief = {"goal": "awareness", "budget": 100} | ({} if campaign is None else {"brief_id": campaign})
            slates.append(parse_brief(brief), answer(campaign, chances))
        assert (slates.written, slates.failed) == (len(shown), 0)
        slates.close()

    monkeypatch.setattr("serving.slates.os.fsync", lambda _: None)  # hundreds take long on a busy disk
    return shows


def answer(campaign, chances):
    picks = tuple(
        Pick(
            rank=rank + 1, creator_id=creator, platform="tiktok", tier="micro", tier_local="micro", fee=10.0,
            fee_source="paid", expected=Expected(value=20.0), roi=1.0, roi_low=0.0, roi_high=2.0, p_profit=0.9,
            confidence="low", explore=chance < 1.0, propensity=chance,
        )
        for rank, (creator, chance) in enumerate(chances.items())
    )  # fmt: skip
    return RankAnswer(
        request_id="r", brief_id=campaign, model_version="1", feature_schema="s", data_as_of="2026-01-01",
        currency="USD", value_basis={}, considered=9, filtered_out={}, picks=picks,
    )  # fmt: skip


def market(rows):
    """Placements, each (campaign, creator, agreed_on, propensity)."""
    columns = ("campaign_id", "creator_id", "agreed_on", "propensity")
    placements = {name: [row[number] for row in rows] for number, name in enumerate(columns)}
    frames = {
        "creators": pl.DataFrame({"creator_id": CREATORS[::-1], "platform": "tiktok"}),
        "campaigns": pl.DataFrame(
            {"campaign_id": ["k2", "k1"], "brand_id": "b", "goal": "awareness", "starts_on": "2026-01-10",
             "currency": "USD"}
        ),
        "placements": pl.DataFrame(
            {"placement_id": [f"p{number}" for number in range(len(rows))], **placements, "fee": 10.0},
            schema_overrides={"propensity": pl.Float64},
        ),
    }  # fmt: skip
    settings = Settings()
    tables = in_base_currency(
        build({name: typed(name, frame)[0] for name, frame in frames.items()}, settings), settings
    )
    return build_market(tables, settings, 21_000)


def at(day, hour=0, minute=0, second=0, micro=0):
    return datetime(2026, 1, day, hour, minute, second, micro, tzinfo=UTC)


def one(home, agreed="2026-01-05", given=None, campaign="k1", creator="c1"):
    """Propensity of one placement, and whether it is the slate log's."""
    found = propensities(
        market([("k2", "c3", "2026-01-01", None), (campaign, creator, agreed, given)]), read_slates(home)
    )
    assert np.isnan(found.chance[0])
    return found.chance[1], found.from_slates[1]


@pytest.mark.parametrize(
    ("moment", "counts"),
    [
        (at(1), True),
        (at(5, 23, 59, 59, 999_999), True),  # the day it was agreed
        (at(6), False),  # written after the decision
        (at(20), False),
    ],
)
@pytest.mark.parametrize("agreed", ["2026-01-05", "2026-01-05T00:00:01Z", "2026-01-06T07:00:00+08:00"])
def test_only_slates_before_the_end_of_the_day_of_agreement_count(show, tmp_path, moment, counts, agreed):
    show(tmp_path, (moment, "k1", {"c1": 0.25}))
    chance, from_slates = one(tmp_path, agreed)
    assert from_slates == counts
    assert chance == 0.25 if counts else np.isnan(chance)


def test_the_newest_slate_that_holds_the_creator_counts(show, tmp_path):
    show(tmp_path, (at(3, 9), "k1", {"c2": 1.0, "c1": 0.2}))
    show(tmp_path, (at(3, 11), "k1", {"c1": 0.4}))
    show(tmp_path, (at(3, 10), "k1", {"c1": 0.3}))
    show(tmp_path, (at(4), "k1", {"c2": 0.5}))  # without the creator
    show(tmp_path, (at(4), "k2", {"c1": 0.6}))  # another campaign
    show(tmp_path, (at(4), None, {"c1": 0.7}))  # of no campaign
    show(tmp_path, (at(6), "k1", {"c1": 0.8}))  # too late
    assert one(tmp_path) == (0.4, True)
    assert one(tmp_path, agreed="2026-01-06") == (0.8, True)
    assert one(tmp_path, creator="c2") == (0.5, True)
    assert np.isnan(one(tmp_path, creator="c3")[0])


def test_what_the_data_give_wins(show, tmp_path):
    show(tmp_path, (at(3), "k1", {"c1": 0.4}))
    assert one(tmp_path, given=0.9) == (0.9, False)


def test_a_home_without_slates_changes_nothing(tmp_path):
    rows = [("k1", "c1", "2026-01-05", 0.5), ("k1", "c2", "2026-01-05", None)]
    found = propensities(market(rows), read_slates(tmp_path))
    np.testing.assert_array_equal(found.chance, [0.5, np.nan])
    assert not found.from_slates.any()
    assert found.warning is None


def test_slot_not_explored_counts_as_certain_and_damage_is_told(show, tmp_path):
    show(tmp_path, (at(3), "k1", {"c1": 1.0}))
    with next((tmp_path / FOLDER).iterdir()).open("ab") as file:
        file.write(b'{"time":"2026-')
    found = propensities(market([("k1", "c1", "2026-01-05", None)]), read_slates(tmp_path))
    assert found.chance.tolist() == [1.0]
    assert "damaged (1)" in found.warning


def test_a_naive_search_finds_the_same(show, tmp_path):
    rng = np.random.default_rng(0)
    shown = []
    for number in range(60):
        moment = at(4) + timedelta(hours=int(rng.integers(0, 200)), minutes=number)
        chances = {creator: float(rng.uniform(0.01, 1)) for creator in rng.permutation(CREATORS)[: rng.integers(1, 4)]}
        shown.append((moment, f"k{rng.integers(1, 3)}", chances))
    show(tmp_path, *shown)
    rows = [
        (f"k{rng.integers(1, 3)}", str(rng.choice(CREATORS)), date(2026, 1, int(rng.integers(1, 14))).isoformat(), None)
        for _ in range(150)
    ]
    expected = []
    for campaign, creator, agreed, _ in rows:
        ends = datetime.fromisoformat(agreed).replace(tzinfo=UTC) + timedelta(days=1)
        past = [(moment, chances[creator]) for moment, brief, chances in shown
                if brief == campaign and creator in chances and moment < ends]  # fmt: skip
        expected.append(max(past)[1] if past else np.nan)
    found = propensities(market(rows), read_slates(tmp_path))
    np.testing.assert_array_equal(found.chance, expected)
    assert 0 < np.isnan(expected).sum() < 75


# --- a backtest that reads them


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A market with its propensities, the same without, and what was bookable when."""
    root = tmp_path_factory.mktemp("slates")
    write_sample(root / "given", creators=300, placements=1600, snapshots=7, fmt="parquet")
    write_sample(root / "bare", creators=300, placements=1600, snapshots=7, fmt="parquet")
    placements = pl.read_parquet(root / "bare" / "placements.parquet")
    placements.drop("propensity").write_parquet(root / "bare" / "placements.parquet")
    return SimpleNamespace(root=root, given=root / "given", bare=root / "bare", placements=placements)


def slates_of(placements, moment=None):
    """A slate a campaign that shows everybody it booked, with the chance of being booked, on the first day of these."""
    for (campaign,), booked in placements.group_by("campaign_id", maintain_order=True):
        first = date.fromisoformat(booked["agreed_on"].cast(pl.String).min()[:10])
        noon = datetime(first.year, first.month, first.day, 12, tzinfo=UTC)
        yield moment or noon, campaign, dict(zip(booked["creator_id"], booked["propensity"], strict=True))


def follow(folder, home):
    said = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracking, "log_run", lambda *_: (None, "run"))
        return evaluate(folder, home, say=said.append).follow, said


@pytest.fixture(scope="module")
def by_data(places):
    return follow(places.given, places.root / "no-home")[0]


@pytest.fixture(scope="module")
def guessed(places):
    return follow(places.bare, places.root / "no-home")[0]


def test_the_log_tells_what_the_data_would_have(places, by_data, guessed, show, tmp_path):
    show(tmp_path, *slates_of(places.placements))
    by_slates, said = follow(places.bare, tmp_path)
    assert (by_data.given, guessed.given, by_slates.given) == (True, False, True)
    assert (by_data.from_slates, guessed.from_slates) == (0, 0)
    assert by_slates.from_slates == by_slates.support.placements > 200
    assert replace(by_slates, from_slates=0) == by_data != guessed
    assert f"given, {by_slates.from_slates} of them by the slate log" in " ".join(by_slates.sentences())
    assert not [line for line in said if "warning" in line]


def test_what_the_data_give_is_not_asked_of_the_log(places, by_data, show, tmp_path):
    other = places.placements.with_columns(propensity=pl.col("propensity").reverse())
    show(tmp_path, *slates_of(other))
    assert follow(places.given, tmp_path)[0] == by_data


def test_too_few_in_the_log_are_not_used(places, guessed, show, tmp_path):
    campaigns = sorted(places.placements["campaign_id"].unique())
    show(tmp_path, *slates_of(places.placements.filter(pl.col("campaign_id").is_in(campaigns[::2]))))
    found, _ = follow(places.bare, tmp_path)
    assert replace(found, from_slates=0) == guessed
    assert 0 < found.from_slates < found.support.placements
    words = f"the slate log has {found.from_slates} of the {found.support.placements} placements' own: too few"
    assert words in " ".join(found.sentences())


def test_slates_of_after_the_decisions_are_not_used(places, guessed, show, tmp_path):
    show(tmp_path, *slates_of(places.placements, datetime(2030, 1, 1, tzinfo=UTC)))
    assert follow(places.bare, tmp_path)[0] == guessed


def test_backtest_as_a_user_runs_it(places, show, tmp_path):
    home = tmp_path / "home"
    show(home, *slates_of(places.placements))
    with next((home / FOLDER).iterdir()).open("ab") as file:
        file.write(b'{"time":"2026-')
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "TMPDIR") if name in os.environ}
    ran = subprocess.run(
        [Path(sys.executable).parent / "influencer-roi", "backtest", places.bare, "--home", home],
        env={**kept, "LANG": "C.UTF-8", "HOME": str(tmp_path)}, cwd=tmp_path, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    said = " ".join(ran.stdout.split())
    used = re.search(r"chances of being booked are given, (\d+) of them by the slate log\.", said)
    assert int(used[1]) > 200
    assert "warning: left out of the slate log: lines that are damaged (1)" in said
