"""The command line, `influencer-roi`: every command of the data contract that works, from the modules by theme."""

import os
import signal
import sys

import typer

from features.errors import DataError
from training import cli_briefs, cli_data, cli_monitor, cli_serve, cli_train, cli_versions

# before numpy, LightGBM and scikit-learn load, which commands import: thread pools that spin on the same cores run
# many times slower
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

COMMANDS = (
    cli_data.sample, cli_data.check, cli_train.train, cli_train.backtest, cli_train.catalogue, cli_data.bucket,
    cli_briefs.rank, cli_briefs.plan, cli_versions.models, cli_versions.promote, cli_versions.rollback,
    cli_monitor.monitor, cli_versions.prune, cli_serve.serve, cli_serve.ui,
)  # fmt: skip

app = typer.Typer(
    name="influencer-roi",
    help="Predict the ROI of every creator for a campaign brief, from your own past campaigns.\n\n"
    "First time: `influencer-roi sample DIR` makes a synthetic market, `influencer-roi train DIR` learns from it and "
    "publishes a model, `influencer-roi serve` answers briefs over HTTP.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in COMMANDS:
    app.command()(command)


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
