"""Options that several commands of the command line share."""

from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Folder = Annotated[Path, typer.Argument(help="folder of <table>.csv or <table>.parquet", metavar="DIR")]
Home = Annotated[
    Path,
    typer.Option(
        "--home", envvar="INFLUENCER_ROI_HOME", file_okay=False, help="folder that holds everything the program writes"
    ),
]
AsOf = Annotated[
    str | None,
    typer.Option("--as-of", metavar="DATE", help="decide as if on this day (default: the day after the newest fact)"),
]
HOME = Path(".influencer-roi")


class EngineOption(StrEnum):
    """Where features are computed."""

    LOCAL = "local"
    DASK = "dask"


Engine = Annotated[EngineOption, typer.Option("--engine", help="where features are computed")]
Scheduler = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="of a running Dask scheduler (default: two workers on this machine)"),
]


class PromoteMode(StrEnum):
    """What to do with a model after the gate has judged it."""

    AUTO = "auto"
    DRY_RUN = "dry-run"
    NEVER = "never"


class Format(StrEnum):
    """File format of tables."""

    CSV = "csv"
    PARQUET = "parquet"


def day(text: str | None) -> date | None:
    """The date of --as-of.

    Raises:
        typer.BadParameter: it is none.
    """
    if text is None:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError as error:
        raise typer.BadParameter(f"{text} is not a date such as 2026-06-30", param_hint="--as-of") from error
