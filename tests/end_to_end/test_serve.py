"""The real server on a trained home, asked over HTTP."""

import json
import os
import shutil
import signal
import socket
import time
from pathlib import Path

import pytest

BRIEF = {"goal": "conversion", "budget": 20000, "target_countries": {"SG": 0.7, "MY": 0.3}, "top": 5}
BRIEFS = [
    {**BRIEF, "brief_id": "a"},
    {"goal": "awareness", "budget": 4000, "brief_id": "b", "top": 30, "filters": {"tiers": ["micro", "macro"]}},
    {"goal": "engagement", "budget": 900, "brief_id": "c", "rank_by": "profit", "niches": ["beauty"]},
    {"goal": "launch", "budget": 9000, "brief_id": "d", "is_new_product": True, "starts_on": "2026-11-01"},
    {"goal": "local", "budget": 2000, "brief_id": "e", "target_countries": ["IN"], "explain": False},
]


@pytest.fixture(scope="module")
def server(place, start, tmp_path_factory):
    home = shutil.copytree(place.home, tmp_path_factory.mktemp("served") / "home", symlinks=True)
    server = start("influencer-roi", "serve", "--home", home)
    print(f"ready after {server.wait_for('/readyz'):.1f} s")
    server.home = home
    return server


def row(pick, brief_id, version):
    """A pick of the service as a row of the command's table."""
    expected = {f"expected_{name}": pick["expected"][name] for name in ("impressions", "engagements", "conversions")}
    same = ("rank", "creator_id", "tier", "platform", "fee", "fee_source", "roi", "roi_low", "roi_high", "p_profit")
    return {
        **{name: pick[name] for name in same},
        **expected,
        "value": pick["expected"]["value"],
        "brief_id": brief_id,
        "model_version": version,
    }


def test_the_service_and_the_command_give_the_same_picks(server, command, brief, tmp_path):
    path = brief("\n".join(map(json.dumps, BRIEFS)), "briefs.jsonl")
    assert command("rank", path, "--home", server.home, "--out", tmp_path / "picks.json")[0] == 0
    rows = json.loads((tmp_path / "picks.json").read_text())
    served = []
    for asked in BRIEFS:
        status, answer = server.ask("POST", "/v1/rank", asked)
        assert status == 200
        served += [row(pick, answer["brief_id"], answer["model_version"]) for pick in answer["picks"]]
    assert len(served) == len(rows) > 60
    assert served == rows


def test_the_card_the_probes_and_the_metrics_answer(server):
    status, card = server.ask("GET", "/v1/model")
    assert status == 200
    assert (card["synthetic"], card["data"]["rows"]["placements"]) == (True, 2500)
    assert len(card["metrics"]["baselines"]) == 7
    assert card["value_configuration"]["cpm"] == 12.0
    assert card["promise"]["bound"] > 0
    assert 0 <= card["promise"]["slope"] < 1
    assert server.ask("GET", "/livez")[0] == 200
    assert server.ask("GET", "/readyz")[1]["data_as_of"] == card["data_as_of"]
    assert server.ask("POST", "/v1/rank", BRIEF)[0] == 200
    said = server.ask("GET", "/metrics")[1]
    assert "bentoml_service_request_total" in said
    assert 'influencer_roi_requests_total{outcome="answered"}' in said
    assert f'influencer_roi_served{{data_as_of="{card["data_as_of"]}",model_version="1"}} 1.0' in said


def test_libraries_in_a_worker_run_one_thread_that_does_not_spin(server):
    workers = [pid for pid in server.processes() if b"worker.service" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(workers) == 1
    environment = Path(f"/proc/{workers[0]}/environ").read_bytes().split(b"\0")
    assert {b"OMP_WAIT_POLICY=passive", b"OMP_NUM_THREADS=1", b"OPENBLAS_NUM_THREADS=1"} <= set(environment)


def test_the_description_of_the_api_has_both_routes_and_an_example_that_works(server):
    paths = server.ask("GET", "/docs.json")[1]["paths"]
    assert "get" in paths["/v1/model"]
    asked = paths["/v1/rank"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    status, answer = server.ask("POST", "/v1/rank", asked["example"])
    assert (status, len(answer["picks"])) == (200, asked["example"]["top"])


BAD_REQUESTS = {
    "empty body": ("POST", "/v1/rank", "", 400, None, ["empty", '"goal"']),
    "not JSON": ("POST", "/v1/rank", '{"goal": ', 400, None, ["not valid JSON"]),
    "a list": ("POST", "/v1/rank", "[]", 400, None, ["a list"]),
    "unknown field": ("POST", "/v1/rank", {**BRIEF, "budgt": 1}, 400, "budgt", ["did you mean budget"]),
    "unknown goal": ("POST", "/v1/rank", {**BRIEF, "goal": "sales"}, 400, "goal", ["'awareness'"]),
    "budget 0": ("POST", "/v1/rank", {**BRIEF, "budget": 0}, 400, "budget", ["above 0"]),
    "top 10^9": ("POST", "/v1/rank", {**BRIEF, "top": 10**9}, 400, "top", ["at most 1000"]),
    "other currency": ("POST", "/v1/rank", {**BRIEF, "currency": "EUR"}, 400, "currency", ["EUR", "USD"]),
    "nobody": (
        "POST", "/v1/rank", {**BRIEF, "filters": {"max_fee": 0.001}}, 422, "filters.max_fee", ["Relax filters.max_fee"],
    ),
    "no such path": ("GET", "/v2/rank", None, 404, None, ["POST /v1/rank"]),
    "wrong method": ("GET", "/v1/rank", None, 405, None, ["use POST"]),
}  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "field", "words"), BAD_REQUESTS.values(), ids=BAD_REQUESTS
)
def test_a_bad_request_is_refused_in_one_shape_and_the_server_goes_on(server, method, path, body, status, field, words):
    answered, said = server.ask(method, path, body)
    assert (answered, set(said)) == (status, {"error"})
    assert set(said["error"]) == {"code", "message", "field", "request_id"}
    assert said["error"]["field"] == field
    assert [word for word in words if word not in said["error"]["message"]] == []
    assert server.ask("POST", "/v1/rank", BRIEF)[0] == 200


