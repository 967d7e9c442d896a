"""Following and operating sagas: get, wait, list, compensate, stop, close."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from saga_orchestrator import (
    SagaDefinition,
    SagaNotFoundError,
    SagaState,
    Step,
    TransitionRefused,
)
from saga_orchestrator.core.decision import HistoryKind
from saga_orchestrator.errors import PayloadError, SagaError, StoreUnavailableError
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

NOBODY = "01JGFJJZ00000000000000000A"


@virtual
@pytest.mark.parametrize("saga_id", [NOBODY, "", "x", "'; drop", "\0", "é" * 26])
async def test_an_unknown_saga_is_not_found(saga_id):
    """Every method that takes an id says so, whatever the id looks like."""
    async with open_manager() as manager:
        for ask in (
            manager.get(saga_id),
            manager.record(saga_id),
            manager.wait(saga_id, timeout=5),
            manager.compensate(saga_id, reason="x"),
        ):
            with pytest.raises(SagaNotFoundError):
                await ask


@virtual
async def test_waiting_hears_of_a_local_end_at_once():
    """No poll's pause lies between the last commit and the caller."""
    service = Service()
    service.does["a"] = lambda _: LoopClock().sleep(7.03)
    async with open_manager(service.handlers) as manager:
        saga = await manager.start("s", service.chain("a"))
        clock = LoopClock()
        start = clock.monotonic()
        both = await asyncio.gather(manager.wait(saga.id), manager.wait(saga.id))
        assert clock.monotonic() - start < 7.04
        assert all(one.is_completed for one in both)


@virtual
async def test_waiting_hears_of_a_remote_end_within_a_second():
    """A client without an engine polls."""
    service = Service()
    store = await open_store()
    ended: list[float] = []

    async def slow(ctx):
        await LoopClock().sleep(30)
        ended.append(LoopClock().monotonic())

    service.does["a"] = slow
    async with (
        open_manager(store=store) as client,
        open_manager(service.handlers, store=store),
    ):
        saga = await client.start("s", service.chain("a"))
        await client.wait(saga.id)
        assert LoopClock().monotonic() - ended[0] < 1.1


@virtual
async def test_waiting_ends_in_time():
    """A timeout is a ``TimeoutError``; the saga goes on."""
    service = Service()
    service.does["a"] = lambda _: LoopClock().sleep(20)
    async with open_manager(service.handlers) as manager:
        saga = await manager.start("s", service.chain("a"))
        with pytest.raises(TimeoutError):
            await manager.wait(saga.id, timeout=5)
        assert (await manager.wait(saga.id, timeout=30)).is_completed


@virtual
async def test_waiting_returns_at_failed_too():
    """A saga that a person must look at does not keep its caller."""
    service = Service()
    service.does["a"] = raising(RuntimeError("no"))
    async with open_manager(service.handlers) as manager:
        kind = SagaDefinition("s", service.chain("a"), on_failure="park")
        saga = await manager.wait((await manager.start(kind)).id)
        assert saga.is_failed
        assert [one.id for one in await manager.list_active()] == [saga.id]


@virtual
async def test_active_sagas_are_listed_and_ended_ones_are_not():
    """Over a thousand of them, newest first."""
    service = Service("far")
    async with open_manager() as manager:
        ids = [(await manager.start("s", service.chain("a"))).id for _ in range(1005)]
        await manager.start("s", [])
        assert [s.id for s in await manager.list_active()] == sorted(ids, reverse=True)


@virtual
async def test_compensate_undoes_a_running_saga():
    """What was done is undone in reverse; who asked and why is in the history."""
    service = Service()
    gate = asyncio.Event()

    async def wait(ctx):
        await gate.wait()
        return "late"

    service.does["c"] = wait
    async with open_manager(service.handlers) as manager:
        saga = await manager.start("s", service.chain())
        await until(lambda: "c" in service.runs)
        saga = await manager.compensate(saga.id, reason="customer", principal="ann")
        assert saga.is_compensating
        gate.set()
        saga = await manager.wait(saga.id)
        assert saga.is_compensated
        assert service.runs == ["a", "b", "c", "undo_c", "undo_b", "undo_a"]
        entries = (await manager.record(saga.id)).history
        (asked,) = [e for e in entries if e.kind is HistoryKind.COMPENSATE_REQUESTED]
        assert (asked.data["principal"], asked.data["reason"]) == ("ann", "customer")


@virtual
async def test_a_completed_saga_is_undone_only_by_force():
    """Without it the table refuses and nothing changes."""
    service = Service()
    async with open_manager(service.handlers) as manager:
        saga = await manager.start("s", service.chain("ab"))
        done = await manager.wait(saga.id)
        with pytest.raises(TransitionRefused, match="completed"):
            await manager.compensate(saga.id, reason="why not")
        assert await manager.get(saga.id) == done
        await manager.compensate(saga.id, reason="really", force=True)
        assert (await manager.wait(saga.id)).is_compensated
        assert service.runs == ["a", "b", "undo_b", "undo_a"]


