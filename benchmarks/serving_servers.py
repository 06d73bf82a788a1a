"""Servers in processes of their own, and clients that ask them."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from benchmarks.serving_models import SCRIPT

ROOT = Path(__file__).resolve().parent.parent
OURS, NAIVE, NOOP = "ours", "naive", "noop"
BASELINES = {NAIVE: "benchmarks.naive_service:Naive", NOOP: "benchmarks.naive_service:NoOp"}
MOST_SECONDS = 120.0  # until a server is ready
IDLE_SECONDS = 2.0  # servers close what nobody used for 5
LONGEST = 3600.0  # that a client waits for an answer


class Server:
    """A server (OURS, NAIVE or NOOP) on a home, ready when made; `ready` says after how many seconds."""

    def __init__(self, what: str, home: Path, workers: int = 1) -> None:
        self.port = free_port()
        self._store = tempfile.TemporaryDirectory()
        if what == OURS:
            command = [SCRIPT, "serve", "--home", home, "--workers", str(workers)]
        else:
            command = [sys.executable, "-m", "bentoml", "serve", BASELINES[what], "--working-dir", ROOT]
        environment = {
            **os.environ, "INFLUENCER_ROI_HOME": str(home), "BENTOML_HOME": self._store.name,
            "BENTOML_DO_NOT_TRACK": "True",
        }  # fmt: skip
        started = time.monotonic()
        log = Path(self._store.name) / "log.txt"
        with log.open("wb") as written:
            self._process = subprocess.Popen(
                [*command, "--port", str(self.port)], stdout=written, stderr=subprocess.STDOUT, env=environment,
                cwd=ROOT, start_new_session=True,
            )  # fmt: skip
        try:
            self.ready = self._wait_until_ready(started)
        except TimeoutError as error:
            said = log.read_text()[-3000:]
            self.stop()
            raise SystemExit(f"{said}\n{what}: {error}") from None
        except BaseException:
            self.stop()
            raise

    def _wait_until_ready(self, started: float) -> float:
        """Seconds from a moment of `time.monotonic` to the first yes."""
        while time.monotonic() - started < MOST_SECONDS and self._process.poll() is None:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                connection.request("GET", "/readyz")
                if connection.getresponse().status == 200:
                    return time.monotonic() - started
            except OSError:
                pass
            time.sleep(0.05)
        raise TimeoutError(f"the server ended, or was not ready within {MOST_SECONDS:.0f} s")

    def settle(self) -> None:
        """Wait until nothing is being computed: the first worker's yes says nothing of the others."""
        used, before = self._used(), -1.0
        while used - before > 0.05:
            time.sleep(1.0)
            before, used = used, self._used()

    def _used(self) -> float:
        processes = psutil.Process(self._process.pid).children(recursive=True)
        return sum(process.cpu_times().user + process.cpu_times().system for process in processes)

    def worker(self) -> psutil.Process:
        """The largest process of the server: a worker."""
        return max(psutil.Process(self._process.pid).children(recursive=True), key=lambda p: p.memory_info().rss)

    def memory(self) -> dict[str, float]:
        """MB of a worker: resident, with its share of what others map too, and what is not of mapped files."""
        lines = Path(f"/proc/{self.worker().pid}/smaps_rollup").read_text().splitlines()[1:]
        kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines}
        named = {"RSS": "Rss", "PSS": "Pss", "own, not of files": "Anonymous"}
        return {name: kilobytes[kernel] * 1024 / 1e6 for name, kernel in named.items()}

    def stop(self) -> None:
        """End the server and all that it started."""
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._store.cleanup()


@contextmanager
def serving(*asked: tuple[str, Path, int]):
    """Servers (what, home, workers), one started after the other, all ended afterwards."""
    with ExitStack() as stack:
        servers = []
        for what, home, workers in asked:
            server = Server(what, home, workers)
            stack.callback(server.stop)
            servers.append(server)
        yield servers


class Client:
    """One client on one connection that stays open while it is used."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LONGEST)
        self._asked = time.monotonic()

    def ask(self, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer to a brief."""
        if time.monotonic() - self._asked > IDLE_SECONDS:
            self._connection.close()  # opened anew by the request
        self._connection.request("POST", "/v1/rank", body, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        answer = response.status, response.read()
        self._asked = time.monotonic()
        return answer

    def picks(self, brief: dict) -> list[str]:
        """Who is picked for a brief."""
        status, body = self.ask(json.dumps(brief).encode())
        if status != 200:
            raise SystemExit(f"unexpected answer {status}: {body.decode()[:500]}")
        return [pick["creator_id"] for pick in json.loads(body)["picks"]]


def at_once(port: int, clients: int, seconds: float, brief: dict) -> tuple[list[float], int, float]:
    """Seconds of each answer to clients who ask again and again, how many were refused, and how long it all took."""
    body, times, refused = json.dumps(brief).encode(), [], []
    begin, end = time.monotonic(), time.monotonic() + seconds

    def run() -> None:
        client = Client(port)
        while time.monotonic() < end:
            started = time.perf_counter()
            status, _ = client.ask(body)
            (times if status == 200 else refused).append(time.perf_counter() - started)

    threads = [threading.Thread(target=run) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if not times:
        raise SystemExit(f"none of {len(refused)} requests was answered")
    return times, len(refused), time.monotonic() - begin


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