@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "chunked"])
def test_fifty_megabytes_are_refused_without_being_read(server, chunked):
    megabyte = b"x" * (1 << 20)
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {50 << 20}"
    head = f"POST /v1/rank HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{length}\r\n\r\n"
    answer = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(head.encode())
        try:
            for _ in range(50):
                connection.sendall(b"100000\r\n" + megabyte + b"\r\n" if chunked else megabyte)
            connection.sendall(b"0\r\n\r\n" if chunked else b"")
        except ConnectionError:
            pass  # it has answered and hung up: what it said is still to be read
        try:
            while b"}}" not in answer and (more := connection.recv(1 << 16)):
                answer += more
        except ConnectionError:
            pass
    assert answer.startswith(b"HTTP/1.1 413 "), answer[:300]
    assert b'"code":"body_too_large"' in answer
    assert server.ask("POST", "/v1/rank", BRIEF)[0] == 200


def test_a_promotion_and_a_rollback_are_taken_up_while_it_runs(server, command):
    def served_within(version, seconds=10):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            status, answer = server.ask("POST", "/v1/rank", BRIEF)
            assert status == 200
            if answer["model_version"] == version:
                return True
            time.sleep(0.2)
        return False

    assert served_within("1")
    assert command("promote", 2, "--home", server.home)[0] == 0
    assert served_within("2")
    assert server.ask("GET", "/v1/model")[1]["version"] == "2"
    assert command("rollback", "--home", server.home)[0] == 0
    assert served_within("1")


def test_without_a_release_it_boots_says_what_to_do_and_takes_up_the_first_one(place, start, tmp_path):
    home = tmp_path / "home"
    server = start("influencer-roi", "serve", "--home", home)
    server.wait_for("/livez")
    for method, path, body in (("POST", "/v1/rank", BRIEF), ("GET", "/readyz", None), ("GET", "/v1/model", None)):
        status, said = server.ask(method, path, body)
        assert (status, "influencer-roi train DIR" in said["error"]["message"]) == (503, True)
    assert "influencer-roi train DIR" in server.log.read_text()
    shutil.copytree(place.home, home, symlinks=True, dirs_exist_ok=True)
    deadline = time.monotonic() + 20
    while server.ask("GET", "/readyz")[0] != 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert server.ask("POST", "/v1/rank", BRIEF)[0] == 200


def test_sigterm_stops_it_and_all_it_started(start):
    server = start("influencer-roi", "serve", "--workers", 2)
    server.wait_for("/readyz")
    deadline = time.monotonic() + 30
    while server.log.read_text().count("Completed async startup hook") < 2:
        assert time.monotonic() < deadline, server.log.read_text()
        time.sleep(0.2)
    assert len(server.processes()) >= 3  # what supervises, and two workers
    os.kill(server.process.pid, signal.SIGTERM)
    server.process.wait(timeout=30)
    deadline = time.monotonic() + 10
    while server.processes():
        assert time.monotonic() < deadline, server.processes()
        time.sleep(0.2)
    assert "Traceback" not in server.log.read_text()
    with pytest.raises(ConnectionRefusedError):
        server.ask("GET", "/livez")


def test_serving_writes_nothing_outside_the_home(server, place):
    assert server.ask("POST", "/v1/rank", BRIEF)[0] == 200
    assert [path for path in place.cwd.rglob("*") if path.is_file()] == []
    assert [
        path for path in place.user.rglob("*") if path.is_file() and place.user / "bentoml" not in path.parents
    ] == []
