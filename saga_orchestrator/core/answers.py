"""What a participant's answer does to its saga: rows 1 to 4 of the table."""

from __future__ import annotations

import datetime as dt

from saga_orchestrator.core.decision import HistoryKind
from saga_orchestrator.core.draft import Draft
from saga_orchestrator.core.events import (
    Answered,
    StepAccepted,
    StepFailed,
    StepHeartbeat,
    StepPostponed,
    StepSkipped,
    StepSucceeded,
)
from saga_orchestrator.core.fence import unit_interval
from saga_orchestrator.core.forward import advance, give_up_action
from saga_orchestrator.core.payload import Json
from saga_orchestrator.core.retry import DELAY_MAX
from saga_orchestrator.core.saga import HEARD_BITS, StepStatus, heard_bit
from saga_orchestrator.core.states import (
    Direction,
    Outcome,
    Phase,
    SagaState,
    StepState,
)
from saga_orchestrator.core.unwind import give_up_undo, unwind

HEARTBEAT_LAPSE = dt.timedelta(seconds=60)
"""An accepted command that promised heartbeats and sent none for this long."""

NOT_AWAITED = "not the dispatch that is awaited"
CONTRADICTS = "refused after its success was told, which stands"

_CAN_STILL_SUCCEED = frozenset({StepState.STARTED, StepState.FAILED})


def decide_success(draft: Draft, number: int, event: StepSucceeded) -> None:
    """Apply a success, of whatever dispatch: the first one wins."""
    if event.fence.direction is Direction.ACTION:
        _action_succeeded(draft, number, event)
    elif draft.steps[number].state is not StepState.COMPENSATING:
        draft.ignore(event, "the step is not being undone")
    else:
        draft.merge(event.update)
        _undone(draft, number, event, HistoryKind.STEP_SUCCEEDED)


def decide_skip(draft: Draft, number: int, event: StepSkipped) -> None:
    """Apply ``Skip``: the step is left out, or counts as undone."""
    status = draft.steps[number]
    if event.fence.direction is Direction.COMPENSATION:
        if status.state is not StepState.COMPENSATING:
            draft.ignore(event, "the step is not being undone")
            return
        draft.merge(event.update)
        _undone(draft, number, event, HistoryKind.STEP_SKIPPED, event.reason)
    elif _is_current(draft, number, event):
        # Of an earlier dispatch it would settle a step whose present one is out.
        draft.record(HistoryKind.STEP_SKIPPED, number, reason=event.reason)
        draft.emit(event.emitted)
        draft.settle(number, state=StepState.SKIPPED)
        draft.merge(event.update)
        _go_on(draft, number)


def decide_failure(draft: Draft, number: int, event: StepFailed) -> None:
    """Apply a failed attempt of the current dispatch: retry, or give up."""
    if _is_current(draft, number, event):
        fail_attempt(draft, number, event)


def decide_postponement(draft: Draft, number: int, event: StepPostponed) -> None:
    """Apply ``RetryLater``: the same attempt again after a while."""
    if not _is_current(draft, number, event):
        return
    status = draft.steps[number]
    draft.record(
        HistoryKind.STEP_POSTPONED,
        number,
        reason=event.reason,
        delay_s=event.delay.total_seconds(),
    )
    if _may_send(draft, status.direction):
        delay = min(max(event.delay, dt.timedelta(0)), DELAY_MAX)
        due_at = draft.now + delay
        outcome = _left_open(status)
        draft.change(number, phase=Phase.WAITING, outcome=outcome, due_at=due_at)
        return
    name = draft.plan.steps[number].name
    reason = f"step {name}: put off: {event.reason or 'no reason given'}"[:500]
    if status.direction is Direction.ACTION:
        give_up_action(draft, number, Outcome.UNKNOWN, reason)
    else:
        give_up_undo(draft, number, f"undo of {reason}")


def decide_acceptance(
    draft: Draft, number: int, event: StepAccepted | StepHeartbeat
) -> None:
    """Apply *accepted* or a heartbeat: no resend, wait for the final answer."""
    if not _is_current(draft, number, event):
        return
    beats = isinstance(event, StepHeartbeat) or event.heartbeat
    due_at = draft.now + HEARTBEAT_LAPSE if beats else None
    if draft.steps[number].phase is Phase.SENT:
        draft.record(HistoryKind.STEP_ACCEPTED, number)
    elif isinstance(event, StepAccepted):
        draft.ignore(event, "the step was accepted before")
        return
    draft.change(number, phase=Phase.ACCEPTED, due_at=due_at)


def fail_attempt(
    draft: Draft,
    number: int,
    failure: StepFailed,
    kind: HistoryKind = HistoryKind.STEP_FAILED,
    **data: Json,
) -> None:
    """End the step's current attempt without success; ``data`` is recorded too."""
    status = draft.steps[number]
    step = draft.plan.steps[number]
    forward = status.direction is Direction.ACTION
    policy = step.retry if forward else step.compensation_retry
    answered = kind is HistoryKind.STEP_FAILED
    named = answered and failure.error_type in policy.non_retryable
    refused = failure.refused or named
    outcome = status.outcome
    if forward and outcome is not Outcome.UNKNOWN:  # unknown sticks
        outcome = Outcome.REFUSED if refused else Outcome.UNKNOWN
    final = not failure.retryable or named
    final = final or (refused and not forward)  # an undo's no will not become a yes
    again = not final and policy.allows(status.attempt)
    again = again and _may_send(draft, status.direction)
    retry_at = None
    if again:
        share = unit_interval(draft.fence_of(number))
        retry_at = draft.now + policy.delay_after(status.attempt, share)
    draft.record(
        kind,
        number,
        error_type=failure.error_type or None,
        error=failure.error or None,
        refused=refused,
        retry_at=retry_at.isoformat() if retry_at else None,
        update=dict(failure.update) or None,
        **data,
    )
    draft.merge(failure.update)
    if retry_at:
        draft.change(
            number,
            phase=Phase.WAITING,
            outcome=outcome,
            attempt=status.attempt + 1,
            due_at=retry_at,
        )
        return
    reason = _reason(step.name, failure)
    if forward:
        give_up_action(draft, number, outcome, reason)
    else:
        give_up_undo(draft, number, f"undo of {reason}")


