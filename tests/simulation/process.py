"""A process that can crash at any await: its handles hang once it is dead.

Cancelling a process's tasks would run their ``finally`` blocks, and a killed
process runs none. So a dead process's tasks are left hanging at the next thing
that they ask of the world, and are cleared away after the judgement.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable

from saga_orchestrator.testing.virtual_time import EPOCH, LoopClock


class Life:
    """Whether a process lives, and for how long.

    Attributes:
        steps: how often it asked something of the world.
        over: set at its end.
    """

    def __init__(self, fuse: int = 0) -> None:
        """Live for ``fuse`` steps; 0: until ``end`` is called."""
        self.steps = 0
        self.is_over = False
        self.over = asyncio.Event()
        self.fuse = fuse
        self._farewells: list[Callable[[], None]] = []
        self._paused_until = 0.0
        self._hanging: list[asyncio.Future[None]] = []

    def at_end(self, farewell: Callable[[], None]) -> None:
        """Call ``farewell`` at the instant of death."""
        self._farewells.append(farewell)

    def end(self) -> None:
        """Die, at once."""
        if not self.is_over:
            self.is_over = True
            self.over.set()
            for farewell in self._farewells:
                farewell()

    def pause(self, until: float) -> None:
        """Stand still until that second of the loop's time."""
        self._paused_until = until

    async def step(self) -> None:
        """Ask something of the world: returns while the process lives."""
        self.steps += 1
        if self.steps == self.fuse:
            self.end()
        if self.is_over:
            await self.hang()
        if self._paused_until:
            await self._stand_still()

    async def hang(self) -> None:
        """Never return."""
        # Kept, for a task that nobody refers to would be collected.
        never = asyncio.get_running_loop().create_future()
        self._hanging.append(never)
        await never

    async def _stand_still(self) -> None:
        rest = self._paused_until - asyncio.get_running_loop().time()
        if rest > 0:
            await asyncio.sleep(rest)
        if self.is_over:
            await self.hang()


class WorldClock(LoopClock):
    """The world's time, also for the thread of a store.

    Its sleep gives no turn: what a store does, it does at one instant.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def now(self) -> dt.datetime:
        """Return the world's time as an instant."""
        return EPOCH + dt.timedelta(seconds=self._loop.time())

    def monotonic(self) -> float:
        """Return the seconds since the world began."""
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        """Return at once."""
        assert seconds == 0, "a store waits for nothing"


class ProcessClock(LoopClock):
    """A process's clock: it may be wrong, and dies with the process."""

    def __init__(self, life: Life, skew: float = 0.0) -> None:
        self._life = life
        self._loop = asyncio.get_running_loop()  # asked for time and again
        self._epoch = EPOCH + dt.timedelta(seconds=skew)

    def now(self) -> dt.datetime:
        """Return the time that this process believes in."""
        return self._epoch + dt.timedelta(seconds=self._loop.time())

    def monotonic(self) -> float:
        """Return the seconds since the world began."""
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        """Sleep, if the process lives before and after."""
        life = self._life
        await life.step()
        await asyncio.sleep(seconds)
        if life.is_over:
            await life.hang()


class Bell:
    """Wakes those who wait for an instant, or for a change before it."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []

    def ring(self) -> None:
        """Wake everybody."""
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.done():
                one.set_result(None)

    async def wait(self, until: float | None) -> None:
        """Return at a ring, or at that second of the loop's time."""
        loop = asyncio.get_running_loop()
        woken = loop.create_future()
        self._waiting.append(woken)
        timer = None if until is None else loop.call_at(until, _wake, woken)
        try:
            await woken
        finally:
            if timer is not None:
                timer.cancel()


def _wake(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)
