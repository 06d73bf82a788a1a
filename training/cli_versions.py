"""Commands about what a home keeps: `models`, `promote`, `rollback`, `prune`."""

from pathlib import Path
from typing import Annotated

import typer

from features.errors import DataError
from training.cli_options import HOME, Home
from training.cli_output import terminal


def models(home: Home = HOME) -> None:
    """List versions with their aliases and verdicts, and what is served."""
    from rich.table import Table

    from serving.release_file import read_release_file
    from training.version_list import list_versions, remarks

    release, broken = None, None
    try:
        release = read_release_file(home)
    except DataError as error:
        broken = error  # `promote` mends it, and needs a number from the list
    rows = list_versions(home, release)
    if rows:
        table = Table(
            "version", "created (UTC)", "state", "aliases", "verdict", "judged on", "gain over best rule", "data"
        )
        for row in rows:
            table.add_row(
                row.version, row.created, row.state, ", ".join(row.aliases), row.verdict, row.judged, row.gain, row.data
            )
        terminal().print(table)
    else:
        typer.echo(f"No version in {home} yet: run influencer-roi train DIR")
    for line in [] if release is None else remarks(home, release, rows):
        typer.echo(line)
    if broken is not None:
        raise broken


def promote(
    version: Annotated[str, typer.Argument(help="registered version, as in `models`", metavar="VERSION")],
    home: Home = HOME,
) -> None:
    """Serve a version, whatever the gate said of it."""
    from training import publish

    tag = publish.promote(home, version)
    typer.echo(f"Serving {tag} from now on; a running server takes it up within seconds.")
    _move_aliases(home)


def rollback(home: Home = HOME) -> None:
    """Serve what was served before."""
    from training import publish

    release = publish.roll_back(home)
    typer.echo(f"Back to {release.model} with {release.catalogue}; a running server takes it up within seconds.")
    _move_aliases(home)


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


def _move_aliases(home: Path) -> None:
    """Move the aliases too; the release stands even where MLflow does not answer."""
    from training import registry

    try:
        registry.set_aliases(home)
    except DataError as error:
        typer.echo(f"warning: the aliases were not moved: {error}", err=True)
