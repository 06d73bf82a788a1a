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


def promote(
    version: Annotated[str, typer.Argument(help="registered version, as in `models`", metavar="VERSION")],
    home: Home = HOME,
) -> None:
    """Serve a version, whatever the gate said of it."""
    from training import publish

    tag = publish.promote(home, version)
    typer.echo(f"Serving {tag} from now on; a running server takes it up within seconds.")
    _record_champion(home)


def rollback(home: Home = HOME) -> None:
    """Serve what was served before."""
    from training import publish

    release = publish.roll_back(home)
    typer.echo(f"Back to {release.model} with {release.catalogue}; a running server takes it up within seconds.")
    _record_champion(home)


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


def _record_champion(home: Path) -> None:
    """Move the alias too; the release stands even where MLflow does not answer."""
    from training import tracking

    try:
        tracking.set_champion(home)
    except DataError as error:
        typer.echo(f"warning: the alias champion was not moved: {error}", err=True)
