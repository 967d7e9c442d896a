"""A cancellation is not lost to a library that raises something in its place."""

from __future__ import annotations

import asyncio
import contextlib

import asyncpg  # type: ignore[import-untyped]  # ships no types
import pytest
from aiormq.exceptions import ChannelClosed

from saga_orchestrator.brokers.rabbitmq.failures import translated
from saga_orchestrator.brokers.tasks import TaskSet
from saga_orchestrator.errors import BrokerUnavailableError, StoreUnavailableError
from saga_orchestrator.ports.cancellation import AGAIN_SECONDS
from saga_orchestrator.runtime.supervisor import Supervisor
from saga_orchestrator.testing.virtual_time import LoopClock
from saga_stores.postgres.errors import store_errors
from tests.unit.runtime.stage import virtual

ADAPTERS = {
    "store": (
        lambda: store_errors("postgresql://here"),
        asyncpg.InterfaceError("it was closed"),
        StoreUnavailableError,
    ),
    "broker": (
        lambda: translated("declaring"),
        ChannelClosed(404, "it is gone"),
        BrokerUnavailableError,
    ),
}


async def _tidy_up_and_fail(error: Exception) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        raise error


@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_an_error_while_tidying_up_is_still_a_cancellation(adapter):
    """The loop that called it ends, and does not try again."""
    translating, error, _ = ADAPTERS[adapter]

    async def loop() -> None:
        with translating():
            await _tidy_up_and_fail(error)

    task = asyncio.ensure_future(loop())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_a_time_limit_of_ones_own_is_no_cancellation(adapter):
    """What fails after it is an error like any other."""
    translating, error, expected = ADAPTERS[adapter]

    async def call() -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
        raise error

    with pytest.raises(expected), translating():
        await call()


@virtual
async def test_a_loop_that_swallows_a_cancellation_is_cancelled_again():
    """Closing waits for it no longer than it takes to see that it goes on."""
    supervisor = Supervisor(LoopClock())
    await supervisor.open()
    supervisor.loop("deaf", _deaf)
    tasks = TaskSet()
    tasks.spawn(_deaf())
    await LoopClock().sleep(1)
    await supervisor.close()
    await tasks.close()
    assert LoopClock().monotonic() == 1 + 2 * AGAIN_SECONDS


async def _deaf() -> None:
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    await asyncio.Event().wait()
