"""A consumer's handler that keeps what it gets, for the test to look at."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from saga_orchestrator.ports.broker import Delivery


class Inbox:
    """Collects deliveries; settles them only when told to.

    Attributes:
        seen: every delivery so far, in the order of arrival.
    """

    def __init__(self, *, ack: bool = False) -> None:
        self._ack = ack
        self._arrived: asyncio.Queue[Delivery] = asyncio.Queue()
        self.seen: list[Delivery] = []

    async def __call__(self, delivery: Delivery) -> None:
        """Take a delivery: this is the handler."""
        if self._ack:
            await delivery.ack()
        self.seen.append(delivery)
        self._arrived.put_nowait(delivery)

    @property
    def bodies(self) -> list[bytes]:
        """Return the bodies of what was seen, sorted: order is not promised."""
        return sorted(delivery.body for delivery in self.seen)

    async def next(self, *, seconds: float = 20) -> Delivery:
        """Wait for the next delivery."""
        async with asyncio.timeout(seconds):
            return await self._arrived.get()

    async def take(self, count: int, *, seconds: float = 20) -> list[Delivery]:
        """Wait for that many deliveries."""
        async with asyncio.timeout(seconds):
            return [await self._arrived.get() for _ in range(count)]
