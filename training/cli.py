"""The command line, `influencer-roi`: every command of the data contract that works."""

import os
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from features.errors import DataError
from training.cli_options import (
    HOME,
    AsOf,
    Engine,
    EngineOption,
    Folder,
    Format,
    Home,
    PromoteMode,
    Scheduler,
    day,
)
from training.cli_output import report_of_errors, terminal

# before numpy, LightGBM and scikit-learn load: thread pools that spin on the same cores run many times slower
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

app = typer.Typer(
    name="influencer-roi",
    help="Predict the ROI of every creator for a campaign brief, from your own past campaigns.\n\n"
    "First time: `influencer-roi sample DIR` makes a synthetic market, `influencer-roi train DIR` learns from it and "
    "publishes a model, `influencer-roi serve` answers briefs over HTTP.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def sample(  # noqa: PLR0913, PLR0917 - its options
    folder: Annotated[Path, typer.Argument(help="folder to write the tables into", metavar="DIR")],
    creators: Annotated[int, typer.Option(help="number of accounts", min=1)] = 3000,
    placements: Annotated[int, typer.Option(help="number of placements", min=1)] = 8000,
    snapshots: Annotated[int, typer.Option(help="months of dated profiles", min=1)] = 12,
    seed: Annotated[int, typer.Option(help="of every draw", min=0)] = 0,
    world: Annotated[str, typer.Option(metavar="NAME", help="which market; a wrong name lists them")] = "balanced",
    truth: Annotated[bool, typer.Option("--truth", help="write the truth of held-out briefs into DIR/truth")] = False,
    truth_briefs: Annotated[int, typer.Option(help="held-out briefs of --truth", min=1)] = 300,
    truth_pool: Annotated[int, typer.Option(help="most candidates of each of them", min=1)] = 600,
    fmt: Annotated[Format, typer.Option("--format", help="file format")] = Format.CSV,
    home: Home = HOME,  # noqa: ARG001 - every command takes it
) -> None:
    """Write a SYNTHETIC market in the contract's tables, to try the program on."""
    from training.sample import write_sample
    from training.sample_worlds import WORLDS

    if world not in WORLDS:
        raise typer.BadParameter(f"{world} is none of {', '.join(WORLDS)}", param_hint="--world")
    held_out = (truth_briefs, truth_pool) if truth else None
    write_sample(
        folder, creators=creators, placements=placements, snapshots=snapshots, seed=seed, fmt=fmt.value,
        world=world, truth=held_out,
    )  # fmt: skip
    typer.echo(f"Wrote a synthetic market of {creators} creators and {placements} placements to {folder}.")
    if truth:
        typer.echo(f"The truth of {truth_briefs} held-out briefs is in {folder / 'truth'}; no command learns from it.")
    typer.echo(f"Next: influencer-roi check {folder}, then influencer-roi train {folder}")


@app.command()
def check(folder: Folder, home: Home = HOME) -> None:
    """Print what was found, wrong and missing in a data folder; exit 1 on errors."""
    from features.buckets import is_bucketed, read_manifest
    from features.check import CheckFailed, load_checked, render
    from features.settings import load_settings
    from training.pipeline import config_path

    settings = load_settings(config_path(home))
    # a bucketed folder was checked when it was made
    report = read_manifest(folder, settings).report() if is_bucketed(folder) else load_checked(folder, settings)[1]
    terminal().print(render(report))
    if not report.ok:
        raise CheckFailed(report)


