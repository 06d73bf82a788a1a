"""Releases that change under a real server at work: swapped, broken, half published, its worker killed."""

import http.client
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from serving.release_file import CATALOGUE, MODEL, ReleaseFile, read_release_file, store_path, write_release_file
from tests.end_to_end.conftest import BRIEF

SWAPS = int(os.environ.get("SWAPS", "8"))
CLIENTS = 3
WITHIN_SECONDS = 10.0  # of release.json changing
MARGIN_MB = 25.0


class Load:
    """Clients that ask one brief after the other until they are told to stop."""

    def __init__(self, port):
        self.answers, self.failures = [], []
        self._port, self._stop = port, threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self):
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        while not self._stop.is_set():
            try:
                connection.request("POST", "/v1/rank", json.dumps(BRIEF), {"content-type": "application/json"})
                response = connection.getresponse()
                self.answers.append((response.status, json.loads(response.read())))
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(error)
                connection.close()
                time.sleep(0.1)
        connection.close()


@pytest.fixture(scope="module")
def home(place, tmp_path_factory):
    return shutil.copytree(place.home, tmp_path_factory.mktemp("swapped") / "home", symlinks=True)


@pytest.fixture(scope="module")
def releases(home):
    """Two releases that share neither model nor catalogue, as (release file, what its answers say)."""
    first = read_release_file(home)
    catalogues = sorted(path.name for path in store_path(home, f"{CATALOGUE}:x").parent.iterdir() if path.is_dir())
    other = next(name for name in catalogues if f"{CATALOGUE}:{name}" != first.catalogue)
    second = ReleaseFile(f"{MODEL}:2", f"{CATALOGUE}:{other}", first.previous)
    said = [(names.model.split(":")[1], names.catalogue.split(":")[1][:10]) for names in (first, second)]
    assert len(set(said[0] + said[1])) == 4
    return list(zip((first, second), said, strict=True))


@pytest.fixture
def server(start, home, releases):
    write_release_file(home, releases[0][0])
    server = start("influencer-roi", "serve", home=home)
    server.wait_for("/readyz")
    yield server
    server.kill()


def worker(server):
    """The process id of the one worker."""
    (found,) = (pid for pid in server.processes() if b"worker.service" in Path(f"/proc/{pid}/cmdline").read_bytes())
    return found


def megabytes(server):
    """Memory of the worker that is its own; mapped files are shared and the system's to take back."""
    lines = Path(f"/proc/{worker(server)}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))


def served(server):
    status, said = server.ask("GET", "/readyz")
    assert status == 200
    return (said["model_version"], said["data_as_of"]), said["problem"]


def sample(server, name):
    """One sample of /metrics."""
    lines = server.ask("GET", "/metrics")[1].splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(f"influencer_roi_{name} "))


