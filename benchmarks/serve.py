"""How fast a brief is answered over HTTP: 10k creators of the SYNTHETIC sample market.

`python -m benchmarks.serve`. The baseline, in the same run and interleaved with the requests: `Booster.predict` of
every stage that the answer needs, one thread, on the same matrix. Targets: at most 3 x that, ready within 15 s.
"""

import argparse
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TARGET_RATIO, TARGET_READY = 3.0, 15.0
BRIEF = {"goal": "conversion", "budget": 5000, "niches": ["beauty"], "target_countries": {"SG": 0.7, "MY": 0.3}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--creators", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=60)
    asked = parser.parse_args()
    script = Path(sys.executable).with_name("influencer-roi")
    with tempfile.TemporaryDirectory() as temporary:
        market, home = Path(temporary) / "market", Path(temporary) / "home"
        for arguments in (["sample", market, "--creators", str(asked.creators)], ["train", market, "--home", home]):
            subprocess.run([script, *arguments], check=True, stdout=subprocess.DEVNULL)
        port = free_port()
        started = time.monotonic()
        server = subprocess.Popen(
            [script, "serve", "--home", home, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            ready = wait_until_ready(port, started)
            predict = booster_predict(home)
            over_http, baseline = [], []
            for _ in range(asked.requests):
                over_http.append(timed(lambda: ask(port)))
                baseline.append(timed(predict))
        finally:
            server.terminate()
            server.wait(30)
    ratio = statistics.median(over_http) / statistics.median(baseline)
    print(f"ready after {ready:.1f} s (target {TARGET_READY:.0f})")
    print(f"rank of {asked.creators} creators over HTTP, top 20 with reasons: {spread(over_http)}")
    print(f"Booster.predict of every stage on the same matrix, one thread: {spread(baseline)}")
    print(f"ratio of medians: {ratio:.2f} (target {TARGET_RATIO})")
    print("target met" if ratio <= TARGET_RATIO and ready <= TARGET_READY else "target missed")


def booster_predict(home: Path):
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from features.brief import Brief
    from features.brief_columns import encode_briefs
    from features.context import brief_context
    from features.matrix import brief_matrix
    from serving.release import load_release

    release = load_release(home)
    catalogue = release.catalogue
    briefs = encode_briefs([Brief(**BRIEF).model_dump()], catalogue.words)
    context = brief_context(catalogue.state, briefs, -1, catalogue.words, len(catalogue.tier_names))
    x = brief_matrix(catalogue.state, context)
    boosters = [trees.booster for stage in release.model.stages.values() for trees in stage.trees]
    return lambda: [booster.predict(x, raw_score=True, num_threads=1) for booster in boosters]


def wait_until_ready(port: int, started: float) -> float:
    while time.monotonic() - started < 120:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return time.monotonic() - started
        except OSError:
            pass
        time.sleep(0.05)
    raise SystemExit("the server was not ready within 120 s")


def ask(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/v1/rank", json.dumps(BRIEF), {"Content-Type": "application/json"})
    response = connection.getresponse()
    answer = json.loads(response.read())
    if response.status != 200 or len(answer["picks"]) != 20:
        raise SystemExit(f"unexpected answer {response.status}: {answer}")


def timed(call) -> float:
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1000


def spread(milliseconds: list[float]) -> str:
    ordered = sorted(milliseconds)
    p95 = ordered[int(len(ordered) * 0.95)]
    return f"median {statistics.median(ordered):.1f} ms, fastest {ordered[0]:.1f}, p95 {p95:.1f}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    main()
