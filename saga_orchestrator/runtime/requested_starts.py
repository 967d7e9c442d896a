"""Starts that were asked for in SQL: any engine that knows the definition takes them.

A start and the removal of its request are one transaction of the store, so there is
nothing here to put right after a crash: the request is there, or its saga is.
"""

from __future__ import annotations

import random

import structlog

from saga_orchestrator.core.events import SagaStarted
from saga_orchestrator.core.payload import decode
from saga_orchestrator.errors import StoreError
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.ports.starts import RequestedStart, StartRequests
from saga_orchestrator.runtime.backoff import Backoff
from saga_orchestrator.runtime.outage import Outage
from saga_orchestrator.runtime.starting import Catalogue, saga_started

BATCH = 16
"""Starts of one transaction, all definitions together: a context may be a mebibyte."""
POLL_SECONDS = 0.25

_log = structlog.get_logger("saga.starts")


class RequestedStarts:
    """Takes the requests for the definitions of this process, for ever."""

    def __init__(
        self,
        store: StartRequests,
        catalogue: Catalogue,
        clock: Clock,
        rng: random.Random,
        outage: Outage,
    ) -> None:
        self._store = store
        self._catalogue = catalogue
        self._clock = clock
        self._outage = outage
        self._backoff = Backoff(rng)

    async def run(self) -> None:
        """Start what was asked for."""
        while True:
            await self._clock.sleep(await self._take())

    async def _take(self) -> float:
        """Take one batch; return how long to wait before the next, in seconds."""
        names = sorted(self._catalogue.named)
        each = max(1, BATCH // len(names))
        try:
            taken = await self._store.take_starts(names, each, self._event_of)
        except StoreError as error:
            self._outage.begins("starts", error)
            return self._backoff.next()
        self._outage.ends("starts")
        self._backoff.reset()
        for one in taken:
            if one.error:
                _log.error(
                    "requested start refused",
                    saga_id=one.start.saga_id,
                    name=one.start.name,
                    error=one.error,
                )
        return 0.0 if len(taken) >= each else POLL_SECONDS

    def _event_of(self, start: RequestedStart) -> SagaStarted:
        return saga_started(
            start.saga_id,
            self._catalogue.plan_of(start.name, None),
            decode(start.context, "context"),
            start.key,
            ad_hoc=False,
        )
