"""Starts that were asked for inside a database, in anybody's transaction.

Only some stores have them: those are ``StartRequests`` as well as ``Store``.
"""

from __future__ import annotations

import abc
import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from saga_orchestrator.core.events import SagaStarted
from saga_orchestrator.core.ids import SagaId


@dataclass(frozen=True, slots=True)
class RequestedStart:
    """A start that somebody asked for.

    Attributes:
        saga_id: the id that its saga gets, unless its key is taken.
        name: of the definition.
        context: JSON text, as it came.
        key: its idempotency key, or None.
    """

    saga_id: SagaId
    name: str
    context: str
    key: str | None


@dataclass(frozen=True, slots=True)
class TakenStart:
    """What became of a start that was asked for.

    Attributes:
        start: which.
        error: why it was refused, for a person; empty: its saga is there, or will
            be: a lock was in the way.
    """

    start: RequestedStart
    error: str = ""


@dataclass(frozen=True, slots=True)
class StartsLeft:
    """Starts of one definition that are not sagas yet, all for the same reason.

    Attributes:
        name: of the definition.
        error: why they were refused; empty: nobody has taken them.
        count: how many.
        since: when the oldest of them was asked for.
        saga_id: of the oldest.
    """

    name: str
    error: str
    count: int
    since: dt.datetime
    saga_id: SagaId


class StartRequests(abc.ABC):
    """What a store can whose database takes starts itself."""

    @abc.abstractmethod
    async def take_starts(
        self,
        names: Sequence[str],
        limit: int,
        event_of: Callable[[RequestedStart], SagaStarted],
    ) -> list[TakenStart]:
        """Start the sagas that were asked for, the oldest first.

        In one transaction: locks the requests, passing over those that another
        engine has locked, decides and performs their starts as ``Store.transact``
        does, and removes them. The commands belong to no process: any relay takes
        them. A request whose start is refused keeps the error, for a person; one
        that a lock was in the way of is passed over for a moment.

        Args:
            names: of the definitions that may be started.
            limit: starts at most, per definition.
            event_of: makes the event of a request; a ``SagaError`` refuses it.

        Returns:
            What became of each; fewer than ``limit``: there are no more now.

        Raises:
            StoreError: nothing was taken.

        Atomic: all or nothing, so a request makes one saga, whoever crashes when.
        """

    @abc.abstractmethod
    async def starts_left(self, limit: int) -> list[StartsLeft]:
        """Return what is still there, by definition and error, the oldest first.

        Args:
            limit: groups at most.
        """
