"""Rows that somebody keeps locked: their events wait here, and hold up no others.

To find a row locked takes a second, the store's lock timeout. So whoever was met with
one is tried again beside the batches, with a connection of its own, and what comes
for the same row meanwhile queues up behind it: a start for its key, an answer for its
saga. One caller's open transaction delays what it has locked, and nothing else.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterator

from msgspec import Struct

from saga_orchestrator.errors import StoreError
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.runtime.backoff import Backoff
from saga_orchestrator.runtime.submitted import Submitted


class _Held(Struct, eq=False):
    """A row with the events that wait for it, the first of them to be tried.

    Attributes:
        waiting: in the order they came.
        backoff: the row's.
        due_at: when the first is tried, by the monotonic clock.
    """

    waiting: deque[Submitted]
    backoff: Backoff
    due_at: float


class LockedRows:
    """Tries events of locked rows again, one at a time.

    Args:
        clock: for the pauses.
        rng: likewise.
        attempt: commits an event alone; returns why it must wait, or None where it
            is done with, well or not.
    """

    def __init__(
        self,
        clock: Clock,
        rng: random.Random,
        attempt: Callable[[Submitted], Awaitable[StoreError | None]],
    ) -> None:
        self._clock = clock
        self._rng = rng
        self._attempt = attempt
        self._rows: dict[tuple[str, ...], _Held] = {}
        self._changed = asyncio.Event()
        self._free = asyncio.Event()
        self._free.set()

    def __iter__(self) -> Iterator[Submitted]:
        """Yield the events that wait."""
        for held in self._rows.values():
            yield from held.waiting

    def join(self, one: Submitted) -> bool:
        """Take an event whose row is held; tell whether it is."""
        held = self._rows.get(one.row) if self._rows else None
        if held is not None:
            held.waiting.append(one)
        return held is not None

    def hold(self, one: Submitted, error: StoreError) -> None:
        """Take an event that has just found its row locked."""
        now = self._clock.monotonic()
        if one.give_up(now, error) or self.join(one):
            return
        backoff = Backoff(self._rng)
        self._rows[one.row] = _Held(deque([one]), backoff, now + backoff.next())
        self._free.clear()
        self._changed.set()

    async def freed(self) -> None:
        """Wait until no event waits for a row."""
        await self._free.wait()

    async def run(self) -> None:
        """Try again, for ever."""
        while True:
            row, held = await self._next()
            first = held.waiting[0]
            error = None if first.future.done() else await self._attempt(first)
            now = self._clock.monotonic()
            if error is None:
                held.waiting.popleft()
                held.due_at = now
            else:
                left = [one for one in held.waiting if not one.give_up(now, error)]
                held.waiting = deque(left)
                held.due_at = now + held.backoff.next()
            if not held.waiting:
                del self._rows[row]
            if not self._rows:
                self._free.set()

    async def _next(self) -> tuple[tuple[str, ...], _Held]:
        """Wait for the row that is due first."""
        while True:
            row = min(self._rows, key=lambda row: self._rows[row].due_at, default=None)
            pause = None
            if row is not None:
                pause = self._rows[row].due_at - self._clock.monotonic()
                if pause <= 0:
                    return row, self._rows[row]
            self._changed.clear()
            try:
                async with asyncio.timeout(pause):
                    await self._changed.wait()
            except TimeoutError:
                pass
