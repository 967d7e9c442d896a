"""Retention: under constant load a store stays as small as its ages ask for."""

from __future__ import annotations

import datetime as dt

from saga_orchestrator import Deferred, SagaState
from saga_orchestrator.errors import StoreUnavailableError
from saga_orchestrator.ports.store import Keep, SagaFilter
from saga_orchestrator.runtime.retention import BATCH
from saga_orchestrator.testing.virtual_time import LoopClock
from tests.unit.runtime.stage import (
    Service,
    WatchedStore,
    open_manager,
    open_store,
    raising,
    until,
    virtual,
)

FIVE_MINUTES = Keep(dt.timedelta(minutes=5))
EVERY_SECONDS = 5


@virtual
async def test_constant_load_leaves_what_ended_within_the_age():
    """However long it goes on, what is kept is the age's sagas, and a round's."""
    service = Service()
    async with open_manager(service.handlers, keep=FIVE_MINUTES) as manager:
        sizes = []
        for _ in range(6):
            for _ in range(300 // EVERY_SECONDS):
                await manager.start("s", service.chain("a"))
                await LoopClock().sleep(EVERY_SECONDS)
            sizes.append(sum((await manager.store.counts()).values()))
    kept, a_round = 300 // EVERY_SECONDS, 90 // EVERY_SECONDS
    assert all(kept <= size <= kept + a_round + 1 for size in sizes[1:]), sizes


@virtual
async def test_without_an_age_nothing_is_ever_deleted():
    """Whoever says nothing keeps everything."""
    service = Service()
    store = WatchedStore(await open_store())
    async with open_manager(service.handlers, store=store) as manager:
        saga = await manager.start("s", service.chain("a"))
        await LoopClock().sleep(1800)
        assert (await manager.get(saga.id)).is_completed
    assert store.calls["prune"] == 0


@virtual
async def test_a_backlog_is_pruned_in_batches():
    """A store that was never pruned is brought down by short transactions."""
    service = Service()
    name = "backlog"
    async with open_manager(service.handlers, store=await open_store(name)) as manager:
        for _ in range(2 * BATCH + 10):
            await manager.start("s", service.chain("a"))
        await LoopClock().sleep(450)
    store = WatchedStore(await open_store(name))
    async with open_manager(
        service.handlers, store=store, keep=FIVE_MINUTES
    ) as manager:
        await until(lambda: _is_empty(manager))
        assert store.calls["prune"] >= 3


@virtual
async def test_a_live_saga_outlives_its_age():
    """Age counts from the end; who waits for an answer is not old."""
    service = Service()
    service.does["a"] = raising(Deferred())
    async with open_manager(service.handlers, keep=FIVE_MINUTES) as manager:
        saga = await manager.start("s", service.chain("a"))
        await LoopClock().sleep(900)
        assert (await manager.get(saga.id)).state is SagaState.STARTED


@virtual
async def test_a_store_that_is_away_is_pruned_when_it_is_back():
    """An outage ends no loop."""
    service = Service()
    store = WatchedStore(await open_store())
    async with open_manager(
        service.handlers, store=store, keep=FIVE_MINUTES
    ) as manager:
        await manager.start("s", service.chain("a"))
        store.fail("prune", StoreUnavailableError("away"))
        await LoopClock().sleep(450)
        assert await manager.store.find(SagaFilter())
        store.gates.clear()
        await until(lambda: _is_empty(manager), limit=200)


async def _is_empty(manager) -> bool:
    return not await manager.store.find(SagaFilter())
