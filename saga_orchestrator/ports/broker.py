"""What the engine needs of a message broker, and what it may rely on.

Two adapters implement this contract, RabbitMQ and in-process, and one
conformance suite (``tests/conformance/test_broker.py``) holds both to it:

* **Publish** is durable and confirmed. A receipt says ``CONFIRMED`` only after
  the broker took responsibility *and* did not return the message as
  unroutable. ``UNKNOWN`` means nobody can tell (connection lost, no answer in
  time): publish again; the receivers' fences absorb a duplicate.
* **Delivery** is at-least-once. Whatever was not acknowledged is delivered
  again, marked ``redelivered``, after its consumer, connection or broker died.
  After ``delivery_limit`` deliveries the message moves to the queue's
  ``dead_letter`` queue instead, with the reason.
* Order is not promised. Nothing above this line relies on it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from msgspec import Struct, field


class Receipt(StrEnum):
    """What became of one published message."""

    CONFIRMED = "confirmed"  # the broker has it, durably, in at least one queue
    UNROUTABLE = "unroutable"  # no queue is bound for its routing key
    UNKNOWN = "unknown"  # no answer: it may or may not be there


class OutgoingMessage(Struct, frozen=True):
    """One message to publish; persistent and mandatory, always.

    Attributes:
        routing_key: the key on the ``exchange``; with the default exchange
            (``""``) the name of a queue.
        body: UTF-8 JSON.
        kind: the AMQP ``type`` property (``saga.commands``, ``saga.replies``).
        exchange: the exchange's name; None means the topology's topic exchange.
        headers: AMQP headers; strings and integers only.
    """

    routing_key: str
    body: bytes
    kind: str
    exchange: str | None = None
    headers: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class QueueSpec:
    """A durable queue with its bindings, as one process needs it.

    Attributes:
        name: the queue.
        routing_keys: the keys bound on the topic exchange; exact, no wildcard.
            Bindings that exist beside these stay.
        dead_letter: the queue that takes what passed the delivery limit or was
            rejected; None: rejected messages are dropped (parking queues).
        delivery_limit: deliveries after which a message is dead-lettered.
    """

    name: str
    routing_keys: tuple[str, ...] = ()
    dead_letter: str | None = None
    delivery_limit: int = 20


@dataclass(frozen=True, slots=True)
class QueueStats:
    """What the broker says of a queue right now.

    Attributes:
        ready: messages that wait for a consumer.
        consumers: consumers on all processes.
    """

    ready: int
    consumers: int


class Delivery(Protocol):
    """One message handed to a consumer; settle it exactly once."""

    body: bytes
    kind: str
    routing_key: str
    redelivered: bool
    headers: Mapping[str, object]

    async def ack(self) -> None:
        """Tell the broker to forget the message.

        After the connection that delivered it is gone this does nothing: the
        broker delivers the message again, marked redelivered. Never raises.
        """
        ...

    async def requeue(self) -> None:
        """Give the message back at once; it counts as one delivery."""
        ...


DeliveryHandler = Callable[[Delivery], Awaitable[None]]


class Consumer(Protocol):
    """A running subscription to one queue."""

    @property
    def is_live(self) -> bool:
        """Tell whether the broker currently lists this consumer."""
        ...

    async def cancel(self) -> None:
        """Stop new deliveries; unsettled ones can still be settled."""
        ...


class Broker(Protocol):
    """A connection to a broker that mends itself.

    Every method may be called concurrently from one event loop.

    Attributes:
        outlives_process: whether queues and messages survive this process; if
            not, an engine that starts sends all open commands again.
    """

    outlives_process: bool

    async def open(self, *, may_be_away: bool = False) -> None:
        """Connect, declare the topic exchange.

        Args:
            may_be_away: where nobody answers, return all the same, and connect
                when somebody does. ``problems`` says so meanwhile, and
                ``consume`` begins then.

        Raises:
            BrokerUnavailableError: the broker does not answer, or refuses the
                credentials; says which, with the password masked.
        """
        ...

    async def declare_exchange(self, name: str) -> None:
        """Create one more durable topic exchange; idempotent.

        Raises:
            TopologyError: it exists with another type.
            BrokerUnavailableError: no connection in time, or no permission.
        """
        ...

    async def declare(self, queue: QueueSpec) -> None:
        """Create the queue, its dead-letter queue and the bindings; idempotent.

        Raises:
            TopologyError: the queue exists with another type or arguments.
            BrokerUnavailableError: no connection in time.
        """
        ...

    async def publish(self, messages: Sequence[OutgoingMessage]) -> list[Receipt]:
        """Publish all; wait for the confirms together.

        Returns:
            One receipt per message, in the order given. Never raises: what
            cannot be told within the publish timeout is ``UNKNOWN``.
        """
        ...

    async def consume(
        self, queue: QueueSpec, handler: DeliveryHandler, *, prefetch: int
    ) -> Consumer:
        """Declare the queue and call ``handler`` for each delivery, concurrently.

        At most ``prefetch`` deliveries are unsettled at a time. The
        subscription survives reconnects, broker restarts, a broker-sent cancel
        and a deleted queue. A handler that raises leaves its message unsettled
        until it is requeued by the adapter; it must not happen.

        Raises:
            TopologyError: the queue exists with another type or arguments.
            BrokerUnavailableError: no connection in time, and the handle was not
                opened with ``may_be_away``.
        """
        ...

    async def stats(self, queue: str) -> QueueStats | None:
        """Return the queue's numbers; None when there is no such queue.

        Raises:
            BrokerUnavailableError: no connection in time.
        """
        ...

    def problems(self) -> list[str]:
        """Name what is wrong now: no connection, blocked, a queue unread."""
        ...

    async def close(self) -> None:
        """Close channels and connection; unsettled deliveries go back."""
        ...
