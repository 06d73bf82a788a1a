"""Commands that learn from a folder of data: `train`, `backtest`, `catalogue`."""

import os
from typing import Annotated

import typer

from training.cli_options import HOME, AsOf, Engine, EngineOption, Folder, Home, PromoteMode, Scheduler, day
from training.cli_output import report_of_errors, terminal


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
