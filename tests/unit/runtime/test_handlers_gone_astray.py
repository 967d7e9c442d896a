"""Handlers that cancel the task they run in, and long ones that cannot be answered."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from saga_orchestrator import Handlers, Step
from saga_orchestrator.core.events import Answered
from saga_orchestrator.errors import StoreDataError
from saga_orchestrator.testing.virtual_time import LoopClock, run_virtual
from tests.unit.runtime.stage import (
    ONCE,
    WatchedStore,
    dead_letters,
    fresh_name,
    open_broker,
    open_manager,
    open_store,
    until,
    virtual,
)

AT_ONCE = 4


class _Frame:
    """Four commands in one frame, the first of which goes astray, once.

    Attributes:
        begun: how often each was begun.
        ended: how often each came to its end.
    """

    def __init__(self, stray) -> None:
        self.begun: Counter[int] = Counter()
        self.ended: Counter[int] = Counter()
        self.handlers = Handlers("near")
        self.handlers.step("near.act")(self._act)
        self.handlers.compensation("near.undo")(self._undo)
        self._stray = stray

    async def _act(self, ctx) -> None:
        number = ctx.context["number"]
        self.begun[number] += 1
        if number == 0 and self.begun[number] == 1:
            await self._stray()
        await asyncio.sleep(3 if number < 2 else 9)
        self.ended[number] += 1

    async def _undo(self, ctx) -> None:
        del ctx

    async def run(self, **options) -> list[str]:
        """Run them all; return how their sagas ended."""
        async with open_manager(self.handlers, **options) as manager:
            step = Step("s", action="near.act", compensation="near.undo", retry=ONCE)
            sagas = await asyncio.gather(
                *(manager.start("s", [step], {"number": n}) for n in range(4))
            )
            ended = [await manager.wait(saga.id, timeout=60) for saga in sagas]
        return [str(saga.state) for saga in ended]


@virtual
async def test_a_handler_that_cancels_its_task_is_alone_in_that():
    """Its outcome is unknown; its neighbours go on, and are not run again."""

    async def stray():
        asyncio.get_running_loop().call_later(1, asyncio.current_task().cancel)
        await asyncio.sleep(10)

    frame = _Frame(stray)
    assert await frame.run() == ["compensated", *["completed"] * 3]
    assert frame.begun == Counter(range(4))
    assert frame.ended == Counter(range(1, 4))


@virtual
async def test_handlers_that_cancel_their_tasks_hold_up_no_queue():
    """More of them than may run at a time: the next saga runs all the same."""
    handlers = Handlers("near")

    @handlers.step("near.stray")
    async def stray(ctx):
        asyncio.get_running_loop().call_soon(asyncio.current_task().cancel)
        await asyncio.sleep(10)

    @handlers.step("near.good")
    async def good(ctx):
        return "done"

    async with open_manager(handlers, concurrency=AT_ONCE) as manager:
        step = Step("s", action="near.stray", retry=ONCE)
        for _ in range(AT_ONCE + 1):
            saga = await manager.start("s", [step])
            assert (await manager.wait(saga.id, timeout=60)).is_compensated
        saga = await manager.start("s", [Step("g", action="near.good")])
        assert (await manager.wait(saga.id, timeout=1)).is_completed


@virtual
async def test_a_cancellation_that_comes_when_the_handler_has_ended_loses_nothing():
    """It hits who goes on in its frame: their outcome is unknown, and that is all."""

    async def stray():
        asyncio.get_running_loop().call_later(6, asyncio.current_task().cancel)

    frame = _Frame(stray)
    assert await frame.run() == [*["completed"] * 2, *["compensated"] * 2]
    assert frame.begun == Counter(range(4))


@pytest.mark.parametrize("error", [StoreDataError("it cannot be read"), RuntimeError()])
@virtual
async def test_a_long_run_that_cannot_be_answered_keeps_no_place(error):
    """What its answer is refused for is an end, and no drain to wait for."""
    handlers, name = Handlers("near"), fresh_name()

    @handlers.step("near.long", long=True)
    async def long(ctx):
        return "done"

    @handlers.step("near.short")
    async def short(ctx):
        return "done"

    store = WatchedStore(await open_store())
    refused: set[str] = set()

    async def gate(events, **options):
        del options
        if any(isinstance(e, Answered) and e.saga_id in refused for e in events):
            raise error

    store.gates["transact"] = gate
    broker = await open_broker(name)
    dead = await dead_letters(broker)
    async with open_manager(
        handlers, store=store, broker=await open_broker(name), concurrency=AT_ONCE
    ) as manager:
        for _ in range(AT_ONCE):
            saga = await manager.start("s", [Step("l", action="near.long")])
            refused.add(saga.id)
        await until(lambda: len(dead.seen) >= AT_ONCE, limit=600)
        saga = await manager.start("s", [Step("g", action="near.short")])
        assert (await manager.wait(saga.id, timeout=1)).is_completed
        await LoopClock().sleep(1)
    await broker.close()


def test_a_program_that_ends_without_closing_is_not_held_up():
    """Its loop cancels whatever runs: that is the process's end, too."""
    handlers, begun = Handlers("near"), []

    @handlers.step("near.slow")
    async def slow(ctx):
        begun.append(ctx)
        await asyncio.sleep(1000)

    async def main():
        manager = await open_manager(handlers)
        await manager.start("s", [Step("s", action="near.slow")])
        await until(lambda: begun)
        return "over"

    assert run_virtual(main()) == "over"
