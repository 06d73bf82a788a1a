import asyncio
import threading
from contextvars import ContextVar

import pytest

from serving.compute import OneThread

WHO: ContextVar[str] = ContextVar("who", default="nobody")


@pytest.fixture
def thread():
    thread = OneThread("test")
    yield thread
    thread.close()


class Gate:
    """A function that says when it began and goes on when it is let."""

    def __init__(self):
        self.began, self.let, self.ended = threading.Event(), threading.Event(), threading.Event()

    def __call__(self):
        self.began.set()
        assert self.let.wait(30)
        self.ended.set()

    async def under_way(self):
        while not self.began.is_set():
            await asyncio.sleep(0.001)


def test_first_come_first_served_by_one_thread(thread):
    done, gate = [], Gate()

    def note(number):
        done.append((number, threading.get_ident()))

    async def scene():
        blocked = asyncio.create_task(thread.run(gate))
        await gate.under_way()
        queued = [asyncio.create_task(thread.run(note, number)) for number in range(64)]
        await asyncio.sleep(0.01)
        assert done == []
        gate.let.set()
        await asyncio.gather(blocked, *queued)

    asyncio.run(scene())
    assert [number for number, _ in done] == list(range(64))
    assert len({ident for _, ident in done}) == 1


def test_results_errors_and_context_come_through(thread):
    def fail():
        raise KeyError("x")

    async def scene():
        WHO.set("caller")
        assert await thread.run(WHO.get) == "caller"
        assert await thread.run(int, "7") == 7
        with pytest.raises(KeyError, match="x"):
            await thread.run(fail)
        return await thread.run(str, "still there")

    assert asyncio.run(scene()) == "still there"


def test_what_is_cancelled_while_queued_is_never_called(thread):
    called, gate = [], Gate()

    async def scene():
        blocked = asyncio.create_task(thread.run(gate))
        await gate.under_way()
        given_up, kept = (asyncio.create_task(thread.run(called.append, name)) for name in ("given up", "kept"))
        await asyncio.sleep(0)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up  # at once: the gate is still shut
        gate.let.set()
        await asyncio.gather(blocked, kept)

    asyncio.run(scene())
    assert called == ["kept"]


def test_what_is_cancelled_while_it_runs_ends_when_it_does(thread):
    gate = Gate()

    async def scene():
        running = asyncio.create_task(thread.run(gate))
        await gate.under_way()
        for _ in range(3):  # insisting changes nothing
            running.cancel()
            await asyncio.sleep(0.01)
        assert not running.done()
        gate.let.set()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert gate.ended.is_set()
        return await thread.run(int, "7")

    assert asyncio.run(scene()) == 7


def test_closing_finishes_what_runs_and_drops_what_is_queued():
    thread, gate, called = OneThread("test"), Gate(), []

    async def scene():
        running = asyncio.create_task(thread.run(gate))
        await gate.under_way()
        queued = asyncio.create_task(thread.run(called.append, 1))
        await asyncio.sleep(0)
        closing = asyncio.create_task(asyncio.to_thread(thread.close))
        with pytest.raises(asyncio.CancelledError):
            await queued
        gate.let.set()
        await asyncio.gather(running, closing)

    asyncio.run(scene())
    assert (called, gate.ended.is_set()) == ([], True)
