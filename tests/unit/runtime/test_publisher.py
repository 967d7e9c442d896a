"""Publisher and relay: from the outbox to the queues, whatever is in the way."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise

import pytest

from saga_orchestrator import Handlers, Step, Store
from saga_orchestrator.core.decision import HistoryKind
from saga_orchestrator.core.events import StepSucceeded
from saga_orchestrator.core.states import Outcome
from saga_orchestrator.errors import StoreDataError, StoreUnavailableError
from saga_orchestrator.ports.broker import QueueSpec, Receipt
from saga_orchestrator.ports.store import LEASE, SagaFilter
from saga_orchestrator.runtime import publisher
from saga_orchestrator.runtime.publisher import Offer
from saga_orchestrator.testing.virtual_time import LoopClock
from tests.conformance.builders import plan_of, start
from tests.support.inbox import Inbox
from tests.unit.runtime.stage import (
    TOPOLOGY,
    Faults,
    Service,
    WatchedStore,
    fresh_name,
    open_broker,
    open_manager,
    open_store,
    open_worker,
    seconds,
    until,
    virtual,
)


async def _outbox(manager, saga):
    return (await manager.record(saga.id)).outbox


@virtual
async def test_a_command_that_nobody_handles_shows_on_its_saga():
    """Its outbox row says which action no service is there for."""
    near, far = Service("near"), Service("far")
    async with open_manager(near.handlers) as manager:
        saga = await manager.start("s", far.chain("a"))
        await until(lambda: _has_error(manager, saga))
        (row,) = await _outbox(manager, saga)
        assert row.error == "no service handles far.a"
        assert row.fence.step == "a"


async def _has_error(manager, saga) -> bool:
    return any(row.error for row in await _outbox(manager, saga))


@virtual
async def test_an_unroutable_command_backs_off_and_uses_no_attempt():
    """The pauses grow from a second to a minute; the attempt stays the first."""
    near, far = Service("near"), Service("far")
    faults = Faults()
    name = fresh_name()
    broker = await open_broker(name, faults)
    async with open_manager(near.handlers, broker=broker) as manager:
        published = _instants_of(broker)
        saga = await manager.start("s", far.chain("a", timeout=seconds(600)))
        await LoopClock().sleep(400)
        gaps = [b - a for a, b in pairwise(published)]
        assert [round(gap) for gap in gaps] == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60]
        status = (await manager.get(saga.id)).status("a")
        assert (status.attempt, status.generation) == (1, 1)


def _instants_of(broker) -> list[float]:
    publish, instants = broker.publish, []

    async def noted(messages):
        instants.append(LoopClock().monotonic())
        return await publish(messages)

    broker.publish = noted
    return instants


@virtual
async def test_an_unroutable_command_goes_on_when_its_service_appears():
    """Nobody needs to do anything: the saga ends once the service runs."""
    near, far = Service("near"), Service("far")
    name = fresh_name()
    async with open_manager(near.handlers, broker=await open_broker(name)) as manager:
        saga = await manager.start("s", far.chain("ab"))
        await LoopClock().sleep(20)
        worker = await open_worker(await open_broker(name), far.handlers)
        saga = await manager.wait(saga.id, timeout=60)
        assert saga.is_completed
        assert saga.status("a").attempt == 1
        assert await _outbox(manager, saga) == ()
        await worker.close()


@virtual
async def test_a_lost_confirm_is_published_again_after_the_lease():
    """The command comes twice, and runs once: the first is in hand."""
    service = Service()
    faults = Faults(unconfirmed=True)
    broker = await open_broker(fresh_name(), faults)
    gate = asyncio.Event()
    service.does["a"] = lambda _: gate.wait()
    async with open_manager(service.handlers, broker=broker) as manager:
        saga = await manager.start("s", service.chain("a"))
        await until(lambda: faults.seen == 1)
        await LoopClock().sleep(LEASE.total_seconds() - 0.2)
        assert faults.seen == 1
        await until(lambda: faults.seen == 2, limit=1)
        faults.unconfirmed = False
        gate.set()
        assert (await manager.wait(saga.id)).is_completed
        record = await manager.record(saga.id)
        kinds = [entry.kind for entry in record.history]
        assert kinds.count(HistoryKind.STEP_SUCCEEDED) == 1
        assert service.runs == ["a"]


@virtual
async def test_a_command_the_broker_lost_is_sent_again_and_strands_nothing():
    """A publish that reached nobody is repeated until it is confirmed."""
    service = Service()
    faults = Faults(lost=True)
    broker = await open_broker(fresh_name(), faults)
    async with open_manager(service.handlers, broker=broker) as manager:
        saga = await manager.start("s", service.chain("a"))
        await LoopClock().sleep(30)
        faults.lost = False
        assert (await manager.wait(saga.id, timeout=6)).is_completed


@virtual
async def test_an_obsolete_row_is_settled_and_not_published():
    """What is no longer awaited leaves the outbox without a message."""
    service = Service()
    async with open_manager(service.handlers) as manager:
        steps = [Step("a", action="far.a", timeout=seconds(9), limit=seconds(9))]
        saga = await manager.start("s", steps)
        saga = await manager.wait(saga.id, timeout=20)  # it expires
        assert saga.status("a").outcome is Outcome.UNKNOWN
        assert await _outbox(manager, saga)
        await until(lambda: _is_settled(manager, saga))


async def _is_settled(manager, saga) -> bool:
    return not await _outbox(manager, saga)


@virtual
async def test_a_reference_that_leads_nowhere_fails_its_step():
    """The step is refused as ``InvalidInput`` with the path, and what was is undone."""
    service = Service()
    a, b = service.chain("ab")
    b = Step(
        "b",
        action=b.action,
        compensation=b.compensation,
        input={"id": {"$ref": "outputs.a.order_id"}},
    )
    async with open_manager(service.handlers) as manager:
        saga = await manager.start("s", [a, b])
        saga = await manager.wait(saga.id, timeout=60)
        assert saga.is_compensated
        assert saga.status("b").outcome is Outcome.REFUSED
        assert saga.status("b").attempt == 1
        assert "InvalidInput" in saga.reason
        assert "outputs.a.order_id" in saga.reason
        assert service.runs == ["a", "undo_a"]


@pytest.mark.parametrize("output", ["x" * 1_000_000, [0] * 15_000], ids=type)
@virtual
async def test_a_command_that_no_message_can_hold_fails_its_step(output):
    """Nine outputs of a mebibyte, or of 15,000 values: their reader is refused."""
    service = Service()

    async def much(ctx):
        del ctx
        return output

    service.does["a"] = much
    sources = [
        Step(f"s{n}", action="near.a", depends_on=["root"], undo_failed="never")
        for n in range(9)
    ]
    last = Step("z", action="near.b", depends_on=[s.name for s in sources])
    async with open_manager(service.handlers) as manager:
        saga = await manager.start("s", [Step("root"), *sources, last])
        saga = await manager.wait(saga.id, timeout=60)
        assert saga.is_compensated
        assert "pass references instead" in saga.reason
        assert "b" not in service.runs


@virtual
async def test_an_unanswered_command_is_sent_again():
    """A minute after its timeout, then doubling, with the same generation."""
    service = Service("far")
    name = fresh_name()
    watcher = await open_broker(name)
    inbox = Inbox(ack=True)  # takes the commands and never answers
    spec = QueueSpec("silent", ("step.far.a",), dead_letter=TOPOLOGY.undelivered)
    await watcher.consume(spec, inbox, prefetch=10)
    broker = await open_broker(name)
    async with open_manager(broker=broker, engine=True) as manager:
        clock = LoopClock()
        start = clock.monotonic()
        saga = await manager.start("s", service.chain("a", timeout=seconds(30)))
        instants = []
        for _ in range(4):
            await inbox.next(seconds=1000)
            instants.append(clock.monotonic() - start)
        gaps = [b - a for a, b in pairwise(instants)]
        for gap, due in zip(gaps, (90, 180, 360), strict=True):
            assert due - 0.001 < gap < due + 1
        bodies = [json.loads(d.body)["commands"][0] for d in inbox.seen]
        for body in bodies:
            del body["as_of"]  # an instant of the saga's last change
        assert bodies == bodies[:1] * 4
        status = (await manager.get(saga.id)).status("a")
        assert (status.generation, status.attempt) == (1, 1)


@virtual
async def test_a_backlog_is_no_loss():
    """What waits in a queue that is being worked off is not sent again."""
    service = Service()
    gate = asyncio.Event()
    service.does["a"] = lambda _: gate.wait()
    faults = Faults()
    broker = await open_broker(fresh_name(), faults)
    options = {"timeout": seconds(200)}
    async with open_manager(service.handlers, broker=broker, concurrency=1) as manager:
        runs = service.chain("a", timeout=seconds(800))
        sagas = [await manager.start("s", runs)]
        await until(lambda: service.runs)
        for _ in range(5):
            sagas.append(await manager.start("s", service.chain("a", **options)))
            await LoopClock().sleep(0.1)
        published = faults.seen
        await LoopClock().sleep(290)  # resends were due at 260
        assert faults.seen == published
        gate.set()
        for saga in sagas:
            assert (await manager.wait(saga.id, timeout=2000)).is_completed


@virtual
async def test_a_command_that_was_never_confirmed_is_not_settled_by_a_backlog():
    """A row leaves the outbox when its message is confirmed, not when others wait."""
    service = Service()
    gate = asyncio.Event()
    service.does["a"] = lambda _: gate.wait()
    faults = Faults(text=b'"victim"')
    broker = await open_broker(fresh_name(), faults)
    async with open_manager(service.handlers, broker=broker, concurrency=1) as manager:
        long = {"timeout": seconds(800)}
        for _ in range(4):  # one runs, the others wait in the queue
            await manager.start("s", service.chain("a", **long))
            await LoopClock().sleep(0.1)
        faults.lost = True
        steps = [Step("victim", action="near.b", timeout=seconds(30))]
        victim = await manager.start("v", steps)
        await LoopClock().sleep(100)  # its resend is due after 90 s
        assert len(await _outbox(manager, victim)) == 1
        gate.set()


@virtual
async def test_an_unreadable_saga_does_not_hold_up_the_others_commands():
    """One saga whose data cannot be loaded delays nobody else's commands."""
    service = Service()
    inner = await open_store()
    async with open_manager(store=inner, engine=False) as client:
        poison = await client.start("poison", service.chain("a"))
        others = [await client.start("s", service.chain("a")) for _ in range(5)]
        store = WatchedStore(inner)
        store.poison(
            "load_dispatches", lambda: poison.id, StoreDataError("cannot be read")
        )
        async with open_manager(service.handlers, store=store) as manager:
            for other in others:
                assert (await manager.wait(other.id, timeout=60)).is_completed


