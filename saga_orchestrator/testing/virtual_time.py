"""An event loop that lives in virtual time: waiting costs nothing.

When nothing is ready the loop does not sleep: it moves its clock to the next
timer. A test of a day with hundreds of timeouts runs in milliseconds, and as
one thread decides everything, a seed decides the whole run.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

EPOCH = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


class DeadlockError(RuntimeError):
    """Nothing is ready and no timer is set: the run can never go on."""


class _JumpingSelector(selectors.DefaultSelector):
    """Jumps to the next timer instead of waiting for it."""

    def __init__(self) -> None:
        super().__init__()
        self.elapsed = 0.0

    def select(
        self, timeout: float | None = None
    ) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout == 0:  # there is work: no need to ask the system
            return []
        events = super().select(0)
        if not events:
            if timeout is None:
                raise DeadlockError("every task waits for another")
            self.elapsed += max(timeout, 0.0)
        return events


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Use it for code without threads and sockets."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return the virtual seconds since the loop was made."""
        return self._jumping.elapsed


class LoopClock:
    """A ``Clock`` that tells the running loop's time, from a fixed instant on."""

    def now(self) -> dt.datetime:
        """Return the loop's time as an instant."""
        return EPOCH + dt.timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        """Return the loop's time."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Sleep on the loop."""
        await asyncio.sleep(seconds)  # noqa: TID251 - this is the clock


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in a virtual-time loop of its own.

    Tasks that are left, of processes that crashed, are cancelled afterwards.
    """
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)
