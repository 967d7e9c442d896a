"""The contract in ``saga_orchestrator/ports/broker.py``, for every adapter."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

import pytest

from saga_orchestrator.brokers.memory import MemoryBroker
from saga_orchestrator.brokers.rabbitmq import RabbitBroker
from saga_orchestrator.errors import BrokerUnavailableError, TopologyError
from saga_orchestrator.ports.broker import (
    Broker,
    Delivery,
    OutgoingMessage,
    QueueSpec,
    QueueStats,
    Receipt,
)
from saga_orchestrator.wire.topology import Topology
from tests.support.inbox import Inbox
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

WORK = QueueSpec("work", ("step.a", "step.b"), dead_letter="parked", delivery_limit=3)
PARKED = QueueSpec("parked")

_names = itertools.count()


class World:
    """One broker that the test opens handles on, as processes would."""

    def __init__(self, adapter: str, url: str) -> None:
        self.adapter = adapter
        self.url = url
        self._handles: list[Broker] = []

    def handle(self, topology: Topology | None = None) -> Broker:
        """Return a handle that is not open yet."""
        names = topology or Topology()
        handle: Broker = (
            MemoryBroker(self.url, topology=names)
            if self.adapter == "memory"
            else RabbitBroker(
                self.url, topology=names, publish_timeout=5, reconnect_interval=0.1
            )
        )
        self._handles.append(handle)
        return handle

    async def open(self) -> Broker:
        """Return an open handle."""
        handle = self.handle()
        await handle.open()
        return handle

    async def close(self) -> None:
        """Close every handle."""
        for handle in self._handles:
            await handle.close()


@pytest.fixture(params=["memory", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A broker without queues."""
    if request.param == "memory":
        world = World("memory", f"memory://conformance-{next(_names)}")
    else:
        world = World("rabbitmq", request.getfixturevalue("rabbit_url"))
    yield world
    await world.close()


def message(
    key: str = "step.a", body: bytes = b"{}", exchange: str | None = None
) -> OutgoingMessage:
    """Return a message for the work queue."""
    return OutgoingMessage(key, body, "saga.commands", exchange)


def messages(count: int) -> list[OutgoingMessage]:
    """Return messages that differ in their body."""
    return [message(body=b"%03d" % number) for number in range(count)]


# -- one more exchange -------------------------------------------------------


async def test_one_more_exchange_takes_messages(world: World) -> None:
    """What is bound there gets them, and nothing of the other exchange."""
    broker = await world.open()
    await broker.declare_exchange("others")
    await broker.declare_exchange("others")
    receipts = await broker.publish([message(exchange="others")])
    assert receipts == [Receipt.UNROUTABLE]
    reader, inbox = world.handle(Topology(exchange="others")), Inbox(ack=True)
    await reader.open()
    await reader.consume(QueueSpec("reader", ("step.a",), "parked"), inbox, prefetch=1)
    await broker.declare(WORK)
    sent = [message(body=b"work"), message(body=b"others", exchange="others")]
    assert await broker.publish(sent) == [Receipt.CONFIRMED] * 2
    assert (await inbox.next()).body == b"others"
    await eventually(lambda: _ready(broker, "work", 1))


async def test_nobody_can_tell_of_an_exchange_that_is_not_there(world: World) -> None:
    """The message is not lost in silence; the handle works on."""
    broker = await world.open()
    await broker.declare(WORK)
    assert await broker.publish([message(exchange="gone")]) == [Receipt.UNKNOWN]
    await eventually(lambda: _confirms(broker))


async def _confirms(broker: Broker) -> bool:
    return await broker.publish([message()]) == [Receipt.CONFIRMED]


# -- publish -----------------------------------------------------------------


async def test_a_message_arrives_as_it_was_sent(world: World) -> None:
    """Body, kind, routing key and headers reach the handler unchanged."""
    broker, inbox = await world.open(), Inbox(ack=True)
    await broker.consume(WORK, inbox, prefetch=1)
    sent = OutgoingMessage(
        "step.b", b'{"n":1}', "saga.commands", headers={"traceparent": "00-1", "n": 7}
    )
    assert await broker.publish([sent]) == [Receipt.CONFIRMED]
    got = await inbox.next()
    assert (got.body, got.kind, got.routing_key) == (sent.body, sent.kind, "step.b")
    assert {name: got.headers[name] for name in sent.headers} == sent.headers
    assert not got.redelivered


