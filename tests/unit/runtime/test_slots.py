"""More commands than may run: the rest waits in the queue, and not in a process."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections import Counter

import pytest

from saga_orchestrator import Handlers, Step
from saga_orchestrator.core.events import Answered
from saga_orchestrator.errors import StoreDataError
from saga_orchestrator.runtime.slots import SLOT_SECONDS
from saga_orchestrator.testing.virtual_time import LoopClock
from tests.unit.runtime.stage import (
    ONCE,
    WatchedStore,
    dead_letters,
    fresh_name,
    open_broker,
    open_manager,
    open_store,
    open_worker,
    put,
    raising,
    until,
    virtual,
)

QUEUE = "saga.steps.near"
AT_ONCE = 8
"""As many handlers run at a time in a worker of the stage."""


class _Slow:
    """A service whose handlers take their time.

    Attributes:
        runs: how often each saga's action was begun.
    """

    def __init__(self, seconds: float, *, long: bool = False) -> None:
        self.runs: Counter[str] = Counter()
        self.handlers = Handlers("near")
        self._seconds = seconds
        self.handlers.step("near.slow", long=long)(self._slow)
        timeout = dt.timedelta(minutes=60 if long else 10)
        self.step = Step("s", action="near.slow", timeout=timeout)

    async def _slow(self, ctx):
        self.runs[ctx.saga_id] += 1
        await asyncio.sleep(self._seconds)
        return "done"


def _sent_by(broker):
    """Return the list of what is published from now on."""
    sent = []
    publish = broker.publish

    async def watched(messages):
        sent.extend(messages)
        return await publish(messages)

    broker.publish = watched
    return sent


@virtual
async def test_what_finds_no_slot_waits_in_its_queue_and_runs_once():
    """Where everybody sees it, and another process may take it."""
    slow, name, clock = _Slow(10), fresh_name(), LoopClock()
    worker = await open_worker(await open_broker(name), slow.handlers)
    broker = await open_broker(name)
    async with open_manager(broker=broker, engine=True) as manager:
        begun = clock.monotonic()
        starts = (manager.start("s", [slow.step]) for _ in range(80))
        sagas = await asyncio.gather(*starts)
        await clock.sleep(SLOT_SECONDS + 0.5)
        assert (await broker.stats(QUEUE)).ready >= 80 - 2 * AT_ONCE
        other = await open_worker(await open_broker(name), slow.handlers)
        for saga in sagas:
            assert (await manager.wait(saga.id, timeout=600)).is_completed
        assert clock.monotonic() - begun < 80 / (2 * AT_ONCE) * 10 + 2 * SLOT_SECONDS
        assert set(slow.runs.values()) == {1}
    await worker.close()
    await other.close()


@virtual
async def test_long_runs_that_wait_for_a_slot_are_run_once():
    """For longer than it takes until an unanswered command is sent again."""
    slow = _Slow(3000, long=True)
    async with open_manager(slow.handlers, concurrency=2) as manager:
        starts = (manager.start("s", [slow.step]) for _ in range(8))
        sagas = await asyncio.gather(*starts)
        for saga in sagas:
            assert (await manager.wait(saga.id, timeout=30_000)).is_completed
        assert set(slow.runs.values()) == {1}


@virtual
async def test_a_lost_connection_does_not_hold_up_an_undo_behind_long_runs():
    """What came back waits for its slot in the queue again, suspect as it is."""
    slow, name = _Slow(3000, long=True), fresh_name()
    undone = asyncio.Event()

    @slow.handlers.step("near.done")
    async def done(ctx):
        return "done"

    @slow.handlers.compensation("near.undo")
    async def undo(ctx, output):
        undone.set()

    slow.handlers.step("near.refuse")(raising(RuntimeError("no")))
    broker = await open_broker(name)
    async with open_manager(slow.handlers, broker=broker, concurrency=2) as manager:
        for _ in range(6):
            await manager.start("s", [slow.step])
        await until(lambda: len(slow.runs) == 2)
        broker.cut_connection()
        steps = [
            Step("d", action="near.done", compensation="near.undo"),
            Step("r", action="near.refuse", retry=ONCE),
        ]
        async with asyncio.timeout(60):
            worker = await open_worker(await open_broker(name), slow.handlers)
            await manager.start("t", steps)
            await undone.wait()
        await worker.stop(1)
        await worker.close()
        await manager.stop(1)


@virtual
async def test_a_drain_sets_aside_only_what_cannot_be_answered():
    """Its neighbours, which were not begun, are put back, and run elsewhere."""
    slow, name = _Slow(3), fresh_name()
    store = WatchedStore(await open_store())
    damaged: set[str] = set()

    async def gate(events, **options):
        del options
        if any(isinstance(e, Answered) and e.saga_id in damaged for e in events):
            raise StoreDataError("cannot be read")

    store.gates["transact"] = gate
    broker = await open_broker(name)
    dead = await dead_letters(broker)
    options = {"store": store, "broker": await open_broker(name), "concurrency": 1}
    async with open_manager(slow.handlers, **options) as manager:
        starts = (manager.start("s", [slow.step]) for _ in range(4))
        await asyncio.gather(*starts)
        await until(lambda: slow.runs)
        (first,) = slow.runs
        damaged.add(first)
        await manager.stop(20)
    assert [one.body.count(b'"saga_id"') for one in dead.seen] == [1]
    assert first.encode() in dead.seen[0].body
    assert (await broker.stats(QUEUE)).ready == 3
    await broker.close()


@pytest.mark.parametrize("extra", [0, 1])
@virtual
async def test_a_process_that_has_room_puts_nothing_back(extra):
    """Whoever gets a slot in time keeps what it has."""
    slow, name = _Slow(SLOT_SECONDS - 1), fresh_name()
    broker = await open_broker(name)
    sent = _sent_by(broker)
    async with open_manager(slow.handlers, broker=broker, concurrency=4) as manager:
        starts = (manager.start("s", [slow.step]) for _ in range(4 + 4 * extra))
        for saga in await asyncio.gather(*starts):
            assert (await manager.wait(saga.id, timeout=60)).is_completed
    assert not [message for message in sent if message.exchange == ""]


@pytest.mark.parametrize("together", [False, True])
@virtual
async def test_a_copy_of_what_is_at_work_ends_with_it(together):
    """It is not run beside it, and not forgotten before that is answered."""
    slow, name, clock = _Slow(10), fresh_name(), LoopClock()
    broker = await open_broker(name)
    sent = _sent_by(broker)
    async with open_manager(slow.handlers, broker=broker) as manager:
        saga = await manager.start("s", [slow.step])
        await until(lambda: slow.runs)
        (command,) = json.loads(sent[0].body)["commands"]
        copies = [[command] * 3] if together else [[command]] * 3
        for commands in copies:
            body = json.dumps({"v": 1, "commands": commands}).encode()
            await put(broker, QUEUE, body, "saga.commands")
        await clock.sleep(1)
        assert manager._engine._receiver._in_hand._count == 1 + len(copies)
        assert (await manager.wait(saga.id, timeout=30)).is_completed
        begun = clock.monotonic()
        await manager.stop(20)
        assert clock.monotonic() - begun < 1  # nothing is in hand
        assert slow.runs[saga.id] == 1


@virtual
async def test_a_copy_of_what_finds_no_slot_is_not_kept_either():
    """The one that is in the queue again stands for both."""
    slow, name, clock = _Slow(20), fresh_name(), LoopClock()
    broker = await open_broker(name)
    sent = _sent_by(broker)
    options = {"broker": broker, "concurrency": 2}
    async with open_manager(slow.handlers, **options) as manager:
        starts = (manager.start("s", [slow.step]) for _ in range(3))
        sagas = await asyncio.gather(*starts)
        await until(lambda: len(slow.runs) == 2)
        commands = json.loads(sent[0].body)["commands"]
        (waits,) = [one for one in commands if one["saga_id"] not in slow.runs]
        body = json.dumps({"v": 1, "commands": [waits]}).encode()
        await put(broker, QUEUE, body, "saga.commands")
        in_hand = manager._engine._receiver._in_hand
        await until(lambda: in_hand._count == 2)
        for saga in sagas:
            assert (await manager.wait(saga.id, timeout=100)).is_completed
        await until(lambda: not in_hand._count)
        begun = clock.monotonic()
        await manager.stop(20)
        assert clock.monotonic() - begun < 1
        assert set(slow.runs.values()) == {1}
