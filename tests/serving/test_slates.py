"""The slate log: nothing that was appended is lost by a kill, and no trouble with the disk reaches an answer."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.brief import parse_brief
from serving.answers import Expected, Pick, RankAnswer, Reason
from serving.slate_reader import read_slates
from serving.slates import FOLDER, SlateLog, log, slate_line

BRIEF = parse_brief({"goal": "conversion", "budget": 5000, "brief_id": "k1", "filters": {"tiers": ["micro"]}})
NOW = datetime(2026, 3, 1, 12, 30, 0, 5, tzinfo=UTC)


def answer(request_id="r1", picks=2, creator_id="c{}"):
    shown = tuple(
        Pick(
            rank=rank, creator_id=creator_id.format(rank), platform="tiktok", tier="micro", tier_local="micro",
            fee=100.5, fee_source="paid", roi=0.25, roi_low=-0.5, roi_high=2.0, p_profit=0.4, confidence="low",
            expected=Expected(impressions=1000.0, value=150.0),
            reasons=(Reason(factor="cost", effect=0.1, text="cheap"),),
        )
        for rank in range(1, picks + 1)
    )  # fmt: skip
    return RankAnswer(
        request_id=request_id, brief_id="k1", model_version="7", feature_schema="abc", data_as_of="2026-02-28",
        currency="USD", value_basis={"cpm": 12}, considered=900, filtered_out={"over_budget": 3}, picks=shown,
    )  # fmt: skip


def requests(home):
    """Request ids as they are read, one a slate; nothing may be damaged."""
    found = read_slates(home)
    assert found.warning is None
    return found.picks.filter(pl.col("rank") == 1)["request_id"].to_list()


def files(home):
    return sorted((home / FOLDER).glob("*"))


def path_of(descriptor):
    return str(Path(f"/proc/self/fd/{descriptor}").readlink())


@pytest.fixture
def slate_log(tmp_path):
    """Logs of the home `tmp_path` that sync when asked to; closed at the end."""
    made = []

    def make(**options):
        made.append(SlateLog(tmp_path / FOLDER, **{"sync_seconds": 3600, **options}))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def said(caplog):
    """Messages of the log, whatever BentoML has made of its loggers."""
    log.addHandler(caplog.handler)
    caplog.set_level("INFO", logger=log.name)
    yield lambda: [record.getMessage() for record in dict.fromkeys(caplog.records)]
    log.removeHandler(caplog.handler)


# --- a line


def test_a_line_says_what_was_asked_and_answered_without_reasons():
    line = slate_line(BRIEF, answer(picks=1), NOW)
    assert line.index(b"\n") == len(line) - 1
    assert json.loads(line) == {
        "time": "2026-03-01T12:30:00.000005Z", "request_id": "r1",
        "brief": {"goal": "conversion", "budget": 5000.0, "brief_id": "k1", "filters": {"tiers": ["micro"]}},
        "model_version": "7", "data_as_of": "2026-02-28", "feature_schema": "abc", "currency": "USD",
        "considered": 900, "filtered_out": {"over_budget": 3},
        "picks": [{
            "rank": 1, "creator_id": "c1", "fee": 100.5, "fee_source": "paid", "value": 150.0, "roi": 0.25,
            "roi_low": -0.5, "roi_high": 2.0, "p_profit": 0.4,
            "expected": dict.fromkeys(["engagements", "clicks", "conversions"]) | {"impressions": 1000, "value": 150},
            "explore": False, "propensity": 1.0,
        }],
    }  # fmt: skip


@pytest.mark.parametrize("text", ["007", 'a "b"', "back\\slash", "line\nbreak\r\x0b\u2028", "null", '{"a": 1}', "活动"])
def test_texts_come_back_as_they_were(slate_log, tmp_path, text):
    brief = parse_brief({"goal": "awareness", "budget": 1, "brief_id": text})
    slate_log().append(brief, answer(creator_id=text.replace("{", "{{").replace("}", "}}")))
    row = read_slates(tmp_path).picks.row(0, named=True)
    assert (row["brief_id"], row["creator_id"]) == (brief.brief_id, text)
    assert json.loads(row["brief"]) == {"goal": "awareness", "budget": 1.0, "brief_id": brief.brief_id}


# --- reading


def test_a_row_a_pick_in_the_order_of_time(slate_log, tmp_path):
    one, other = slate_log(), slate_log()
    one.append(BRIEF, answer("first", picks=3))
    other.append(parse_brief({"goal": "awareness", "budget": 10}), answer("second", picks=1))
    one.append(BRIEF, answer("third", picks=0))
    one.append(BRIEF, answer("fourth", picks=1))
    found = read_slates(tmp_path).picks
    assert found["request_id"].to_list() == ["first"] * 3 + ["second", "fourth"]
    assert found["rank"].to_list() == [1, 2, 3, 1, 1]
    assert found["brief_id"].to_list() == ["k1"] * 3 + [None, "k1"]
    assert found["time"].is_sorted()
    nowhere = read_slates(tmp_path / "nowhere")
    assert nowhere.picks.schema == found.schema
    assert (nowhere.picks.height, nowhere.warning) == (0, None)
    row = found.row(0, named=True)
    assert row["time"].tzinfo is not None
    assert abs((row.pop("time") - datetime.now(UTC)).total_seconds()) < 3600
    assert json.loads(row.pop("brief")) == BRIEF.model_dump(exclude_unset=True) | {"filters": {"tiers": ["micro"]}}
    assert json.loads(row.pop("filtered_out")) == {"over_budget": 3}
    assert row == {
        "request_id": "first", "brief_id": "k1", "model_version": "7", "data_as_of": "2026-02-28",
        "feature_schema": "abc", "currency": "USD", "considered": 900, "rank": 1, "creator_id": "c1", "fee": 100.5,
        "fee_source": "paid", "value": 150.0, "roi": 0.25, "roi_low": -0.5, "roi_high": 2.0, "p_profit": 0.4,
        "expected_impressions": 1000.0, "expected_engagements": None, "expected_clicks": None,
        "expected_conversions": None, "explore": False, "propensity": 1.0,
    }  # fmt: skip


GOOD = slate_line(BRIEF, answer(picks=1), NOW)


@pytest.mark.parametrize(
    ("between", "damaged"),
    [
        (GOOD[:-2] + b"\n", 1),
        (GOOD[:40] + b"\n" + GOOD[40:], 2),
        (b"\0" * 500 + b"\n", 1),
        (b"\n\n", 0),
        (b"{}\n[1]\n5\nnull\n", 4),
        (b"\xff\xfe\n", 1),
        (GOOD.replace(b'"time":"2026', b'"time":"soon'), 1),
        (GOOD.replace(b'"rank":1', b'"rank":"first"'), 1),
        (GOOD.replace(b'"picks":[', b'"other":['), 1),
        (GOOD.replace(b'"brief":{', b'"short":{'), 1),
        (GOOD.replace(b'"brief_id":"k1"', b'"brief_id":[1]'), 1),
        (GOOD.replace(b'"rank":1', b'"rank":1,"new":[2]'), 0),
    ],
)
def test_damaged_lines_are_left_out_and_counted(tmp_path, between, damaged):
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "slates-a.jsonl").write_bytes(GOOD * 3 + between + GOOD * 2 + GOOD[:100])
    found = read_slates(tmp_path)
    assert found.damaged == damaged + 1
    assert f"damaged ({damaged + 1})" in found.warning
    assert found.picks.height == 5 + (b'"new"' in between)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_whatever_stands_between_lines_they_are_read(tmp_path, junk):
    (tmp_path / FOLDER).mkdir(exist_ok=True)
    (tmp_path / FOLDER / "slates-a.jsonl").write_bytes(GOOD + junk + b"\n" + GOOD)
    assert read_slates(tmp_path).picks.height == 2


def test_files_that_cannot_be_read_are_named(slate_log, tmp_path):
    slate_log().append(BRIEF, answer())
    (tmp_path / FOLDER / "slates-folder.jsonl").mkdir()
    (tmp_path / FOLDER / "notes.txt").write_text("mine")
    found = read_slates(tmp_path)
    assert found.picks.height == 2
    assert found.warning == "left out of the slate log: files that cannot be read (slates-folder.jsonl)"


# --- a process that ends, and several at once

CHILD = """
import resource, sys
sys.path[:0] = sys.argv[4:]
from pathlib import Path
from test_slates import BRIEF, answer, SlateLog
name, count = sys.argv[2], int(sys.argv[3])
slates = SlateLog(Path(sys.argv[1]), sync_seconds=0.01, max_bytes=20_000)
if name == "limited":
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, resource.RLIM_INFINITY))
for number in range(count):
    before = slates.failed
    slates.append(BRIEF, answer(f"{name}-{number}"))
    if slates.failed == before:
        print(f"{name}-{number}", flush=True)
