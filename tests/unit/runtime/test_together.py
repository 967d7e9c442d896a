"""The commands of one message: what they share, and what each has to itself."""

from __future__ import annotations

import asyncio
import contextvars
import time

import pytest

from saga_orchestrator import StepFailed
from saga_orchestrator.core.commands import Answer, Reply
from saga_orchestrator.errors import StoreDataError
from saga_orchestrator.ports.clock import SystemClock
from saga_orchestrator.runtime.answering import Answering
from saga_orchestrator.runtime.together import TURN_SECONDS, Together
from tests.support.participants import action
from tests.unit.runtime.stage import Service, open_manager, virtual

COUNT = 6
_WHO: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")


async def _run_frame(does) -> list:
    """Start sagas whose commands travel in one message; return how they ended."""
    service = Service("near", "a")
    service.does["a"] = does
    async with open_manager(service.handlers) as manager:
        steps = service.chain("a")
        starts = [manager.start("s", steps) for _ in range(COUNT)]
        sagas = await asyncio.gather(*starts)
        return [await manager.wait(saga.id) for saga in sagas]


@virtual
async def test_a_variable_that_a_handler_sets_is_gone_with_it():
    """Whether it waits or not: a tenant or a session must not be the next one's."""
    seen: list[str] = []

    async def does(ctx):
        seen.append(_WHO.get())
        _WHO.set(ctx.saga_id)
        if len(seen) % 2:
            await asyncio.sleep(0)
        assert _WHO.get() == ctx.saga_id

    assert all(saga.is_completed for saga in await _run_frame(does))
    assert seen == ["nobody"] * COUNT


@virtual
async def test_a_handler_that_waits_has_its_task_to_itself():
    """A limit that it sets there ends nothing else."""
    tasks: set[asyncio.Task] = set()

    async def does(ctx):
        tasks.add(asyncio.current_task())
        try:
            async with asyncio.timeout(1 + len(tasks)):
                await asyncio.Event().wait()
        except TimeoutError:
            return "in time"

    sagas = await _run_frame(does)
    assert [saga.outputs for saga in sagas] == [{"a": "in time"}] * COUNT
    assert len(tasks) == COUNT


@virtual
async def test_handlers_that_end_in_every_way_are_answered_each():
    """Some wait, some do not, some fail: none is in the way of another."""
    number = 0

    async def does(ctx):
        nonlocal number
        number += 1
        mine = number
        if mine % 3 == 0:
            await asyncio.sleep(1)
        if mine % 2:
            raise StepFailed("odd")
        return mine

    sagas = await _run_frame(does)
    assert [saga.is_completed for saga in sagas] == [False, True] * (COUNT // 2)


class _Safe:
    """A sink that keeps every answer, save one."""

    def __init__(self, refuses: int = -1) -> None:
        self.futures: list[asyncio.Future] = []
        self.has_all = asyncio.Event()
        self._refuses = refuses

    def answer(self, reply):
        del reply
        future = asyncio.get_running_loop().create_future()
        if len(self.futures) == self._refuses:
            future.set_exception(StoreDataError("cannot be kept"))
        self.futures.append(future)
        if len(self.futures) == COUNT:
            self.has_all.set()
        return future

    async def refused(self, reply, error):
        del reply
        raise error


def _together(sink: _Safe, does=lambda: None) -> Together:
    async def serve(place, command, when_it_waits):
        del place, when_it_waits
        does()
        answering = Answering(sink, "q")
        answering.hand_over(Reply(command.fence, command.token, Answer.SUCCEEDED))
        return answering

    commands = [action(step=f"s{number}") for number in range(COUNT)]
    return Together(commands, serve, SystemClock(), lambda: True)


async def test_the_loop_gets_a_turn_between_handlers_that_compute():
    """They may not hold up every heartbeat of the process, one after the other."""
    turns = 0

    def spin() -> None:
        end = time.monotonic() + 1.2 * TURN_SECONDS
        while time.monotonic() < end:
            pass

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count_turns())
    sink = _Safe()
    running = asyncio.create_task(_together(sink, spin).run())
    await sink.has_all.wait()
    assert turns >= COUNT - 1
    for future in sink.futures:
        future.set_result(None)
    assert await running == [True] * COUNT
    counting.cancel()


async def test_an_answer_that_is_refused_waits_for_its_neighbours():
    """It says why it is not taken when all others are safe."""
    sink = _Safe(refuses=1)
    running = asyncio.create_task(_together(sink).run())
    await sink.has_all.wait()
    for future in sink.futures:
        assert not running.done()
        if not future.done():
            future.set_result(None)
        await asyncio.sleep(0)
    ends = await running
    assert [str(end) for end in ends] == [
        "True",
        "cannot be kept",
        *["True"] * (COUNT - 2),
    ]


async def test_who_is_cancelled_waits_for_no_answer():
    """The process ends: its commands come again."""
    sink = _Safe()
    running = asyncio.create_task(_together(sink).run())
    await sink.has_all.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert all(future.cancelled() for future in sink.futures)