@app.command()
def train(
    folder: Folder,
    as_of: AsOf = None,
    promote: Annotated[PromoteMode, typer.Option(help="serve the model if the gate lets it")] = PromoteMode.AUTO,
    trials: Annotated[
        int, typer.Option(help="sizes of the trees to try on earlier placements than the backtest's; 0: none", min=0)
    ] = 0,
    seed: Annotated[int, typer.Option(help="of the trees, and of what --trials tries", min=0)] = 0,
    engine: Engine = EngineOption.LOCAL,
    scheduler: Scheduler = None,
    home: Home = HOME,
) -> None:
    """Learn from past campaigns: check, features, backtest, fit, log, register, gate, publish."""
    from training.pipeline import train as run
    from training.progress import progress
    from training.report import backtest_table

    # matplotlib keeps a list of fonts, in the user's own folder unless told otherwise
    os.environ.setdefault("MPLCONFIGDIR", str((home / "matplotlib").resolve()))
    console = terminal()
    with report_of_errors(), progress(console) as say:
        done = run(
            folder, home, as_of=day(as_of), promote=promote.value, trials=trials, seed=seed,
            engine_name=engine.value, scheduler=scheduler, say=say,
        )  # fmt: skip
    for finding in done.report.warnings:
        console.print(f"warning: {finding}", markup=False, style="yellow")
    if done.result is not None:
        console.print(backtest_table(done.result))
    if done.tuned is not None:
        console.print(f"\n{done.tuned.text()}", markup=False, highlight=False)
    console.print(f"\nVersion {done.version}: {done.verdict.text()}", markup=False, highlight=False)
    if done.promoted:
        console.print(f"Published. Serve it: influencer-roi serve --home {home}", highlight=False)
    else:
        console.print(f"Not published. By hand: influencer-roi promote {done.version} --home {home}", highlight=False)


@app.command()
def backtest(
    folder: Folder,
    as_of: AsOf = None,
    seed: Annotated[int, typer.Option(help="of the trees and of what is resampled", min=0)] = 0,
    home: Home = HOME,
) -> None:
    """Judge the model beside simple rules: on later placements, and by the truth where `sample --truth` wrote one."""
    from training.evaluate import evaluate
    from training.evaluate_report import show
    from training.progress import progress

    os.environ.setdefault("MPLCONFIGDIR", str((home / "matplotlib").resolve()))
    console = terminal()
    with report_of_errors(), progress(console) as say:
        found = evaluate(folder, home, as_of=day(as_of), seed=seed, say=say)
    for finding in found.report.warnings:
        console.print(f"warning: {finding}", markup=False, style="yellow")
    for part in show(found):
        console.print(part, markup=False, highlight=False) if isinstance(part, str) else console.print(part)
    console.print(f"The same with plots in MLflow: influencer-roi ui --home {home}", highlight=False)


@app.command()
def catalogue(
    folder: Folder,
    as_of: AsOf = None,
    engine: Engine = EngineOption.LOCAL,
    scheduler: Scheduler = None,
    home: Home = HOME,
) -> None:
    """Rebuild only what is served about creators, for the model in force."""
    from serving.release_file import read_release_file
    from training.pipeline import rebuild_catalogue
    from training.progress import progress

    with report_of_errors(), progress(terminal()) as say:
        tag = rebuild_catalogue(folder, home, day(as_of), engine_name=engine.value, scheduler=scheduler, say=say)
    in_force = read_release_file(home) is not None
    typer.echo(f"Catalogue {tag} is {'in force' if in_force else 'stored; no model is published yet'}.")


@app.command()
def bucket(
    folder: Folder,
    out: Annotated[Path, typer.Argument(help="folder to write; must not be there yet, or be empty", metavar="OUT")],
    buckets: Annotated[
        int | None,
        typer.Option(help="how many parts (default: about 250,000 snapshots each)", min=1, max=4096, metavar="N"),
    ] = None,
    home: Home = HOME,
) -> None:
    """Turn a data folder, also one larger than memory, into checked Parquet partitioned by creator.

    OUT then holds the tables complete, sorted and in one currency. Of data with errors nothing is written.
    """
    from features.check import render
    from features.settings import load_settings
    from training.bucket import bucket as run
    from training.pipeline import config_path
    from training.progress import progress

    console = terminal()
    with report_of_errors(), progress(console) as say:
        done = run(folder, out, load_settings(config_path(home)), buckets=buckets, say=say)
    console.print(render(done.report()))
    console.print(f"Wrote {out} in {done.buckets} buckets.", markup=False, highlight=False)


@app.command()
def rank(
    briefs: Annotated[Path, typer.Argument(help=".json (one brief) or .jsonl (many)", metavar="BRIEFS")],
    out: Annotated[Path | None, typer.Option(help="write a table here: .csv, .parquet or .json")] = None,
    home: Home = HOME,
) -> None:
    """Rank creators for briefs, with the code of the service."""
    from training.rank_files import rank_file, readable, write_table

    answers, table = rank_file(briefs, home)
    if out is None:
        for answer in answers:
            terminal().print(readable(answer))
        return
    write_table(table, out)
    typer.echo(f"Wrote {table.height} picks of {len(answers)} briefs to {out}.")


