"""What can happen to a saga: the left column of the table in ``decide.py``.

Past tense for facts, ``…Requested`` for what a person asks. Each event is
applied by compare-and-set, so applying one twice changes nothing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from msgspec import Struct, field

from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.payload import Json
from saga_orchestrator.core.plan import Plan
from saga_orchestrator.core.public import Emission
from saga_orchestrator.core.saga import SagaData
from saga_orchestrator.core.states import Direction


class SagaStarted(Struct, frozen=True):
    """A caller starts a saga.

    Attributes:
        saga_id: the id it gets, unless its key is taken.
        plan: what it runs.
        context: its first context, checked and normalised.
        key: unique per saga name while the row is kept.
        fingerprint: hash of the start's body.
        traceparent: the trace that it belongs to, as W3C text; empty: none.
    """

    saga_id: SagaId
    plan: Plan
    context: Mapping[str, Json]
    key: str | None = None
    fingerprint: str = ""
    traceparent: str = ""


class _Answered(Struct, frozen=True):
    fence: Fence

    @property
    def saga_id(self) -> SagaId:
        """The saga the answer is for."""
        return self.fence.saga_id


class StepSucceeded(_Answered, frozen=True):
    """The action or the compensation of a dispatch is done.

    Attributes:
        output: what the handler returned.
        update: keys to merge into the context; None deletes one.
        effect: False: the participant's barrier knows that this run changed
            nothing, so that a late answer opens no residual.
        answered_by: the queue the command came from.
        emitted: events for others; they exist if this success is applied.
    """

    output: Json = None
    update: Mapping[str, Json] = field(default_factory=dict)
    effect: bool = True
    answered_by: str = ""
    emitted: tuple[Emission, ...] = ()


class StepSkipped(_Answered, frozen=True):
    """The handler answered ``Skip``: nothing to do, or nothing to undo."""

    reason: str = ""
    update: Mapping[str, Json] = field(default_factory=dict)
    emitted: tuple[Emission, ...] = ()


class StepFailed(_Answered, frozen=True):
    """An attempt failed.

    Attributes:
        refused: a definite no; else the outcome is unknown.
        error_type: compared with the policy's ``non_retryable``.
        error: for people.
        retryable: False: no further attempt, whatever the policy says.
        update: keys to merge into the context; None deletes one.
    """

    refused: bool
    error_type: str = ""
    error: str = ""
    retryable: bool = True
    update: Mapping[str, Json] = field(default_factory=dict)


class StepPostponed(_Answered, frozen=True):
    """Not now: try again after ``delay``; uses no attempt."""

    delay: dt.timedelta
    reason: str = ""


class StepAccepted(_Answered, frozen=True):
    """A participant took the command; its answer comes later.

    Attributes:
        heartbeat: heartbeats will follow; else only the limit bounds the wait.
    """

    heartbeat: bool


class StepHeartbeat(_Answered, frozen=True):
    """An accepted command is still being worked on."""


class TimeCame(Struct, frozen=True):
    """The saga's ``wake_at`` passed: fire whatever is due by the store's clock."""

    saga_id: SagaId


class ResendRequested(Struct, frozen=True):
    """The broker lost its queues: send every open command again, same fence."""

    saga_id: SagaId


class _Asked(Struct, frozen=True):
    """A person asks.

    Attributes:
        saga_id: the saga it is about.
        principal: who asks.
        reason: why.
    """

    saga_id: SagaId
    principal: str
    reason: str


class _Requested(_Asked, frozen=True, kw_only=True):
    """What is asked can be told from what was asked before.

    Attributes:
        request_id: unique, made by whoever asks. Where the answer to a commit was
            lost, the event is decided again, and knows by it what it did itself;
            empty: nobody decides it again.
        if_version: refused unless the saga is at this version; None: whatever
            it is at.
    """

    request_id: str = ""
    if_version: int | None = None


class CompensateRequested(_Requested, frozen=True):
    """An operator wants the saga undone.

    Attributes:
        force: also past the pivot, also when it completed.
        version: of the failed saga that the operator saw, so that the event
            resumes it once; None: whatever it is.
    """

    force: bool = False
    version: int | None = None


class RetryRequested(_Requested, frozen=True):
    """An operator wants what gave up tried again, with fresh attempts.

    Attributes:
        version: of the failed saga that the operator saw, so that the event lets
            it go on once; None: whatever it is.
    """

    version: int | None = None


class ResolveRequested(_Requested, frozen=True):
    """An operator did, or undid, a step by hand.

    Attributes:
        step: the step that gave up.
        direction: whether its action was done, or its undo. A saga that has
            turned back meanwhile must not take the one for the other.
        generation: the step's last dispatch that the operator saw.
        output: counts as the action's output.
    """

    step: str
    direction: Direction
    generation: int
    output: Json = None


class GiveUpRequested(_Requested, frozen=True):
    """An operator no longer waits for a step's answer: it counts as unknown.

    Attributes:
        step: the step whose answer is awaited.
        generation: the dispatch that was given up; applying the event twice
            must not give up the next one as well.
    """

    step: str
    generation: int


class ResidualUndoRequested(_Requested, frozen=True):
    """An operator wants a residual undone, by a saga of its own.

    Attributes:
        number: the residual's.
        undo_id: the id that saga gets.
        data: what the undo's command is made of: the context at the step's
            revision and the outputs that it reads; they never change.
    """

    number: int
    undo_id: SagaId
    data: SagaData


class ResidualDismissRequested(_Requested, frozen=True):
    """An operator found that a residual needs no undo.

    Attributes:
        number: the residual's.
    """

    number: int


Answered = (
    StepSucceeded
    | StepSkipped
    | StepFailed
    | StepPostponed
    | StepAccepted
    | StepHeartbeat
)
ResidualRequested = ResidualUndoRequested | ResidualDismissRequested
Requested = (
    CompensateRequested
    | RetryRequested
    | ResolveRequested
    | GiveUpRequested
    | ResidualRequested
)
Event = SagaStarted | Answered | TimeCame | ResendRequested | Requested
