"""A handle on the in-process broker: publishing, consuming, settling."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from saga_orchestrator.brokers.memory.queues import (
    MemoryQueue,
    StoredMessage,
    node_named,
)
from saga_orchestrator.brokers.tasks import TaskSet, handle
from saga_orchestrator.errors import BrokerUnavailableError
from saga_orchestrator.ports.broker import (
    Broker,
    Consumer,
    Delivery,
    DeliveryHandler,
    OutgoingMessage,
    QueueSpec,
    QueueStats,
    Receipt,
)
from saga_orchestrator.ports.clock import Clock, SystemClock
from saga_orchestrator.wire.topology import Topology

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence

    from saga_orchestrator.brokers.faults import BrokerFaults

_TOPOLOGY = Topology()


class MemoryDelivery(Delivery):
    """One message with its consumer."""

    __slots__ = (
        "_consumer", "_tag", "body", "headers", "kind", "redelivered", "routing_key",
    )  # fmt: skip

    def __init__(
        self, consumer: MemoryConsumer, tag: int, message: StoredMessage
    ) -> None:
        self._consumer = consumer
        self._tag = tag
        self.body = message.body
        self.kind = message.kind
        self.routing_key = message.routing_key
        self.headers: Mapping[str, object] = message.headers
        self.redelivered = message.deliveries > 1

    async def ack(self) -> None:
        """Forget the message."""
        self._consumer.settle(self._tag)

    async def requeue(self) -> None:
        """Give the message back."""
        self._consumer.give_back(self._tag)


class MemoryConsumer(Consumer):
    """A subscription; keeps what its handler has not settled."""

    def __init__(
        self,
        broker: MemoryBroker,
        queue: MemoryQueue,
        handler: DeliveryHandler,
        prefetch: int,
    ) -> None:
        self._broker = broker
        self._queue = queue
        self._handler = handler
        self._prefetch = prefetch
        # A tag names one delivery, so that a stale ack of an earlier one
        # cannot settle a later one of the same message.
        self._tags = itertools.count(1)
        self._unsettled: dict[int, StoredMessage] = {}

    @property
    def is_live(self) -> bool:
        """Tell whether the queue hands messages to this consumer."""
        return self._queue.has(self)

    @property
    def has_room(self) -> bool:
        """Tell whether one more unsettled message is allowed."""
        return len(self._unsettled) < self._prefetch

    @property
    def unsettled(self) -> int:
        """How many deliveries its handler has not settled."""
        return len(self._unsettled)

    async def cancel(self) -> None:
        """Stop new deliveries."""
        self.detach()

    def detach(self) -> None:
        """Stop new deliveries, at once."""
        self._queue.unsubscribe(self)

    def deliver(self, message: StoredMessage) -> None:
        """Start the handler on a message, after the delay that a fault asks for."""
        tag = next(self._tags)
        self._unsettled[tag] = message
        self._broker.start(
            self._handler, MemoryDelivery(self, tag, message), self._queue.spec.name
        )

    def settle(self, tag: int) -> None:
        """Forget a delivery; nothing happens when it is settled already."""
        if tag not in self._unsettled:
            return
        if self._broker.loses_ack(self._queue.spec.name):
            self.give_back(tag)
            return
        del self._unsettled[tag]
        self._queue.dispatch()

    def give_back(self, tag: int) -> None:
        """Return one delivery to its queue, unless it is settled already."""
        message = self._unsettled.pop(tag, None)
        if message is not None:
            self._queue.give_back([message])

    def give_all_back(self) -> None:
        """Return every unsettled delivery; their acks will do nothing."""
        unsettled = list(self._unsettled.values())
        self._unsettled.clear()
        self._queue.give_back(unsettled)


class MemoryBroker(Broker):
    """A broker without a server: its queues die with the process.

    Handles with the same name in their URL (``memory://NAME``) share one set of
    queues; ``memory://`` is private to the handle.
    """

    outlives_process = False

    def __init__(
        self,
        url: str = "memory://",
        *,
        topology: Topology = _TOPOLOGY,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        faults: BrokerFaults | None = None,
    ) -> None:
        """Prepare a handle.

        Args:
            url: ``memory://NAME`` or ``memory://``.
            topology: the name of the exchange.
            clock: what delays are waited on.
            rng: accepted as every adapter does; nothing here is random.
            faults: what goes wrong; None: nothing.
        """
        del rng
        self._node = node_named(urlsplit(url).netloc)
        self._exchange = topology.exchange
        self._clock = clock or SystemClock()
        self._faults = faults
        self._tasks = TaskSet()
        self._consumers: list[MemoryConsumer] = []
        self._is_open = False

    async def open(self, *, may_be_away: bool = False) -> None:
        """Declare the topic exchange; it is never away."""
        del may_be_away
        self._node.declare_exchange(self._exchange)
        self._is_open = True

    async def declare_exchange(self, name: str) -> None:
        """Create one more topic exchange."""
        self._require_open()
        self._node.declare_exchange(name)

    async def declare(self, queue: QueueSpec) -> None:
        """Create the queue, its dead-letter queue and the bindings."""
        self._declared(queue)

    async def publish(self, messages: Sequence[OutgoingMessage]) -> list[Receipt]:
        """Store all and hand them on; the confirms take one turn of the loop."""
        receipts = [self._store(message) for message in messages]
        await self._clock.sleep(0)
        return receipts

    async def consume(
        self, queue: QueueSpec, handler: DeliveryHandler, *, prefetch: int
    ) -> MemoryConsumer:
        """Declare the queue and call the handler for each delivery."""
        declared = self._declared(queue)
        consumer = MemoryConsumer(self, declared, handler, prefetch)
        self._consumers.append(consumer)
        declared.subscribe(consumer)
        return consumer

    async def stats(self, queue: str) -> QueueStats | None:
        """Return the queue's numbers."""
        self._require_open()
        found = self._node.find(queue)
        return None if found is None else found.stats()

    @property
    def unsettled(self) -> int:
        """How many deliveries are in hand."""
        return sum(consumer.unsettled for consumer in self._consumers)

    def problems(self) -> list[str]:
        """Tell when the handle is not open; nothing else can be wrong."""
        return [] if self._is_open else ["the in-process broker is not open"]

    async def close(self) -> None:
        """End the handlers that run; their messages go back."""
        for consumer in self._consumers:
            consumer.detach()
        await self._tasks.close()
        self.crash()

    def crash(self) -> None:
        """Lose this handle as a killed process would.

        Its consumers are gone, what they had goes back to the queues, and the
        handle does nothing any more. Handlers that run are not cancelled: a
        crash runs no ``finally``.
        """
        self._is_open = False
        for consumer in self._consumers:
            consumer.detach()
        self.cut_connection()
        self._consumers.clear()

    def cut_connection(self) -> None:
        """Lose the connection and mend it at once.

        What the consumers had is delivered again; acks for the lost
        deliveries do nothing.
        """
        for consumer in self._consumers:
            consumer.give_all_back()

    def start(self, handler: DeliveryHandler, delivery: Delivery, queue: str) -> None:
        """Run a handler as a task of this handle."""
        delay = self._faults.delivery_delay(queue) if self._faults else 0
        self._tasks.spawn(
            self._later(delay, handler, delivery)
            if delay
            else handle(handler, delivery)
        )

    def loses_ack(self, queue: str) -> bool:
        """Ask the faults about one acknowledgement."""
        return self._faults is not None and self._faults.loses_ack(queue)

    async def _later(
        self, delay: float, handler: DeliveryHandler, delivery: Delivery
    ) -> None:
        await self._clock.sleep(delay)
        await handle(handler, delivery)

    def _declared(self, queue: QueueSpec) -> MemoryQueue:
        self._require_open()
        return self._node.declare(queue, self._exchange)

    def _store(self, message: OutgoingMessage) -> Receipt:
        if not self._is_open:
            return Receipt.UNKNOWN
        exchange = self._exchange if message.exchange is None else message.exchange
        queues = self._node.route(exchange, message.routing_key)
        if queues is None:  # RabbitMQ closes the channel: nobody can tell
            return Receipt.UNKNOWN
        if not queues:
            return Receipt.UNROUTABLE
        for queue in queues * (self._faults.copies(message) if self._faults else 1):
            queue.put(
                StoredMessage(
                    message.body, message.kind, message.routing_key, message.headers
                )
            )
        if self._faults and self._faults.loses_confirm(message):
            return Receipt.UNKNOWN
        return Receipt.CONFIRMED

    def _require_open(self) -> None:
        if not self._is_open:
            raise BrokerUnavailableError("the in-process broker is not open")