def until(condition, seconds):
    """How long it took until something holds."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + seconds
        time.sleep(0.05)
    return time.monotonic() - began


def test_swaps_under_load_give_no_failed_no_mixed_answer_and_the_memory_back(server, home, releases):
    took, memory = [], []
    with Load(server.port) as load:
        for swap in range(1, SWAPS + 1):
            names, said = releases[swap % 2]
            write_release_file(home, names)
            took.append(until(lambda said=said: served(server) == (said, None), WITHIN_SECONDS))
            memory.append(megabytes(server))
    print(f"{len(load.answers)} answers; swaps took {max(took):.1f} s at most; MB {[round(mb) for mb in memory]}")
    assert load.failures == []
    assert {status for status, _ in load.answers} == {200}
    pairs = [(answer["model_version"], answer["data_as_of"]) for _, answer in load.answers]
    assert set(pairs) == {said for _, said in releases}
    assert sample(server, 'swaps_total{result="success"}') == SWAPS + 1
    assert sample(server, 'swaps_total{result="failure"}') == 0
    # the first two fill what is kept for good: the allocator's pools, libraries that load late
    assert memory[-1] < memory[1] + MARGIN_MB


def half(folder, name):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])


def one_byte(folder, name):
    """Change the lowest digit of the last number, or the last byte: as valid as it was, and wrong."""
    content = bytearray((folder / name).read_bytes())
    at = max(i for i, byte in enumerate(content) if chr(byte).isdigit()) if name[-4:] != ".npy" else len(content) - 9
    content[at] ^= 1
    (folder / name).write_bytes(content)


def other_features(folder, name):
    text = (folder / name).read_text()
    data = json.loads(text)
    (folder / name).write_text(text.replace(data["feature_schema"], "0123456789abcdef"))


def trees(folder):
    return next(path.name for path in sorted(folder.glob("*.txt")))


BROKEN = {
    "an array cut short": (CATALOGUE, half, lambda _: "static.npy"),
    "creators cut short": (CATALOGUE, half, lambda _: "display.arrow"),
    "a byte of an array": (CATALOGUE, one_byte, lambda _: "static.npy"),
    "a catalogue of other features": (CATALOGUE, other_features, lambda _: "catalogue.json"),
    "trees cut short": (MODEL, half, trees),
    "a byte of the trees": (MODEL, one_byte, trees),
    "a byte of the model": (MODEL, one_byte, lambda _: "model.json"),
    "a model of other features": (MODEL, other_features, lambda _: "model.json"),
}


def test_what_is_broken_is_refused_and_the_old_one_stays(server, home, releases):
    good, said = releases[0]
    accepted = []
    for number, (words, (kind, damage, name)) in enumerate(BROKEN.items(), 1):
        tag = f"{kind}:{good.catalogue.split(':')[1][:10]}-broken{number}" if kind == CATALOGUE else f"{kind}:9{number}"
        folder = store_path(home, good.catalogue if kind == CATALOGUE else good.model)
        broken = shutil.copytree(folder, store_path(home, tag))
        damage(broken, name(broken))
        names = ReleaseFile(good.model, tag) if kind == CATALOGUE else ReleaseFile(tag, good.catalogue)
        tried = sample(server, 'swaps_total{result="failure"}') + sample(server, 'swaps_total{result="success"}')
        write_release_file(home, names)
        until(
            lambda tried=tried: (
                tried
                < sample(server, 'swaps_total{result="failure"}') + sample(server, 'swaps_total{result="success"}')
            ),
            WITHIN_SECONDS,
        )
        answered, problem = served(server)
        if answered != said or problem is None or sample(server, "release_problem") != 1:
            accepted.append(words)
            continue
        assert f"still serving {said[0]}: " in problem, words
        assert tag.split(":")[1] in problem or broken.name in problem, (words, problem)
        status, answer = server.ask("POST", "/v1/rank", BRIEF)
        assert (status, answer["model_version"], answer["data_as_of"]) == (200, *said), words
    assert accepted == []
    write_release_file(home, good)
    until(lambda: served(server) == (said, None), WITHIN_SECONDS)
    assert sample(server, "release_problem") == 0


PUBLISHER = """
import itertools, sys
from pathlib import Path
from serving.release_file import ReleaseFile, write_release_file
home, *tags = sys.argv[1:]
print("publishing", flush=True)
for model, catalogue in itertools.cycle([tags[:2], tags[2:]]):
    write_release_file(Path(home), ReleaseFile(model, catalogue))
"""


def test_killing_the_publisher_and_the_worker_loses_nothing(server, home, releases):
    tags = [tag for names, _ in releases for tag in (names.model, names.catalogue)]
    with Load(server.port) as load:
        publisher = subprocess.Popen(
            [sys.executable, "-c", PUBLISHER, home, *tags], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
        )
        assert publisher.stdout.readline() == b"publishing\n"
        until(lambda: len(load.answers) > 20, 60)
        publisher.kill()
        publisher.wait()
        in_force = read_release_file(home)
        (said,) = (
            said for names, said in releases if (names.model, names.catalogue) == (in_force.model, in_force.catalogue)
        )
        until(lambda: served(server) == (said, None), WITHIN_SECONDS)
        killed = worker(server)
        os.kill(killed, signal.SIGKILL)
        failed = server.wait_for("/readyz", seconds=120)
        assert failed
        assert worker(server) != killed
        answered = len(load.answers)
        until(lambda: len(load.answers) > answered + 10, 60)
    assert load.failures  # the requests of that moment, and nothing else
    assert {status for status, _ in load.answers} == {200}
    assert {(answer["model_version"], answer["data_as_of"]) for _, answer in load.answers} <= {
        said for _, said in releases
    }
    assert (load.answers[-1][1]["model_version"], load.answers[-1][1]["data_as_of"]) == said
    lines = itertools.chain.from_iterable(path.read_text().splitlines() for path in (home / "slates").iterdir())
    kept = {json.loads(line)["request_id"] for line in lines}
    assert {answer["request_id"] for _, answer in load.answers} <= kept
    assert sample(server, "in_flight") == 0
