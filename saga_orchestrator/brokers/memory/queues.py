"""Exchanges, bindings and queues of the in-process broker, as RabbitMQ has them.

Everything here is synchronous: a message is handed to a consumer in the same
turn of the event loop in which it arrives or in which the consumer gets room.
Nothing polls.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

from saga_orchestrator.errors import TopologyError
from saga_orchestrator.ports.broker import QueueSpec, QueueStats

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class StoredMessage:
    """A message in a queue, or with a consumer that has not settled it.

    Attributes:
        deliveries: how often it was handed to a consumer.
    """

    __slots__ = ("body", "deliveries", "headers", "kind", "routing_key")

    def __init__(
        self, body: bytes, kind: str, routing_key: str, headers: Mapping[str, object]
    ) -> None:
        self.body = body
        self.kind = kind
        self.routing_key = routing_key
        self.headers = headers
        self.deliveries = 0


class Subscriber(Protocol):
    """What a queue hands its messages to."""

    @property
    def has_room(self) -> bool:
        """Tell whether one more unsettled message is allowed."""
        ...

    def deliver(self, message: StoredMessage) -> None:
        """Take the message."""
        ...


class MemoryQueue:
    """One queue: messages that wait, consumers that take turns."""

    def __init__(self, spec: QueueSpec, node: MemoryNode) -> None:
        self.spec = spec
        self._node = node
        self._ready: deque[StoredMessage] = deque()
        self._subscribers: deque[Subscriber] = deque()

    def stats(self) -> QueueStats:
        """Count what waits and who takes."""
        return QueueStats(ready=len(self._ready), consumers=len(self._subscribers))

    def messages(self) -> list[StoredMessage]:
        """Return what waits, the oldest first."""
        return list(self._ready)

    def subscribe(self, subscriber: Subscriber) -> None:
        """Let the subscriber take its turns from now on."""
        self._subscribers.append(subscriber)
        self.dispatch()

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Hand the subscriber nothing more."""
        if subscriber in self._subscribers:
            self._subscribers.remove(subscriber)

    def has(self, subscriber: Subscriber) -> bool:
        """Tell whether the subscriber is taking turns."""
        return subscriber in self._subscribers

    def put(self, message: StoredMessage) -> None:
        """Append a message and hand it on when somebody has room."""
        self._ready.append(message)
        self.dispatch()

    def give_back(self, messages: Iterable[StoredMessage]) -> None:
        """Return unsettled messages to the head of the queue, in their order."""
        for message in reversed(list(messages)):
            target = self.spec.dead_letter
            if target is not None and message.deliveries >= self.spec.delivery_limit:
                self._node.dead_letter(message, self.spec.name, target)
            else:
                self._ready.appendleft(message)
        self.dispatch()

    def dispatch(self) -> None:
        """Hand out waiting messages while any subscriber has room."""
        ready, subscribers = self._ready, self._subscribers
        full = 0
        while ready and full < len(subscribers):
            subscriber = subscribers[0]
            subscribers.rotate(-1)
            if not subscriber.has_room:
                full += 1
                continue
            full = 0
            message = ready.popleft()
            message.deliveries += 1
            subscriber.deliver(message)


class MemoryNode:
    """One set of queues, shared by the handles with the same URL."""

    def __init__(self) -> None:
        self._queues: dict[str, MemoryQueue] = {}
        # exchange -> routing key -> queues, in the order they were bound
        self._bindings: dict[str, dict[str, list[MemoryQueue]]] = {}

    def declare_exchange(self, exchange: str) -> None:
        """Create the exchange when there is none."""
        self._bindings.setdefault(exchange, {})

    def declare(self, spec: QueueSpec, exchange: str) -> MemoryQueue:
        """Create the queue, its dead-letter queue and the missing bindings."""
        if spec.dead_letter is not None and spec.dead_letter not in self._queues:
            self.declare(QueueSpec(spec.dead_letter), exchange)
        queue = self._queues.get(spec.name)
        if queue is None:
            queue = self._queues[spec.name] = MemoryQueue(spec, self)
        elif queue.spec.dead_letter != spec.dead_letter or (
            spec.dead_letter is not None
            and queue.spec.delivery_limit != spec.delivery_limit
        ):
            raise TopologyError(
                f"queue {spec.name!r} exists with other arguments: {queue.spec}"
            )
        for key in spec.routing_keys:
            bound = self._bindings[exchange].setdefault(key, [])
            if queue not in bound:
                bound.append(queue)
        return queue

    def find(self, name: str) -> MemoryQueue | None:
        """Return the queue of this name."""
        return self._queues.get(name)

    def route(self, exchange: str, routing_key: str) -> list[MemoryQueue] | None:
        """Return the queues a message goes to; None when there is no exchange."""
        if not exchange:
            queue = self._queues.get(routing_key)
            return [] if queue is None else [queue]
        bindings = self._bindings.get(exchange)
        return None if bindings is None else bindings.get(routing_key, [])

    def dead_letter(self, message: StoredMessage, queue: str, target: str) -> None:
        """Move a message that passed the delivery limit, with the reason."""
        dead = StoredMessage(
            message.body,
            message.kind,
            target,
            {
                "x-first-death-queue": queue,
                "x-first-death-reason": "delivery_limit",
                **message.headers,
            },
        )
        self._queues[target].put(dead)


_NODES: dict[str, MemoryNode] = {}


def node_named(name: str) -> MemoryNode:
    """Return the node of this name; it lives as long as the process.

    The empty name gives a new node at each call.
    """
    return _NODES.setdefault(name, MemoryNode()) if name else MemoryNode()
