"""A clock that moves only when it is told to."""

from __future__ import annotations

import asyncio
import datetime as dt
import heapq
import itertools

_START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


class ManualClock:
    """A ``Clock`` for tests: time stands still until ``advance``.

    One clock may be given to a store, a manager and their timers, so that all
    of them live in the same time.
    """

    def __init__(self, start: dt.datetime = _START) -> None:
        """Stand still at ``start``, an aware UTC instant."""
        self._now = start
        self._elapsed = dt.timedelta(0)
        self._order = itertools.count()
        self._sleepers: list[tuple[dt.timedelta, int, asyncio.Future[None]]] = []

    def now(self) -> dt.datetime:
        """Return the instant the clock stands at."""
        return self._now

    def monotonic(self) -> float:
        """Return the seconds it was advanced by so far."""
        return self._elapsed.total_seconds()

    def advance(self, by: dt.timedelta | float) -> None:
        """Move on, and wake the sleepers whose time came, in order.

        They run once the caller awaits something.

        Args:
            by: a duration, or seconds; not negative.
        """
        step = by if isinstance(by, dt.timedelta) else dt.timedelta(seconds=by)
        assert step >= dt.timedelta(0), "time does not go back"
        self._now += step
        self._elapsed += step
        while self._sleepers and self._sleepers[0][0] <= self._elapsed:
            _, _, sleeper = heapq.heappop(self._sleepers)
            if not sleeper.done():
                sleeper.set_result(None)

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock was advanced by ``seconds``; zero gives a turn."""
        if seconds <= 0:
            await asyncio.sleep(0)  # noqa: TID251 - this is the clock
            return
        sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        until = self._elapsed + dt.timedelta(seconds=seconds)
        heapq.heappush(self._sleepers, (until, next(self._order), sleeper))
        await sleeper
