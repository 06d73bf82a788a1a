"""The one thread of a worker that computes: first come, first served.

LightGBM, numpy and the walk over the catalogue keep a core busy by themselves: two of them at a time in one process
would make both slower and neither fair. More cores are used by more workers (`serve --workers`).
"""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class OneThread:
    """Runs functions one at a time, in the order they were asked for, beside the event loop.

    >>> async def twice():
    ...     thread = OneThread("doctest")
    ...     return await thread.run(max, 1, 2), await thread.run(min, 1, 2)
    >>> asyncio.run(twice())
    (2, 1)
    """

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The function's result; it sees the caller's context variables.

        Cancelled while queued, the function is never called. Cancelled while it runs, this ends when the function
        does: who counts what is at work counts right.
        """
        context = contextvars.copy_context()
        queued = self._executor.submit(context.run, partial(function, *args, **kwargs))
        result = asyncio.wrap_future(queued)
        try:
            return await asyncio.shield(result)
        except asyncio.CancelledError:
            if not queued.cancel():
                await _ended(result)
            raise

    def begin(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Queue it without waiting, also where no event loop runs yet."""
        return self._executor.submit(function, *args, **kwargs)

    def close(self) -> None:
        """Finish what is being computed, drop what is queued."""
        self._executor.shutdown(cancel_futures=True)


async def _ended(future: "asyncio.Future[T]") -> None:
    while not future.done():
        try:
            await asyncio.wait({future})
        except asyncio.CancelledError:
            continue  # asked again: a thread cannot be stopped
    if not future.cancelled():
        future.exception()  # seen: nobody waits for it any more