@virtual
async def test_a_store_that_is_away_leaves_commands_to_the_relay():
    """A command whose data cannot be loaded now goes out when the store is back."""
    service = Service()
    store = WatchedStore(await open_store())
    store.fail("load_dispatches", StoreUnavailableError("away"), times=3)
    async with open_manager(service.handlers, store=store) as manager:
        saga = await manager.start("s", service.chain("a"))
        assert (await manager.wait(saga.id, timeout=60)).is_completed


@virtual
async def test_claims_are_kept_while_a_publish_is_pending():
    """Nobody takes over the row of a publish that a slow broker holds up."""
    service = Service()
    store = await open_store()
    broker = await open_broker(fresh_name())
    release = _held(broker)
    async with open_manager(service.handlers, store=store, broker=broker) as manager:
        saga = await manager.start("s", service.chain("a"))
        for _ in range(120):
            await LoopClock().sleep(0.5)
            assert await store.claim(10, seconds(0)) == []
        release.set()
        assert (await manager.wait(saga.id)).is_completed
        assert service.runs == ["a"]


@virtual
async def test_claims_are_kept_of_what_waits_behind_a_pending_publish():
    """A command in hand behind a slow publish is not offered again and again."""
    service = Service()
    store = await open_store()
    claimed = _claims_of(store)
    broker = await open_broker(fresh_name())
    release = _held(broker)
    async with open_manager(service.handlers, store=store, broker=broker) as manager:
        first = await manager.start("s", service.chain("a"))
        await LoopClock().sleep(1)
        second = await manager.start("s", service.chain("a"))
        await LoopClock().sleep(20)
        assert claimed == []
        release.set()
        for saga in (first, second):
            assert (await manager.wait(saga.id)).is_completed


