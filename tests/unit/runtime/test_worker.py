"""A participant process: handlers and a broker, and no store of ours."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from saga_orchestrator import Handlers, Step, StepFailed
from saga_orchestrator.core.decision import HistoryKind
from saga_orchestrator.core.states import Outcome
from saga_orchestrator.participant.signals import RetryLater
from saga_orchestrator.testing.virtual_time import LoopClock
from tests.unit.runtime.stage import (
    ONCE,
    Service,
    dead_letters,
    fresh_name,
    open_broker,
    open_manager,
    open_worker,
    raising,
    seconds,
    until,
    virtual,
)


@virtual
async def test_a_worker_answers_over_the_broker():
    """A saga runs through two processes and back, its undo included."""
    near, far = Service("near"), Service("far")
    far.does["b"] = raising(RuntimeError("turn back"))
    name = fresh_name()
    worker = await open_worker(await open_broker(name), far.handlers)
    async with open_manager(near.handlers, broker=await open_broker(name)) as manager:
        steps = [*near.chain("a"), *far.chain("b", retry=ONCE)]
        saga = await manager.wait((await manager.start("s", steps)).id, timeout=30)
        assert saga.is_compensated
        assert near.runs == ["a", "undo_a"]
        assert far.runs == ["b", "undo_b"]
    await worker.close()


@virtual
async def test_large_answers_that_gather_arrive_all_the_same():
    """Ten outputs of almost a mebibyte at once are ten answers, none lost."""
    far = Service("far")

    async def much(ctx):
        return "x" * 1_000_000

    far.does["a"] = much
    name = fresh_name()
    worker = await open_worker(await open_broker(name), far.handlers)
    dead = await dead_letters(await open_broker(name))
    async with open_manager(broker=await open_broker(name), engine=True) as manager:
        # One saga, so that one frame carries all ten commands.
        steps = [Step(f"s{n}", action="far.a", depends_on=["r"]) for n in range(10)]
        saga = await manager.start("s", [Step("r"), *steps])
        saga = await manager.wait(saga.id, timeout=60)
        assert saga.is_completed
        assert dead.seen == []
    await worker.close()


@virtual
async def test_what_was_put_off_and_then_abandoned_is_undone():
    """``RetryLater`` leaves the outcome open: the undo comes, and has no output."""
    far = Service("far", "ab")

    async def put_off(ctx):
        raise RetryLater(seconds(3600), "the bank is closed")

    async def refuse(ctx):
        await until(lambda: "a" in far.runs)
        await LoopClock().sleep(1)
        raise StepFailed("no")

    far.does |= {"a": put_off, "b": refuse}
    name = fresh_name()
    worker = await open_worker(await open_broker(name), far.handlers)
    async with open_manager(broker=await open_broker(name), engine=True) as manager:
        a, b = far.chain("ab")
        steps = [Step("r"), *(replace(one, depends_on=["r"]) for one in (a, b))]
        saga = await manager.start("s", steps)
        assert (await manager.wait(saga.id, timeout=60)).is_compensated
        assert far.runs == ["a", "b", "undo_a"]
        assert far.given[-1] is None
    await worker.close()


@virtual
async def test_a_worker_that_stops_finishes_what_it_began():
    """A run that was begun is answered before ``stop`` returns."""
    far = Service("far")

    async def slow(ctx):
        await LoopClock().sleep(5)
        return "done"

    far.does["a"] = slow
    name = fresh_name()
    worker = await open_worker(await open_broker(name), far.handlers)
    async with open_manager(broker=await open_broker(name), engine=True) as manager:
        saga = await manager.start("s", far.chain("a"))
        await until(lambda: far.runs)
        await worker.stop()
        await worker.close()
        assert (await manager.wait(saga.id, timeout=1)).outputs == {"a": "done"}


@virtual
async def test_stopping_lets_a_long_handler_finish():
    """A long run that ends in time is answered, and no attempt is burned."""
    service = Handlers("near")
    began = asyncio.Event()

    @service.step("near.long", long=True)
    async def long(ctx):
        began.set()
        await LoopClock().sleep(5)
        return "done"

    async with open_manager(service) as manager:
        saga = await manager.start("s", [Step("l", action="near.long")])
        await began.wait()
        await LoopClock().sleep(1)
        await manager.stop()
        assert (await manager.get(saga.id)).outputs == {"l": "done"}


@virtual
async def test_a_long_handler_keeps_its_step_alive():
    """Heartbeats hold the step for hours; its answer ends it."""
    service = Handlers("near")

    @service.step("near.long", long=True)
    async def long(ctx):
        await LoopClock().sleep(2 * 3600)
        return "done"

    step = Step("l", action="near.long", timeout=seconds(3 * 3600))
    async with open_manager(service) as manager:
        saga = await manager.start("s", [step])
        saga = await manager.wait(saga.id, timeout=3 * 3600)
        assert saga.outputs == {"l": "done"}
        assert saga.status("l").attempt == 1


@virtual
async def test_a_long_handler_that_goes_silent_is_unknown():
    """A minute without a heartbeat ends the attempt; the next one is sent."""
    far = Handlers("far")
    runs: list[int] = []

    @far.step("far.long", long=True)
    async def long(ctx):
        runs.append(ctx.attempt)
        if ctx.attempt == 1:
            await asyncio.Event().wait()
        return "done"

    name = fresh_name()
    first = await open_worker(await open_broker(name), far)
    async with open_manager(broker=await open_broker(name), engine=True) as manager:
        saga = await manager.start("s", [Step("l", action="far.long")])
        await until(lambda: runs)
        await LoopClock().sleep(1)
        await first.close()
        second = await open_worker(await open_broker(name), far)
        saga = await manager.wait(saga.id, timeout=90)
        assert saga.is_completed
        assert runs == [1, 2]
        kinds = [entry.kind for entry in (await manager.record(saga.id)).history]
        assert kinds.count(HistoryKind.HEARTBEAT_LOST) == 1
        await second.close()


def _mortal(died: asyncio.Event) -> Service:
    """A service of a process that ``deadly`` kills: then nothing in it goes on."""
    far = Service("far")

    async def run(ctx):
        if ctx.saga_name == "deadly":
            died.set()
        await LoopClock().sleep(1)
        if died.is_set():
            await asyncio.Event().wait()

    far.does["a"] = run
    return far


@virtual
async def test_a_command_that_kills_its_worker_is_dead_lettered_alone():
    """At the delivery limit it settles as unknown; its ten neighbours are done."""
    name = fresh_name()
    kinds = [*["s"] * 5, "deadly", *["s"] * 5]  # in one frame, in this order
    steps = Service("far").chain("a", undo_failed="never")
    async with open_manager(broker=await open_broker(name), engine=True) as manager:
        sagas = await asyncio.gather(*(manager.start(kind, steps) for kind in kinds))
        for _ in range(25):
            died, broker = asyncio.Event(), await open_broker(name)
            await open_worker(broker, _mortal(died).handlers)
            try:
                await asyncio.wait_for(died.wait(), 60)
            except TimeoutError:
                break
            broker.crash()
        sagas = [await manager.wait(saga.id, timeout=1) for saga in sagas]
        done = [saga.is_completed for saga in sagas]
        assert done == [kind == "s" for kind in kinds]
        assert sagas[5].status("a").outcome is Outcome.UNKNOWN
        assert "delivery_limit" in sagas[5].reason
