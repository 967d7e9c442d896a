"""The HTTP server: uvicorn, as a task of the process that runs the engine."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Iterator

import uvicorn
from starlette.types import ASGIApp

from saga_orchestrator.api.access import Access
from saga_orchestrator.api.address import LOOPBACK, Address, listen
from saga_orchestrator.api.app import create_app
from saga_orchestrator.api.connections import Connection
from saga_orchestrator.api.door import Door
from saga_orchestrator.api.face import SEATS_MAX, Face, Seats
from saga_orchestrator.api.rates import RateLimit
from saga_orchestrator.api.readiness import Readiness
from saga_orchestrator.api.searches import SEARCHES_MAX, Searches
from saga_orchestrator.api.siblings import Alone, Siblings
from saga_orchestrator.core.waiting import StaleAfter
from saga_orchestrator.errors import ConfigurationError
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.runtime.manager import Manager
from saga_orchestrator.telemetry.metrics import exposition

CLOSE_SECONDS = 5
"""How long requests may end after the engine has drained."""
CONNECTIONS_MAX = 1_000
HEADER_BYTES_MAX = 32 * 1024
RATE_DEFAULT = 200.0


@contextlib.asynccontextmanager
async def open_http(
    manager: Manager,
    address: Address,
    clock: Clock,
    *,
    rate: float = RATE_DEFAULT,
    stale_after: StaleAfter | None = None,
    listening: socket.socket | None = None,
    siblings: Siblings | None = None,
) -> AsyncIterator[tuple[Face, str]]:
    """Serve the API while inside; answer what has begun, then close.

    Args:
        manager: what the API is a face of.
        address: where to listen.
        clock: for pauses and rates.
        rate: requests a second of one caller.
        stale_after: after how long sagas that wait are stale; None: as ``StaleAfter``.
        listening: from ``listen``, for that address; None: it is made here.
        siblings: the processes that listen on it too; None: there are none.

    Yields:
        The face, to be drained before the manager is stopped; and the URL.

    Raises:
        ConfigurationError: the address cannot be had, or others can reach it and
            there are no API keys.
        StoreError: the keys cannot be read.
    """
    if not address.is_loopback:
        await _require_keys(manager, address)
    limit = RateLimit(rate, clock)
    keys = manager.store.api_keys
    face = Face(
        manager=manager,
        access=Access(keys, limit, is_loopback=address.is_loopback),
        readiness=Readiness(manager, clock, manager.store),
        family=siblings or Alone(exposition),
        seats=Seats(SEATS_MAX),
        streams=Seats(SEATS_MAX),
        searches=Searches(SEARCHES_MAX),
        stale_after=stale_after or StaleAfter(),
        clock=clock,
    )
    async with contextlib.AsyncExitStack() as opened:
        if siblings is not None:
            await opened.enter_async_context(siblings.answering(face.readiness))
        serving = served(create_app(face), face, listening or listen(address))
        yield face, await opened.enter_async_context(serving)


@contextlib.asynccontextmanager
async def served(
    app: ASGIApp, door: Door, listening: socket.socket
) -> AsyncIterator[str]:
    """Serve an application while inside; answer what has begun, then close.

    Args:
        app: what answers.
        door: is drained in the end, if it was not before.
        listening: from ``listen``; is closed.

    Yields:
        The URL.
    """
    server = _Server(_config(app))
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(server.serve(sockets=[listening]), name="http")
        try:
            yield f"http://{shown}:{port}"
        finally:
            door.drain()
            server.should_exit = True
            await serving  # else an error inside would cancel it half closed


class _Server(uvicorn.Server):
    """A server that leaves the signals to the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture nothing: the first signal drains the engine, too."""
        yield


def _config(app: ASGIApp) -> uvicorn.Config:
    # Its own log lines would be in another form than ours; what breaks inside the
    # application is logged there.
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
    return uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # who calls is known by the key, not by what a header says
        limit_concurrency=CONNECTIONS_MAX,
        h11_max_incomplete_event_size=HEADER_BYTES_MAX,
        timeout_graceful_shutdown=CLOSE_SECONDS,
    )


async def _require_keys(manager: Manager, address: Address) -> None:
    keys = await manager.store.api_keys.all()
    if all(key.revoked_at is not None for key in keys):
        raise ConfigurationError(
            f"http: others can reach {address.host}, and there are no API keys; make "
            f"one first (saga keys new NAME --role ROLE), or listen on {LOOPBACK}"
        )
