"""A command that is asked to end takes away what it had half written."""

import signal
import subprocess
import sys
import time
from pathlib import Path

from training.sample import write_sample


def test_a_bucket_command_that_is_asked_to_end_leaves_nothing(tmp_path: Path) -> None:
    market = tmp_path / "market"
    write_sample(market, creators=2_000, placements=2_000, snapshots=24, seed=0, fmt="csv")
    command = [sys.executable, "-c", "from training.cli import main; main()", "bucket", str(market),
               str(tmp_path / "out"), "--home", str(tmp_path / "home")]  # fmt: skip
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    began = time.monotonic()
    while not list(tmp_path.glob(".out-partial-*")):
        assert running.poll() is None
        assert time.monotonic() - began < 120
        time.sleep(0.005)
    running.send_signal(signal.SIGTERM)
    _, said = running.communicate(timeout=120)
    assert running.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in said
    assert sorted(path.name for path in tmp_path.iterdir()) in (["market"], ["home", "market"])
