"""Those who wait for a saga's end: told at once of a local one, else polling."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from saga_orchestrator.core.decision import Decision
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.saga import Saga
from saga_orchestrator.core.states import ENDED, SagaState
from saga_orchestrator.errors import SagaNotFoundError, StoreError
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.ports.store import Store
from saga_orchestrator.runtime.backoff import Backoff

POLL_FIRST_SECONDS = 0.05
POLL_LAST_SECONDS = 1.0
RESTING = ENDED | {SagaState.FAILED}
"""The states that ``wait`` returns at."""


class Waiters:
    """Wakes the callers of ``wait`` when a commit of ours brings a saga to rest."""

    def __init__(self, store: Store, clock: Clock, rng: random.Random) -> None:
        self._store = store
        self._rng = rng
        self._clock = clock
        self._waiting: dict[SagaId, list[asyncio.Event]] = {}

    def notice(self, decisions: Sequence[Decision]) -> None:
        """Look through a commit for sagas that came to rest."""
        for decision in decisions:
            saga = decision.saga
            if saga is not None and saga.state in RESTING:
                for event in self._waiting.get(saga.id, ()):
                    event.set()

    async def wait(self, saga_id: SagaId) -> Saga:
        """Return the saga once it rests: at an end, or failed.

        Raises:
            SagaNotFoundError: there is no such saga.
        """
        event = asyncio.Event()
        events = self._waiting.setdefault(saga_id, [])
        events.append(event)
        try:
            return await self._poll(saga_id, event)
        finally:
            events.remove(event)
            if not events:
                self._waiting.pop(saga_id, None)

    async def _load(self, saga_id: SagaId) -> Saga | None:
        """Return the saga as it is; None: the store is away just now."""
        try:
            saga = await self._store.load(saga_id)
        except StoreError as error:
            if not error.retryable:
                raise
            return None
        if saga is None:
            raise SagaNotFoundError(saga_id)
        return saga

    async def _poll(self, saga_id: SagaId, event: asyncio.Event) -> Saga:
        seconds = POLL_FIRST_SECONDS
        away = Backoff(self._rng)  # there may be a thousand of us
        while True:
            event.clear()
            saga = await self._load(saga_id)
            if saga is None:
                await _first(event, away.next())
                continue
            if saga.state in RESTING:
                return saga
            away.reset()
            if not await _first(event, seconds):
                seconds = min(seconds * 2, POLL_LAST_SECONDS)


async def _first(event: asyncio.Event, seconds: float) -> bool:
    """Wait for the event, but no longer; tell whether it came."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
