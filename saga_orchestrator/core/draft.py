"""A saga while it is being decided on: the one mutable thing in the core.

``decide`` makes a draft, the rules change it, ``finish`` freezes it. It keeps
the book-keeping in one place: history numbers, generations, when to wake.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from saga_orchestrator.core.decision import (
    REQUEST_KINDS,
    Decision,
    Dispatch,
    HistoryEntry,
    HistoryKind,
    Ignored,
)
from saga_orchestrator.core.events import Answered
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.payload import Json
from saga_orchestrator.core.public import Emission, PublicEvent, emitted_events
from saga_orchestrator.core.residual import Residual, Settlement
from saga_orchestrator.core.saga import NO_DATA, Saga, StepStatus, heard_bit
from saga_orchestrator.core.states import (
    SAGA_EDGES,
    STEP_EDGES,
    Direction,
    Phase,
    SagaState,
    StepState,
)

RESEND_MARGIN = dt.timedelta(seconds=60)
RESEND_MAX = dt.timedelta(minutes=15)

_ENTRY_OF_STATE = {
    SagaState.COMPLETED: HistoryKind.SAGA_COMPLETED,
    SagaState.COMPENSATED: HistoryKind.SAGA_COMPENSATED,
    SagaState.FAILED: HistoryKind.SAGA_PARKED,
}


class Draft:
    """The next snapshot in the making.

    Attributes:
        now: the instant of the decision, by the store's clock.
        plan: the saga's plan.
        steps: the statuses so far; change them with ``change``.
    """

    __slots__ = (
        *("now", "plan", "steps", "state", "direction", "halting", "deadline_at"),
        *("reason", "data", "history", "_before", "_revision", "_residuals"),
        *("_update", "_residual", "_ignored", "_emitted", "_changed", "_sent"),
        "_moved_at",
    )

    def __init__(self, saga: Saga, now: dt.datetime) -> None:
        self.now = now
        self.plan = saga.plan
        self.steps = list(saga.steps)
        self.state = saga.state
        self.direction = saga.direction
        self.halting = saga.halting
        self.deadline_at = saga.deadline_at
        self.reason = saga.reason
        self.data = saga.data
        self.history: list[HistoryEntry] = []
        self._before = saga
        self._revision = saga.revision
        self._residuals = saga.residuals
        self._update: Mapping[str, Json] | None = None
        self._residual: Residual | None = None
        self._ignored: Ignored | None = None
        self._emitted: tuple[PublicEvent, ...] = ()
        self._changed: set[int] = set()
        self._sent: list[Dispatch] = []
        self._moved_at = 0

    # -- what happened ----------------------------------------------------

    def record(
        self, kind: HistoryKind, number: int | None = None, **data: Json
    ) -> None:
        """Append a history entry, about the step's dispatch as it stands now."""
        entry = HistoryEntry(
            seq=self._before.version + len(self.history) + 1,
            at=self.now,
            kind=kind,
            state=self.state,
            data={key: value for key, value in data.items() if value is not None},
        )
        if number is not None:
            status = self.steps[number]
            entry.step = self.plan.steps[number].name
            entry.direction = status.direction
            entry.generation = status.generation
            entry.attempt = status.attempt
        self.history.append(entry)

    def sign(self, request_id: str) -> None:
        """Note which request of a person this is, in the entry that tells of it."""
        if not request_id or not self.history:
            return
        entry = self.history[0]
        assert entry.kind in REQUEST_KINDS, entry
        entry.data["request_id"] = request_id
        requests = self.data.requests | {request_id}
        self.data = replace(self.data, requests=requests)

    @property
    def revision(self) -> int:
        """The context's revision so far."""
        return self._revision

    @property
    def seq(self) -> int:
        """The number of the last history entry."""
        return self._before.version + len(self.history)

    def ignore(self, event: Answered, reason: str) -> None:
        """Count an answer that changes nothing."""
        self._ignored = Ignored(
            number=self._before.ignored + 1,
            at=self.now,
            reason=reason,
            fence=event.fence,
            answer=type(event).__name__,
        )

    def open_residual(self, fence: Fence, output: Json) -> None:
        """Note an effect that may stand outside the saga's account."""
        number = self.plan.number[fence.step]
        self.record(HistoryKind.RESIDUAL_FOUND, number, output=output)
        self.history[-1].direction = fence.direction
        self.history[-1].generation = fence.generation
        self._residuals += 1
        self._residual = Residual(self.seq, self.now, fence, output)
        self.hear(number, fence.generation)

    def settle_residual(self, residual: Residual, settlement: Settlement) -> None:
        """Note what a person made of an open residual."""
        self._residuals -= 1
        self._residual = replace(residual, settled=settlement)
        residuals = {**self.data.residuals, residual.number: self._residual}
        self.data = replace(self.data, residuals=residuals)

    def emit(self, emissions: Sequence[Emission]) -> None:
        """Publish what an answer brought, as of the last entry."""
        if not emissions:
            return
        saga = self._before
        self._emitted = emitted_events(
            saga.id, saga.name, self.seq, self.now, emissions
        )

    # -- changes ----------------------------------------------------------

    def enter(self, state: SagaState) -> None:
        """Move the saga; an entry tells one move, so a second one gets its own."""
        assert state in SAGA_EDGES[self.state], f"{self.state} -> {state}"
        if self._moved_at == self.seq:
            self.record(_ENTRY_OF_STATE[state])
        self.state = state
        self.history[-1].state = state
        self._moved_at = self.seq

    def change(self, number: int, **changes: object) -> None:
        """Replace fields of a step's status."""
        before = self.steps[number]
        after = replace(before, **changes)
        if after.state is not before.state:
            assert after.state in STEP_EDGES[before.state], (before, after)
        self.steps[number] = after
        self._changed.add(number)

    def hear(self, number: int, generation: int) -> None:
        """Note that a dispatch's success was told, so that a repeat is only counted."""
        heard = self.steps[number].heard | heard_bit(generation)
        self.change(number, heard=heard)

    def settle(self, number: int, phase: Phase = Phase.IDLE, **changes: object) -> None:
        """Change a step of which nothing is open any more."""
        self.change(
            number, phase=phase, opened_at=None, due_at=None, resends=0, **changes
        )

    def merge(self, update: Mapping[str, Json]) -> None:
        """Merge keys into the context; None deletes one."""
        if not update:
            return
        self._revision += 1
        self._update = update
        if self.data is not NO_DATA:
            self.data = replace(self.data, context=merged(self.data.context, update))

    def keep_output(self, number: int, output: Json) -> None:
        """Let the conditions of later steps see an output."""
        if self.data is not NO_DATA:
            outputs = {**self.data.outputs, self.plan.steps[number].name: output}
            self.data = replace(self.data, outputs=outputs)

    def send(self, number: int, direction: Direction, attempt: int) -> None:
        """Dispatch a step with the next generation, caused by the last entry."""
        status = self.steps[number]
        going = status.is_open
        does = direction is Direction.ACTION
        first = does and status.generation == 0
        self.change(
            number,
            state=StepState.STARTED if does else StepState.COMPENSATING,
            phase=Phase.SENT,
            generation=status.generation + 1,
            attempt=attempt,
            mark=self.seq if does else status.mark,
            revision=self._revision if first else status.revision,
            opened_at=status.opened_at if going else self.now,
            due_at=self.now + self.resend_delay(number, 0),
            resends=0,
        )
        self._dispatch(Dispatch(self.fence_of(number)))

    def resend(self, number: int) -> None:
        """Dispatch a step again with the generation it has."""
        resends = self.steps[number].resends + 1
        due_at = self.now + self.resend_delay(number, resends)
        self.change(number, resends=min(resends, 255), due_at=due_at)
        self._dispatch(Dispatch(self.fence_of(number), resend=True))

    def _dispatch(self, dispatch: Dispatch) -> None:
        self.history[-1].sent.append(dispatch)
        self._sent.append(dispatch)

    # -- questions --------------------------------------------------------

    def fence_of(self, number: int) -> Fence:
        """Return the fence of the step's current dispatch."""
        status = self.steps[number]
        name = self.plan.steps[number].name
        return Fence(self._before.id, name, status.direction, status.generation)

    def resend_delay(self, number: int, resends: int) -> dt.timedelta:
        """Return how long an unanswered dispatch waits before it is sent again."""
        first = self.plan.steps[number].timeout + RESEND_MARGIN
        if resends == 0:
            return first
        return min(first * (1 << min(resends, 10)), max(first, RESEND_MAX))

    def limit_at(self, status: StepStatus, number: int) -> dt.datetime:
        """Return when an open step's limit passes."""
        assert status.opened_at is not None, "only open steps have a limit running"
        return status.opened_at + self.plan.limit_of(number, status.direction)

    @property
    def sent_something(self) -> bool:
        """Whether this event dispatched anything so far."""
        return bool(self._sent)

    @property
    def pivot_passed(self) -> bool:
        """Whether a pivot completed, so that the saga only goes forward."""
        pairs = zip(self.plan.steps, self.steps, strict=True)
        return any(
            step.pivot and status.state is StepState.COMPLETED for step, status in pairs
        )

    # -- the end ----------------------------------------------------------

    def finish(self) -> Decision:
        """Freeze the draft into the decision."""
        before = self._before
        wake_at = self._wake_at()
        touched = self.history or self._changed or self._ignored
        if not touched and wake_at == before.wake_at:
            return Decision(before)
        ended = self.state in (SagaState.COMPLETED, SagaState.COMPENSATED)
        saga = replace(
            before,
            state=self.state,
            direction=self.direction,
            halting=self.halting,
            version=self.seq,
            revision=self._revision,
            ignored=before.ignored + (1 if self._ignored else 0),
            residuals=self._residuals,
            steps=tuple(self.steps),
            updated_at=self.now if self.history else before.updated_at,
            ended_at=(before.ended_at or self.now) if ended else None,
            deadline_at=self.deadline_at,
            wake_at=wake_at,
            reason=self.reason,
            data=self.data,
        )
        return Decision(
            saga,
            changed=True,
            history=tuple(self.history),
            dispatches=tuple(self._sent),
            update=self._update,
            ignored=self._ignored,
            residual=self._residual,
            was=before.state,
            emitted=self._emitted,
        )

    def _wake_at(self) -> dt.datetime | None:
        """Return when to look at the saga next, and no later.

        An instant that is still ahead and early enough stays: most events only
        push what is due further out, and a store then leaves its index alone. What
        did not change is due no earlier than that, so however many steps a saga
        has, only those that changed are looked at.
        """
        standing = self._before.wake_at
        if standing is None or standing <= self.now or not self._waits:
            return self._earliest(range(len(self.steps)))
        due = self._earliest(self._changed)
        if due is None or standing <= due:
            return standing
        return due

    @property
    def _waits(self) -> bool:
        """Whether anything can fall due."""
        return self._runs_out or any(status.is_open for status in self.steps)

    @property
    def _runs_out(self) -> bool:
        """Whether the deadline counts."""
        if self.deadline_at is None or self.halting:
            return False
        return self.state is SagaState.STARTED

    def _earliest(self, numbers: Iterable[int]) -> dt.datetime | None:
        """Return when the first of these steps, or the deadline, falls due."""
        instants = [self.deadline_at] if self._runs_out else []
        for number in numbers:
            status = self.steps[number]
            if status.is_open:
                instants += (status.due_at, self.limit_at(status, number))
        return min((due for due in instants if due is not None), default=None)


def merged(context: Mapping[str, Json], update: Mapping[str, Json]) -> dict[str, Json]:
    """Return the context with the update's keys; None deletes one."""
    deleted = {key for key, value in update.items() if value is None}
    after = {**context, **update}
    return {key: value for key, value in after.items() if key not in deleted}
