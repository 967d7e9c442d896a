"""What an operator may ask: rows 6 to 9 of the table. Each act is recorded."""

from __future__ import annotations

from saga_orchestrator.core.answers import fail_attempt
from saga_orchestrator.core.decision import HistoryKind
from saga_orchestrator.core.draft import Draft
from saga_orchestrator.core.events import (
    CompensateRequested,
    GiveUpRequested,
    Requested,
    ResolveRequested,
    RetryRequested,
    StepFailed,
)
from saga_orchestrator.core.forward import abort, advance
from saga_orchestrator.core.refusal import Refusal
from saga_orchestrator.core.saga import needs_undo
from saga_orchestrator.core.states import (
    Direction,
    Outcome,
    Phase,
    SagaState,
    StepState,
)
from saga_orchestrator.core.unwind import revive_undos, unwind


def decide_compensate(draft: Draft, event: CompensateRequested) -> None:
    """Abort a started saga, resume a failed one, by force undo a completed one."""
    if draft.state in (SagaState.COMPENSATING, SagaState.COMPENSATED):
        return
    if not event.force:
        if draft.state is SagaState.COMPLETED:
            raise Refusal("undoing a completed saga needs force")
        if draft.direction is Direction.ACTION and draft.pivot_passed:
            raise Refusal("it is past its pivot; undoing it needs force")
    if draft.state is SagaState.FAILED:
        _require_seen(draft, event.version)
    _record(draft, HistoryKind.COMPENSATE_REQUESTED, event, force=event.force)
    revive_undos(draft)
    if draft.direction is Direction.ACTION:
        abort(draft, f"compensate requested: {event.reason}", force=True)
    else:
        _resume_undo(draft)


def decide_retry(draft: Draft, event: RetryRequested) -> None:
    """Try what gave up again, in the direction the saga was going."""
    _require_failed(draft, "only a failed saga can be retried")
    _require_seen(draft, event.version)
    _record(draft, HistoryKind.RETRY_REQUESTED, event)
    draft.deadline_at = None
    if draft.direction is Direction.COMPENSATION:
        revive_undos(draft)
        _resume_undo(draft)
        return
    draft.reason = ""
    draft.enter(SagaState.STARTED)
    again = []
    for number, status in enumerate(draft.steps):
        if status.state is StepState.FAILED and status.generation:
            again.append(number)
        elif status.state is StepState.FAILED:
            # Its condition could not be judged; it may be now.
            draft.settle(number, state=StepState.PENDING, outcome=Outcome.NONE)
    advance(draft, range(len(draft.steps)), again=again)


def decide_resolve(draft: Draft, event: ResolveRequested) -> None:
    """Count a step that gave up as done, or undone, by a person; and go on."""
    _require_failed(draft, "only a step of a failed saga can be resolved")
    number = _number_of(draft, event.step)
    if event.direction is not draft.direction:
        done = "undone" if draft.direction is Direction.COMPENSATION else "done"
        raise Refusal(f"it can count step {event.step} as {done} only; look again")
    _require_dispatch(draft, event, number)
    if draft.direction is Direction.COMPENSATION:
        _resolve_undo(draft, event, number)
    else:
        _resolve_action(draft, event, number)


def _resolve_action(draft: Draft, event: ResolveRequested, number: int) -> None:
    status = draft.steps[number]
    if status.state is not StepState.FAILED:
        raise Refusal(f"step {event.step} is {status.state}; only failed ones resolve")
    _record(draft, HistoryKind.STEP_RESOLVED, event, number, output=event.output)
    draft.settle(
        number,
        state=StepState.COMPLETED,
        outcome=Outcome.SUCCEEDED,
        mark=draft.seq,
        # Its undo's input is made of what stood when the step was done.
        revision=status.revision if status.generation else draft.revision,
    )
    draft.keep_output(number, event.output)
    draft.deadline_at = None
    draft.reason = ""
    draft.enter(SagaState.STARTED)
    advance(draft, range(len(draft.steps)))


def _resolve_undo(draft: Draft, event: ResolveRequested, number: int) -> None:
    status = draft.steps[number]
    if event.output is not None:
        raise Refusal(f"it is the undo of step {event.step}, which has no output")
    gave_up = status.phase is Phase.GAVE_UP
    if not gave_up and not needs_undo(draft.plan.steps[number], status):
        raise Refusal(f"step {event.step} is {status.state}, with nothing to undo")
    _record(draft, HistoryKind.STEP_RESOLVED, event, number)
    draft.settle(number, state=StepState.COMPENSATED)
    halts = draft.plan.definition.on_compensation_failure == "halt"
    others = any(status.phase is Phase.GAVE_UP for status in draft.steps)
    if not (halts and others):  # else what is before them must wait for a person
        _resume_undo(draft)


def decide_give_up(draft: Draft, event: GiveUpRequested) -> None:
    """Count the open dispatch of a step as unknown, now."""
    if draft.state not in (SagaState.STARTED, SagaState.COMPENSATING):
        raise Refusal("nothing is in flight, so there is no wait to give up")
    number = _number_of(draft, event.step)
    _require_dispatch(draft, event, number)
    status = draft.steps[number]
    if not status.is_in_flight:
        raise Refusal(
            f"step {event.step} is {status.state} and {status.phase}; only a step "
            "whose answer is awaited can be given up"
        )
    failure = StepFailed(
        draft.fence_of(number),
        refused=False,
        error_type="GivenUp",
        error=f"{event.principal}: {event.reason}",
    )
    fail_attempt(
        draft,
        number,
        failure,
        HistoryKind.WAIT_GIVEN_UP,
        principal=event.principal,
        reason=event.reason,
    )


def _resume_undo(draft: Draft) -> None:
    draft.halting = False
    draft.enter(SagaState.COMPENSATING)
    unwind(draft)


def _require_failed(draft: Draft, problem: str) -> None:
    if draft.state is not SagaState.FAILED:
        raise Refusal(problem)


def _require_seen(draft: Draft, version: int | None) -> None:
    if version is not None and version != draft.seq:
        raise Refusal("it has gone on since you looked, and failed again; look again")


def _require_dispatch(
    draft: Draft, event: ResolveRequested | GiveUpRequested, number: int
) -> None:
    if draft.steps[number].generation != event.generation:
        raise Refusal(f"step {event.step} is no longer at dispatch {event.generation}")


def _number_of(draft: Draft, name: str) -> int:
    number = draft.plan.number.get(name)
    if number is None:
        names = ", ".join(draft.plan.number)
        raise Refusal(f"it has no step {name!r}; its steps are {names}")
    return number


def _record(
    draft: Draft,
    kind: HistoryKind,
    event: Requested,
    number: int | None = None,
    **data: object,
) -> None:
    draft.record(kind, number, principal=event.principal, reason=event.reason, **data)
