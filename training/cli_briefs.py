"""Commands that answer briefs from files: `rank`, `plan`."""

from pathlib import Path
from typing import Annotated

import typer

from training.cli_options import HOME, Home
from training.cli_output import terminal


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
