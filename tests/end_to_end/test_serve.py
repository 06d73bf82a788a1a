"""The real server on a trained home, asked over HTTP."""

import json
import os
import re
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
NEAR = {"countries": ["SG", "MY", "ID"]}  # few enough that the best plan is found, and proven, long before time is up
PLANS = [
    {**BRIEF, "brief_id": "p", "filters": NEAR,
     "plan": {"max_creators": 8, "tier_limits": {"mega": 0}, "per_creator_cap": 0.4}},
    {"goal": "awareness", "budget": 3000, "brief_id": "q", "filters": NEAR,
     "plan": {"max_creators": 5, "platform_limits": {"tiktok": 0.5}}},
    {"goal": "engagement", "budget": 900, "brief_id": "r", "rank_by": "engagements", "filters": NEAR},
]  # fmt: skip
# the contract's fields, written out: a test that reads them from the program would follow every mistake
HEAD = {"request_id", "brief_id", "model_version", "feature_schema", "data_as_of", "currency", "value_basis",
        "considered", "filtered_out"}  # fmt: skip
PLANNED = {"picks", "total_cost", "expected_value", "roi", "roi_low", "roi_high", "unique_reach"}
OTHER_PLANS = ("micro_only", "macro_only", "best_single_tier", "greedy_cost_per_engagement")


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


def test_a_plan_has_the_fields_of_the_contract_and_keeps_its_limits(server):
    status, answer = server.ask("POST", "/v1/plan", PLANS[0])
    assert status == 200
    assert {"plan", "alternatives", "posting_order", "p_mix_beats_single_tier", "sensitivity", *HEAD} <= answer.keys()
    assert (answer["brief_id"], answer["model_version"], answer["considered"]) == ("p", "1", 600)
    others = [answer["alternatives"][name] for name in OTHER_PLANS]
    for plan in [answer["plan"], *filter(None, others)]:
        assert plan.keys() >= PLANNED
        assert plan["total_cost"] == pytest.approx(sum(pick["spend"] for pick in plan["picks"]), abs=0.01)
        assert plan["total_cost"] <= 20000
    assert others[0] is not None
    assert {pick["tier"] for pick in others[0]["picks"]} == {"micro"}
    picks = answer["plan"]["picks"]
    assert 1 < len(picks) <= 8
    assert sorted(answer["posting_order"]) == sorted(pick["creator_id"] for pick in picks)
    assert "mega" not in {pick["tier"] for pick in picks}
    assert max(pick["spend"] for pick in picks) <= 8000
    assert answer["plan"]["expected_value"] > max(plan["expected_value"] for plan in filter(None, others)) - 0.01
    assert any("micro" in said["text"] for said in answer["conclusions"])


def test_the_service_and_the_command_give_the_same_plans(server, command, brief, tmp_path):
    path = brief("\n".join(map(json.dumps, PLANS)), "plans.jsonl")
    assert command("plan", path, "--home", server.home, "--out", tmp_path / "plans.json")[0] == 0
    served = []
    for asked in PLANS:
        status, answer = server.ask("POST", "/v1/plan", asked)
        assert status == 200
        assert answer["plan"]["solved"]["method"] == "optimal"
        place = {creator: position for position, creator in enumerate(answer["posting_order"], 1)}
        served += [
            {
                **row(pick, answer["brief_id"], answer["model_version"]),
                **{name: pick[name] for name in ("deliverable", "spend", "value_added")},
                "posting_position": place[pick["creator_id"]],
                "replacement": pick["replacement"] and pick["replacement"]["creator_id"],
            }
            for pick in answer["plan"]["picks"]
        ]
    assert {pick["brief_id"] for pick in served} == {"p", "q", "r"}
    assert json.loads((tmp_path / "plans.json").read_text()) == served


def test_a_budget_too_small_is_refused_with_the_smallest_one_which_does(server):
    asked = {**BRIEF, "budget": 1000, "plan": {"tier_limits": {"micro": {"min": 60}}}}
    status, said = server.ask("POST", "/v1/plan", asked)
    assert (status, said["error"]["field"]) == (422, "budget")
    least = float(re.search(r"smallest budget is ([\d,.]+\d)", said["error"]["message"])[1].replace(",", ""))
    assert least > 1000
    status, answer = server.ask("POST", "/v1/plan", {**asked, "budget": least})
    assert (status, len(answer["plan"]["picks"]) >= 60) == (200, True)
    assert server.ask("POST", "/v1/plan", {**asked, "budget": least - 1})[0] == 422


def test_the_card_the_probes_and_the_metrics_answer(server):
    status, card = server.ask("GET", "/v1/model")
    assert status == 200
    assert (card["synthetic"], card["data"]["rows"]["placements"]) == (True, 2500)
    assert len(card["metrics"]["baselines"]) == 7
    assert card["value_configuration"]["cpm"] == 12.0
    assert card["promise"]["bound"] > 0
    assert 0 <= card["promise"]["slope"] < 1
    assert card["tiers"]["all goals"].keys() == {"winner", "reason", "text"}
    assert 0 < card["together"]["reach_per_impression"] <= 1
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


def test_the_description_of_the_api_has_every_route_and_examples_that_work(server):
    paths = server.ask("GET", "/docs.json")[1]["paths"]
    assert "get" in paths["/v1/model"]
    ranked, planned = (
        paths[path]["post"]["requestBody"]["content"]["application/json"]["schema"]["example"]
        for path in ("/v1/rank", "/v1/plan")
    )
    status, answer = server.ask("POST", "/v1/rank", ranked)
    assert (status, len(answer["picks"])) == (200, ranked["top"])
    status, answer = server.ask("POST", "/v1/plan", planned)
    assert (status, 0 < len(answer["plan"]["picks"]) <= planned["plan"]["max_creators"]) == (200, True)


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
    "a plan that is none": ("POST", "/v1/plan", {**BRIEF, "plan": 5}, 400, "plan", ["an object"]),
    "unknown field of a plan": (
        "POST", "/v1/plan", {**BRIEF, "plan": {"max_creator": 5}}, 400, "plan.max_creator", ["plan.max_creators"],
    ),
    "a limit in words": (
        "POST", "/v1/plan", {**BRIEF, "plan": {"tier_limits": {"micro": "3"}}}, 400, "plan.tier_limits.micro",
        ["min_share"],
    ),
    "a stranger in a plan": (
        "POST", "/v1/plan", {**BRIEF, "plan": {"must_include": ["nobody"]}}, 400, "plan.must_include", ["nobody"],
    ),
    "a plan of nobody": (
        "POST", "/v1/plan", {**BRIEF, "filters": {"max_fee": 0.001}}, 422, "filters.max_fee", ["filters.max_fee"],
    ),
    "a ranking with a plan": ("POST", "/v1/rank", {**BRIEF, "plan": {}}, 400, "plan", ["POST /v1/plan"]),
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
    for path, body in (("/v1/rank", BRIEF), ("/v1/plan", BRIEF), ("/readyz", None), ("/v1/model", None)):
        status, said = server.ask("POST" if body else "GET", path, body)
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
