"""The commit pipeline: batches, poison, a store that is away."""

from __future__ import annotations

import asyncio

import pytest

from saga_orchestrator.errors import (
    ConcurrencyError,
    StoreDataError,
    StoreUnavailableError,
)
from saga_orchestrator.ports.store import SagaFilter
from saga_orchestrator.testing.virtual_time import LoopClock
from tests.unit.runtime.stage import (
    Service,
    WatchedStore,
    open_manager,
    open_store,
    until,
    virtual,
)


def _empty(manager, number: int):
    return manager.start(f"empty{number}", [])


@virtual
async def test_what_gathers_during_a_commit_shares_the_next():
    """A hundred starts at once take a handful of transactions, not a hundred."""
    store = WatchedStore(await open_store())
    async with open_manager(store=store) as manager:
        sagas = await asyncio.gather(*(_empty(manager, n) for n in range(100)))
        assert all(saga.is_completed for saga in sagas)
    assert sum(store.batches) == 100
    assert len(store.batches) <= 3


@virtual
async def test_a_batch_is_bounded():
    """No transaction takes more than 256 events."""
    store = WatchedStore(await open_store())
    async with open_manager(store=store) as manager:
        await asyncio.gather(*(_empty(manager, n) for n in range(600)))
    assert max(store.batches) == 256


@virtual
async def test_a_poisonous_event_is_alone_in_its_error():
    """What the store refuses fails its own caller; its neighbours commit."""
    store = WatchedStore(await open_store())

    async def gate(events, **_):
        if any(event.plan.definition.name == "empty7" for event in events):
            raise StoreDataError("no room for 7")

    store.gates["transact"] = gate
    async with open_manager(store=store) as manager:
        results = await asyncio.gather(
            *(_empty(manager, n) for n in range(20)), return_exceptions=True
        )
    failed = [n for n, result in enumerate(results) if isinstance(result, Exception)]
    assert failed == [7]
    assert isinstance(results[7], StoreDataError)


@virtual
async def test_a_defect_in_one_decision_fails_one_caller():
    """An unforeseen error is kept to its event, and the pipeline lives on."""
    store = WatchedStore(await open_store())

    async def gate(events, **_):
        if any(event.plan.definition.name == "empty3" for event in events):
            raise ZeroDivisionError

    store.gates["transact"] = gate
    async with open_manager(store=store) as manager:
        results = await asyncio.gather(
            *(_empty(manager, n) for n in range(5)), return_exceptions=True
        )
        assert [type(result) for result in results].count(ZeroDivisionError) == 1
        assert (await _empty(manager, 9)).is_completed


@virtual
async def test_a_store_that_is_away_delays_and_loses_nothing():
    """Events wait for the store, in order, and one commit settles each."""
    store = WatchedStore(await open_store())
    store.fail("transact", StoreUnavailableError("away"), times=5)
    async with open_manager(store=store) as manager:
        sagas = await asyncio.gather(*(_empty(manager, n) for n in range(10)))
        assert len({saga.id for saga in sagas}) == 10
        assert len(await manager.store.find(_all())) == 10


@virtual
async def test_a_store_that_is_away_shows_in_the_problems():
    """Problems name the store while it is away, and no longer."""
    store = WatchedStore(await open_store())
    store.fail("transact", StoreUnavailableError("connection refused"), times=3)
    async with open_manager(store=store) as manager:
        start = asyncio.ensure_future(_empty(manager, 1))
        await until(manager.problems)
        assert manager.problems() == ["store: connection refused"]
        await start
        assert manager.problems() == []


@virtual
async def test_patience_ends():
    """A start gives up on a store that stays away, after 30 seconds."""
    store = WatchedStore(await open_store())
    store.fail("transact", StoreUnavailableError("away"))
    clock = LoopClock()
    async with open_manager(store=store) as manager:
        with pytest.raises(StoreUnavailableError, match="away"):
            await _empty(manager, 1)
        assert 30 <= clock.monotonic() < 36


