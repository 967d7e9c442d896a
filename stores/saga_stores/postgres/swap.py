"""Compare and swap: a batch in one statement, where its sagas are known already.

A process that moves a saga usually wrote its row last. It then decides on what it
remembers, and writes with the condition that the rows are still those: PostgreSQL
stamps each row with the transaction that wrote it (``xmin``). If one is not, the
statement fails as a whole, and the batch is done with locks, as any other is.

The instant of the decision comes from the server, as always: its clock as an earlier
statement told it, and the time since. The statement fails, too, where that is wrong.

And it fails on another server. One that was promoted without our last commits gives
their transactions' numbers out once more, so a row could bear a stamp that is known.
Which server it is, the instant of its start says; no connection must be watched for
that, which a pooler between keeps open.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Sequence

from saga_orchestrator.core.batch import Batch
from saga_orchestrator.core.events import Event, Requested, SagaStarted
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.saga import Saga
from saga_stores._snapshots import SnapshotCache

CLOCK_SECONDS = 5.0
"""How long after a look at the server's clock its time is still reckoned."""
PAUSE_SECONDS = 1.0
"""How long batches are done with locks after one that had to be done twice."""


class Swaps:
    """What is known of sagas and of the server's clock; and whether to try.

    Args:
        snapshots: of sagas, with the stamps of their rows.
        monotonic: seconds that never go back.

    Attributes:
        server: when the server was started that answered last; None: none did.
    """

    def __init__(
        self, snapshots: SnapshotCache, monotonic: Callable[[], float]
    ) -> None:
        self._snapshots = snapshots
        self._monotonic = monotonic
        self._clock: tuple[dt.datetime, float] | None = None
        self._paused_until = 0.0
        self.server: dt.datetime | None = None

    def see(self, server: dt.datetime, now: dt.datetime) -> bool:
        """Note which server answered, and what its clock said just now.

        Returns:
            Whether it is the one that answered before, if any did.
        """
        is_same = self.server is None or self.server == server
        self.server = server
        self._clock = now, self._monotonic()
        return is_same

    def forget(self) -> None:
        """Reckon no time with the clock of a server that may be gone."""
        self._clock = None

    def failed(self) -> None:
        """Note that a row was another one: replicas move the same sagas just now."""
        self._paused_until = self._monotonic() + PAUSE_SECONDS

    def now(self) -> dt.datetime | None:
        """Return the server's time, never ahead of it; None: not known well enough."""
        if self._clock is None:
            return None
        seen, at = self._clock
        since = self._monotonic() - at
        return seen + dt.timedelta(seconds=since) if since <= CLOCK_SECONDS else None

    def known(self, events: Sequence[Event]) -> dict[SagaId, tuple[Saga, int]] | None:
        """Return the sagas that events are about, each with the stamp of its row.

        A saga that is started is not among them.

        Returns:
            None: not all are known, or more than their rows is needed.
        """
        if self._monotonic() < self._paused_until:
            return None
        found: dict[SagaId, tuple[Saga, int]] = {}
        for event in events:
            if isinstance(event, Requested):
                return None
            stamped = self._snapshots.stamped(event.saga_id)
            if stamped is not None and not stamped[0].plan.has_conditions:
                found[event.saga_id] = stamped
            elif stamped is not None or not isinstance(event, SagaStarted):
                return None
        return found


def is_checked(
    events: Sequence[Event], known: Collection[SagaId], batch: Batch
) -> bool:
    """Tell whether writing a batch checks all that it was decided on.

    A row that is changed must have its stamp, an id or a key that is created must be
    free. Of a saga that is not written, and of a start that makes none, nothing would
    be checked: it may have been another one for long, or its key be taken.
    """
    return all(saga_id in batch.changed for saga_id in known) and all(
        decision.created
        for event, decision in zip(events, batch.decisions, strict=True)
        if isinstance(event, SagaStarted)
    )
