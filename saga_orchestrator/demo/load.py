"""The load: starts sagas by key, a bounded number at a time, and follows them."""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import dataclass
from typing import Protocol

from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.saga import Saga
from saga_orchestrator.core.states import ACTIVE, SagaState
from saga_orchestrator.demo.names import key_of, saga_name
from saga_orchestrator.demo.plan import Plan
from saga_orchestrator.errors import StoreError
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.ports.store import SagaFilter
from saga_orchestrator.runtime.manager import Manager

RETRY_SECONDS = 0.1
STALLED_SECONDS = 120.0
"""The load gives up when no saga ends for so long."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the sagas are."""

    started: int
    completed: int
    compensated: int
    failed: int


class Watcher(Protocol):
    """Who is told of a run while it goes on."""

    def progress(self, progress: Progress) -> None:
        """Some sagas were started, or ended."""
        ...

    def event(self, text: str) -> None:
        """Something happened that a person should read."""
        ...


class Load:
    """The sagas of one run, as their starter knows them.

    Attributes:
        started: saga ids by start key, of the starts that returned.
        started_at: when each start was called, by the store's clock.
    """

    def __init__(
        self,
        manager: Manager,
        plan: Plan,
        run: str,
        *,
        clock: Clock,
        watcher: Watcher,
    ) -> None:
        self.started: dict[str, SagaId] = {}
        self.started_at: dict[SagaId, dt.datetime] = {}
        self._manager = manager
        self._definition = plan.scenario.definition(run)
        self._plan = plan
        self._run = run
        self._clock = clock
        self._watcher = watcher
        self._states: dict[SagaId, SagaState] = {}
        self._ahead = dt.timedelta(0)
        self._moved_at = clock.monotonic()

    @property
    def rested(self) -> int:
        """How many sagas have ended, or wait for a person."""
        return len(self._states)

    @property
    def is_over(self) -> bool:
        """Whether all have, or no saga has ended for too long."""
        stalled = self._clock.monotonic() - self._moved_at > STALLED_SECONDS
        return stalled or self.rested == self._plan.sagas

    async def open(self) -> None:
        """Learn how far the store's clock is ahead of this machine's."""
        self._ahead = await self._manager.store.now() - self._clock.now()
        self._moved_at = self._clock.monotonic()

    async def advance(self) -> None:
        """Start what there is room for, and look which sagas have ended."""
        open_count = len(self.started) - self.rested
        first = len(self.started)
        last = min(first + self._plan.in_flight - open_count, self._plan.sagas)
        await asyncio.gather(*(self._start(number) for number in range(first, last)))
        rested = await self._look()
        if rested or last > first:
            self._moved_at = self._clock.monotonic()
            self._watcher.progress(self._progress())

    async def live(self) -> list[Saga]:
        """Return the sagas of this run that have not ended, from the store."""
        ours = self.started_at
        name = saga_name(self._plan.scenario.name)
        which = SagaFilter(ACTIVE, name=name, limit=max(len(ours), 1))
        # Newest first, so those of earlier runs, if any, are cut off.
        return [s for s in await self._manager.store.find(which) if s.id in ours]

    async def _start(self, number: int) -> None:
        """Start one saga; with its key that is safe to repeat."""
        key = key_of(self._run, number)
        called_at = self._clock.now() + self._ahead
        context = self._plan.scenario.context_of(self._plan.seed, number)
        while True:
            try:
                saga = await self._manager.start(
                    self._definition, context=context, key=key
                )
            except StoreError as error:
                if not error.retryable:
                    raise
                await self._clock.sleep(RETRY_SECONDS)
            else:
                self.started[key] = saga.id
                self.started_at[saga.id] = called_at
                return

    async def _look(self) -> int:
        """Note the sagas that have ended since; tell how many."""
        waiting = self.started_at.keys() - self._states.keys()
        try:
            live = {saga.id: saga.state for saga in await self.live()}
            ended = [
                await self._manager.get(saga_id)
                for saga_id in waiting
                if live.get(saga_id) in (None, SagaState.FAILED)
            ]
        except StoreError as error:
            if not error.retryable:
                raise
            return 0
        self._states.update({saga.id: saga.state for saga in ended})
        return len(ended)

    def _progress(self) -> Progress:
        states = list(self._states.values())
        return Progress(
            started=len(self.started),
            completed=states.count(SagaState.COMPLETED),
            compensated=states.count(SagaState.COMPENSATED),
            failed=states.count(SagaState.FAILED),
        )