async def test_an_empty_body_arrives(world: World) -> None:
    """Nothing in a message is a message too."""
    broker, inbox = await world.open(), Inbox(ack=True)
    await broker.consume(WORK, inbox, prefetch=1)
    await broker.publish([OutgoingMessage("step.a", b"", "saga.commands")])
    assert (await inbox.next()).body == b""


async def test_publishing_nothing_gives_no_receipts(world: World) -> None:
    """An empty batch is answered by an empty list."""
    broker = await world.open()
    assert await broker.publish([]) == []


async def test_a_key_that_nobody_bound_is_unroutable(world: World) -> None:
    """Bindings are exact, and a message that no queue takes is told."""
    broker = await world.open()
    await broker.declare(WORK)
    keys = ["step", "step.c", "step.a.b", "step.*", "#", ""]
    receipts = await broker.publish([message(key) for key in keys])
    assert receipts == [Receipt.UNROUTABLE] * len(keys)


async def test_a_key_that_is_too_long_is_unroutable(world: World) -> None:
    """No queue can be bound to a key of over 255 bytes; the neighbours arrive."""
    broker = await world.open()
    await broker.declare(WORK)
    receipts = await broker.publish([message(), message("k" * 300), message()])
    assert receipts == [Receipt.CONFIRMED, Receipt.UNROUTABLE, Receipt.CONFIRMED]


async def test_the_default_exchange_reaches_a_queue_by_name(world: World) -> None:
    """Exchange "" routes by the name of the queue, declared or not."""
    broker, inbox = await world.open(), Inbox(ack=True)
    await broker.consume(WORK, inbox, prefetch=1)
    receipts = await broker.publish(
        [message("work", exchange=""), message("elsewhere", exchange="")]
    )
    assert receipts == [Receipt.CONFIRMED, Receipt.UNROUTABLE]
    assert (await inbox.next()).routing_key == "work"


async def test_receipts_come_in_the_order_of_the_messages(world: World) -> None:
    """Each of many messages in flight at once gets its own receipt."""
    broker = await world.open()
    await broker.declare(WORK)
    batches = [
        [message("step.a" if (row * place) % 3 else "nobody") for place in range(40)]
        for row in range(10)
    ]
    receipts = await asyncio.gather(*(broker.publish(batch) for batch in batches))
    for batch, told in zip(batches, receipts, strict=True):
        assert told == [
            Receipt.UNROUTABLE if sent.routing_key == "nobody" else Receipt.CONFIRMED
            for sent in batch
        ]


async def test_an_exchange_that_does_not_exist_is_unknown(world: World) -> None:
    """Nobody can tell what became of such a message; later ones get through."""
    broker = await world.open()
    await broker.declare(WORK)
    assert await broker.publish([message(exchange="nowhere")]) == [Receipt.UNKNOWN]
    assert await broker.publish([message()]) == [Receipt.CONFIRMED]


async def test_publishing_on_a_closed_handle_is_unknown(world: World) -> None:
    """Publish never raises, not even after close."""
    broker = await world.open()
    await broker.declare(WORK)
    await broker.close()
    assert await broker.publish([message()]) == [Receipt.UNKNOWN]


async def test_every_bound_queue_gets_a_copy(world: World) -> None:
    """Two queues bound to one key both take the message."""
    broker, one, two = await world.open(), Inbox(ack=True), Inbox(ack=True)
    await broker.consume(QueueSpec("one", ("k",)), one, prefetch=1)
    await broker.consume(QueueSpec("two", ("k",)), two, prefetch=1)
    await broker.publish([message("k", b"both")])
    assert ((await one.next()).body, (await two.next()).body) == (b"both", b"both")


# -- declare -----------------------------------------------------------------


async def test_declaring_again_changes_nothing(world: World) -> None:
    """Declare is idempotent, and bindings of others stay."""
    broker, other = await world.open(), await world.open()
    await broker.declare(WORK)
    await broker.publish([message()])
    await other.declare(
        QueueSpec("work", ("step.c",), dead_letter="parked", delivery_limit=3)
    )
    receipts = await broker.publish([message("step.a"), message("step.c")])
    assert receipts == [Receipt.CONFIRMED] * 2
    await eventually(lambda: _ready(broker, "work", 3))


async def test_other_arguments_are_a_topology_error(world: World) -> None:
    """A queue that exists with another delivery limit is refused, by name."""
    broker = await world.open()
    await broker.declare(WORK)
    with pytest.raises(TopologyError, match="work"):
        await broker.declare(QueueSpec("work", dead_letter="parked"))
    assert await broker.publish([message()]) == [Receipt.CONFIRMED]


