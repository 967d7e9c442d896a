"""What ``decide`` answers: the next snapshot and what has to be done for it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct, field

from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.payload import Json
from saga_orchestrator.core.public import PublicEvent
from saga_orchestrator.core.residual import Residual
from saga_orchestrator.core.saga import Saga
from saga_orchestrator.core.states import Direction, SagaState
from saga_orchestrator.errors import SagaError


class HistoryKind(StrEnum):
    """What a history entry tells."""

    SAGA_STARTED = "saga_started"
    STEP_SUCCEEDED = "step_succeeded"
    STEP_SKIPPED = "step_skipped"
    STEP_FAILED = "step_failed"
    STEP_POSTPONED = "step_postponed"
    STEP_ACCEPTED = "step_accepted"
    STEP_RETRIED = "step_retried"
    STEP_RESENT = "step_resent"
    RESEND_REQUESTED = "resend_requested"
    STEP_EXPIRED = "step_expired"
    HEARTBEAT_LOST = "heartbeat_lost"
    DEADLINE_PASSED = "deadline_passed"
    COMPENSATE_REQUESTED = "compensate_requested"
    RETRY_REQUESTED = "retry_requested"
    STEP_RESOLVED = "step_resolved"
    WAIT_GIVEN_UP = "wait_given_up"
    SAGA_COMPLETED = "saga_completed"
    SAGA_COMPENSATED = "saga_compensated"
    SAGA_PARKED = "saga_parked"
    RESIDUAL_FOUND = "residual_found"
    RESIDUAL_UNDO_REQUESTED = "residual_undo_requested"
    RESIDUAL_DISMISSED = "residual_dismissed"


REQUEST_KINDS = frozenset(
    {
        HistoryKind.COMPENSATE_REQUESTED,
        HistoryKind.RETRY_REQUESTED,
        HistoryKind.STEP_RESOLVED,
        HistoryKind.WAIT_GIVEN_UP,
        HistoryKind.RESIDUAL_UNDO_REQUESTED,
        HistoryKind.RESIDUAL_DISMISSED,
    }
)
"""What people asked; the ``data`` of such an entry may have a ``request_id``."""


class Dispatch(Struct, frozen=True):
    """A command to send: its fence, not its body.

    Attributes:
        fence: which dispatch.
        resend: the same fence went out before.
    """

    fence: Fence
    resend: bool = False


class HistoryEntry(Struct):
    """One line of a saga's append-only history; made by ``Draft`` only.

    Attributes:
        seq: counts from 1 without a gap.
        at: when, by the store's clock.
        kind: what happened.
        state: the saga's state after it; neighbours are an edge of the machine.
        step: the step it is about, if any.
        direction: of the dispatch it is about.
        generation: of the dispatch it is about.
        attempt: of the dispatch it is about.
        data: output, error, principal and reason: what the kind has.
        sent: the dispatches that it caused.
    """

    seq: int
    at: dt.datetime
    kind: HistoryKind
    state: SagaState
    step: str | None = None
    direction: Direction | None = None
    generation: int = 0
    attempt: int = 0
    data: dict[str, Json] = field(default_factory=dict)
    sent: list[Dispatch] = field(default_factory=list)


class Ignored(Struct, frozen=True):
    """An answer that changed nothing; the store keeps a saga's last 20.

    Attributes:
        number: the saga's count of them, from 1; 0: the saga is unknown.
        at: when, by the store's clock.
        reason: repeated, late, never sent, …
        fence: what it claimed to answer.
        answer: the event's name.
    """

    number: int
    at: dt.datetime
    reason: str
    fence: Fence
    answer: str


class Decision(Struct, frozen=True):
    """The answer to one event. A store performs it whole or not at all.

    Attributes:
        saga: the snapshot after the event; None: there is no such saga.
        changed: whether the snapshot differs from the one before.
        created: the saga is new.
        history: entries to append.
        dispatches: commands to record in the outbox, and to send.
        update: what to merge into the context; it makes ``saga.revision``.
        ignored: the event changed nothing, and why.
        residual: a record to open, or to settle.
        emitted: events of the answer that was applied, to record for others.
        started: the saga that this one started, to be created with it.
        refusal: the error an operator or a starter gets; nothing changed.
        was: the saga's state before its first entry of ``history``; None where
            nothing changed.
    """

    saga: Saga | None
    changed: bool = False
    created: bool = False
    history: tuple[HistoryEntry, ...] = ()
    dispatches: tuple[Dispatch, ...] = ()
    update: Mapping[str, Json] | None = None
    ignored: Ignored | None = None
    residual: Residual | None = None
    emitted: tuple[PublicEvent, ...] = ()
    started: Decision | None = None
    refusal: SagaError | None = None
    was: SagaState | None = None

    @property
    def parts(self) -> tuple[Decision, ...]:
        """This decision, and that of the saga it started."""
        return (self,) if self.started is None else (self, *self.started.parts)
