"""The events relay: what is published when, and what a failure leaves for later."""

from __future__ import annotations

import json
import random
from typing import Any

from saga_orchestrator import Skip, StepFailed
from saga_orchestrator.brokers.memory import MemoryBroker
from saga_orchestrator.errors import BrokerUnavailableError, StoreUnavailableError
from saga_orchestrator.ports.broker import OutgoingMessage, QueueSpec, Receipt
from saga_orchestrator.ports.store import LEASE
from saga_orchestrator.runtime.events_relay import (
    EVENTS_MAX,
    EXPIRE_AFTER,
    HELD_SECONDS,
)
from saga_orchestrator.testing.virtual_time import LoopClock
from saga_orchestrator.wire.topology import Topology
from tests.support.inbox import Inbox
from tests.unit.runtime.stage import (
    TOPOLOGY,
    Service,
    WatchedStore,
    fresh_name,
    open_broker,
    open_manager,
    open_store,
    until,
    virtual,
)

KEYS = tuple(
    f"{kind}.s.{name}"
    for kind, names in {
        "emitted": "did.a did.b did.c",
        "lifecycle": "started step_completed step_skipped step_failed compensating "
        "step_compensated compensated completed",
    }.items()
    for name in names.split()
)


class Readers:
    """A queue that is bound to the exchange of events, and what it got."""

    def __init__(self, name: str) -> None:
        self.inbox = Inbox(ack=True)
        self._broker = MemoryBroker(
            f"memory://{name}",
            topology=Topology(exchange=TOPOLOGY.events),
            clock=LoopClock(),
        )

    async def bind(self) -> None:
        """Bind to all keys of a saga ``s``: here bindings are exact."""
        await self._broker.open()
        await self._broker.consume(
            QueueSpec("readers", KEYS), self.inbox, prefetch=1000
        )

    @property
    def documents(self) -> list[dict[str, Any]]:
        """Bodies in the order of arrival, each id once."""
        found = (json.loads(one.body) for one in self.inbox.seen)
        return list({one["id"]: one for one in reversed(list(found))}.values())[::-1]

    def types(self) -> list[str]:
        """The types in order."""
        return [one["type"] for one in self.documents]


def _emitting(service: Service) -> Service:
    async def emit(ctx):
        ctx.emit(f"did.{ctx.step}", {"step": ctx.step, "attempt": ctx.attempt})
        return {"by": ctx.step}

    for name in "abc":
        service.does[name] = emit
    return service


@virtual
async def test_a_reader_gets_every_event_in_order():
    """What handlers emit and what becomes of the saga, as one story."""
    name = fresh_name()
    service = _emitting(Service())
    readers = Readers(name)
    await readers.bind()
    async with open_manager(
        service.handlers, broker=await open_broker(name), lifecycle_events=True
    ) as manager:
        saga = await manager.start("s", service.chain())
        await until(lambda: "completed" in readers.types())
    told = ["started"]
    for step in "abc":
        told += [f"did.{step}", "step_completed"]
    assert readers.types() == [*told, "completed"]
    assert {one["saga_id"] for one in readers.documents} == {saga.id}
    assert readers.documents[1]["data"] == {"step": "a", "attempt": 1}


@virtual
async def test_without_being_asked_nothing_is_told():
    """Only what handlers emit goes out."""
    name = fresh_name()
    service = _emitting(Service())
    readers = Readers(name)
    await readers.bind()
    async with open_manager(service.handlers, broker=await open_broker(name)) as one:
        await one.start("s", service.chain())
        await until(lambda: len(readers.documents) == 3)
        await LoopClock().sleep(10)
    assert readers.types() == ["did.a", "did.b", "did.c"]


