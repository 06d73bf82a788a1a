"""What commands of the command line print, and where."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def terminal(*, stderr: bool = False) -> "Console":
    """The terminal, or 160 columns where output goes to a file or a pipe."""
    from rich.console import Console

    found = Console(stderr=stderr)
    return found if found.is_terminal else Console(stderr=stderr, width=160)


@contextmanager
def report_of_errors() -> Iterator[None]:
    """Print the check report, on stderr, where the data are refused."""
    from features.check import CheckFailed, render

    try:
        yield
    except CheckFailed as error:
        terminal(stderr=True).print(render(error.report))
        raise
