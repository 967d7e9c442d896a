"""What a process has in hand: counted, waited for in a drain, interrupted at its end.

A drain lets what was begun end by itself. What is still running shortly before
the time is up is interrupted, so that there is time to hand it on: a process that
is killed in the middle leaves that to the broker, which then delivers all of a
frame again, answered or not.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

from saga_orchestrator.participant.run import Run


class InHand:
    """The deliveries and long runs of one process.

    ``with in_hand:`` counts what happens inside, so that a drain waits for it.

    Attributes:
        is_draining: nothing may begin any more.
        waiting: the runs that wait for something, in the order they began to.
    """

    def __init__(self) -> None:
        self.is_draining = False
        self.waiting: dict[Run, None] = {}
        self._count = 0
        self._empty = asyncio.Event()
        self._empty.set()

    def __enter__(self) -> None:
        self._count += 1
        self._empty.clear()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._count -= 1
        if not self._count:
            self._empty.set()

    async def drained(self) -> None:
        """Wait until nothing is in hand."""
        await self._empty.wait()

    def interrupt(self) -> None:
        """End the runs that go on; each may clean up after itself."""
        for run in list(self.waiting):
            run.interrupt()