@virtual
async def test_failures_emit_nothing_and_skips_do():
    """An event goes with an answer that ends its step well."""
    name = fresh_name()
    service = Service()

    async def skip(ctx):
        ctx.emit("did.a")
        raise Skip("not needed")

    async def refuse(ctx):
        ctx.emit("did.b")
        raise StepFailed("no")

    async def crash(ctx):
        ctx.emit("did.c")
        if ctx.attempt == 1:
            raise ValueError("crash")

    service.does |= {"a": skip, "b": crash, "c": refuse}
    readers = Readers(name)
    await readers.bind()
    async with open_manager(service.handlers, broker=await open_broker(name)) as one:
        saga = await one.start("s", service.chain())
        await one.wait(saga.id)
        await LoopClock().sleep(10)
        assert (await one.get(saga.id)).is_compensated
    assert readers.types() == ["did.a", "did.c"]


@virtual
async def test_what_nobody_wants_is_gone():
    """A message that comes back was for nobody; it is not kept for later."""
    name = fresh_name()
    service = _emitting(Service())
    store = await open_store()
    async with open_manager(
        service.handlers, store=store, broker=await open_broker(name)
    ) as manager:
        saga = await manager.start("s", service.chain())
        await manager.wait(saga.id)
        await until(lambda: _is_empty(store))
        assert manager.problems() == []


@virtual
async def test_an_outage_of_the_broker_keeps_the_order():
    """What is not confirmed holds back what follows it in its saga, and no other."""
    service = _emitting(Service())
    broker = FlakyBroker()
    await broker.open()
    async with open_manager(
        service.handlers, broker=broker, lifecycle_events=True
    ) as manager:
        broker.refused = "did.b"
        first = await manager.start("s", service.chain())
        await manager.wait(first.id)
        second = await manager.start("s", service.chain("a"))
        await until(lambda: (second.id, "completed") in broker.taken)
        await LoopClock().sleep(10)
        stuck = [kind for saga_id, kind in broker.taken if saga_id == first.id]
        assert list(dict.fromkeys(stuck)) == ["started", "did.a", "step_completed"]
        assert any("saga.events: events" in one for one in manager.problems())
        broker.refused = ""
        await until(lambda: (first.id, "completed") in broker.taken)
        assert manager.problems() == []
    mine = [kind for saga_id, kind in broker.taken if saga_id == first.id]
    assert mine == [
        *("started", "did.a", "step_completed", "did.b", "step_completed"),
        *("did.c", "step_completed", "completed"),
    ]


@virtual
async def test_many_sagas_that_are_held_back_hold_back_no_other():
    """Also where a page has room for none but them."""
    service = _emitting(Service())
    broker = FlakyBroker()
    await broker.open()
    broker.refused = "did.a"
    async with open_manager(service.handlers, broker=broker) as manager:
        full, free = service.chain("a"), service.chain("b")
        for _ in range(EVENTS_MAX):
            await manager.wait((await manager.start("s", full)).id)
        for _ in range(2):
            other = await manager.start("s", free)
            begun = LoopClock().monotonic()
            await until(lambda saga=other: (saga.id, "did.b") in broker.taken)
            assert LoopClock().monotonic() - begun < 2 * HELD_SECONDS
        assert any("saga.events: events" in one for one in manager.problems())
        broker.refused = ""
        await until(lambda: len(broker.taken) == EVENTS_MAX + 2)


@virtual
async def test_an_exchange_that_cannot_be_made_troubles_nobody_without_events():
    """Who may not make it learns so when there is something to publish."""
    service = _emitting(Service())
    broker = FlakyBroker()
    await broker.open()
    broker.forbidden = True
    async with open_manager(service.handlers, broker=broker) as manager:
        service.does.clear()
        await manager.wait((await manager.start("s", service.chain())).id)
        await LoopClock().sleep(5)
        assert manager.problems() == []
        _emitting(service)
        await manager.wait((await manager.start("s", service.chain("a"))).id)
        await until(lambda: any("forbidden" in one for one in manager.problems()))
        assert broker.taken == []
        broker.forbidden = False
        await until(lambda: [kind for _, kind in broker.taken] == ["did.a"])
        await until(lambda: manager.problems() == [])