"""


def child(home, name, count):
    here = Path(__file__).resolve().parent
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, home / FOLDER, name, str(count), here, here.parent.parent],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.parametrize("after", [1, 60, 700])
def test_a_killed_process_loses_no_slate_whose_append_returned(tmp_path, after):
    process = child(tmp_path, "a", 10**9)
    told = [process.stdout.readline().strip() for _ in range(after)]
    process.kill()
    told += process.stdout.read().split()
    process.wait()
    found = read_slates(tmp_path).picks.filter(pl.col("rank") == 1)["request_id"].to_list()
    assert len(told) >= after
    assert found[: len(told)] == told  # the one after may be there too
    assert len(found) <= len(told) + 1


def test_two_processes_write_at_once(tmp_path):
    both = [child(tmp_path, name, 300) for name in ("a", "b")]
    told = [line for process in both for line in process.communicate()[0].split()]
    assert len(told) == 600
    assert sorted(requests(tmp_path)) == sorted(told)
    assert {path.name.split("-")[2] for path in files(tmp_path)} == {str(process.pid) for process in both}


def test_a_disk_without_room_tears_no_line(tmp_path):
    """RLIMIT_FSIZE: a write that would go beyond is cut short, as by a full disk."""
    told = child(tmp_path, "limited", 50).communicate()[0].split()
    assert 20 < len(told) < 50
    assert requests(tmp_path) == told
    assert all(0 < path.stat().st_size <= 5_000 for path in files(tmp_path))


# --- files


def test_files_are_rotated_and_no_slate_is_lost(slate_log, tmp_path):
    slates = slate_log(max_bytes=4_000)
    for number in range(30):
        slates.append(BRIEF, answer(str(number)))
    slates.append(BRIEF, answer("long", picks=40))
    slates.append(BRIEF, answer("last"))
    beyond = [path.stat().st_size > 4_000 for path in files(tmp_path)]
    assert sum(beyond) == 1 < len(beyond) - 5
    assert requests(tmp_path) == [*map(str, range(30)), "long", "last"]
    assert all(path.name.startswith("slates-2") and path.suffix == ".jsonl" for path in files(tmp_path))


def test_threads_append_at_once(slate_log, tmp_path):
    slates = slate_log(max_bytes=9_000, sync_seconds=0.001)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda number: slates.append(BRIEF, answer(str(number))), range(400)))
    slates.close()
    assert (slates.written, slates.failed, slates.backlog) == (400, 0, 0)
    assert sorted(requests(tmp_path)) == sorted(map(str, range(400)))


def test_a_name_that_is_taken_is_left_alone(slate_log, tmp_path):
    one, other = slate_log(), slate_log()
    other._started = one._started  # as in containers, which count their processes from the same number
    one.append(BRIEF, answer("one"))
    other.append(BRIEF, answer("other"))
    assert (requests(tmp_path), len(files(tmp_path))) == (["one", "other"], 2)


# --- durability


def test_what_is_written_is_synced_and_files_that_are_full_are_closed(slate_log, tmp_path, monkeypatch):
    synced, real = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: (synced.append(path_of(number)), real(number)))
    slates = slate_log(max_bytes=1_500)
    assert (slates.backlog, slates.written) == (0, 0)
    for number in range(4):
        slates.append(BRIEF, answer(str(number)))
    assert (slates.backlog, slates.written, synced) == (4, 4, [])
    slates.sync()
    assert set(synced) == {str(path) for path in [tmp_path, tmp_path / FOLDER, *files(tmp_path)]}
    numbers = [int(entry.name) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    assert {path_of(number) for number in numbers} & set(map(str, files(tmp_path))) == {str(files(tmp_path)[-1])}
    synced.clear()
    slates.sync()
    assert (synced, slates.backlog) == ([], 0)


def test_a_thread_syncs_and_ends_with_the_log(slate_log, tmp_path):
    before, slates = set(threading.enumerate()), slate_log(sync_seconds=0.005)
    slates.append(BRIEF, answer("a"))
    until = time.monotonic() + 30
    while slates.backlog and time.monotonic() < until:
        time.sleep(0.005)
    assert slates.backlog == 0
    slates.close()
    assert set(threading.enumerate()) <= before
    slates.append(BRIEF, answer("b"))
    slates.close()
    assert (requests(tmp_path), slates.backlog) == (["a", "b"], 0)


def test_a_sync_that_fails_is_counted(slate_log, said, monkeypatch):
    slates = slate_log()
    slates.append(BRIEF, answer())
    slates.append(BRIEF, answer())
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken(OSError(5, "Input/output error")))
        slates.sync()
    assert (slates.written, slates.failed, slates.backlog) == (2, 2, 0)
    assert ["Input/output error" in words for words in said()] == [True]


# --- trouble


def broken(error):
    def raises(*_):
        raise error

    return raises


def test_trouble_is_counted_told_once_and_over_when_it_is_over(slate_log, tmp_path, said):
    (tmp_path / FOLDER).write_text("a file where the folder should be")
    slates = slate_log()
    for number in range(5):
        slates.append(BRIEF, answer(str(number)))
    assert (slates.written, slates.failed, slates.backlog) == (0, 5, 0)
    assert [words.split(" in ")[0] for words in said()] == ["no slates are kept"]
    (tmp_path / FOLDER).unlink()
    slates.append(BRIEF, answer("now"))
    slates.sync()
    slates.append(BRIEF, answer("and now"))
    slates.sync()
    assert (slates.written, slates.failed, slates.backlog) == (2, 5, 0)
    assert len(said()) == 2
    assert "again; 5 were not" in said()[1]
    assert requests(tmp_path) == ["now", "and now"]
    shutil.rmtree(tmp_path / FOLDER)
    (tmp_path / FOLDER).write_text("again")
    slates.append(BRIEF, answer())
    assert len(said()) == 3


@pytest.mark.parametrize("gone", [FOLDER, "."])
def test_a_folder_that_is_deleted_is_made_again(slate_log, tmp_path, gone):
    home = tmp_path / "home"
    slates = SlateLog(home / FOLDER, sync_seconds=3600)
    slates.append(BRIEF, answer("lost with it"))
    shutil.rmtree(home / gone)
    slates.append(BRIEF, answer("a"))
    slates.append(BRIEF, answer("b"))
    slates.close()
    assert (requests(home), slates.failed) == (["a", "b"], 0)


@pytest.mark.parametrize("truncated", [True, False])
def test_a_write_cut_short_spoils_no_other_line(slate_log, tmp_path, monkeypatch, said, truncated):
    slates, real = slate_log(), os.write
    slates.append(BRIEF, answer("before"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda number, line: real(number, line[: len(line) // 2]))
        if not truncated:
            patch.setattr(os, "ftruncate", broken(OSError(5, "Input/output error")))
        slates.append(BRIEF, answer("torn"))
    slates.append(BRIEF, answer("after"))
    assert (slates.written, slates.failed) == (2, 1)
    assert len(said()) == 1
    found = read_slates(tmp_path)
    assert found.picks["request_id"].unique(maintain_order=True).to_list() == ["before", "after"]
    assert found.damaged == (0 if truncated else 1)


def test_a_full_disk_leaves_no_litter(slate_log, tmp_path, monkeypatch):
    slates = slate_log()
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", broken(OSError(28, "No space left on device")))
        for _ in range(5):
            slates.append(BRIEF, answer())
    assert (slates.failed, files(tmp_path)) == (5, [])
    slates.append(BRIEF, answer("room again"))
    assert requests(tmp_path) == ["room again"]


def test_an_answer_that_is_none_is_our_fault_and_is_told_with_its_trace(slate_log, tmp_path, said, caplog):
    slates = slate_log()
    slates.append(BRIEF, None)
    slates.append(BRIEF, answer("fine"))
    assert (slates.written, slates.failed) == (1, 1)
    assert len(said()) == 1
    assert caplog.records[0].exc_info is not None
    assert requests(tmp_path) == ["fine"]
