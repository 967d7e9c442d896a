"""A process that runs says what is wrong with it, once."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from structlog.testing import capture_logs

from saga_orchestrator.cli.daemon import _log_changes, run_until_stopped
from saga_orchestrator.errors import ConfigurationError
from saga_orchestrator.runtime.opening import Opening
from tests.support.waiting import eventually
from tests.unit.runtime.stage import (
    Service,
    fresh_name,
    open_broker,
    open_manager,
    open_worker,
)


def test_problems_are_logged_when_they_come_and_go() -> None:
    """A problem is logged when it appears and when it is gone, not in between."""
    with capture_logs() as lines:
        known = _log_changes(set(), {"broker: blocked", "store: away"})
        known = _log_changes(known, {"broker: blocked", "store: away"})
        _log_changes(known, {"broker: blocked"})
    told = [(line["log_level"], line["event"], line["problem"]) for line in lines]
    assert told == [
        ("warning", "problem", "broker: blocked"),
        ("warning", "problem", "store: away"),
        ("info", "problem solved", "store: away"),
    ]


async def test_what_was_begun_is_finished_where_the_address_cannot_be_had():
    """A process that ends for it drains first: each command costs it no delivery."""
    service, go, name = Service("far", "a"), asyncio.Event(), fresh_name()

    async def slow(ctx):
        del ctx
        await go.wait()

    @contextlib.asynccontextmanager
    async def face(worker):
        del worker
        await eventually(lambda: service.runs)
        asyncio.get_running_loop().call_soon(go.set)
        raise ConfigurationError("http: cannot listen")
        yield lambda: None

    service.does["a"] = slow
    async with open_manager(broker=await open_broker(name), engine=True) as manager:
        saga = await manager.start("s", service.chain("a"))
        opening = Opening(
            lambda: _worker_of(name, service),
        )
        with pytest.raises(ConfigurationError, match="cannot listen"):
            await run_until_stopped(opening, 25.0, lambda _: None, face)
        assert (await manager.wait(saga.id, timeout=10)).is_completed
    assert service.runs == ["a"]


async def _worker_of(name: str, service: Service):
    return await open_worker(await open_broker(name), service.handlers)
