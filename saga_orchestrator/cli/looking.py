"""Looking at the broker from a command that has no engine."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from saga_orchestrator.cli.options import is_embedded
from saga_orchestrator.cli.terminal import note
from saga_orchestrator.errors import BrokerError
from saga_orchestrator.ports.clock import SystemClock
from saga_orchestrator.runtime.assembly import open_broker
from saga_orchestrator.runtime.queue_looks import QueueLooks
from saga_orchestrator.runtime.routes import Routes

if TYPE_CHECKING:
    from saga_orchestrator.settings import Settings


@contextlib.asynccontextmanager
async def looks_at(settings: Settings) -> AsyncIterator[QueueLooks | None]:
    """Open the broker to look at queues; None: nobody can be asked, and why."""
    if is_embedded(settings.broker):
        note("broker memory:// lives inside a process: its queues are not looked at")
        yield None
        return
    try:
        broker = await open_broker(
            settings.broker,
            topology=settings.topology,
            clock=SystemClock(),
            rng=random.SystemRandom(),
        )
    except BrokerError as error:
        note(f"warning: the queues were not looked at: {error}")
        yield None
        return
    try:
        yield QueueLooks(broker, Routes(broker), settings.topology)
    finally:
        await broker.close()
