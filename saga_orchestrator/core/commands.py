"""What is sent to a participant and what comes back: plain values.

``command_for`` (in ``dispatch.py``) builds a command from a snapshot, so that
a first send, a resend and the relay say the same. ``wire`` turns commands and
replies into bytes.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from enum import StrEnum
from typing import assert_never

from msgspec import Struct, field

from saga_orchestrator.core.definition import Step
from saga_orchestrator.core.events import (
    Answered,
    StepAccepted,
    StepFailed,
    StepHeartbeat,
    StepPostponed,
    StepSkipped,
    StepSucceeded,
)
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.payload import Json
from saga_orchestrator.core.public import Emission
from saga_orchestrator.core.states import Direction


class Command(Struct, frozen=True):
    """Do a step's action, or undo it.

    Attributes:
        fence: which dispatch this is; the reply repeats it.
        token: proof that the orchestrator sent the fence; the reply repeats it.
        saga_name: the definition's name.
        action: the name of the action or compensation to run.
        attempt: the retry policy's count, from 1.
        input: the step's input as it was when the action was first sent.
        output: for a compensation the output of its step, None when the outcome
            is unknown; None for an action.
        outputs: the outputs of the steps that this one directly depends on.
        context: the saga's context as it was when the action was first sent.
        timeout: bounds one run of the handler.
        expires_at: the dispatch is not to be begun after this instant.
        deadline_at: the saga's deadline, where it has one.
        as_of: an instant that the store's clock had passed when this was sent, for
            those whose own clock may be wrong; None: not told.
        undoes: the saga whose residual this undoes; None for all others. The
            effect belongs to that saga.
        is_known: of a compensation: its action is known to have happened, by its
            answer or by a person, so that there is something to undo.
        traceparent: its saga's place in a trace, as W3C text; empty: none.
        action_key: the idempotency key of the step's action: how a
            compensation without an output finds the effect.
    """

    fence: Fence
    token: str
    saga_name: str
    action: str
    attempt: int
    input: Json
    output: Json
    outputs: Mapping[str, Json]
    context: Mapping[str, Json]
    timeout: dt.timedelta
    expires_at: dt.datetime
    deadline_at: dt.datetime | None = None
    as_of: dt.datetime | None = None
    undoes: SagaId | None = None
    is_known: bool = False
    traceparent: str = ""

    @property
    def idempotency_key(self) -> str:
        """The same across attempts and redeliveries."""
        return self.fence.idempotency_key

    @property
    def owner(self) -> SagaId:
        """The saga that the effect belongs to."""
        return self.undoes or self.fence.saga_id

    @property
    def action_key(self) -> str:
        """The idempotency key that the step's action ran under."""
        return f"{self.owner}:{self.fence.step}:{Direction.ACTION}"

    @property
    def routing_key(self) -> str:
        """``step.<action>`` or ``compensate.<compensation>``."""
        return routing_key(self.fence.direction, self.action)


class Answer(StrEnum):
    """What a participant says of a command.

    "succeeded", "skipped" and "refused" are definite, and "refused" means that nothing
    happened. "unknown" means that it may have happened. "retry_later" uses no attempt
    and leaves the outcome open: a step that is put off and then abandoned counts as
    unknown, and is undone. "accepted" and "heartbeat" announce a later answer.
    "superseded" is the barrier's: the undo came first, there is and will be no effect.
    """

    SUCCEEDED = "succeeded"
    SKIPPED = "skipped"
    REFUSED = "refused"  # a definite no: nothing happened
    UNKNOWN = "unknown"  # an exception, a timeout: it may have happened
    RETRY_LATER = "retry_later"  # uses no attempt; the outcome stays open
    ACCEPTED = "accepted"  # the answer comes later
    HEARTBEAT = "heartbeat"
    SUPERSEDED = "superseded"  # the barrier holds its undo: no effect, never will


class Reply(Struct, frozen=True):
    """A participant's answer to one command.

    Attributes:
        fence: the command's fence.
        token: the command's token.
        answer: what became of it.
        output: what the handler returned, for ``SUCCEEDED``.
        update: keys to merge into the saga's context, None deletes a key.
        error_type: the name of the exception's class, or of our reason.
        error: text for people, at most 2,000 characters.
        retryable: False: no further attempt, whatever the policy says.
        delay: for ``RETRY_LATER`` when to try again.
        heartbeat: for ``ACCEPTED``, whether heartbeats will follow.
        effect: False: the barrier knows that this run changed nothing.
        answered_by: the queue the command came from.
        traceparent: the run's place in a trace, as W3C text; empty: none.
        emitted: events for others, for ``SUCCEEDED`` and ``SKIPPED``.
    """

    fence: Fence
    token: str
    answer: Answer
    output: Json = None
    update: Mapping[str, Json] = field(default_factory=dict)
    error_type: str = ""
    error: str = ""
    retryable: bool = True
    delay: dt.timedelta = dt.timedelta(0)
    heartbeat: bool = False
    effect: bool = True
    answered_by: str = ""
    traceparent: str = ""
    emitted: tuple[Emission, ...] = ()


def event_of(reply: Reply) -> Answered:
    """Return what a reply means for its saga."""
    fence = reply.fence
    match reply.answer:
        case Answer.SUCCEEDED:
            return StepSucceeded(
                fence,
                reply.output,
                reply.update,
                reply.effect,
                reply.answered_by,
                reply.emitted,
            )
        case Answer.SKIPPED:
            return StepSkipped(fence, reply.error, reply.update, reply.emitted)
        case Answer.RETRY_LATER:
            return StepPostponed(fence, reply.delay, reply.error)
        case Answer.ACCEPTED:
            return StepAccepted(fence, reply.heartbeat)
        case Answer.HEARTBEAT:
            return StepHeartbeat(fence)
        case Answer.REFUSED | Answer.UNKNOWN | Answer.SUPERSEDED:
            return StepFailed(
                fence,
                refused=reply.answer is not Answer.UNKNOWN,
                error_type=reply.error_type,
                error=reply.error,
                retryable=reply.retryable and reply.answer is not Answer.SUPERSEDED,
                update=reply.update,
            )
        case _:
            assert_never(reply.answer)


def key_of(step: Step, direction: Direction) -> str:
    """Return the routing key of a step's action or compensation."""
    name = step.action if direction is Direction.ACTION else step.compensation
    return routing_key(direction, name)


def routing_key(direction: Direction, action: str) -> str:
    """Return the routing key of an action or a compensation."""
    prefix = "step" if direction is Direction.ACTION else "compensate"
    return f"{prefix}.{action}"
