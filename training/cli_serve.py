"""Commands that serve: `serve` answers briefs over HTTP, `ui` shows the runs in MLflow."""

import os
import socket
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from features.errors import DataError
from training.cli_options import HOME, Home


def serve(
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="port to listen on", min=1, max=65535)] = 3000,
    workers: Annotated[int, typer.Option(help="worker processes, each with one computing thread", min=1)] = 1,
    home: Home = HOME,
) -> None:
    """Answer briefs over HTTP."""
    from serving.release_file import FILE, STORE

    _require_free(host, port)
    if not (home / FILE).exists():
        typer.echo(f"No model is published in {home} yet: requests are answered 503 until `influencer-roi train DIR`.")
    address = f"http://{host}:{port}"
    typer.echo(f"Serving on {address} (page with every route: {address}/). Try:\n")
    typer.echo(
        f"curl -s {address}/v1/rank -H 'Content-Type: application/json' "
        """-d '{"goal": "awareness", "budget": 5000, "target_countries": ["US"], "top": 5}'\n"""
    )
    root = Path(__file__).resolve().parent.parent
    environment = {
        **os.environ,
        "INFLUENCER_ROI_HOME": str(home.resolve()),
        # BentoML makes folders there, also where the home is mounted read-only
        "BENTOML_HOME": str((home / STORE).resolve()) if os.access(home, os.W_OK) else tempfile.mkdtemp(),
        "BENTOML_DO_NOT_TRACK": "True",
        # --api-workers is ignored beside the number that the service itself names
        "BENTOML_CONFIG_OPTIONS": f"{os.environ.get('BENTOML_CONFIG_OPTIONS', '')} "
        f"services.influencer_roi.workers={workers}".strip(),
    }
    command = [sys.executable, "-m", "bentoml", "serve", "serving.service:InfluencerROI", "--host", host]
    command += ["--port", str(port), "--working-dir", str(root)]
    sys.stdout.flush()
    os.execve(sys.executable, command, environment)


def ui(
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="port to listen on", min=1, max=65535)] = 5000,
    home: Home = HOME,
) -> None:
    """Open the MLflow UI on this home: runs, plots, registered versions."""
    from training import mlflow_store

    _require_free(host, port)
    # its first page is of language models; the runs are further in
    runs = f"/#/experiments/{mlflow_store.prepare(home)}/runs?workflowType=machine_learning"
    uri = mlflow_store.tracking_uri(home)
    if uri.startswith("http"):
        typer.echo(f"Runs are recorded on a tracking server, whose own UI shows them: {uri}{runs}")
        return
    typer.echo(f"MLflow UI: http://{host}:{port}{runs} (it can take a minute to answer)")
    # what judges language models would start seven more processes
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    environment = {**os.environ, **quiet}
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri]
    command += ["--host", host, "--port", str(port), "--workers", "1"]
    sys.stdout.flush()
    os.execve(sys.executable, command, environment)


def _require_free(host: str, port: int) -> None:
    """Refuse a port that cannot be listened on, before anything is announced."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise DataError(f"cannot listen on {host}:{port} ({error.strerror}): choose another --port") from error
