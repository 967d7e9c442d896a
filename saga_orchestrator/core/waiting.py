"""Why a saga that has not ended waits, and since when. Pure.

``waits_of`` reads it from the snapshot and the commands that are not confirmed
yet. What only the broker knows (is the command's queue read, is there a backlog)
refines it: ``refined``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.saga import Saga
from saga_orchestrator.core.states import ENDED, Direction, Phase, SagaState

NO_SERVICE = "no service handles "
"""How the outbox's error begins for a command that no queue takes."""
QUEUED = "waits in its queue, and is not sent again"
"""The outbox's error for a resend that a backlog holds back."""
UNDELIVERABLE = "Undeliverable"
"""The error type of a command that ended in the dead letters."""
DEADLINE_PASSED = "its deadline passed"
"""The reason of a saga that its deadline stopped."""

OVERDUE_AFTER = dt.timedelta(seconds=10)
"""An engine fires a timer within a second; after this none is at work."""
TAKEN_WITHIN = dt.timedelta(seconds=3)
"""An engine takes a command within a fraction of a second."""


class WaitReason(StrEnum):
    """Why a saga waits."""

    RETRYING = "retrying"
    """An attempt failed; the next one is due at ``until``."""
    UNANSWERED = "unanswered"
    """Its command was sent; nobody knows more."""
    QUEUED = "queued"
    """Its command stands in a queue that is read: a backlog."""
    NO_CONSUMER = "no_consumer"
    """Its command stands in a queue that nobody reads."""
    RUNNING = "running"
    """A participant took it, and sends heartbeats."""
    DEFERRED = "deferred"
    """A participant took it; the answer comes from outside."""
    UNPUBLISHED = "unpublished"
    """Its command was not sent, or the broker has not confirmed it."""
    UNROUTABLE = "unroutable"
    """No queue takes its command."""
    OVERDUE = "overdue"
    """Something of it was due long ago: no engine works on the store."""
    UNDO_GAVE_UP = "undo_gave_up"
    """Failed: an undo gave up."""
    PARKED = "parked"
    """Failed: a step gave up, and the saga does not turn back by itself."""
    SUSPENDED = "suspended"
    """Failed: its deadline passed."""
    DEAD_LETTERED = "dead_lettered"
    """Failed: a command ended in the dead letters."""
    UNREADABLE = "unreadable"
    """Its row in the store is damaged."""
    STUCK = "stuck"
    """Nothing of it is open, and it has not ended: a defect of ours."""


NEEDS_PERSON = frozenset(
    {
        WaitReason.UNDO_GAVE_UP,
        WaitReason.PARKED,
        WaitReason.SUSPENDED,
        WaitReason.DEAD_LETTERED,
        WaitReason.UNREADABLE,
        WaitReason.STUCK,
    }
)
"""Reasons that do not pass by themselves."""


@dataclass(frozen=True, slots=True)
class Unsent:
    """A command that the broker has not confirmed.

    Attributes:
        claimed_until: until then an engine has it in hand.
        error: why it could not be sent; empty: it was not tried, or is under way.
    """

    claimed_until: dt.datetime
    error: str = ""


@dataclass(frozen=True, slots=True)
class QueueLook:
    """What the broker says of the queue of a command.

    Attributes:
        queue: its name.
        ready: messages that wait there.
        consumers: who reads it; of all processes.
    """

    queue: str
    ready: int
    consumers: int


@dataclass(frozen=True, slots=True)
class Wait:
    """One thing that a saga waits for.

    Attributes:
        reason: why.
        since: since when: the step's first dispatch in this direction, its
            retries included; of a failed saga when it stopped.
        detail: more, in words.
        step: the step it is about; None: the saga as a whole.
        direction: the step's action, or its undo.
        action: the handler that is waited for.
        attempt: which one.
        until: when the engine looks at it next; None: never by itself.
    """

    reason: WaitReason
    since: dt.datetime
    detail: str = ""
    step: str | None = None
    direction: Direction | None = None
    action: str = ""
    attempt: int = 0
    until: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class StaleAfter:
    """After how long a saga that waits is stale.

    Attributes:
        default: for definitions without a threshold of their own.
        named: thresholds by the definition's name.
    """

    default: dt.timedelta = dt.timedelta(minutes=10)
    named: Mapping[str, dt.timedelta] = field(default_factory=dict)

    def of(self, name: str) -> dt.timedelta:
        """Return the threshold of a definition."""
        return self.named.get(name, self.default)

    @property
    def shortest(self) -> dt.timedelta:
        """The shortest threshold there is: younger sagas are not looked at."""
        return min((self.default, *self.named.values()))


