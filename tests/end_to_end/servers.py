"""What Debian brings for these tests: a PostgreSQL server, and Chromium without a screen."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

DEBIAN = Path("/usr/lib/postgresql")  # holds <version>/bin, which is on no PATH
UNATTENDED = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--no-first-run", "--no-default-browser-check", "--disable-extensions", "--mute-audio",
)  # fmt: skip
# all that a browser says to its maker without being asked, and whatever a page might fetch elsewhere
PHONES_NOBODY = (
    "--disable-background-networking", "--disable-component-update", "--disable-client-side-phishing-detection",
    "--disable-default-apps", "--disable-domain-reliability", "--disable-sync", "--metrics-recording-only",
    "--disable-breakpad", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip


def postgres_programs():
    """The folder of `initdb` and `postgres`, or None."""
    packaged = sorted(DEBIAN.glob("*/bin"), key=lambda folder: float(folder.parent.name), reverse=True)
    on_path = [Path(found).resolve().parent for found in (shutil.which("postgres"),) if found]
    return next((folder for folder in [*packaged, *on_path] if (folder / "initdb").exists()), None)


@contextmanager
def postgres():
    """The address of an empty database, on a server that listens on nothing but a socket in a folder of its own."""
    programs = postgres_programs()
    if programs is None:
        pytest.skip("no PostgreSQL server is installed (Debian: apt-get install postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="roi-postgres-"))
    whose = {}
    if os.geteuid() == 0:
        # it refuses to run as root; Debian's package brings a user for it
        try:
            user = pwd.getpwnam("postgres")
        except KeyError:
            folder.rmdir()
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
        whose = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    quiet = {"cwd": folder, "env": {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}, **whose}
    data, log = folder / "data", folder / "log"
    server = None
    try:
        made = subprocess.run(
            [programs / "initdb", "--pgdata", data, "--username=roi", "--auth=trust", "--no-sync", "--encoding=UTF8"],
            capture_output=True, text=True, timeout=120, check=False, **quiet,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        with log.open("w") as out:
            server = subprocess.Popen(
                [programs / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"],
                stdout=out, stderr=subprocess.STDOUT, **quiet,
            )  # fmt: skip
        ready = [programs / "pg_isready", "--host", folder, "--quiet"]
        while subprocess.run(ready, timeout=60, check=False, **quiet).returncode != 0:
            assert server.poll() is None, log.read_text()
            time.sleep(0.1)
        yield f"postgresql://roi@/postgres?host={folder}"
    finally:
        if server is not None:
            server.send_signal(signal.SIGINT)  # "fast": without waiting for clients
            server.wait(timeout=60)
        shutil.rmtree(folder)


def opened(address, folder):
    """A page as HTML once its scripts have settled; the browser keeps its files in `folder`."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no browser is installed (Debian: apt-get install chromium)")
    ran = subprocess.run(
        [
            chromium, *UNATTENDED, *PHONES_NOBODY, f"--user-data-dir={folder}", "--window-size=1600,2400",
            "--virtual-time-budget=20000", "--timeout=90000", "--dump-dom", address,
        ],
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8"},
        capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-2000:]
    return ran.stdout
