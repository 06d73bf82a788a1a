"""Many at once: processes on one home (two trainings from the very first use on, prune, a server), and clients of a
server."""

import contextlib
import json
import select
import socket
import subprocess
import time

import pytest

from serving.release import load_release
from serving.release_file import read_release_file, store_path
from tests.end_to_end.conftest import BRIEF, SCRIPTS
from training import registry


def test_two_trainings_at_once_and_prune_meanwhile_leave_a_home_that_is_whole(place, tmp_path, monkeypatch):
    home = tmp_path / "home"
    trainings = [
        subprocess.Popen(
            [SCRIPTS / "influencer-roi", "train", place.market, "--seed", str(seed)],
            env=place.environment(home), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for seed in (1, 2)
    ]  # fmt: skip
    pruned = []
    while any(training.poll() is None for training in trainings):
        pruned.append(place.done("prune", "--keep", 1, home=home))
        time.sleep(0.5)
    said = [training.communicate() for training in trainings]
    assert [training.returncode for training in trainings] == [0, 0], said
    assert len(pruned) > 2

    registered = sorted(line.split(":")[0] for out, _ in said for line in out.splitlines() if line[:7] == "Version")
    assert registered == ["Version 1", "Version 2"]
    assert all(f"Published. Serve it: influencer-roi serve --home {home}" in out for out, _ in said)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        monkeypatch.setenv(name, "" if name == "MLFLOW_TRACKING_URI" else "true")
    listed = {version.version: version for version in registry.versions(home)}
    assert set(listed) == {"1", "2"}

    # both trained on the same data: one catalogue, under one tag
    release = read_release_file(home)
    live, other = release.model.split(":")[1], ({"1", "2"} - {release.model.split(":")[1]}).pop()
    assert release.previous == ((f"influencer-roi-model:{other}", release.catalogue),)
    assert load_release(home).model_version == live
    assert {version: listed[version].aliases for version in listed} == {live: ("champion",), other: ("challenger",)}
    assert place.done("rollback", home=home).startswith(f"Back to influencer-roi-model:{other}")
    assert load_release(home).model_version == other


def test_a_server_answers_on_while_its_home_is_pruned(place, start, home):
    place.done("promote", 2, home=home)
    place.done("catalogue", place.market, "--as-of", "2026-05-15", home=home)
    held = read_release_file(home).catalogue
    server = start("influencer-roi", "serve", home=home)
    server.wait_for("/readyz")
    before = server.ask("POST", "/v1/rank", BRIEF)[1]
    assert (before["model_version"], before["data_as_of"]) == ("2", "2026-05-15")
    # the catalogue that the server holds is then neither in force nor the one before, nor any version's own
    place.done("catalogue", place.market, "--as-of", "2026-06-01", home=home)
    place.done("catalogue", place.market, "--as-of", "2026-06-15", home=home)
    said = place.done("prune", "--keep", 1, home=home)
    assert "catalogue 2026-05-15" in said
    assert not store_path(home, held).exists()
    deadline = time.monotonic() + 60
    while (answer := server.ask("POST", "/v1/rank", BRIEF))[1]["data_as_of"] != "2026-06-15":
        assert answer[0] == 200
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert (answer[0], answer[1]["model_version"], len(answer[1]["picks"])) == (200, "2", 5)
    assert server.ask("GET", "/readyz")[1]["problem"] is None


@contextlib.contextmanager
def asking(port, briefs):
    """A connection for each brief, all open before the first brief is sent, in order."""
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60)) for _ in briefs]
        for connection, brief in zip(connections, briefs, strict=True):
            body = json.dumps(brief)
            head = f"POST /v1/rank HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall((head + body).encode())
        yield connections


def whole(connection):
    """Status and body of an answer, after which the server hangs up."""
    said = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    head, _, body = said.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def counted(server, *names):
    """Samples of /metrics that are of ours, 0 where there is none yet."""
    lines = (line.rpartition(" ") for line in server.ask("GET", "/metrics")[1].splitlines())
    samples = {name.removeprefix("influencer_roi_"): value for name, _, value in lines}
    return [float(samples.get(name, 0.0)) for name in names]


@pytest.fixture(scope="module")
def server(start):
    server = start("influencer-roi", "serve")
    server.wait_for("/readyz")
    return server


def test_64_clients_are_all_answered_about_in_the_order_they_came(server):
    briefs = [{**BRIEF, "brief_id": str(number)} for number in range(64)]
    order = []
    with asking(server.port, briefs) as connections:
        waiting = dict(enumerate(connections))
        while waiting:
            ready = select.select(waiting.values(), [], [], 60)[0]
            assert ready
            for number in [number for number, connection in waiting.items() if connection in ready]:
                status, body = whole(waiting.pop(number))
                assert (status, json.loads(body)["brief_id"]) == (200, str(number))
                order.append(number)
    overtaken = [abs(place - number) for place, number in enumerate(order)]
    # what arrives at the same moment may be read in another order
    assert max(overtaken) <= 8, order


def test_what_clients_ask_who_have_gone_is_not_computed(server):
    names = ('requests_total{outcome="client_gone"}', 'step_seconds_count{step="rank"}')
    before = counted(server, *names)
    # explained to the thousandth pick, so that most are still queued when their clients leave
    briefs = [{**BRIEF, "top": 1000, "brief_id": str(number)} for number in range(60)]
    with asking(server.port, briefs) as connections:
        for connection in connections[10:50]:
            connection.close()
        assert [whole(connection)[0] for connection in [*connections[:10], *connections[50:]]] == [200] * 20
    deadline = time.monotonic() + 60
    # the one that left while it was under way is finished
    while counted(server, "in_flight", "slates_written_total") != [0.0, *counted(server, names[1])]:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    gone, computed = (now - then for now, then in zip(counted(server, *names), before, strict=True))
    assert gone > 0
    assert 20 <= computed <= 60 - gone + 1


def test_two_workers_answer_and_their_metrics_are_summed(start):
    server = start("influencer-roi", "serve", "--workers", 2)
    server.wait_for("/readyz")
    deadline = time.monotonic() + 60
    while counted(server, 'swaps_total{result="success"}') != [2.0]:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    asked, by_worker = 0, [0, 0]
    while min(by_worker) == 0:  # which of them takes a connection is the kernel's choice
        assert time.monotonic() < deadline, by_worker
        with asking(server.port, [BRIEF] * 64) as connections:
            assert [whole(connection)[0] for connection in connections] == [200] * 64
        asked += 64
        said = server.log.read_text()
        by_worker = [said.count(f"[entry_service:influencer_roi:{number}] 127") for number in (1, 2)]
    assert counted(server, 'requests_total{outcome="answered"}', 'step_seconds_count{step="rank"}') == [asked, asked]
    served = [line for line in server.ask("GET", "/metrics")[1].splitlines() if "influencer_roi_served{" in line]
    assert [line.rpartition(" ")[2] for line in served] == ["1.0"]
