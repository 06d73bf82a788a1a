"""Commands about a folder of data: `sample`, `check`, `bucket`."""

from pathlib import Path
from typing import Annotated

import typer

from training.cli_options import HOME, Folder, Format, Home
from training.cli_output import report_of_errors, terminal


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
