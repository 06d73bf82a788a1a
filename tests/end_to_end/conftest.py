"""One small trained home for every test here, and the console script and servers run as a user runs them.

Every process gets an environment of its own: an empty user folder, nothing of the tester's.
"""

import fcntl
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest

from training.cli import main

SCRIPTS = Path(sys.executable).parent
MARK = "INFLUENCER_ROI_END_TO_END"  # in the environment of a server and of all its children
EARLIER = "2026-05-01"  # version 2 is trained as if on this day
BRIEF = {"goal": "conversion", "budget": 20000, "target_countries": {"SG": 0.7, "MY": 0.3}, "top": 5}


@dataclass(frozen=True)
class Place:
    """A market, a home trained on it, and the folders that must stay clean."""

    market: Path
    home: Path
    user: Path
    cwd: Path
    said: dict[str, str]

    def environment(self, home=None):
        kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "TMPDIR") if name in os.environ}
        return {
            **kept,
            "LANG": "C.UTF-8",
            "HOME": str(self.user),
            "BENTOML_HOME": str(self.user / "bentoml"),
            "INFLUENCER_ROI_HOME": str(home or self.home),
        }

    def run(self, *words, home=None, cwd=None, timeout=300):
        """The console script with these words, as a completed process."""
        return subprocess.run(
            [SCRIPTS / "influencer-roi", *map(str, words)],
            env=self.environment(home), cwd=cwd or self.cwd, capture_output=True, text=True, timeout=timeout,
            check=False,
        )  # fmt: skip

    def done(self, *words, **more):
        """What a command says that must succeed."""
        ran = self.run(*words, **more)
        assert ran.returncode == 0, ran.stderr
        assert "Traceback" not in ran.stderr
        return ran.stdout


class Server:
    """A server process in a session of its own."""

    def __init__(self, command, port, log, environment, cwd):
        self.port, self.log, self._mark = port, log, uuid.uuid4().hex
        self._started = time.monotonic()
        with log.open("w") as out:
            self.process = subprocess.Popen(
                [str(word) for word in command], env={**environment, MARK: self._mark}, cwd=cwd,
                stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def wait_for(self, path, statuses=(200,), seconds=90):
        """Wait until a GET answers with one of these; returns how long that took, in seconds."""
        while time.monotonic() - self._started < seconds:
            assert self.process.poll() is None, self.log.read_text()[-2000:]
            try:
                if self.ask("GET", path)[0] in statuses:
                    return time.monotonic() - self._started
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.2)
        raise AssertionError(f"{path} did not answer in {seconds} s: {self.log.read_text()[-2000:]}")

    def ask(self, method, path, body=None):
        """Status and body, parsed where it is JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            content = json.dumps(body) if isinstance(body, dict) else body
            connection.request(method, path, content, {"content-type": "application/json"})
            response = connection.getresponse()
            text = response.read().decode()
            kind = response.getheader("content-type", "")
            return response.status, json.loads(text) if kind.startswith("application/json") else text
        finally:
            connection.close()

    def processes(self):
        """Ids of the server's processes that still live, itself and all below it."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    ours = f"{MARK}={self._mark}".encode() in (entry / "environ").read_bytes().split(b"\0")
                    zombie = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
                except OSError:
                    continue
                if ours and not zombie:
                    found.append(int(entry.name))
        return found

    def kill(self):
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait(timeout=30)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """Version 1 published, version 2 trained as of an earlier day and not published. Tests only read it."""
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "end-to-end"
    root.mkdir(exist_ok=True)
    made = Place(root / "market", root / "home", root / "user", root / "cwd", {})
    said = root / "said.json"
    with (root / "lock").open("w") as lock:
        # workers of one test run share it
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not said.exists():
            made.user.mkdir(exist_ok=True)
            made.cwd.mkdir(exist_ok=True)
            sizes = ("--creators", 600, "--placements", 2500, "--snapshots", 9)
            words = {
                "sample": made.done("sample", made.market, *sizes),
                "check": made.done("check", made.market),
                "train": made.done("train", made.market),
                "release": (made.home / "release.json").read_text(),
                "train again": made.done("train", made.market, "--as-of", EARLIER, "--promote", "never", "--seed", 1),
            }
            said.write_text(json.dumps(words))
    made.said.update(json.loads(said.read_text()))
    return made


@pytest.fixture
def home(place, tmp_path):
    """A copy of the trained home that a test may change."""
    return shutil.copytree(place.home, tmp_path / "home", symlinks=True)


@pytest.fixture
def brief(tmp_path):
    """A function that writes a brief, or text, into a file."""

    def write(content=BRIEF, name="brief.json"):
        path = tmp_path / name
        data = content if isinstance(content, bytes) else (
            content if isinstance(content, str) else json.dumps(content)
        ).encode()  # fmt: skip
        path.write_bytes(data)
        return path

    return write


@pytest.fixture
def command(place, tmp_path, monkeypatch, capsys):
    """The console script's entry point in this process (each start of the script takes seconds): code, out, err."""
    monkeypatch.chdir(tmp_path)
    for name, value in {**place.environment(), "COLUMNS": "300", "MPLCONFIGDIR": str(tmp_path / "fonts")}.items():
        monkeypatch.setenv(name, value)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["influencer-roi", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main()
        said = capsys.readouterr()
        return exit_.value.code or 0, said.out, said.err

    return run


@pytest.fixture(scope="module")
def start(place, tmp_path_factory):
    """A function that starts a server; all it started are gone when the module's tests are done."""
    folder, servers = tmp_path_factory.mktemp("servers"), []

    def starts(script, *words, home=None, more=()):
        port, log = free_port(), folder / f"{len(servers)}.log"
        environment = {**place.environment(home), **dict(more)}
        servers.append(Server([SCRIPTS / script, *words, "--port", port], port, log, environment, place.cwd))
        return servers[-1]

    yield starts
    for server in servers:
        server.kill()