@virtual
async def test_patience_ends_behind_an_event_that_never_gives_up():
    """A start gives up in time also while an answer waits for the store."""
    service = Service()
    answering = asyncio.Event()
    service.does["a"] = lambda _: answering.wait()
    store = WatchedStore(await open_store())
    clock = LoopClock()
    async with open_manager(service.handlers, store=store) as manager:
        saga = await manager.start("s", service.chain("a"))
        await until(lambda: service.runs)
        store.fail("transact", StoreUnavailableError("away"))
        answering.set()
        await until(manager.problems)
        before = clock.monotonic()
        try:
            with pytest.raises(StoreUnavailableError):
                async with asyncio.timeout(120):
                    await _empty(manager, 1)
            assert clock.monotonic() - before < 40
        finally:
            store.gates.clear()
        assert (await manager.wait(saga.id)).is_completed


@virtual
async def test_one_locked_saga_does_not_stop_the_others():
    """A row that somebody keeps locked delays its own saga only."""
    service = Service()
    store = WatchedStore(await open_store())
    async with open_manager(service.handlers, store=store) as manager:
        gate = asyncio.Event()
        service.does["a"] = lambda _: gate.wait()
        locked = await manager.start("locked", service.chain("a"))
        others = [await manager.start("free", service.chain("a")) for _ in range(5)]
        await until(lambda: len(service.runs) == 6)
        store.poison("transact", lambda: locked.id, ConcurrencyError("lock timeout"))
        gate.set()
        try:
            for other in others:
                assert (await manager.wait(other.id, timeout=60)).is_completed
        finally:
            store.gates.clear()
        assert (await manager.wait(locked.id)).is_completed


@virtual
async def test_settling_travels_with_the_next_commit():
    """Confirmed commands cost no transactions of their own under load."""
    service = Service()
    store = WatchedStore(await open_store())
    async with open_manager(service.handlers, store=store) as manager:
        sagas = [await manager.start("s", service.chain()) for _ in range(20)]
        for saga in sagas:
            assert (await manager.wait(saga.id)).is_completed
        assert store.calls["settle"] <= 2
        await until(lambda: _no_outbox(manager, sagas))


@virtual
async def test_confirmed_commands_leave_the_outbox_when_nothing_else_happens():
    """An idle engine settles by itself within a tenth of a second."""
    service = Service()
    service.does["a"] = lambda _: asyncio.Event().wait()
    async with open_manager(service.handlers) as manager:
        saga = await manager.start("s", service.chain("a"))
        await until(lambda: _no_outbox(manager, [saga]), limit=0.2)
        await manager.close()


@virtual
async def test_waiters_are_told_before_anything_is_published():
    """A start returns though the broker takes its time."""
    service = Service()
    store = await open_store()
    async with open_manager(service.handlers, store=store) as manager:
        publish = manager._broker.publish
        gate = asyncio.Event()

        async def slow(messages):
            await gate.wait()
            return await publish(messages)

        manager._broker.publish = slow
        clock = LoopClock()
        saga = await manager.start("s", service.chain("a"))
        assert clock.monotonic() < 0.1
        gate.set()
        assert (await manager.wait(saga.id)).is_completed


@virtual
async def test_a_caller_that_went_away_before_the_commit_started_nothing():
    """A start cancelled while it queued leaves no saga behind."""
    store = WatchedStore(await open_store())
    store.fail("transact", StoreUnavailableError("away"), times=3)
    async with open_manager(store=store) as manager:
        first = asyncio.ensure_future(_empty(manager, 1))
        await until(manager.problems)
        second = asyncio.ensure_future(_empty(manager, 2))
        await LoopClock().sleep(0)
        second.cancel()
        await first
        assert [saga.name for saga in await store.find(_all())] == ["empty1"]


async def _no_outbox(manager, sagas) -> bool:
    records = [await manager.record(saga.id) for saga in sagas]
    return not any(record.outbox for record in records)


def _all() -> SagaFilter:
    return SagaFilter(limit=1000)


def _refused_together(store: WatchedStore):
    """Let the store take events one by one only; return what it was asked alone."""
    alone = []

    async def gate(events, **_):
        if len(events) > 1:
            raise ConcurrencyError("a row is locked")
        alone.append(events[0].plan.definition.name)

    store.gates["transact"] = gate
    return alone


@virtual
async def test_who_waits_in_a_batch_that_is_parted_is_told_when_the_process_closes():
    """The events behind the one that is being committed are not forgotten."""
    store = WatchedStore(await open_store())
    alone = _refused_together(store)
    parting = store.gates["transact"]

    async def gate(events, **options):
        await parting(events, **options)
        await asyncio.Event().wait()  # a store gone silent

    store.gates["transact"] = gate
    manager = await open_manager(store=store)
    starts = [asyncio.ensure_future(_empty(manager, n)) for n in range(3)]
    await until(lambda: alone)
    await manager.close()
    ended = await asyncio.gather(*starts, return_exceptions=True)
    assert [type(end) for end in ended] == [StoreUnavailableError] * 3


