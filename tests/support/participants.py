"""Commands as a participant receives them, and a clock that stands still."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

from msgspec import structs

from saga_orchestrator.core.commands import Command
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.states import Direction
from saga_orchestrator.participant.context import StepContext

NOW = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
SAGA = SagaId("01J00000000000000000000001")


class StillClock:
    """Stands at ``NOW``; ``pass_seconds`` lets one sleeper go on."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self._ticks = asyncio.Semaphore(0)

    def now(self) -> dt.datetime:
        """Return ``NOW``."""
        return NOW

    def monotonic(self) -> float:
        """Return zero."""
        return 0.0

    async def sleep(self, seconds: float) -> None:
        """Wait for ``tick``."""
        self.slept.append(seconds)
        await self._ticks.acquire()

    def tick(self) -> None:
        """End one sleep."""
        self._ticks.release()


def action(
    argument: Any = None, *, saga_id: str = SAGA, step: str = "charge", **changes: Any
) -> Command:
    """Return the command of a step's action."""
    plain = Command(
        fence=Fence(SagaId(saga_id), step, Direction.ACTION, 1),
        token="t" * 32,
        saga_name="order",
        action="payment.charge",
        attempt=1,
        input=argument,
        output=None,
        outputs={},
        context={},
        timeout=dt.timedelta(seconds=30),
        expires_at=NOW + dt.timedelta(hours=24),
    )
    return structs.replace(plain, **changes)


def undo(
    output: Any = None, *, saga_id: str = SAGA, step: str = "charge", **changes: Any
) -> Command:
    """Return the command of a step's compensation."""
    changes = {"action": "payment.refund", **changes}
    return action(
        fence=Fence(SagaId(saga_id), step, Direction.COMPENSATION, 2),
        output=output,
        **changes,
    )


def context_of(command: Command) -> StepContext:
    """Return what the command's handler would see."""
    return StepContext(command, now=NOW)