async def test_declare_creates_the_dead_letter_queue(world: World) -> None:
    """A dead letter finds its queue, whoever declares what first."""
    broker = await world.open()
    await broker.declare(WORK)
    assert await broker.stats("parked") == QueueStats(ready=0, consumers=0)
    await broker.declare(PARKED)


# -- consume -----------------------------------------------------------------


async def test_messages_wait_for_their_consumer(world: World) -> None:
    """What was published before anybody consumed is delivered then."""
    broker, inbox = await world.open(), Inbox(ack=True)
    await broker.declare(WORK)
    await broker.publish(messages(5))
    await broker.consume(WORK, inbox, prefetch=2)
    await inbox.take(5)
    assert inbox.bodies == [b"%03d" % number for number in range(5)]


async def test_prefetch_bounds_what_is_unsettled(world: World) -> None:
    """Handlers run side by side, up to prefetch, and an ack makes room."""
    broker, inbox = await world.open(), Inbox()
    await broker.consume(WORK, inbox, prefetch=3)
    await broker.publish(messages(5))
    first = await inbox.take(3)
    await eventually(lambda: _ready(broker, "work", 2))
    assert len(inbox.seen) == 3
    await first[1].ack()
    await inbox.next()
    await eventually(lambda: _ready(broker, "work", 1))
    assert len(inbox.seen) == 4


async def test_consumers_share_a_queue(world: World) -> None:
    """With two processes on a queue, each message goes to one of them."""
    one, two = Inbox(ack=True), Inbox(ack=True)
    for inbox in (one, two):
        await (await world.open()).consume(WORK, inbox, prefetch=5)
    await (await world.open()).publish(messages(40))
    await eventually(lambda: len(one.seen) + len(two.seen) >= 40)
    assert sorted(one.bodies + two.bodies) == [b"%03d" % n for n in range(40)]
    assert one.seen
    assert two.seen


async def test_an_acknowledged_message_is_forgotten(world: World) -> None:
    """After its ack a message comes to nobody, not even when the handle closes."""
    broker, inbox = await world.open(), Inbox(ack=True)
    await broker.consume(WORK, inbox, prefetch=10)
    await broker.publish(messages(4))
    await inbox.take(4)
    await broker.close()
    other = await world.open()
    await eventually(lambda: _ready(other, "work", 0))
    later = Inbox(ack=True)
    await other.consume(WORK, later, prefetch=10)
    await other.publish([message(body=b"last")])
    assert (await later.next()).body == b"last"


async def test_unsettled_messages_come_again_after_close(world: World) -> None:
    """What a closed handle had not settled is delivered again, and marked."""
    broker, first = await world.open(), Inbox()
    await broker.consume(WORK, first, prefetch=10)
    await broker.publish(messages(2))
    await first.take(2)
    await broker.close()
    other, second = await world.open(), Inbox(ack=True)
    await other.consume(WORK, second, prefetch=10)
    again = await second.take(2)
    assert second.bodies == first.bodies
    assert all(delivery.redelivered for delivery in again)


async def test_an_ack_after_close_does_nothing(world: World) -> None:
    """A late ack raises nothing and settles nothing."""
    broker, inbox = await world.open(), Inbox()
    await broker.consume(WORK, inbox, prefetch=10)
    await broker.publish([message()])
    late = await inbox.next()
    await broker.close()
    await late.ack()
    other, second = await world.open(), Inbox(ack=True)
    await other.consume(WORK, second, prefetch=10)
    assert (await second.next()).redelivered


async def test_settling_twice_does_no_harm(world: World) -> None:
    """The second ack or requeue of a delivery is ignored."""
    broker, inbox = await world.open(), Inbox()
    consumer = await broker.consume(WORK, inbox, prefetch=10)
    await broker.publish([message(body=b"1")])
    first = await inbox.next()
    await first.ack()
    await first.ack()
    await first.requeue()
    await broker.publish([message(body=b"2")])
    second = await inbox.next()
    assert (second.body, second.redelivered) == (b"2", False)
    assert consumer.is_live


async def test_a_requeued_message_comes_again(world: World) -> None:
    """Requeue gives the message back at once, marked."""
    broker, inbox = await world.open(), Inbox()
    await broker.consume(WORK, inbox, prefetch=1)
    await broker.publish([message(body=b"again")])
    await (await inbox.next()).requeue()
    second = await inbox.next()
    assert (second.body, second.redelivered) == (b"again", True)


