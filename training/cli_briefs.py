"""Commands that answer briefs from files: `rank`, `plan`."""

from pathlib import Path
from typing import Annotated

import typer

from features.errors import DataError
from training.cli_options import HOME, Home
from training.cli_output import terminal

SHOWN = 5  # briefs that could not be answered


def rank(
    briefs: Annotated[Path, typer.Argument(help=".json (one brief) or .jsonl (many)", metavar="BRIEFS")],
    out: Annotated[Path | None, typer.Option(help="write a table here: .csv, .parquet or .json")] = None,
    home: Home = HOME,
) -> None:
    """Rank creators for briefs, with the code of the service."""
    from training.rank_files import rank_file, readable, write_table

    refused: list[DataError] = []
    answers, table = rank_file(briefs, home, refused.append)
    if out is None:
        for answer in answers:
            terminal().print(readable(answer))
    else:
        write_table(table, out)
        typer.echo(f"Wrote {table.height} picks of {len(answers)} briefs to {out}.")
    _tell(refused, len(answers))


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

    refused: list[DataError] = []
    answers = plan_file(briefs, home, out=out, refused=refused.append)
    if out is not None:
        typer.echo(f"Wrote {sum(len(answer.plan.picks) for answer in answers)} picks of {len(answers)} plans to {out}.")
    else:
        for answer in answers:
            terminal().print(readable(answer))
    _tell(refused, len(answers))


def _tell(refused: list[DataError], answered: int) -> None:
    """Say which briefs have no answer.

    Raises:
        DataError: there are such.
    """
    if not refused:
        return
    shown = "\n".join(map(str, refused[:SHOWN]))
    more = f"\nand {len(refused) - SHOWN} more" if len(refused) > SHOWN else ""
    raise DataError(
        f"{len(refused)} of {len(refused) + answered} briefs are not answered, the others are:\n{shown}{more}"
    )