@virtual
async def test_another_replica_goes_on_when_one_is_gone():
    """The right to publish runs out; nothing is lost with its holder."""
    name = fresh_name()
    service = _emitting(Service())
    store, other = await open_store(name), await open_store(name)
    async with open_manager(store=store) as client:
        await client.start("s", service.chain("a"))
    async with open_manager(
        service.handlers, store=await open_store(name), events="cdc"
    ) as engine:
        await until(lambda: _has_ended(engine))
    page = await other.claim_events("gone", 9, LEASE)
    assert len(page.items) == 1
    readers = Readers(name)
    await readers.bind()
    begun = LoopClock().monotonic()
    async with open_manager(
        service.handlers, store=other, broker=await open_broker(name)
    ):
        await until(lambda: readers.types() == ["did.a"])
    assert LoopClock().monotonic() - begun >= LEASE.total_seconds()


@virtual
async def test_a_replica_that_is_cut_off_leaves_events_to_others():
    """Who cannot publish does not keep the right to."""
    name = fresh_name()
    service = _emitting(Service())
    readers = Readers(name)
    await readers.bind()
    cut_off = FlakyBroker()
    await cut_off.open()
    cut_off.forbidden = True
    async with open_manager(
        service.handlers, store=await open_store(name), broker=cut_off
    ) as manager:
        await manager.start("s", service.chain())
        await until(lambda: any("forbidden" in one for one in manager.problems()))
        async with open_manager(
            store=await open_store(name),
            broker=await open_broker(name),
            engine=True,
            rng=random.Random(2),
        ):
            await until(lambda: readers.types() == ["did.a", "did.b", "did.c"])


@virtual
async def test_a_store_that_is_away_when_events_are_confirmed_sees_them_again():
    """They are published again, with the same id: at least once."""
    name = fresh_name()
    service = _emitting(Service())
    store = WatchedStore(await open_store())
    readers = Readers(name)
    await readers.bind()
    async with open_manager(
        service.handlers, store=store, broker=await open_broker(name)
    ) as manager:
        store.fail("delete_events", StoreUnavailableError("away"), times=2)
        await manager.start("s", service.chain("a"))
        await until(lambda: len(readers.inbox.seen) == 3)
        await until(lambda: _is_empty(store))
    assert len(readers.inbox.seen) == 3
    assert readers.types() == ["did.a"]


@virtual
async def test_change_data_capture_publishes_nothing_and_keeps_an_hour():
    """The rows are there for whoever reads the log, and go when they are old."""
    name = fresh_name()
    service = _emitting(Service())
    readers = Readers(name)
    await readers.bind()
    store = await open_store()
    async with open_manager(
        service.handlers, store=store, broker=await open_broker(name), events="cdc"
    ) as manager:
        await manager.wait((await manager.start("s", service.chain("a"))).id)
        await LoopClock().sleep(EXPIRE_AFTER.total_seconds() - 30)
        assert not _is_empty(store)
        await LoopClock().sleep(60)
        assert _is_empty(store)
    assert readers.documents == []


class FlakyBroker(MemoryBroker):
    """A broker that does not confirm some events, or forbids their exchange.

    Attributes:
        refused: the type of events that it does not confirm.
        forbidden: the exchange cannot be made.
        taken: saga id and type of each event that it confirmed, in order.
    """

    def __init__(self) -> None:
        super().__init__("memory://", clock=LoopClock(), rng=random.Random(1))
        self.refused = ""
        self.forbidden = False
        self.taken: list[tuple[str, str]] = []

    async def declare_exchange(self, name: str) -> None:
        """Refuse where it is forbidden."""
        if self.forbidden:
            raise BrokerUnavailableError("forbidden")
        await super().declare_exchange(name)

    async def publish(self, messages: list[OutgoingMessage]) -> list[Receipt]:
        """Confirm all but what is refused."""
        receipts = await super().publish(messages)
        for place, message in enumerate(messages):
            if message.exchange != TOPOLOGY.events:
                continue
            document = json.loads(message.body)
            if document["type"] == self.refused:
                receipts[place] = Receipt.UNKNOWN
            else:
                self.taken.append((document["saga_id"], document["type"]))
        return receipts


def _is_empty(store) -> bool:
    return not store._tables.events._rows  # to claim them would be in the way


async def _has_ended(manager) -> bool:
    return not await manager.list_active()
