"""The load: clients that start sagas by key, and an operator who interferes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from saga_orchestrator.core.saga import Saga
from saga_orchestrator.core.states import SagaState
from saga_orchestrator.errors import SagaNotFoundError, StoreError, TransitionRefused
from saga_orchestrator.ports.store import SagaFilter
from saga_orchestrator.runtime.manager import Manager
from tests.chaos.sagas import context_of, definition_of

STARTS_PER_SECOND = 5.0
LIVE_MAX = 60
PENDING_MAX = 10
TWICE = 0.1
"""The share of starts that are repeated after they were answered."""

_RETRY_SECONDS = 0.2
_OPERATOR_SECONDS = (1.0, 3.0)
_PRINCIPAL = "chaos"
_REASON = "the chaos asked for it"


class Load:
    """Sagas as their starters know them.

    Attributes:
        started: ids by number, of the starts that were answered.
        problems: answers that broke a promise.
        operations: what the operator asked for and was granted.
    """

    def __init__(self, manager: Manager, seed: int, live: Callable[[], int]) -> None:
        """Prepare the load.

        Args:
            manager: starts and operates.
            seed: decides what is started, and what the operator does.
            live: tells how many sagas go on.
        """
        self.started: dict[int, str] = {}
        self.problems: list[str] = []
        self.operations = 0
        self._manager = manager
        self._seed = seed
        self._rng = random.Random(f"{seed}/load")
        self._live = live
        self._is_over = False
        self._count = 0

    @property
    def count(self) -> int:
        """How many starts were begun."""
        return self._count

    def stop(self) -> None:
        """Start nothing new; ``run`` returns when all starts are answered."""
        self._is_over = True

    async def run(self) -> None:
        """Start sagas until ``stop``, as many as may go on at a time."""
        async with asyncio.TaskGroup() as starts:
            while not self._is_over:
                pending = self._count - len(self.started)
                if self._live() + pending < LIVE_MAX and pending < PENDING_MAX:
                    self._count += 1
                    starts.create_task(self._start(self._count))
                pause = self._rng.expovariate(STARTS_PER_SECOND)
                await asyncio.sleep(min(pause, 1.0))

    async def operate(self) -> None:
        """Compensate what runs and retry what failed, now and then, until ``stop``."""
        while not self._is_over:
            await asyncio.sleep(self._rng.uniform(*_OPERATOR_SECONDS))
            try:
                self.operations += await self._compensate() + await self._retry()
            except StoreError as error:
                if not error.retryable:
                    raise

    async def _start(self, number: int) -> None:
        """Start one saga, until told its id; S13: the same one when asked again."""
        saga = await self._ask(number)
        self.started[number] = saga.id
        if self._rng.random() < TWICE:
            again = await self._ask(number)
            if again.id != saga.id:
                self.problems.append(f"S13: {number} is {saga.id} and {again.id}")

    async def _ask(self, number: int) -> Saga:
        while True:
            try:
                return await self._manager.start(
                    definition_of(number),
                    context=context_of(self._seed, number),
                    key=key_of(number),
                )
            except StoreError as error:
                if not error.retryable:
                    raise
                await asyncio.sleep(_RETRY_SECONDS)

    async def _compensate(self) -> int:
        if not self.started:
            return 0
        newest = max(self.started)
        number = self._rng.randrange(max(1, newest - LIVE_MAX), newest + 1)
        if number not in self.started:
            return 0
        try:
            await self._manager.compensate(
                self.started[number], reason=_REASON, principal=_PRINCIPAL
            )
        except TransitionRefused:  # it ended, or is past its pivot
            return 0
        except SagaNotFoundError:
            self.problems.append(f"lost: {self.started[number]} was answered")
            return 0
        return 1

    async def _retry(self) -> int:
        failed = frozenset({SagaState.FAILED})
        found = await self._manager.store.find(SagaFilter(failed, limit=50))
        if not found or self._rng.random() < 0.5:
            return 0
        saga = self._rng.choice(found)
        try:
            await self._manager.retry(saga.id, reason=_REASON, principal=_PRINCIPAL)
        except TransitionRefused:  # an earlier retry was committed after all
            return 0
        return 1


def key_of(number: int) -> str:
    """Return a saga's start key."""
    return f"chaos-{number}"