@virtual
async def test_a_store_that_goes_away_while_a_batch_is_parted_keeps_the_order():
    """What was not committed yet waits in its place, as any event does."""
    store = WatchedStore(await open_store())
    alone = _refused_together(store)
    parting = store.gates["transact"]
    outage = iter([False] + [True] * 5)

    async def gate(events, **options):
        await parting(events, **options)
        if next(outage, False):
            raise StoreUnavailableError("gone")

    store.gates["transact"] = gate
    async with open_manager(store=store) as manager:
        sagas = await asyncio.gather(*(_empty(manager, n) for n in range(4)))
        assert all(saga.is_completed for saga in sagas)
    assert alone == ["empty0", *["empty1"] * 6, "empty2", "empty3"]


@virtual
async def test_patience_ends_in_a_batch_that_was_parted_too():
    """No caller waits for the pauses of all that stand before it."""
    store = WatchedStore(await open_store())
    _refused_together(store)
    parting = store.gates["transact"]

    async def gate(events, **options):
        await parting(events, **options)
        raise StoreUnavailableError("gone")

    store.gates["transact"] = gate
    async with open_manager(store=store) as manager:
        clock = LoopClock()
        begun = clock.monotonic()
        starts = (_empty(manager, n) for n in range(20))
        ended = await asyncio.gather(*starts, return_exceptions=True)
        assert {type(end) for end in ended} == {StoreUnavailableError}
        assert 30 <= clock.monotonic() - begun < 36
        store.gates.clear()


def _with_a_locked_key(store: WatchedStore) -> asyncio.Event:
    """Let starts for the key ``k`` wait a second, in vain; until the event is set."""
    free = asyncio.Event()

    async def gate(events, **_):
        is_asked = any(getattr(event, "key", None) == "k" for event in events)
        if is_asked and not free.is_set():
            await LoopClock().sleep(1)
            raise ConcurrencyError("lock timeout")

    store.gates["transact"] = gate
    return free


@virtual
async def test_a_locked_key_holds_up_no_other_start():
    """However many ask for it: who is met with a lock waits beside the batches."""
    store, clock = WatchedStore(await open_store()), LoopClock()
    free = _with_a_locked_key(store)
    async with open_manager(store=store) as manager:
        asked = [
            asyncio.ensure_future(manager.start("s", [], {}, key="k"))
            for _ in range(12)
        ]
        await clock.sleep(10)
        took = []
        for number in range(20):
            asked.append(asyncio.ensure_future(manager.start("s", [], {}, key="k")))
            begun = clock.monotonic()
            await _empty(manager, number)
            took.append(clock.monotonic() - begun)
            await clock.sleep(0.3)
        assert max(took) < 0.1
        free.set()
        sagas = await asyncio.gather(*asked)
        assert len({saga.id for saga in sagas}) == 1


@virtual
async def test_patience_ends_behind_a_locked_key():
    """Whoever waits for it is told, the ones that are not tried too."""
    store, clock = WatchedStore(await open_store()), LoopClock()
    _with_a_locked_key(store)
    async with open_manager(store=store) as manager:
        begun = clock.monotonic()
        starts = (manager.start("s", [], {}, key="k") for _ in range(8))
        ended = await asyncio.gather(*starts, return_exceptions=True)
        assert {type(end) for end in ended} == {ConcurrencyError}
        assert 30 <= clock.monotonic() - begun < 37


@virtual
async def test_a_drain_waits_for_locked_rows_and_a_close_tells_who_waits():
    """As for whatever else was submitted."""
    store = WatchedStore(await open_store())
    _with_a_locked_key(store)
    manager = await open_manager(store=store)
    asked = [
        asyncio.ensure_future(manager.start("s", [], {}, key="k")) for _ in range(3)
    ]
    clock = LoopClock()
    await clock.sleep(5)
    begun = clock.monotonic()
    await manager.stop(2)
    assert clock.monotonic() - begun == pytest.approx(2)
    await manager.close()
    ended = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(end) for end in ended} == {StoreUnavailableError}
