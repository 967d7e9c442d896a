"""In a play, what the publisher, the broker and the intake are elsewhere.

Carries commands to the participants, and their answers back, as the script says:
late, lost, or twice.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable
from functools import partial

from saga_orchestrator.core.commands import Answer, Command, Reply, event_of
from saga_orchestrator.core.decision import Dispatch
from saga_orchestrator.core.dispatch import command_for, unsendable
from saga_orchestrator.core.events import Event, StepAccepted
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.references import MissingPathError
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.ports.store import Store
from saga_orchestrator.testing.call import ANSWERED, LOST, Call, result_of
from saga_orchestrator.testing.fate import Fate
from saga_orchestrator.testing.journal import Journal
from saga_orchestrator.testing.participants import Participants
from saga_orchestrator.testing.schedule import Schedule

RELAY_PAUSE = dt.timedelta(seconds=1)
"""How long after a command left its queue a resend that waited for it goes out."""


class Carrier:
    """Carries commands and answers through virtual time."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        participants: Participants,
        *,
        schedule: Schedule,
        journal: Journal,
        submit: Callable[[Event], Awaitable[object]],
    ) -> None:
        self._store = store
        self._clock = clock
        self._participants = participants
        self._schedule = schedule
        self._journal = journal
        self._submit = submit
        self._queued: dict[Fence, dt.datetime] = {}
        self._held: set[Fence] = set()

    async def send(self, dispatch: Dispatch) -> None:
        """Send a command as the publisher does; a resend not while it is queued."""
        fence = dispatch.fence
        if dispatch.resend and fence in self._queued:
            self._hold(dispatch)
            return
        (loaded,) = await self._store.load_dispatches([fence])
        await self._store.settle([fence])
        if loaded is None:
            return
        saga, data = loaded
        number = saga.plan.number[fence.step]
        try:
            command = command_for(saga, number, data, self._store.secret)
        except MissingPathError as error:
            self._journal.note(self._clock.now(), f"{fence.step}: not sent: {error}")
            await self._submit(unsendable(fence, f"input: {error}"))
            return
        self._deliver(command, self._participants.next_fate(fence))

    async def answer(self, reply: Reply, attempt: int) -> None:
        """Bring a deferred step's answer from outside."""
        result = ANSWERED if reply.answer is Answer.SUCCEEDED else result_of(reply)
        self._note(reply, attempt, result)
        await self._commit(reply)

    def _hold(self, dispatch: Dispatch) -> None:
        """Leave a resend in the outbox: its command is late, not lost."""
        if dispatch.fence in self._held:
            return
        self._held.add(dispatch.fence)
        at = self._queued[dispatch.fence] + RELAY_PAUSE
        self._schedule.plan(at, partial(self._release, dispatch))

    async def _release(self, dispatch: Dispatch) -> None:
        self._held.discard(dispatch.fence)
        await self.send(dispatch)

    def _deliver(self, command: Command, fate: Fate) -> None:
        at = self._clock.now() + fate.arrives_after
        for _ in range(fate.runs):
            self._queued[command.fence] = at
            self._schedule.plan(at, partial(self._arrive, command, fate))

    async def _arrive(self, command: Command, fate: Fate) -> None:
        self._queued.pop(command.fence, None)
        arrived_at = self._clock.now()
        if self._participants.is_long(command):
            # Its heartbeats go on until its answer; where that is lost, they stop.
            await self._submit(StepAccepted(command.fence, heartbeat=not fate.answers))
        reply = await self._participants.answer(command, fate)
        result = result_of(reply) if fate.answers else LOST
        self._note(reply, command.attempt, result)
        takes = command.timeout if fate.answers_after is None else fate.answers_after
        for _ in range(fate.answers):
            self._schedule.plan(arrived_at + takes, partial(self._commit, reply))
        if reply.answer is Answer.ACCEPTED and fate.outside_after is not None:
            told = self._participants.from_outside(reply, fate)
            job = partial(self.answer, told, command.attempt)
            self._schedule.plan(arrived_at + fate.outside_after, job)

    async def _commit(self, reply: Reply) -> None:
        await self._submit(event_of(reply))

    def _note(self, reply: Reply, attempt: int, result: str) -> None:
        fence = reply.fence
        self._journal.ran(
            Call(
                self._clock.now(),
                fence.step,
                fence.direction,
                attempt,
                fence.generation,
                result,
                reply.error_type,
                reply.error,
            )
        )
