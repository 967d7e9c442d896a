"""A play: one saga from its start on, its participants played from a script.

The real core decides, a real store keeps, the real executor runs the handlers;
there is no broker and no engine. What is sent is answered as the script says,
in the order of virtual instants, so that the same play always goes the same
way. A day of retries takes no longer than the handlers do.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from functools import partial

from saga_orchestrator.core.commands import Reply
from saga_orchestrator.core.decision import Decision
from saga_orchestrator.core.events import Event, SagaStarted, TimeCame
from saga_orchestrator.core.fence import is_genuine
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.public import PublicEvent
from saga_orchestrator.core.saga import Saga
from saga_orchestrator.errors import ForgedReplyError, SagaError
from saga_orchestrator.ports.store import Store
from saga_orchestrator.runtime.ids import NewId
from saga_orchestrator.runtime.operator import Operator
from saga_orchestrator.testing.carrier import Carrier
from saga_orchestrator.testing.clock import ManualClock
from saga_orchestrator.testing.journal import Journal
from saga_orchestrator.testing.operating import Act
from saga_orchestrator.testing.outcome import Outcome
from saga_orchestrator.testing.participants import Participants
from saga_orchestrator.testing.schedule import Schedule

MOMENTS_MAX = 20_000
LINES_MAX = 10
"""Of what happened, so many lines are told with an error."""


class EndlessPlay(AssertionError):
    """The saga still moves after very many moments: its script never ends."""


class Play:
    """Plays one saga on a store whose clock it moves.

    Made by ``Given.begin``.
    """

    def __init__(
        self,
        store: Store,
        clock: ManualClock,
        participants: Participants,
        *,
        acts: Iterable[Act],
        new_id: NewId,
    ) -> None:
        self._store = store
        self._clock = clock
        self._participants = participants
        self._acts = list(acts)
        self._operator = Operator(store, self, new_id)
        self._sagas: dict[SagaId, Saga] = {}
        self._first: SagaId | None = None
        self._journal = Journal()
        self._emitted: list[PublicEvent] = []
        self._schedule = Schedule()
        self._carrier = Carrier(
            store,
            clock,
            participants,
            schedule=self._schedule,
            journal=self._journal,
            submit=self.submit,
        )

    @property
    def operator(self) -> Operator:
        """What a person may ask, at the moment the play stands at."""
        return self._operator

    async def start(self, event: SagaStarted) -> None:
        """Start the saga.

        Raises:
            ValueError: the store has a saga of this id already.
        """
        started_at = self._clock.now()
        decision = await self.submit(event)
        if decision.refusal is not None:
            raise decision.refusal
        if not decision.created:
            raise ValueError(
                f"the store has saga {event.saga_id} already; begin each play on it "
                "with a seed of its own"
            )
        self._first = event.saga_id
        for act in self._acts:
            if act.at is not None:
                self._schedule.plan(started_at + act.at, partial(self._perform, act))
        self._acts = [act for act in self._acts if act.at is None]

    async def run(self, until: dt.timedelta | None = None) -> Outcome:
        """Go on until nothing more happens, or to a time after the start.

        May be called again, after an operator's act or an answer from outside.

        Raises:
            EndlessPlay: it never ends.
            TransitionRefused: an act of the script is not allowed.
        """
        end = None if until is None else self._saga.created_at + until
        for _ in range(MOMENTS_MAX):
            at = self._next()
            if at is None and self._acts:
                await self._perform(self._acts.pop(0))
            elif at is None or (end is not None and at > end):
                if end is not None:
                    self._move_to(end)
                return await self._outcome()
            else:
                self._move_to(at)
                await self._moment()
        raise EndlessPlay(
            f"saga {self._saga.name} still moves after {MOMENTS_MAX} moments; give "
            f"the script times=, or the play an end\n{self._lately()}"
        )

    @property
    def unused(self) -> tuple[str, ...]:
        """Lines of the script that nothing came of so far: ``the action of b``.

        Those on which all goes well are not counted: they promise nothing.
        """
        return self._participants.unused

    async def answer(self, reply: Reply) -> None:
        """Give a deferred step its answer from outside; then ``run`` on.

        Args:
            reply: with the ``ctx.fence`` and the ``ctx.token`` of the run.

        Raises:
            ForgedReplyError: the token is not that of the fence.
        """
        fence = reply.fence
        if not is_genuine(self._store.secret, fence, reply.token):
            raise ForgedReplyError(f"{fence.text}: the token is not that of the fence")
        attempt = self._sagas[fence.saga_id].status(fence.step).attempt
        await self._carrier.answer(reply, attempt)

    async def submit(self, event: Event, *, patience: float | None = None) -> Decision:
        """Commit an event, and send what it decided on."""
        del patience  # the store is not away
        (decision,) = await self._store.transact([event])
        for part in decision.parts:
            self._journal.decided(part)
            self._emitted += part.emitted
            if part.saga is not None:
                self._sagas[part.saga.id] = part.saga
            for dispatch in part.dispatches:
                await self._carrier.send(dispatch)
        return decision

    def _next(self) -> dt.datetime | None:
        """Return when something happens next by itself."""
        instants = [saga.wake_at for saga in self._sagas.values()]
        known = (at for at in [*instants, self._schedule.next_at] if at is not None)
        return min(known, default=None)

    def _move_to(self, at: dt.datetime) -> None:
        self._clock.advance(max(at - self._clock.now(), dt.timedelta(0)))

    async def _moment(self) -> None:
        """Do what is due: what arrives first, then what timers do."""
        now = self._clock.now()
        job = self._schedule.take(now)
        if job is not None:
            await job()
            return
        for saga in list(self._sagas.values()):
            if saga.wake_at is not None and saga.wake_at <= now:
                await self.submit(TimeCame(saga.id))

    async def _perform(self, act: Act) -> None:
        try:
            await act.ask(self._operator, self._saga.id)
        except SagaError as error:
            error.add_note(self._lately())
            raise

    @property
    def _saga(self) -> Saga:
        assert self._first is not None, "start it first"
        return self._sagas[self._first]

    def _lately(self) -> str:
        lines = self._journal.lines(self._saga)[-LINES_MAX:]
        return "\n".join(["what happened last:", *lines])

    async def _outcome(self) -> Outcome:
        record = await self._store.record(self._saga.id)
        assert record is not None, "nobody deletes it"
        others = tuple(saga for saga in self._sagas.values() if saga.undoes)
        lines = self._journal.lines(self._saga)
        return Outcome(
            record,
            tuple(self._journal.calls),
            others,
            lines,
            events=tuple(self._emitted),
        )
