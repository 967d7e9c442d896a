"""An event on its way into the store, with whoever waits for its decision."""

from __future__ import annotations

import asyncio

from msgspec import Struct

from saga_orchestrator.core.decision import Decision
from saga_orchestrator.core.events import Event, SagaStarted


class Submitted(Struct, eq=False):
    """An event with its caller.

    Attributes:
        event: what happened.
        future: gets the decision, or the error.
        give_up_at: when its caller's patience ends, by the monotonic clock; None:
            never.
        is_alone: its batch was refused, so it is committed without neighbours.
    """

    event: Event
    future: asyncio.Future[Decision]
    give_up_at: float | None
    is_alone: bool = False

    @property
    def row(self) -> tuple[str, ...]:
        """What it must lock: its saga, or the key that its start is to have."""
        event = self.event
        if isinstance(event, SagaStarted) and event.key is not None:
            return event.plan.definition.name, event.key
        return (event.saga_id,)

    def give_up(self, now: float, error: Exception) -> bool:
        """Tell a caller whose patience is over; say whether it was."""
        if self.give_up_at is None or now < self.give_up_at:
            return False
        self.fail(error)
        return True

    def fail(self, error: Exception) -> None:
        """Tell the caller what went wrong, if it is still there."""
        if not self.future.done():
            self.future.set_exception(error)

    def decided(self, decision: Decision) -> None:
        """Give the caller its decision, if it is still there."""
        if not self.future.done():
            self.future.set_result(decision)
