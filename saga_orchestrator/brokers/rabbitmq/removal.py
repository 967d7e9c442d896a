"""Removing a run's queues; the port for brokers never deletes."""

from __future__ import annotations

import aio_pika

from saga_orchestrator.brokers.rabbitmq.failures import CLIENT_ERRORS
from saga_orchestrator.wire.topology import Topology

CONNECT_SECONDS = 10.0


async def delete_queues(url: str, topology: Topology) -> bool:
    """Delete the queues of a run; those that are missing are fine.

    Returns:
        False: the broker does not answer, and the queues stay.
    """
    names = (
        topology.steps,
        topology.compensate,
        topology.replies,
        topology.undelivered,
        topology.dead,
    )
    try:
        connection = await aio_pika.connect(url, timeout=CONNECT_SECONDS)
        async with connection, connection.channel() as channel:
            for name in names:
                await channel.queue_delete(name)
    except CLIENT_ERRORS:
        return False
    return True