def _claims_of(store) -> list[object]:
    claim, claimed = store.claim, []

    async def noted(limit, lease):
        rows = await claim(limit, lease)
        claimed.extend(rows)
        return rows

    store.claim = noted
    return claimed


def _held(broker) -> asyncio.Event:
    """Let publishes of a broker wait for the event that is returned."""
    publish, release = broker.publish, asyncio.Event()

    async def held(messages):
        await release.wait()
        return await publish(messages)

    broker.publish = held
    return release


@virtual
async def test_confirmed_commands_are_settled_though_others_are_unroutable():
    """A store that fails to note one return does not forget the confirms."""
    service, far = Service(), Service("far")
    gate = asyncio.Event()
    service.does["a"] = lambda _: gate.wait()
    inner = await open_store()
    async with open_manager(store=inner, engine=False) as client:
        await client.start("s", far.chain("a"))
        known = await client.start("s", service.chain("a"))
        store = WatchedStore(inner)
        store.fail("defer", StoreUnavailableError("away"))
        broker = await open_broker(fresh_name())
        broker.outlives_process = True
        async with open_manager(
            service.handlers, store=store, broker=broker
        ) as manager:
            await until(lambda: service.runs)
            await LoopClock().sleep(1)
            assert await _outbox(manager, known) == ()
            await LoopClock().sleep(20)
            assert service.runs == ["a"]
            gate.set()


