"""The outbox relay: publishes what its writer did not get confirmed.

Rows are born claimed by their writer for a few seconds. Whatever is still
there after that (the writer died, the broker was away, a client without a
broker started the saga) any replica claims and publishes. Two publishers make
a duplicate, which the fence absorbs.
"""

from __future__ import annotations

import structlog

from saga_orchestrator.errors import StoreError
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.ports.store import LEASE, Store
from saga_orchestrator.runtime.publisher import QUEUED, ROWS_MAX, Offer, Publisher

POLL_SECONDS = 0.1

_log = structlog.get_logger("saga.relay")


class OutboxRelay:
    """Claims lapsed outbox rows and offers them to the publisher."""

    def __init__(self, store: Store, publisher: Publisher, clock: Clock) -> None:
        self._store = store
        self._publisher = publisher
        self._clock = clock

    async def run(self) -> None:
        """Relay for ever."""
        while True:
            if not await self._relay():
                await self._clock.sleep(POLL_SECONDS)

    async def _relay(self) -> bool:
        """Claim one page; tell whether there may be more at once."""
        if self._publisher.is_full:
            return False
        try:
            rows = await self._store.claim(self._publisher.room, LEASE)
        except StoreError as error:
            _log.warning("store is away", error=str(error))
            return False
        self._publisher.offer(
            Offer(row.fence, resend=row.error == QUEUED, attempts=row.attempts)
            for row in rows
        )
        return len(rows) == ROWS_MAX
