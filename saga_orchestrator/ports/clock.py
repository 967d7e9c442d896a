"""Time as an argument: the one way to read an instant or to wait."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from typing import Protocol


class Clock(Protocol):
    """What the engine knows of time. Tests pass one they can move."""

    def now(self) -> dt.datetime:
        """Return the current instant: aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds on a clock that never steps back, for durations."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; cancellable. Zero gives the other tasks one turn."""
        ...


class SystemClock:
    """The machine's clocks; the only place that may read them."""

    def now(self) -> dt.datetime:
        """Return the wall clock's instant: aware, UTC."""
        return dt.datetime.now(dt.UTC)  # noqa: TID251 - this is the clock

    def monotonic(self) -> float:
        """Return ``time.monotonic()``."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Sleep on the event loop."""
        await asyncio.sleep(seconds)  # noqa: TID251 - this is the clock
