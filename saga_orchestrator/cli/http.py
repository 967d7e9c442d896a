"""Opening the HTTP API of `serve` and `dev`; the framework is loaded only then."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from saga_orchestrator.api.siblings import Siblings
    from saga_orchestrator.cli.daemon import OpenFace
    from saga_orchestrator.runtime.manager import Manager
    from saga_orchestrator.settings import Settings

_log = structlog.get_logger("saga.http")


def open_face(
    settings: Settings,
    listening: socket.socket | None = None,
    siblings: Siblings | None = None,
) -> OpenFace[Manager]:
    """Return what opens the face that the settings ask for, or none.

    Args:
        settings: say where.
        listening: a socket that listens there already, shared with others.
        siblings: the processes that share it.

    Raises:
        ConfigurationError: ``http`` is no address.
    """
    if not settings.http:
        from saga_orchestrator.cli.daemon import no_face

        return no_face

    from saga_orchestrator.api.address import Address
    from saga_orchestrator.api.server import open_http
    from saga_orchestrator.ports.clock import SystemClock

    address = Address.parse(settings.http)

    @contextlib.asynccontextmanager
    async def face(manager: Manager) -> AsyncIterator[Callable[[], None]]:
        opening = open_http(
            manager,
            address,
            SystemClock(),
            rate=settings.http_rate,
            stale_after=settings.stale_thresholds,
            listening=listening,
            siblings=siblings,
        )
        async with opening as (opened, url):
            _log.info("http", url=url)
            yield opened.drain

    return face
