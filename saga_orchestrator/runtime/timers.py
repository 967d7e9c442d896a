"""Durable timers: any replica wakes the sagas whose time has come.

The instants are in the store and the store's clock decides; this loop only
asks often enough. It sleeps until the next instant that it knows of, at most
``POLL_SECONDS``, because another replica may have set an earlier one.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import random
from collections.abc import Sequence

from saga_orchestrator.core.decision import Decision
from saga_orchestrator.core.events import TimeCame
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.errors import StoreError
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.ports.store import Store
from saga_orchestrator.runtime.backoff import Backoff
from saga_orchestrator.runtime.outage import Outage
from saga_orchestrator.runtime.pipeline import CommitPipeline

SAGAS_MAX = 256
POLL_SECONDS = 0.5
SHORTEST_SECONDS = 0.002
SET_ASIDE_SECONDS = 60.0
"""How long a saga is passed over that could not be woken: its row is unreadable."""


class Timers:
    """Feeds ``TimeCame`` for every saga that is due."""

    def __init__(
        self,
        store: Store,
        pipeline: CommitPipeline,
        clock: Clock,
        rng: random.Random,
        outage: Outage,
    ) -> None:
        self._store = store
        self._pipeline = pipeline
        self._clock = clock
        self._outage = outage
        self._backoff = Backoff(rng)
        self._earlier = asyncio.Event()
        self._next: dt.datetime | None = None
        self._firing: dict[SagaId, asyncio.Future[Decision]] = {}
        self._set_aside: dict[SagaId, float] = {}

    def notice(self, decisions: Sequence[Decision]) -> None:
        """Wake up sooner where a commit of ours set an earlier instant."""
        for decision in decisions:
            saga = decision.saga
            if saga is None or saga.wake_at is None or not decision.changed:
                continue
            if self._next is None or saga.wake_at < self._next:
                self._next = saga.wake_at
                self._earlier.set()

    async def run(self) -> None:
        """Fire for ever."""
        while True:
            try:
                ids, now = await self._look()
            except StoreError as error:
                self._outage.begins("timers", error)
                await self._clock.sleep(self._backoff.next())
                continue
            self._outage.ends("timers")
            self._backoff.reset()
            if now is None:
                await self._fire(ids)
            else:
                await self._pause(now)

    async def _look(self) -> tuple[list[SagaId], dt.datetime | None]:
        """Ask who is due; where nobody is, who will be next, and what time it is."""
        without = self._passed_over()
        ids = await self._store.due(SAGAS_MAX, without=without)
        if ids:
            return ids, None
        self._next = await self._store.next_due(without=without)
        return ids, await self._store.now()

    async def _fire(self, ids: list[SagaId]) -> None:
        """Wake sagas; one whose row somebody keeps locked holds up no other."""
        for saga_id in ids:
            self._firing[saga_id] = self._pipeline.enqueue(TimeCame(saga_id))
        await asyncio.wait(self._firing.values(), timeout=POLL_SECONDS)

    def _passed_over(self) -> set[SagaId]:
        """Return the sagas that are being woken, or could not be."""
        now = self._clock.monotonic()
        for saga_id, fired in list(self._firing.items()):
            if fired.done():
                del self._firing[saga_id]
                if fired.exception() is not None:
                    # It is due again at once: it must not spin, nor hold up others.
                    self._set_aside[saga_id] = now + SET_ASIDE_SECONDS
        self._set_aside = {
            saga_id: until for saga_id, until in self._set_aside.items() if until > now
        }
        return {*self._set_aside, *self._firing}

    async def _pause(self, now: dt.datetime) -> None:
        seconds = POLL_SECONDS
        if self._next is not None:
            ahead = (self._next - now).total_seconds()
            seconds = min(max(ahead, SHORTEST_SECONDS), POLL_SECONDS)
        self._earlier.clear()
        async with asyncio.TaskGroup() as group:
            waits = [
                group.create_task(self._clock.sleep(seconds)),
                group.create_task(_wait(self._earlier)),
            ]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()


async def _wait(event: asyncio.Event) -> None:
    await event.wait()
