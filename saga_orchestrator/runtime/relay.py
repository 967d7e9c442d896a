"""The outbox relay: publishes what its writer did not get confirmed.

Rows are born claimed by their writer for a few seconds. Whatever is still
there after that (the writer died, the broker was away, a client without a
broker started the saga) any replica claims and publishes. Two publishers make
a duplicate, which the fence absorbs.
"""

from __future__ import annotations

import random

from saga_orchestrator.core.waiting import QUEUED
from saga_orchestrator.errors import StoreError
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.ports.store import LEASE, Store
from saga_orchestrator.runtime.backoff import Backoff
from saga_orchestrator.runtime.outage import Outage
from saga_orchestrator.runtime.publisher import ROWS_MAX, Offer, Publisher

POLL_SECONDS = 0.1


class OutboxRelay:
    """Claims lapsed outbox rows and offers them to the publisher."""

    def __init__(
        self,
        store: Store,
        publisher: Publisher,
        clock: Clock,
        rng: random.Random,
        outage: Outage,
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._clock = clock
        self._outage = outage
        self._backoff = Backoff(rng)

    async def run(self) -> None:
        """Relay for ever."""
        while True:
            await self._clock.sleep(await self._relay())

    async def _relay(self) -> float:
        """Claim one page; return how long to wait before the next, in seconds."""
        if self._publisher.is_full:
            return POLL_SECONDS
        try:
            rows = await self._store.claim(self._publisher.room, LEASE)
        except StoreError as error:
            self._outage.begins("relay", error)
            return self._backoff.next()
        self._outage.ends("relay")
        self._backoff.reset()
        self._publisher.offer(
            Offer(row.fence, resend=row.error == QUEUED, attempts=row.attempts)
            for row in rows
        )
        return 0.0 if len(rows) == ROWS_MAX else POLL_SECONDS
