"""The load of one process: starts sagas, and notes when each of them came to rest.

Closed: a number of sagas is under way at a time, and a process that sees one come to
rest starts the next. Open: sagas start at fixed instants, however the others fare.
Then a saga's time counts from the instant at which it *should* have been started; a
starter that is held up must not hide the wait it causes (coordinated omission).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from saga_orchestrator.bench.subject import Subject
from saga_orchestrator.bench.tickets import Tickets
from saga_orchestrator.core.decision import Decision
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.runtime.manager import Manager
from saga_orchestrator.runtime.waiters import RESTING


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOrder:
    """What one process is to start.

    Attributes:
        tickets: the file that all processes take their numbers from.
        sagas: how many, in all processes together.
        window: how many may be under way; of the processes together it is the sum.
        rate: starts a second of all processes together; None: closed.
        begin_at: when the first one is due, by the machine's monotonic clock.
    """

    tickets: str
    sagas: int
    window: int
    rate: float | None
    begin_at: float


class Load:
    """The sagas of one load, as one process knows them.

    Attributes:
        started: when each saga that was started here was, or should have been.
        ended: when each saga whose end was committed here came to rest.
    """

    def __init__(
        self,
        manager: Manager,
        subject: Subject,
        context: Mapping[str, str],
        order: LoadOrder,
        clock: Clock,
    ) -> None:
        self.started: dict[str, float] = {}
        self.ended: dict[str, float] = {}
        self._manager = manager
        self._subject = subject
        self._context = context
        self._order = order
        self._clock = clock
        self._slots = asyncio.Semaphore(order.window)

    def notice(self, decisions: Sequence[Decision]) -> None:
        """Look through a commit for sagas of the bench that came to rest."""
        now = self._clock.monotonic()
        for decision in decisions:
            saga = decision.saga
            if (
                saga is not None
                and saga.state in RESTING
                and saga.plan.definition.name == self._subject.definition.name
                and saga.id not in self.ended
            ):
                self.ended[saga.id] = now
                self._slots.release()

    async def run(self, tickets: Tickets) -> None:
        """Start sagas while there are numbers left."""
        async with asyncio.TaskGroup() as group:
            while True:
                if self._order.rate is None:
                    await self._slots.acquire()
                number = tickets.take()
                if number is None:
                    return
                due_at = await self._turn_of(number)
                group.create_task(self._start(due_at))

    async def _turn_of(self, number: int) -> float:
        """Return when a saga is to be started, once that is now."""
        if self._order.rate is None:
            return self._clock.monotonic()
        due_at = self._order.begin_at + number / self._order.rate
        await self._clock.sleep(max(due_at - self._clock.monotonic(), 0.0))
        return due_at

    async def _start(self, due_at: float) -> None:
        saga = await self._manager.start(
            self._subject.definition, context=self._context
        )
        self.started[saga.id] = due_at
