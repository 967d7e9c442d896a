"""A connection goes on being made, whatever answers at the address."""

from __future__ import annotations

import asyncio

import pytest

from saga_orchestrator.brokers.rabbitmq.link import Link, Timing
from saga_orchestrator.ports.clock import SystemClock

TIMING = Timing(publish=1, call=1, check=1, reconnect=0, heartbeat=1)


async def test_an_odd_handshake_does_not_end_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The client library fails on it in a way of its own; it is tried again."""
    link = Link("amqp://nowhere", "test", TIMING, SystemClock())
    tried = asyncio.Event()
    errors = iter([ValueError("a method frame that is cut off")])

    async def connect() -> None:
        for error in errors:
            raise error
        tried.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(link, "_connect", connect)
    link._mark_lost()
    keeping = asyncio.create_task(link.keep_open())
    async with asyncio.timeout(10):
        await tried.wait()
    keeping.cancel()
