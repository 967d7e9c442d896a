"""The quarantine: a command that came back runs alone in its process.

A command that kills its process comes back with everything else that was in
hand. If all of it ran together again, the neighbours would die with it, up to
the delivery limit. So whoever enters ``alone`` waits until nothing else runs,
and nobody enters until it has left.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from saga_orchestrator.ports.clock import Clock

T = TypeVar("T")

ORDER_SECONDS = 0.5
"""What came back together comes within this, and draws its turn."""


class Quarantine:
    """Lets many run together, or one alone; the lone ones go first."""

    def __init__(self, clock: Clock, rng: random.Random) -> None:
        self._clock = clock
        self._rng = rng
        self._running = 0
        self._lone_waiting = 0
        self._lone_running = False
        self._changed = asyncio.Event()

    async def together(self, run: Callable[[], Awaitable[T]]) -> T:
        """Run beside others, while nobody is alone or waits to be."""
        while self._lone_running or self._lone_waiting:
            await self._change()
        self._running += 1
        try:
            return await run()
        finally:
            self._running -= 1
            self._changed.set()

    async def alone(self, run: Callable[[], Awaitable[T]]) -> T:
        """Run while nothing else does.

        Those that came back together go in a random order: the one that kills
        its process would else go first each time, and every death counts as a
        delivery of all that the process had in hand.
        """
        self._lone_waiting += 1
        try:
            await self._clock.sleep(self._rng.random() * ORDER_SECONDS)
            while self._running or self._lone_running:
                await self._change()
            self._lone_running = True
        finally:
            self._lone_waiting -= 1
            self._changed.set()
        try:
            return await run()
        finally:
            self._lone_running = False
            self._changed.set()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
