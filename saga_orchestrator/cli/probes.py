"""Opening the probes and metrics of `worker`; the framework is loaded only then."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from saga_orchestrator.cli.daemon import OpenFace
    from saga_orchestrator.runtime.worker import Worker
    from saga_orchestrator.settings import Settings

_log = structlog.get_logger("saga.http")


def open_probes_face(settings: Settings) -> OpenFace[Worker]:
    """Return what opens the probes that the settings ask for, or none.

    The port is taken at once. A worker that found it taken only after it had begun
    to work would give its commands back undone, at the cost of a delivery each, and
    be started again by what supervises it, until the broker's limit is reached.

    Raises:
        ConfigurationError: ``metrics`` is no address, or it cannot be had.
    """
    if not settings.metrics:
        from saga_orchestrator.cli.daemon import no_face

        return no_face

    from saga_orchestrator.api.address import Address, listen
    from saga_orchestrator.api.probes import open_probes
    from saga_orchestrator.ports.clock import SystemClock

    address = Address.parse(settings.metrics, "metrics")
    listening = listen(address)

    @contextlib.asynccontextmanager
    async def face(worker: Worker) -> AsyncIterator[Callable[[], None]]:
        opening = open_probes(worker, address, listening, SystemClock())
        async with opening as (door, url):
            _log.info("metrics", url=url)
            yield door.drain

    return face