def waits_of(
    saga: Saga, unsent: Mapping[Fence, Unsent], now: dt.datetime
) -> tuple[Wait, ...]:
    """Return what a saga waits for, the longest wait first; none: it has ended.

    Args:
        saga: its snapshot.
        unsent: its commands that the broker has not confirmed.
        now: the store's clock.
    """
    if saga.state in ENDED:
        return ()
    if saga.state is SagaState.FAILED:
        return (_of_failed(saga),)
    waits = [
        _of_step(saga, number, unsent, now)
        for number, status in enumerate(saga.steps)
        if status.is_open
    ]
    if not waits:
        return (Wait(WaitReason.STUCK, saga.updated_at, "nothing of it is open"),)
    return tuple(sorted(waits, key=lambda wait: wait.since))


def refined(wait: Wait, looks: Collection[QueueLook]) -> Wait:
    """Return the wait with what the broker says of the command's queue.

    Args:
        wait: what was read from the store.
        looks: the queues that the command may stand in. An empty one says nothing:
            a command that nobody took stands in its queue.
    """
    if wait.reason is not WaitReason.UNANSWERED or not looks:
        return wait
    unread = [look for look in looks if look.ready and not look.consumers]
    longest = max(unread or looks, key=lambda look: look.ready)
    if unread:
        detail = f"nobody reads {longest.queue}, where {longest.ready} are ready"
        return replace(wait, reason=WaitReason.NO_CONSUMER, detail=detail)
    if longest.ready:
        detail = (
            f"{longest.ready} ready in {longest.queue}, consumers: {longest.consumers}"
        )
        return replace(wait, reason=WaitReason.QUEUED, detail=detail)
    names = ", ".join(look.queue for look in looks)
    return replace(wait, detail=f"{wait.detail}; nothing stands in {names}")


def _of_failed(saga: Saga) -> Wait:
    name = next(iter(saga.failed_steps), None)
    if f": {UNDELIVERABLE}: " in saga.reason:
        reason = WaitReason.DEAD_LETTERED
    elif any(status.phase is Phase.GAVE_UP for status in saga.steps):
        reason = WaitReason.UNDO_GAVE_UP
    elif saga.reason == DEADLINE_PASSED:
        reason = WaitReason.SUSPENDED
    else:
        reason = WaitReason.PARKED
    return Wait(reason, saga.updated_at, saga.reason, name)


def _of_step(
    saga: Saga, number: int, unsent: Mapping[Fence, Unsent], now: dt.datetime
) -> Wait:
    step, status = saga.plan.steps[number], saga.steps[number]
    assert status.opened_at is not None, "a limit runs while a step is open"
    undo = status.direction is Direction.COMPENSATION
    limit_at = status.opened_at + saga.plan.limit_of(number, status.direction)
    until = min(status.due_at or limit_at, limit_at)
    reason, detail = _why(saga, number, unsent.get(saga.fence_of(number)), now)
    if now - until >= OVERDUE_AFTER:
        reason = WaitReason.OVERDUE
        detail = f"something was due at {until:%Y-%m-%d %H:%M:%S} UTC; {detail}"
    return Wait(
        reason,
        status.opened_at,
        detail,
        step.name,
        status.direction,
        step.compensation if undo else step.action,
        status.attempt,
        until,
    )


def _why(
    saga: Saga, number: int, unsent: Unsent | None, now: dt.datetime
) -> tuple[WaitReason, str]:
    status = saga.steps[number]
    if status.phase is Phase.WAITING:
        return WaitReason.RETRYING, f"attempt {status.attempt} is next"
    if status.phase is Phase.ACCEPTED:
        if status.due_at is None:
            return WaitReason.DEFERRED, "its answer comes from outside"
        return WaitReason.RUNNING, "its participant sends heartbeats"
    if unsent is not None:
        return _why_unsent(unsent, now)
    again = f", sent again {status.resends} times" if status.resends else ""
    return WaitReason.UNANSWERED, f"sent, its answer is awaited{again}"


def _why_unsent(unsent: Unsent, now: dt.datetime) -> tuple[WaitReason, str]:
    if unsent.error.startswith(NO_SERVICE):
        return WaitReason.UNROUTABLE, unsent.error
    if unsent.error == QUEUED:
        return WaitReason.QUEUED, unsent.error
    if unsent.error:
        return WaitReason.UNPUBLISHED, f"not sent: {unsent.error}"
    if now - unsent.claimed_until >= TAKEN_WITHIN:
        return WaitReason.UNPUBLISHED, "not sent: no engine has taken it"
    return WaitReason.UNPUBLISHED, "being sent: the broker has not confirmed it"