def expire(draft: Draft, number: int) -> None:
    """End a step whose limit passed: what is out counts as unknown."""
    status = draft.steps[number]
    reason = f"step {draft.plan.steps[number].name}: its limit passed"
    if status.direction is Direction.COMPENSATION:
        _expire_undo(draft, number, f"undo of {reason}")
        return
    draft.record(HistoryKind.STEP_EXPIRED, number)
    unsure = status.is_in_flight or status.outcome is Outcome.NONE
    outcome = Outcome.UNKNOWN if unsure else status.outcome
    give_up_action(draft, number, outcome, reason)


def _expire_undo(draft: Draft, number: int, reason: str) -> None:
    """Give up an undo whose limit passed; where attempts have no end, try again."""
    policy = draft.plan.steps[number].compensation_retry
    draft.record(HistoryKind.STEP_EXPIRED, number)
    if policy.max_attempts is None and _may_send(draft, Direction.COMPENSATION):
        attempt = draft.steps[number].attempt + 1
        draft.settle(number)
        draft.send(number, Direction.COMPENSATION, attempt)
    else:
        give_up_undo(draft, number, reason)


def _action_succeeded(draft: Draft, number: int, event: StepSucceeded) -> None:
    status = draft.steps[number]
    generation = event.fence.generation
    if status.heard & heard_bit(generation):
        draft.ignore(event, "repeated")
    elif status.state in _CAN_STILL_SUCCEED:
        if draft.state in (SagaState.COMPLETED, SagaState.COMPENSATED):
            _leave_behind(draft, event)
        else:
            _complete(draft, number, event)
    elif status.state is StepState.COMPLETED and status.heard:
        draft.hear(number, generation)
        draft.ignore(event, "another dispatch of the step succeeded first")
    else:
        _leave_behind(draft, event)


def _complete(draft: Draft, number: int, event: StepSucceeded) -> None:
    draft.record(
        HistoryKind.STEP_SUCCEEDED,
        number,
        output=event.output,
        update=dict(event.update) or None,
        answered_by=event.answered_by or None,
    )
    draft.history[-1].generation = event.fence.generation
    draft.emit(event.emitted)
    draft.settle(
        number,
        state=StepState.COMPLETED,
        outcome=Outcome.SUCCEEDED,
        mark=draft.seq,
        heard=draft.steps[number].heard | heard_bit(event.fence.generation),
    )
    draft.keep_output(number, event.output)
    draft.merge(event.update)
    _go_on(draft, number)


def _leave_behind(draft: Draft, event: StepSucceeded) -> None:
    """A success of which the saga's account has no place any more.

    It comes after its undo was sent, after the end, or after a person did by hand
    what had given up.
    """
    if event.effect:
        draft.open_residual(event.fence, event.output)
    draft.ignore(event, "late: undone, ended, or done by hand before")


def _undone(
    draft: Draft,
    number: int,
    event: StepSucceeded | StepSkipped,
    kind: HistoryKind,
    reason: str | None = None,
) -> None:
    draft.record(kind, number, reason=reason)
    draft.history[-1].generation = event.fence.generation
    draft.emit(event.emitted)
    draft.settle(number, state=StepState.COMPENSATED)
    unwind(draft)


def _go_on(draft: Draft, number: int) -> None:
    """Let the saga move after a step was done, in whichever direction it goes."""
    if draft.state is SagaState.STARTED:
        advance(draft, draft.plan.dependents[number])
    else:
        unwind(draft)


def _left_open(status: StepStatus) -> Outcome:
    """Return the outcome after "not now": what was put off may have begun.

    So it also opens again what an earlier attempt had refused; only *unknown* stays.
    """
    forward = status.direction is Direction.ACTION
    return (
        Outcome.NONE
        if forward and status.outcome is Outcome.REFUSED
        else status.outcome
    )


def _may_send(draft: Draft, direction: Direction) -> bool:
    """Tell whether a retry in this direction may still be sent."""
    wanted = (
        SagaState.STARTED if direction is Direction.ACTION else SagaState.COMPENSATING
    )
    return draft.state is wanted and not draft.halting


def _is_current(draft: Draft, number: int, event: Answered) -> bool:
    """Tell whether the answer is for the open dispatch; else count it."""
    status = draft.steps[number]
    if draft.fence_of(number) == event.fence and status.is_in_flight:
        return True
    contradicts = _contradicts(status, event)
    draft.ignore(event, CONTRADICTS if contradicts else NOT_AWAITED)
    return False


def _contradicts(status: StepStatus, event: Answered) -> bool:
    """Tell whether a refusal denies the success of its own dispatch, which stands.

    Once that is undone the barrier says *superseded* to a copy of the command, which
    is no lie. Errors, and "not now", do not say that nothing happened.
    """
    generation = event.fence.generation
    return (
        isinstance(event, StepFailed)
        and event.refused
        and event.fence.direction is Direction.ACTION
        and status.state is StepState.COMPLETED
        and generation < HEARD_BITS  # the last bit is shared
        and bool(status.heard & heard_bit(generation))
    )


def _reason(step: str, failure: StepFailed) -> str:
    text = ": ".join(word for word in (failure.error_type, failure.error) if word)
    return f"step {step}: {text or 'failed'}"[:500]
