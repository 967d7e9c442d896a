"""A broker that counts what goes through it."""

from __future__ import annotations

from collections.abc import Sequence

from saga_orchestrator.ports.broker import (
    Broker,
    Consumer,
    DeliveryHandler,
    OutgoingMessage,
    QueueSpec,
    QueueStats,
    Receipt,
)


class CountingBroker(Broker):
    """Hands everything on to another broker.

    Attributes:
        published: messages so far, commands and answers, those sent again too.
    """

    def __init__(self, inner: Broker) -> None:
        self._inner = inner
        self.outlives_process = inner.outlives_process
        self.published = 0

    async def open(self, *, may_be_away: bool = False) -> None:
        """As the other."""
        await self._inner.open(may_be_away=may_be_away)

    async def declare_exchange(self, name: str) -> None:
        """As the other."""
        await self._inner.declare_exchange(name)

    async def declare(self, queue: QueueSpec) -> None:
        """As the other."""
        await self._inner.declare(queue)

    async def publish(self, messages: Sequence[OutgoingMessage]) -> list[Receipt]:
        """As the other; counts."""
        self.published += len(messages)
        return await self._inner.publish(messages)

    async def consume(
        self, queue: QueueSpec, handler: DeliveryHandler, *, prefetch: int
    ) -> Consumer:
        """As the other."""
        return await self._inner.consume(queue, handler, prefetch=prefetch)

    async def stats(self, queue: str) -> QueueStats | None:
        """As the other."""
        return await self._inner.stats(queue)

    def problems(self) -> list[str]:
        """As the other."""
        return self._inner.problems()

    async def close(self) -> None:
        """As the other."""
        await self._inner.close()
