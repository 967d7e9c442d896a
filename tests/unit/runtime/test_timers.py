"""Timers: fired in time, never early, and never in a spin."""

from __future__ import annotations

from saga_orchestrator import Deferred, SagaDefinition, SagaState
from saga_orchestrator.errors import (
    ConcurrencyError,
    StoreDataError,
    StoreUnavailableError,
)
from saga_orchestrator.testing.virtual_time import LoopClock
from tests.unit.runtime.stage import (
    Service,
    WatchedStore,
    open_manager,
    open_store,
    raising,
    seconds,
    until,
    virtual,
)


def _bounded(store: WatchedStore, most: int) -> None:
    """Slow a loop down that asks more often than it may, so that a spin ends."""

    async def gate(*_args, **_options):
        if store.calls["due"] > most:
            await LoopClock().sleep(1)

    store.gates["due"] = gate


@virtual
async def test_a_look_that_came_too_soon_is_not_repeated_in_a_spin():
    """A saga that waits for hours costs a look now and then, not a full core."""
    service = Service()
    service.does["b"] = raising(Deferred())
    store = WatchedStore(await open_store())
    _bounded(store, 3000)
    async with open_manager(service.handlers, store=store) as manager:
        await manager.start("s", service.chain("ab"))
        await LoopClock().sleep(600)  # the first look is due after 120 s
        assert store.calls["due"] <= 2 * 600 + 100


@virtual
async def test_a_due_saga_that_cannot_be_read_does_not_make_the_loop_spin():
    """What fails is tried again after a pause; the others' timers fire."""
    service = Service()
    service.does["a"] = raising(Deferred())
    store = WatchedStore(await open_store())
    _bounded(store, 3000)
    kind = SagaDefinition("s", service.chain("a"), deadline=seconds(10))
    async with open_manager(service.handlers, store=store) as manager:
        poison = await manager.start(kind)
        other = await manager.start(kind)
        await LoopClock().sleep(5)
        store.poison("transact", lambda: poison.id, StoreDataError("cannot be read"))
        await LoopClock().sleep(60)
        assert (await manager.get(other.id)).reason == "its deadline passed"
        assert store.calls["due"] <= 400
        store.gates.pop("transact")


@virtual
async def test_a_due_saga_whose_row_is_locked_holds_up_no_other():
    """A console that keeps one row locked does not stop the other sagas' timers."""
    service = Service()
    service.does["a"] = raising(Deferred())
    store = WatchedStore(await open_store())
    kind = SagaDefinition("s", service.chain("a"), deadline=seconds(10))
    async with open_manager(service.handlers, store=store) as manager:
        locked = await manager.start(kind)
        store.poison("transact", lambda: locked.id, ConcurrencyError("lock timeout"))
        await LoopClock().sleep(5)
        other = await manager.start(kind)
        await LoopClock().sleep(12)
        assert (await manager.get(other.id)).reason == "its deadline passed"
        store.gates.clear()
        await until(lambda: _turned_back(manager, locked), limit=10)


@virtual
async def test_a_deadline_fires_within_a_second_and_never_early():
    """The saga turns back when its time is over, by the store's clock."""
    service = Service()
    service.does["b"] = raising(Deferred())
    kind = SagaDefinition(
        "s", service.chain("ab", undo_failed="never"), deadline=seconds(90)
    )
    async with open_manager(service.handlers) as manager:
        saga = await manager.start(kind)
        clock = LoopClock()
        start = clock.monotonic()
        await until(lambda: _turned_back(manager, saga), limit=100)
        assert 90 <= clock.monotonic() - start < 91


async def _turned_back(manager, saga) -> bool:
    return (await manager.get(saga.id)).state is not SagaState.STARTED


@virtual
async def test_any_replica_fires_the_timers_of_another():
    """A timer set by an engine that is gone fires on one that is there."""
    service = Service()
    service.does["a"] = raising(Deferred())
    store = await open_store()
    kind = SagaDefinition(
        "s", service.chain("a", undo_failed="never"), deadline=seconds(30)
    )
    first = await open_manager(service.handlers, store=store)
    saga = await first.start(kind)
    await until(lambda: service.runs)
    await first.close()
    async with open_manager(store=store, engine=True) as second:
        await until(lambda: _turned_back(second, saga), limit=40)
        assert (await second.get(saga.id)).reason == "its deadline passed"


@virtual
async def test_timers_survive_a_store_that_was_away():
    """Timers that passed meanwhile fire when the store is back."""
    service = Service()
    service.does["a"] = raising(RuntimeError("once"), times=1)
    store = WatchedStore(await open_store())
    async with open_manager(service.handlers, store=store) as manager:
        saga = await manager.start("s", service.chain("a"))
        await until(lambda: service.runs)
        for name in ("due", "next_due", "now", "claim", "transact"):
            store.fail(name, StoreUnavailableError("away"))
        await LoopClock().sleep(20)
        store.gates.clear()
        assert (await manager.wait(saga.id, timeout=10)).is_completed
