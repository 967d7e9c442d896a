"""The shape of our exchange and queues on RabbitMQ.

All queues are quorum queues: replicated, and they count deliveries. What
passes the limit is dead-lettered *at least once* (which needs
``reject-publish``), so that not even that step loses a message. Everything
else (lengths, replicas) is left to policies; where one limits the length, a
queue refuses what is new, and what it has stays (unless it says ``drop-head``,
which wins over ours).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from saga_orchestrator.ports.broker import QueueSpec

if TYPE_CHECKING:
    from aiormq import spec
    from aiormq.abc import AbstractChannel
    from pamqp.common import FieldTable

# RabbitMQ 4 gives a queue a limit of 20 when it has none, and a message that
# passes it without a dead-letter queue is dropped. A parked message must stay.
_PARKING_LIMIT = 1_000_000


async def declare_exchange(
    channel: AbstractChannel, exchange: str, *, passive: bool = False
) -> None:
    """Create the topic exchange, or see that it is there (``passive``)."""
    await channel.exchange_declare(
        exchange, exchange_type="topic", durable=True, passive=passive
    )


async def declare_queue(
    channel: AbstractChannel, queue: QueueSpec, exchange: str
) -> spec.Queue.DeclareOk:
    """Create the queue, its dead-letter queue and the bindings; idempotent.

    Returns:
        The broker's answer for the queue: what is ready, and how many consume.
    """
    if queue.dead_letter is not None:
        await declare_queue(channel, QueueSpec(queue.dead_letter), exchange)
    declared = await channel.queue_declare(
        queue.name, durable=True, arguments=queue_arguments(queue)
    )
    if queue.routing_keys:
        await declare_exchange(channel, exchange)
    for key in queue.routing_keys:
        await channel.queue_bind(queue.name, exchange, key)
    return declared


def queue_arguments(queue: QueueSpec) -> FieldTable:
    """Return what a queue is declared with, beside being durable."""
    if queue.dead_letter is None:
        return {
            "x-queue-type": "quorum",
            "x-delivery-limit": _PARKING_LIMIT,
            "x-overflow": "reject-publish",
        }
    return {
        "x-queue-type": "quorum",
        # RabbitMQ counts returns: a limit of 0 allows one delivery
        "x-delivery-limit": queue.delivery_limit - 1,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": queue.dead_letter,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