@app.command()
def plan(
    briefs: Annotated[
        Path, typer.Argument(help=".json (one brief) or .jsonl (many), each with a plan", metavar="BRIEFS")
    ],
    out: Annotated[
        Path | None, typer.Option(help="write here: picks as .csv, .parquet, .json; charts as .html")
    ] = None,
    home: Home = HOME,
) -> None:
    """Plan the budget of briefs, with the code of the service: which creators to pay, and what else it could buy."""
    from training.plan_files import plan_file, readable

    answers = plan_file(briefs, home, out=out)
    if out is not None:
        typer.echo(f"Wrote {sum(len(answer.plan.picks) for answer in answers)} picks of {len(answers)} plans to {out}.")
        return
    for answer in answers:
        terminal().print(readable(answer))


@app.command()
def models(home: Home = HOME) -> None:
    """List versions with their aliases and verdicts, and what is served."""
    from rich.table import Table

    from serving.release_file import read_release_file
    from training import tracking
    from training.publish import stored_versions

    listed = tracking.versions(home)
    if not listed:
        typer.echo(f"No version in {home} yet: run influencer-roi train DIR")
        return
    release, stored = read_release_file(home), stored_versions(home)
    table = Table("version", "created (UTC)", "live", "aliases", "verdict", "judged on", "gain over best rule", "data")
    for version in listed:
        live = release is not None and release.model.split(":")[1] == version.version
        pruned = version.tags.get(tracking.PRUNED) == "true" and version.version not in stored
        state = "live" if live else "pruned" if pruned else ""
        table.add_row(
            version.version, version.created, state, ", ".join(version.aliases),
            version.tags.get("verdict", ""), version.tags.get("judged", ""),
            version.tags.get("gain_over_best_rule", ""),
            "synthetic" if version.tags.get("synthetic") == "true" else "real",
        )  # fmt: skip
    terminal().print(table)
    if release is not None:
        typer.echo(f"Served: {release.model} with {release.catalogue}")


@app.command()
def promote(
    version: Annotated[str, typer.Argument(help="registered version, as in `models`", metavar="VERSION")],
    home: Home = HOME,
) -> None:
    """Serve a version, whatever the gate said of it."""
    from training import publish

    tag = publish.promote(home, version)
    typer.echo(f"Serving {tag} from now on; a running server takes it up within seconds.")
    _record_champion(home)


@app.command()
def rollback(home: Home = HOME) -> None:
    """Serve what was served before."""
    from training import publish

    release = publish.roll_back(home)
    typer.echo(f"Back to {release.model} with {release.catalogue}; a running server takes it up within seconds.")
    _record_champion(home)


@app.command()
def prune(
    keep: Annotated[
        int,
        typer.Option(help="earlier releases, and newest versions, catalogues and runs of a kind, to keep", min=1),
    ] = 5,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would be removed")] = False,
    home: Home = HOME,
) -> None:
    """Free disk: delete old versions, catalogues and files of runs; never what is served or has an alias.

    Figures of every run stay in MLflow.
    """
    from training.prune import prune as run

    for line in run(home, keep, dry_run=dry_run).lines():
        typer.echo(line)


@app.command()
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


@app.command()
def ui(
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="port to listen on", min=1, max=65535)] = 5000,
    home: Home = HOME,
) -> None:
    """Open the MLflow UI on this home: runs, plots, registered versions."""
    from training import tracking

    _require_free(host, port)
    tracking.prepare(home)
    typer.echo(f"MLflow UI on http://{host}:{port} (it can take a minute to answer)")
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", tracking.tracking_uri(home)]
    command += ["--host", host, "--port", str(port)]
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


def _record_champion(home: Path) -> None:
    """Move the alias too; the release stands even where MLflow does not answer."""
    from training import tracking

    try:
        tracking.set_champion(home)
    except DataError as error:
        typer.echo(f"warning: the alias champion was not moved: {error}", err=True)


def main() -> None:
    """Entry point: errors that a person can act on are printed without a traceback, exit code 1.

    A request to end (SIGTERM) unwinds as Ctrl-C does, so that what is half written is taken away.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        app()
    except DataError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
    except OSError as error:
        # a path that cannot be read or written: a folder in place of a file, no permission, a full disk
        typer.echo(f"error: {error.filename or 'reading or writing failed'}: {error.strerror or error}", err=True)
        sys.exit(1)
