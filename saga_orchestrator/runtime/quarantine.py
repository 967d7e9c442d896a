"""The quarantine: a command that came back runs alone in its process.

A command that kills its process comes back with everything else that was in
hand. If all of it ran together again, the neighbours would die with it, up to
the delivery limit. So whoever enters ``alone`` waits until nothing else runs,
and nobody enters until it has left.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Quarantine:
    """Lets many run together, or one alone; the lone ones go first."""

    def __init__(self) -> None:
        self._running = 0
        self._lone_waiting = 0
        self._lone_running = False
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def together(self) -> AsyncIterator[None]:
        """Run beside others, while nobody is alone or waits to be."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: not self._lone_running and not self._lone_waiting
            )
            self._running += 1
        try:
            yield
        finally:
            async with self._changed:
                self._running -= 1
                self._changed.notify_all()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Run while nothing else does."""
        async with self._changed:
            self._lone_waiting += 1
            try:
                await self._changed.wait_for(
                    lambda: not self._running and not self._lone_running
                )
            finally:
                self._lone_waiting -= 1
                self._changed.notify_all()
            self._lone_running = True
        try:
            yield
        finally:
            async with self._changed:
                self._lone_running = False
                self._changed.notify_all()
