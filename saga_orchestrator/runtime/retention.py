"""Retention: sagas that ended long ago are deleted, a batch at a time.

Any replica prunes; they skip what another one is deleting. A batch is one short
transaction, and the pause between two lets the work of the sagas go first.
"""

from __future__ import annotations

import random

import structlog

from saga_orchestrator.errors import StoreError
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.ports.store import Keep, Store
from saga_orchestrator.runtime.backoff import Backoff
from saga_orchestrator.runtime.outage import Outage

BATCH = 200
PAUSE_SECONDS = 0.1
ROUND_SECONDS = 60.0
"""How often somebody looks; replicas that started together drift apart."""

_log = structlog.get_logger("saga.retention")


class Retention:
    """Prunes the store for ever."""

    def __init__(
        self,
        store: Store,
        keep: Keep,
        clock: Clock,
        rng: random.Random,
        outage: Outage,
    ) -> None:
        self._store = store
        self._keep = keep
        self._clock = clock
        self._rng = rng
        self._outage = outage
        self._backoff = Backoff(rng)

    async def run(self) -> None:
        """Prune now and then."""
        pruned = 0
        while True:
            try:
                count = await self._store.prune(self._keep, BATCH)
            except StoreError as error:
                self._outage.begins("retention", error)
                await self._clock.sleep(self._backoff.next())
                continue
            self._outage.ends("retention")
            self._backoff.reset()
            pruned += count
            if count >= BATCH:
                await self._clock.sleep(PAUSE_SECONDS)
                continue
            if pruned:
                _log.info("ended sagas deleted", sagas=pruned)
            pruned = 0
            await self._clock.sleep(ROUND_SECONDS * (0.5 + self._rng.random()))