@virtual
async def test_compensating_twice_changes_nothing():
    """The second request finds it compensated."""
    service = Service()
    async with open_manager(service.handlers) as manager:
        saga = await manager.start("s", service.chain("ab"))
        await manager.wait(saga.id)
        for _ in range(2):
            await manager.compensate(saga.id, reason="x", force=True)
            assert (await manager.wait(saga.id)).state is SagaState.COMPENSATED
        assert service.runs.count("undo_a") == 1


@virtual
@pytest.mark.parametrize("reason", ["\0", "\ud800"])
async def test_a_reason_that_cannot_be_kept_is_refused(reason):
    """The error is one of ours, and nothing changes."""
    async with open_manager() as manager:
        saga = await manager.start("s", Service("far").chain("a"))
        with pytest.raises(SagaError):
            await manager.compensate(saga.id, reason=reason)
        assert (await manager.get(saga.id)).state is SagaState.STARTED


@virtual
async def test_stop_finishes_what_has_begun():
    """The run is answered; what had not begun is left for the next engine."""
    service = Service()
    service.does["a"] = lambda _: LoopClock().sleep(5)
    store = await open_store()
    manager = await open_manager(service.handlers, store=store, concurrency=2)
    sagas = [await manager.start("s", service.chain("a")) for _ in range(6)]
    await until(lambda: len(service.runs) == 2)
    clock = LoopClock()
    start = clock.monotonic()
    await manager.stop()
    assert clock.monotonic() - start < 6
    done = [(await manager.get(saga.id)).is_completed for saga in sagas]
    assert done.count(True) == len(service.runs) == 2
    await manager.close()
    async with open_manager(service.handlers, store=store) as second:
        for saga in sagas:
            ended = await second.wait(saga.id, timeout=30)
            assert ended.is_completed
            assert ended.status("a").attempt == 1


@virtual
async def test_stop_is_bounded():
    """A handler that will not be interrupted is left behind after the drain's time."""
    service = Service()

    async def stubborn(ctx):
        end = LoopClock().monotonic() + 50
        while (left := end - LoopClock().monotonic()) > 0:
            with contextlib.suppress(asyncio.CancelledError):
                await LoopClock().sleep(left)

    service.does["a"] = stubborn
    async with open_manager(service.handlers) as manager:
        await manager.start("s", service.chain("a"))
        await until(lambda: service.runs)
        clock = LoopClock()
        start = clock.monotonic()
        await manager.stop(timeout=3)
        assert 3 <= clock.monotonic() - start < 3.1


@virtual
async def test_run_returns_when_stopped():
    """A daemon's main line ends once the drain is over."""
    async with open_manager(Service().handlers) as manager:
        running = asyncio.ensure_future(manager.run())
        await LoopClock().sleep(100)
        assert not running.done()
        await manager.stop()
        await asyncio.wait_for(running, 1)


@virtual
async def test_a_start_that_waits_for_the_store_ends_when_the_manager_is_closed():
    """Its caller gets an error of ours, and does not wait for ever."""
    store = WatchedStore(await open_store())
    store.fail("transact", StoreUnavailableError("away"))
    manager = await open_manager(store=store)
    start = asyncio.ensure_future(manager.start("s", []))
    await until(manager.problems)
    await manager.close()
    with pytest.raises(SagaError):
        await asyncio.wait_for(start, 60)


@virtual
async def test_a_closed_manager_refuses_to_start():
    """The error says that it is closed; nothing hangs."""
    manager = await open_manager()
    await manager.close()
    with pytest.raises((SagaError, RuntimeError)):
        await asyncio.wait_for(manager.start("s", []), 60)


@virtual
async def test_a_saga_tells_what_is_done_and_what_comes_next():
    """The properties that a caller reads follow its steps."""
    service = Service()
    gate = asyncio.Event()
    service.does["b"] = lambda _: gate.wait()
    steps = [
        Step("r", action="near.a"),
        Step("x", action="near.b", depends_on=["r"]),
        Step("y", action="near.c", depends_on=["x"]),
    ]
    async with open_manager(service.handlers) as manager:
        saga = await manager.start("s", steps)
        assert (saga.completed_steps, saga.next_steps) == ((), ())
        await until(lambda: "b" in service.runs)
        saga = await manager.get(saga.id)
        assert (saga.completed_steps, saga.failed_steps) == (("r",), ())
        gate.set()
        saga = await manager.wait(saga.id)
        assert saga.completed_steps == ("r", "x", "y")


@virtual
@pytest.mark.parametrize("field", ["reason", "principal"])
@pytest.mark.parametrize("text", ["", " ", "a\0b", "\ud800", "x" * 501, None])
async def test_who_undoes_a_saga_says_why_in_words_that_can_be_kept(field, text):
    """The field is named, and the saga stays as it was."""
    service = Service()
    async with open_manager(service.handlers) as manager:
        saga = await manager.wait((await manager.start("s", service.chain("a"))).id)
        given = {"reason": "asked", "principal": "ann", field: text}
        with pytest.raises(PayloadError, match=field):
            await manager.compensate(saga.id, force=True, **given)
        assert (await manager.get(saga.id)).is_completed
