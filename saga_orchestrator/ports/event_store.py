"""What a store does with events for others; part of the contract of a store."""

from __future__ import annotations

import abc
import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING

from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.public import PublicEvent

if TYPE_CHECKING:
    from saga_orchestrator.ports.records import Page


class EventStore(abc.ABC):
    """Events that ``transact`` appended, until they are published.

    Attributes:
        tells_lifecycle: also record what becomes of sagas, of what is decided through
            this handle; whoever opened it may set it.
    """

    tells_lifecycle: bool = False

    @abc.abstractmethod
    async def claim_events(
        self,
        holder: str,
        limit: int,
        lease: dt.timedelta,
        passed_over: Sequence[SagaId] = (),
    ) -> Page[PublicEvent]:
        """Take, or keep, the right to publish events; return the first of them.

        One holder has it at a time, until its lease runs out. Events of one saga
        become visible in the order of their positions.

        Args:
            holder: who asks; unique, made by whoever publishes.
            limit: events at most.
            lease: from now on.
            passed_over: sagas whose events are not wanted now.

        Returns:
            By position; none where there are none, or another holder has the right.
            Those that cannot be read are told, and stay.
        """

    @abc.abstractmethod
    async def delete_events(self, positions: Sequence[int]) -> None:
        """Forget events that are published; missing ones are fine."""

    @abc.abstractmethod
    async def expire_events(self, age: dt.timedelta, limit: int) -> int:
        """Forget the first events, at most ``limit``, as far as they are so old.

        For where something else reads them from the database's log.

        Returns:
            How many; ``limit``: there may be more.
        """
