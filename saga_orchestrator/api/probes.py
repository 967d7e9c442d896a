"""Probes and metrics of a process that has no API: a worker."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator

from saga_orchestrator.api.access import OpenAccess
from saga_orchestrator.api.address import Address
from saga_orchestrator.api.app import create_probes
from saga_orchestrator.api.door import Door
from saga_orchestrator.api.rates import RateLimit
from saga_orchestrator.api.readiness import Process, Readiness
from saga_orchestrator.api.server import served
from saga_orchestrator.api.siblings import Alone
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.telemetry.metrics import participant_exposition

RATE = 10.0
"""Requests a second from one address. Nobody shows a key, so whoever can reach the
port could keep the handlers' processor busy with expositions."""


@contextlib.asynccontextmanager
async def open_probes(
    process: Process, address: Address, listening: socket.socket, clock: Clock
) -> AsyncIterator[tuple[Door, str]]:
    """Serve ``/livez``, ``/readyz`` and ``/metrics``, and nothing else, while inside.

    There is no store, so there are no keys: whoever reaches the address may ask. It
    is told no id, no text of an error, and why a part is down on loopback only.

    Args:
        process: what is shown.
        address: where it is served.
        listening: from ``listen``, for that address.
        clock: for the rates.

    Yields:
        The door, to be drained before the process is stopped; and the URL.
    """
    door = Door(
        access=OpenAccess(RateLimit(RATE, clock), is_loopback=address.is_loopback),
        readiness=Readiness(process, clock, None),
        family=Alone(participant_exposition),
    )
    async with served(create_probes(door), door, listening) as url:
        yield door, url