@virtual
async def test_the_relay_takes_up_what_a_client_without_an_engine_started():
    """A client needs no broker: any engine on the store publishes for it."""
    service = Service()
    store = await open_store()
    async with (
        open_manager(store=store, engine=False) as client,
        open_manager(service.handlers, store=store),
    ):
        sagas = [await client.start("s", service.chain()) for _ in range(300)]
        for saga in sagas:
            assert (await client.wait(saga.id, timeout=60)).is_completed


@virtual
async def test_what_the_relay_takes_up_is_read_whatever_is_remembered():
    """A snapshot in hand may await what another replica has had the answer of."""
    name, inbox = fresh_name(), Inbox(ack=True)
    store, broker = await open_store(), await open_broker(name)
    queue = QueueSpec("theirs", routing_keys=("step.do.a", "step.do.b"))
    await broker.consume(queue, inbox, prefetch=10)
    async with open_manager(store=store, broker=broker, engine=True) as manager:
        mine = manager._engine._publisher
        (begun,) = await store.transact([start(plan_of("a", "b"))])
        (first,) = (sent.fence for sent in begun.dispatches)
        await store.transact([StepSucceeded(first)])
        mine.notice([begun])
        mine.offer([Offer(first)])  # as the relay does
        sent = json.loads((await inbox.next()).body)
        assert [command["step"] for command in sent["commands"]] == ["b"]


