"""Places for handlers: so many run at a time in each direction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from saga_orchestrator.core.states import Direction

SLOT_SECONDS = 5.0
"""How long a command waits for a place in its process.

Far less than the minute after which an unanswered command is sent again: what waits
in a process is in no queue, so whoever looks there takes it for lost, and it would be
run twice. And all that a process has in hand is under suspicion when it dies.
"""


class NoSlot(Exception):
    """Nothing became free in time."""


class Slots:
    """So many in each direction: a forward backlog must not hold up an undo."""

    def __init__(self, count: int) -> None:
        self._free = {way: asyncio.Semaphore(count) for way in Direction}

    async def take(self, way: Direction, when_it_waits: Callable[[], None]) -> None:
        """Take a place; ``leave`` gives it back.

        Args:
            way: the direction.
            when_it_waits: called if there is none at once.

        Raises:
            NoSlot: none became free in time.
        """
        free = self._free[way]
        if not free.locked():
            await free.acquire()  # at once
            return
        when_it_waits()
        try:
            async with asyncio.timeout(SLOT_SECONDS):
                await free.acquire()
        except TimeoutError:
            raise NoSlot from None

    def leave(self, way: Direction) -> None:
        """Give a place back."""
        self._free[way].release()
