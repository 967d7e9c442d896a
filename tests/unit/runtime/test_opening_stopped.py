"""A process that is stopped while it opens has run nothing yet."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.runtime.stage import (
    Service,
    WatchedStore,
    fresh_name,
    open_broker,
    open_manager,
    open_store,
    open_worker,
    until,
    virtual,
)

# Which of its queues a process is slow to get; a worker has the first two only.
QUEUES = ["saga.compensate.far", "saga.replies", "saga.undelivered"]


async def _opened_slowly(broker, queue: str, opens) -> asyncio.Task:
    """Begin to open a process; it gets all queues up to this one, and waits."""
    reached = asyncio.Event()
    slow = WatchedStore(broker)

    async def gate(spec, *args, **kwargs):
        del args, kwargs
        if spec.name == queue:
            reached.set()
            await asyncio.Event().wait()

    slow.gates["consume"] = gate
    opening = asyncio.ensure_future(opens(slow))
    await reached.wait()
    return opening


async def _cancelled(opening: asyncio.Task) -> None:
    await asyncio.sleep(5)  # in virtual time: what could run has run
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening


@virtual
async def test_a_worker_that_is_stopped_while_it_opens_has_run_nothing():
    """Its answers would be lost, and the action done again by the next."""
    name, far = fresh_name(), Service("far")
    async with open_manager(broker=await open_broker(name), engine=True) as manager:
        saga = await manager.start("s", far.chain("a"))
        broker = await open_broker(name)
        opening = await _opened_slowly(
            broker, QUEUES[0], lambda slow: open_worker(slow, far.handlers)
        )
        await _cancelled(opening)
        await broker.close()
        assert far.runs == []
        worker = await open_worker(await open_broker(name), far.handlers)
        assert (await manager.wait(saga.id, timeout=60)).is_completed
        assert far.runs == ["a"]
        await worker.close()


@pytest.mark.parametrize("queue", QUEUES)
@virtual
async def test_an_engine_that_is_stopped_while_it_opens_has_run_nothing(queue):
    """Its answers would not be committed, and the action done again by the next."""
    name, far = fresh_name(), Service("far")
    async with open_manager(store=await open_store(name)) as client:
        saga = await client.start("s", far.chain("a"))
        elsewhere = await open_manager(
            store=await open_store(name), broker=await open_broker(name), engine=True
        )
        broker = await open_broker(name)

        async def opens(slow):
            store = await open_store(name)
            await open_manager(far.handlers, store=store, broker=slow, engine=True)

        opening = await _opened_slowly(broker, queue, opens)
        await _cancelled(opening)
        await broker.close()
        assert far.runs == []
        manager = await open_manager(
            *(far.handlers,),
            store=await open_store(name),
            broker=await open_broker(name),
        )
        await until(lambda: far.runs)
        assert (await client.wait(saga.id, timeout=60)).is_completed
        assert far.runs == ["a"]
        await manager.close()
        await elsewhere.close()