@virtual
async def test_a_replica_cut_off_from_the_broker_leaves_the_rows_to_others():
    """Once nothing was heard of a batch it tries with one row at a time."""
    near, name = Service("near"), fresh_name()
    store = await open_store()
    cut_off = await open_broker(name)
    cut_off.publish = _unheard
    cut_off.outlives_process = True
    async with (
        open_manager(store=store) as client,
        open_manager(store=store, broker=cut_off, engine=True),
    ):
        await client.start("s", near.chain("a"))
        await LoopClock().sleep(11)  # it has heard nothing of that one
        starts = [client.start("s", near.chain("a")) for _ in range(20)]
        sagas = await asyncio.gather(*starts)  # one commit, and all rows at once
        await LoopClock().sleep(1)
        broker = await open_broker(name)
        broker.outlives_process = True  # else it would send all again as it opens
        async with open_manager(near.handlers, store=store, broker=broker):
            await LoopClock().sleep(2)
            done = [(await client.get(saga.id)).is_completed for saga in sagas]
            assert sum(done) >= 19
            assert all([await client.wait(saga.id) for saga in sagas])


async def _unheard(messages):
    await LoopClock().sleep(10)
    return [Receipt.UNKNOWN] * len(messages)


@virtual
async def test_waiting_outlasts_a_store_that_is_away():
    """As long as it takes: a lost connection is not the saga's end."""
    near = Service("near")
    near.does["a"] = lambda _: LoopClock().sleep(3)
    store = WatchedStore(await open_store())
    async with open_manager(near.handlers, store=store) as manager:
        saga = await manager.start("s", near.chain("a"))
        store.fail("load", StoreUnavailableError("away"), times=3)
        assert (await manager.wait(saga.id)).is_completed
        store.fail("load", StoreDataError("unreadable"), times=1)
        with pytest.raises(StoreDataError):
            await manager.wait(saga.id)


@virtual
async def test_an_engine_on_an_in_process_broker_sends_all_open_commands_again():
    """The queues died with the process; all go out at once, however many."""
    service = Service()
    store = await open_store()
    stopped = Handlers("near")

    @stopped.step("near.a")
    async def never(ctx):
        await asyncio.Event().wait()

    async def quick(ctx):
        await LoopClock().sleep(0.01)
        return ctx.step

    service.does["a"] = quick
    first = await open_manager(stopped, store=store)
    for _ in range(700):
        await first.start("s", [Step("a", action="near.a")])
    await until(lambda: _no_rows(store))
    await first.close()
    async with open_manager(service.handlers, store=store, concurrency=1) as second:
        for saga in await second.list_active():
            await second.wait(saga.id, timeout=60)


@virtual
async def test_an_engine_that_opens_sends_a_waiting_command_once():
    """The relay and the sending again at the start do not both publish it."""
    service = Service()
    service.does["a"] = lambda _: LoopClock().sleep(5)
    store = await open_store()
    async with open_manager(store=store, engine=False) as client:
        saga = await client.start("s", service.chain("a"))
    async with open_manager(service.handlers, store=store) as manager:
        assert (await manager.wait(saga.id)).is_completed
        await LoopClock().sleep(20)
        assert service.runs == ["a"]


async def _no_rows(store: Store) -> bool:
    sagas = await store.find(SagaFilter(limit=1000))
    records = [await store.record(saga.id) for saga in sagas]
    return not any(record.outbox for record in records if record)


@virtual
async def test_what_is_left_to_the_relay_is_not_remembered(monkeypatch):
    """While the broker is away and starts go on, for hours, memory is bounded."""
    monkeypatch.setattr(publisher, "GATHERED_MAX", 10)
    store, broker = await open_store(), await open_broker(fresh_name())
    away = asyncio.Event()

    async def silent(messages):
        await away.wait()
        return [Receipt.UNKNOWN] * len(messages)

    monkeypatch.setattr(broker, "publish", silent)
    async with open_manager(store=store, broker=broker, engine=True) as manager:
        for _ in range(50):
            await manager.start("s", Service("far").chain("a"))
        assert len(manager._engine._publisher._committed) <= 20
        away.set()
