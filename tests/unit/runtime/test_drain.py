"""The drain of a worker: what was begun, what was not, and what takes too long."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager

from saga_orchestrator import Handlers, Manager, Step
from saga_orchestrator.core.decision import HistoryKind
from saga_orchestrator.core.saga import Saga
from saga_orchestrator.ports.broker import QueueSpec
from saga_orchestrator.testing.virtual_time import LoopClock
from tests.unit.runtime.stage import (
    TOPOLOGY,
    Faults,
    Service,
    fresh_name,
    open_broker,
    open_manager,
    open_worker,
    until,
    virtual,
)

COUNT = 20
AT_ONCE = 8
"""How many handlers a worker of the stage runs at a time."""


class _Fleet:
    """An orchestrator, and workers that come and go; their runs are counted.

    Attributes:
        runs: how often each saga's action was run.
        hangs: the sagas whose action does not end, the first time.
    """

    def __init__(self, name: str, manager: Manager) -> None:
        self.name = name
        self.manager = manager
        self.runs: Counter[str] = Counter()
        self.hangs: set[str] = set()
        self.go = asyncio.Event()
        self._service = Service("far")
        self._service.does["a"] = self._act

    async def worker(self, faults: Faults | None = None):
        """Open one more."""
        broker = await open_broker(self.name, faults)
        return await open_worker(broker, self._service.handlers)

    async def start_frame(self) -> list[Saga]:
        """Start sagas whose commands travel in one message."""
        steps = self._service.chain("a")
        starts = [self.manager.start("s", steps) for _ in range(COUNT)]
        return await asyncio.gather(*starts)

    async def _act(self, ctx) -> None:
        self.runs[ctx.saga_id] += 1
        await self.go.wait()
        if ctx.saga_id in self.hangs and self.runs[ctx.saga_id] == 1:
            await asyncio.Event().wait()

    async def all_complete(self, sagas: list[Saga]) -> None:
        """Wait until all are, each with its first attempt."""
        for saga in sagas:
            ended = await self.manager.wait(saga.id, timeout=60)
            assert ended.is_completed
            status = ended.status("a")
            assert (status.attempt, status.generation) == (1, 1)


@asynccontextmanager
async def _fleet():
    name = fresh_name()
    broker = await open_broker(name)
    queue = QueueSpec("saga.steps.far", ("step.far.a",), TOPOLOGY.undelivered)
    await broker.declare(queue)
    async with open_manager(broker=await open_broker(name), engine=True) as manager:
        yield _Fleet(name, manager)
    await broker.close()


async def _stopped(worker, timeout: float) -> None:
    clock = LoopClock()
    start = clock.monotonic()
    await worker.stop(timeout)
    assert clock.monotonic() - start <= timeout
    await worker.close()


@virtual
async def test_what_has_not_begun_goes_back_and_nothing_runs_twice():
    """Of one frame, eight are answered; the rest is run by another, without delay."""
    async with _fleet() as fleet:
        sagas = await fleet.start_frame()
        first = await fleet.worker()
        await until(lambda: len(fleet.runs) == AT_ONCE)
        asyncio.get_running_loop().call_later(5, fleet.go.set)
        await _stopped(first, 20)
        assert len(fleet.runs) == AT_ONCE
        second = await fleet.worker()
        before = LoopClock().monotonic()
        await fleet.all_complete(sagas)
        assert LoopClock().monotonic() - before < 1  # under no suspicion
        assert set(fleet.runs.values()) == {1}
        await second.close()


@virtual
async def test_what_takes_too_long_is_interrupted_and_its_neighbours_stay_answered():
    """Only the one that hung is run again; it has used no attempt."""
    async with _fleet() as fleet:
        sagas = await fleet.start_frame()
        slow = sagas[0].id
        fleet.hangs.add(slow)
        first = await fleet.worker()
        await until(lambda: len(fleet.runs) == AT_ONCE)
        fleet.go.set()
        await until(lambda: len(fleet.runs) == COUNT)
        await _stopped(first, 8)
        second = await fleet.worker()
        await fleet.all_complete(sagas)
        assert fleet.runs == {saga.id: 1 + (saga.id == slow) for saga in sagas}
        await second.close()


@virtual
async def test_what_cannot_be_put_back_is_delivered_again():
    """A drain that gets no confirm leaves the frame to the broker; nothing is lost."""
    async with _fleet() as fleet:
        sagas = await fleet.start_frame()
        faults = Faults(text=b"saga_id", lost=True)
        first = await fleet.worker(faults)
        await until(lambda: len(fleet.runs) == AT_ONCE)
        fleet.go.set()
        await _stopped(first, 20)
        assert faults.seen == COUNT - AT_ONCE  # one try each
        second = await fleet.worker()
        await fleet.all_complete(sagas)
        await second.close()


@virtual
async def test_a_long_run_that_is_interrupted_comes_again_for_free():
    """Its command was acknowledged long ago: it is put off, not lost."""
    keys: list[str] = []
    far = Handlers("far")

    @far.step("far.long", long=True)
    async def long(ctx):
        keys.append(ctx.idempotency_key)
        if len(keys) == 1:
            await asyncio.Event().wait()
        return "done"

    name = fresh_name()
    first = await open_worker(await open_broker(name), far)
    async with open_manager(broker=await open_broker(name), engine=True) as manager:
        saga = await manager.start("s", [Step("l", action="far.long")])
        await until(lambda: keys)
        await _stopped(first, 8)
        second = await open_worker(await open_broker(name), far)
        saga = await manager.wait(saga.id, timeout=10)
        history = (await manager.record(saga.id)).history
        (entry,) = [e for e in history if e.kind is HistoryKind.STEP_POSTPONED]
        assert entry.data["reason"] == "its process was stopped"
        assert (saga.outputs, saga.status("l").attempt) == ({"l": "done"}, 1)
        assert len(keys) == 2
        assert len(set(keys)) == 1
        await second.close()
