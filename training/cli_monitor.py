"""The command that watches what is served: `monitor`."""

import os

import typer

from training.cli_options import HOME, AsOf, Folder, Home, day
from training.cli_output import report_of_errors, terminal

ALARM = 3  # exit code


def monitor(folder: Folder, as_of: AsOf = None, home: Home = HOME) -> None:
    """Watch the served model: drift of new data, promises kept, intervals. Exit code 3 on alarm."""
    from training.monitor import monitor as run
    from training.progress import progress

    os.environ.setdefault("MPLCONFIGDIR", str((home / "matplotlib").resolve()))
    console = terminal()
    with report_of_errors(), progress(console) as say:
        found = run(folder, home, day(as_of), say)
    for part in found.parts():
        console.print(part, markup=False, highlight=False) if isinstance(part, str) else console.print(part)
    if found.alarm:
        raise typer.Exit(ALARM)
