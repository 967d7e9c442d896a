"""The supervisor: loops that fail are started again, and none is left behind."""

from __future__ import annotations

import asyncio

from saga_orchestrator.runtime.supervisor import Supervisor
from saga_orchestrator.testing.virtual_time import LoopClock
from tests.unit.runtime.stage import Service, open_manager, until, virtual


async def _open() -> Supervisor:
    supervisor = Supervisor(LoopClock())
    await supervisor.open()
    return supervisor


@virtual
async def test_a_loop_that_raises_is_started_again():
    """It runs on after a second, as often as it takes."""
    supervisor = await _open()
    instants: list[float] = []

    async def run() -> None:
        instants.append(LoopClock().monotonic())
        raise RuntimeError("broken")

    supervisor.loop("relay", run)
    await LoopClock().sleep(3.5)
    assert instants == [0, 1, 2, 3]
    await supervisor.close()


@virtual
async def test_a_loop_that_raised_shows_in_the_problems():
    """Its name, the kind of error and its text."""
    supervisor = await _open()

    async def run() -> None:
        raise RuntimeError("broken")

    supervisor.loop("relay", run)
    await until(supervisor.problems)
    assert supervisor.problems() == ["relay: RuntimeError: broken"]
    await supervisor.close()


@virtual
async def test_a_loop_that_works_again_is_no_problem():
    """An hour later one hiccup is no longer what is wrong *now*."""
    supervisor = await _open()
    runs: list[int] = []

    async def run() -> None:
        runs.append(1)
        if len(runs) == 1:
            raise RuntimeError("broken")
        while True:
            await LoopClock().sleep(1)

    supervisor.loop("relay", run)
    await LoopClock().sleep(3600)
    assert supervisor.problems() == []
    await supervisor.close()


@virtual
async def test_a_loop_that_raises_leaves_the_others_alone():
    """Its neighbours go on."""
    supervisor = await _open()
    beats: list[float] = []

    async def beat() -> None:
        while True:
            await LoopClock().sleep(1)
            beats.append(1)

    async def fail() -> None:
        raise RuntimeError("broken")

    supervisor.loop("beat", beat)
    supervisor.loop("fail", fail)
    supervisor.once("once", fail)
    await LoopClock().sleep(5.5)
    assert len(beats) == 5
    await supervisor.close()


@virtual
async def test_closing_leaves_no_task():
    """A manager that was opened, used and closed leaves the loop as it was."""
    before = asyncio.all_tasks()
    service = Service()
    async with open_manager(service.handlers) as manager:
        saga = await manager.start("s", service.chain())
        await manager.wait(saga.id)
    await LoopClock().sleep(0)
    assert asyncio.all_tasks() == before


@virtual
async def test_closing_without_stopping_leaves_no_task_either():
    """Also in the middle of handlers, long ones too."""
    before = asyncio.all_tasks()
    service = Service()
    service.does["a"] = lambda _: LoopClock().sleep(1000)

    @service.handlers.step("near.long", long=True)
    async def endless(ctx):
        await asyncio.Event().wait()

    manager = await open_manager(service.handlers)
    steps = service.chain("a")
    await manager.start("s", steps)
    await manager.start("s", [type(steps[0])("l", action="near.long")])
    await LoopClock().sleep(1)
    await manager.close()
    await LoopClock().sleep(0)
    assert asyncio.all_tasks() == before
