"""How long the steps of one request took, noted where they happen and read by whoever asked for them.

The code that ranks says `with step("score"):` and need not know whether anybody listens.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import perf_counter


@dataclass
class Steps:
    """What was noted: seconds by step (a step taken twice adds up), and fallbacks to the plain path by reason."""

    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    fallbacks: Counter[str] = field(default_factory=Counter)


_NOTED: ContextVar[Steps | None] = ContextVar("steps", default=None)


@contextmanager
def noted() -> Iterator[Steps]:
    """Collect what `step` and `fell_back` note meanwhile, in this thread or task.

    >>> with noted() as steps:
    ...     with step("score"):
    ...         fell_back("too few rows")
    >>> list(steps.seconds), dict(steps.fallbacks)
    (['score'], {'too few rows': 1})
    """
    steps = Steps()
    token = _NOTED.set(steps)
    try:
        yield steps
    finally:
        _NOTED.reset(token)


@contextmanager
def step(name: str) -> Iterator[None]:
    """Time a step, also one that fails."""
    started = perf_counter()
    try:
        yield
    finally:
        if (steps := _NOTED.get()) is not None:
            steps.seconds[name] += perf_counter() - started


def fell_back(reason: str) -> None:
    """Note that the plain path answered in the place of the fast one; `reason` is one of a few fixed words."""
    if (steps := _NOTED.get()) is not None:
        steps.fallbacks[reason] += 1
