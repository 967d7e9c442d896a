"""What a process has in hand: counted, waited for in a drain, interrupted at its end.

A drain lets what was begun end by itself. What is still running shortly before
the time is up is interrupted, so that there is time to hand it on: a process that
is killed in the middle leaves that to the broker, which then delivers all of a
frame again, answered or not.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager


class Interrupted(Exception):
    """The drain's time was up; the run has no answer."""


class InHand:
    """The deliveries and long runs of one process.

    Attributes:
        is_draining: nothing may begin any more.
    """

    def __init__(self) -> None:
        self.is_draining = False
        self._count = 0
        self._empty = asyncio.Event()
        self._empty.set()
        self._runs: dict[asyncio.Timeout, None] = {}  # in the order they began

    @contextmanager
    def held(self) -> Iterator[None]:
        """Count what happens inside, so that a drain waits for it."""
        self._count += 1
        self._empty.clear()
        try:
            yield
        finally:
            self._count -= 1
            if not self._count:
                self._empty.set()

    @asynccontextmanager
    async def interruptible(self) -> AsyncIterator[None]:
        """Run what is inside until it ends or the drain's time is up.

        Raises:
            Interrupted: the time was up.
        """
        limit = asyncio.timeout(None)
        self._runs[limit] = None
        try:
            async with limit:
                yield
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise Interrupted from error
        finally:
            del self._runs[limit]

    async def drained(self) -> None:
        """Wait until nothing is in hand."""
        await self._empty.wait()

    def interrupt(self) -> None:
        """End the runs that go on; each may clean up after itself."""
        now = asyncio.get_running_loop().time()
        for limit in self._runs:
            limit.reschedule(now)
