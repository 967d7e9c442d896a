"""Counts what was committed unheard: transitions whose commit lost its answer.

The history has them. Where another replica moved the same saga in the meantime, it
has counted its part too; that takes a lost answer and a race at once.
"""

from __future__ import annotations

from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.errors import StoreError
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.ports.store import Store
from saga_orchestrator.telemetry.transitions import Transitions

EVERY_SECONDS = 5.0


class Recount:
    """Reads and counts the entries that were missed."""

    def __init__(self, store: Store, transitions: Transitions, clock: Clock) -> None:
        self._store = store
        self._transitions = transitions
        self._clock = clock

    async def run(self) -> None:
        """Count for ever."""
        missed = self._transitions.missed
        while True:
            await self._clock.sleep(EVERY_SECONDS)
            while missed:
                try:
                    await self._count(*missed[0])
                except StoreError as error:
                    if error.retryable:
                        break  # the others told that the store is away
                missed.popleft()

    async def _count(self, saga_id: SagaId, counted: int, last: int) -> None:
        record = await self._store.record(saga_id)
        if record is None:
            return  # deleted meanwhile
        before = None
        entries = []
        for entry in record.history:
            if entry.seq <= counted:
                before = entry.state
            elif entry.seq <= last:
                entries.append(entry)
        self._transitions.count_entries(record.saga, entries, before)
