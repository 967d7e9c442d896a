"""The clock that moves only when it is told to."""

from __future__ import annotations

import asyncio
import datetime as dt

from saga_orchestrator.testing.clock import ManualClock


def test_time_stands_still_until_it_is_moved() -> None:
    """Both readings move together, by exactly what was said."""
    clock = ManualClock()
    start = clock.now()
    clock.advance(1.5)
    clock.advance(dt.timedelta(microseconds=1))
    assert clock.now() - start == dt.timedelta(seconds=1, microseconds=500_001)
    assert clock.monotonic() == 1.500001


async def test_sleepers_wake_in_order_and_not_early() -> None:
    """A sleeper wakes once the clock has passed its time, the earliest first."""
    clock = ManualClock()
    woken: list[float] = []

    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    async with asyncio.TaskGroup() as tasks:
        for seconds in (3, 1, 2):
            tasks.create_task(sleep(seconds))
        await clock.sleep(0)
        clock.advance(0.999)
        await clock.sleep(0)
        assert woken == []
        clock.advance(1.001)
        await clock.sleep(0)
        assert woken == [1, 2]
        clock.advance(1)
    assert woken == [1, 2, 3]


async def test_a_cancelled_sleeper_is_forgotten() -> None:
    """Who no longer waits is not woken."""
    clock = ManualClock()
    sleeper = asyncio.ensure_future(clock.sleep(1))
    await clock.sleep(0)
    sleeper.cancel()
    await asyncio.wait([sleeper])
    clock.advance(2)
    assert sleeper.cancelled()
