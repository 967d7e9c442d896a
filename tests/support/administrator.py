"""Who else has access to the broker, and deletes queues, or sets policies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from typing import TYPE_CHECKING

import aio_pika

from saga_orchestrator import Handlers, Manager
from saga_orchestrator.brokers.rabbitmq import RabbitBroker
from tests.support.rabbitmq import RabbitServer, vhost_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@contextlib.asynccontextmanager
async def attentive_engine(
    store: str, url: str, *handlers: Handlers
) -> AsyncIterator[Manager]:
    """Open an engine that looks at its queues more often than a user's."""
    broker = RabbitBroker(
        url, rng=random.Random(1), check_interval=0.3, reconnect_interval=0.5
    )
    await broker.open()
    async with Manager.open(
        store=store, migrate=True, broker=broker, handlers=handlers, engine=True
    ) as manager:
        yield manager


class Administrator:
    """Does to the queues of a virtual host what only an administrator does."""

    def __init__(self, server: RabbitServer, url: str) -> None:
        self._server = server
        self._url = url

    async def ctl(self, *arguments: str) -> None:
        """Run ``rabbitmqctl``."""
        await asyncio.to_thread(self._server.rabbitmqctl, *arguments)

    async def delete(self, queue: str) -> None:
        """Delete a queue with what is in it."""
        await asyncio.to_thread(self._server.delete_queue, self._url, queue)

    async def policy(self, pattern: str, **definition: object) -> None:
        """Set the policy on the queues that match."""
        vhost = vhost_of(self._url)
        await self.ctl(
            *("set_policy", "-p", vhost, "--apply-to", "queues"),
            *("test", pattern, json.dumps(definition)),
        )

    async def declare_classic(self, queue: str) -> None:
        """Put a queue of another type where ours would be."""
        async with await aio_pika.connect(self._url) as connection:
            channel = await connection.channel()
            await channel.declare_queue(queue, durable=True)
