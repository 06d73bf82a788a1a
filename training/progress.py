"""Progress: a spinner with the step at hand on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console


@contextmanager
def progress(console: Console) -> Iterator[Callable[[str], None]]:
    """A function that tells which step has begun.

    >>> with progress(Console(quiet=True)) as say:
    ...     say("reading")
    """
    started = time.monotonic()

    def line(step: str) -> None:
        console.print(f"[{time.monotonic() - started:6.1f} s] {step}", markup=False, highlight=False)

    if not console.is_terminal:
        yield line
        return
    with console.status("starting") as status:

        def say(step: str) -> None:
            line(step)
            status.update(step)

        yield say