async def test_a_handler_that_raises_gets_the_message_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """An error of a handler gives the message back and ends nothing else."""
    broker, inbox = await world.open(), Inbox(ack=True)

    async def handler(delivery: Delivery) -> None:
        if not delivery.redelivered:
            msg = "broken"
            raise RuntimeError(msg)
        await inbox(delivery)

    await broker.consume(WORK, handler, prefetch=1)
    await broker.publish([message()])
    assert (await inbox.next()).redelivered
    assert "broken" in caplog.text


async def test_the_delivery_limit_dead_letters_with_the_reason(world: World) -> None:
    """A message returned ``delivery_limit`` times is parked, told why and whence."""
    broker, inbox, parked = await world.open(), Inbox(), Inbox(ack=True)
    await broker.consume(PARKED, parked, prefetch=10)
    await broker.consume(WORK, inbox, prefetch=10)
    await broker.publish(
        [OutgoingMessage("step.a", b"x", "saga.commands", None, {"n": 1})]
    )
    for _ in range(3):
        await (await inbox.next()).requeue()
    dead = await parked.next()
    assert (dead.body, dead.kind, dead.headers["n"]) == (b"x", "saga.commands", 1)
    assert dead.headers["x-first-death-reason"] == "delivery_limit"
    assert dead.headers["x-first-death-queue"] == "work"
    assert len(inbox.seen) == 3


async def test_a_parked_message_is_never_dropped(world: World) -> None:
    """A queue without a dead-letter queue keeps what is returned often."""
    broker, inbox = await world.open(), Inbox()
    await broker.consume(PARKED, inbox, prefetch=1)
    await broker.publish([message("parked", b"kept", exchange="")])
    for _ in range(30):
        await (await inbox.next()).requeue()
    assert (await inbox.next()).body == b"kept"


async def test_cancel_stops_new_deliveries_only(world: World) -> None:
    """After cancel nothing new comes, and what came can still be settled."""
    broker, inbox = await world.open(), Inbox()
    consumer = await broker.consume(WORK, inbox, prefetch=1)
    await broker.publish(messages(1))
    unsettled = await inbox.next()
    await consumer.cancel()
    await consumer.cancel()
    assert not consumer.is_live
    await broker.publish([message(body=b"new")])
    await unsettled.ack()
    await broker.close()
    other, second = await world.open(), Inbox(ack=True)
    await other.consume(WORK, second, prefetch=10)
    got = await second.next()
    assert (got.body, got.redelivered) == (b"new", False)
    assert len(inbox.seen) == 1


async def test_close_ends_the_handlers_that_run(world: World) -> None:
    """No handler outlives its handle; its message comes again."""
    broker, running, ended = await world.open(), asyncio.Event(), asyncio.Event()

    async def handler(_: Delivery) -> None:
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    await broker.consume(WORK, handler, prefetch=1)
    await broker.publish([message()])
    await running.wait()
    await broker.close()
    assert ended.is_set()
    other, second = await world.open(), Inbox(ack=True)
    await other.consume(WORK, second, prefetch=10)
    assert (await second.next()).redelivered


# -- stats and problems ------------------------------------------------------


async def test_stats_count_what_waits_and_who_consumes(world: World) -> None:
    """Ready messages and consumers of all processes; None without a queue."""
    broker, other = await world.open(), await world.open()
    assert await broker.stats("work") is None
    await broker.declare(WORK)
    await broker.publish(messages(3))
    await eventually(lambda: _ready(broker, "work", 3))
    for handle in (broker, other):
        await handle.consume(WORK, Inbox(), prefetch=1)
    await eventually(lambda: _ready(broker, "work", 1))
    assert await other.stats("work") == QueueStats(ready=1, consumers=2)


async def test_problems_name_a_missing_connection(world: World) -> None:
    """An open handle that is well has no problem; one that is not open has."""
    broker = world.handle()
    assert broker.problems()
    await broker.open()
    await broker.consume(WORK, Inbox(ack=True), prefetch=1)
    assert broker.problems() == []
    await broker.close()
    assert broker.problems()


async def test_a_closed_handle_says_so(world: World) -> None:
    """Declare, consume and stats raise when there is no connection."""
    broker = await world.open()
    await broker.close()
    await broker.close()
    with pytest.raises(BrokerUnavailableError):
        await broker.declare(WORK)
    with pytest.raises(BrokerUnavailableError):
        await broker.declare_exchange("others")
    with pytest.raises(BrokerUnavailableError):
        await broker.consume(WORK, Inbox(), prefetch=1)
    with pytest.raises(BrokerUnavailableError):
        await broker.stats("work")


async def _ready(broker: Broker, queue: str, count: int) -> bool:
    found = await broker.stats(queue)
    return found is not None and found.ready == count
