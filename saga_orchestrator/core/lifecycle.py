"""What is told of a saga's life: derived from a decision and the saga before it.

Nothing here decides anything. The history says more, but to people; these few
events are for programs, and their names and meaning stay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from enum import StrEnum

from saga_orchestrator.core.decision import Decision, HistoryEntry, HistoryKind
from saga_orchestrator.core.payload import Json
from saga_orchestrator.core.public import PublicEvent, PublicKind, event_id
from saga_orchestrator.core.saga import Saga, StepStatus
from saga_orchestrator.core.states import Direction, Phase, SagaState, StepState

AGGREGATE_TYPE = "saga"


class Told(StrEnum):
    """What can be told of a saga."""

    STARTED = "started"
    STEP_COMPLETED = "step_completed"
    STEP_SKIPPED = "step_skipped"
    STEP_FAILED = "step_failed"
    """The action or the undo was given up for good."""
    STEP_COMPENSATED = "step_compensated"
    COMPENSATING = "compensating"
    """It turned back; once, also where an operator resumes the undo later."""
    COMPLETED = "completed"
    COMPENSATED = "compensated"
    FAILED = "failed"
    """It stopped, and a person must look."""
    RESUMED = "resumed"
    """An operator led it out of ``failed``."""
    RESIDUAL_FOUND = "residual_found"


_DONE = frozenset({HistoryKind.STEP_SUCCEEDED, HistoryKind.STEP_RESOLVED})
_GIVEN_UP = frozenset(
    {
        HistoryKind.STEP_FAILED,
        HistoryKind.STEP_POSTPONED,
        HistoryKind.STEP_EXPIRED,
        HistoryKind.HEARTBEAT_LOST,
        HistoryKind.WAIT_GIVEN_UP,
    }
)
_ARRIVED = {
    SagaState.COMPLETED: Told.COMPLETED,
    SagaState.COMPENSATED: Told.COMPENSATED,
    SagaState.FAILED: Told.FAILED,
}
_OPEN = frozenset({StepState.PENDING, StepState.STARTED})
_BEYOND = frozenset({StepState.FAILED, StepState.COMPENSATING, StepState.COMPENSATED})

_Item = tuple[HistoryEntry, Told, str | None]


def lifecycle_events(before: Saga | None, decision: Decision) -> Iterator[PublicEvent]:
    """Yield what a decision tells of its saga, in order.

    Args:
        before: the saga before it; None: it made the saga.
        decision: one that changed the saga.
    """
    saga = decision.saga
    if saga is None or not decision.history:
        return
    ordinals: Counter[int] = Counter()
    for entry, told, step in _items(before, saga, decision.history):
        ordinal = ordinals[entry.seq]
        ordinals[entry.seq] += 1
        yield PublicEvent(
            event_id(saga.id, entry.seq, PublicKind.LIFECYCLE, ordinal),
            PublicKind.LIFECYCLE,
            AGGREGATE_TYPE,
            saga.id,
            told,
            _payload(saga, entry, told, step),
            entry.at,
        )


def _items(
    before: Saga | None, saga: Saga, history: tuple[HistoryEntry, ...]
) -> Iterator[_Item]:
    was = None if before is None else before.state
    back = before is not None and before.direction is Direction.COMPENSATION
    # One that it made can only have failed at a condition, which its entry tells.
    lost = {} if before is None else _newly_given_up(before, saga, history)
    given = before is None and saga.undoes is not None
    for entry in history:
        if entry.kind in _GIVEN_UP and _is_for_good(entry, lost):
            lost.pop(entry.step or "", None)
            yield entry, Told.STEP_FAILED, entry.step
        elif (told := _of_step(entry, back=back, given=given)) is not None:
            yield entry, told, entry.step
        if entry.state is was or (was is None and entry.state is SagaState.STARTED):
            was = entry.state
            continue
        # Actions that waited to retry when the saga turned back or stopped.
        for step in lost:
            yield entry, Told.STEP_FAILED, step
        lost = {}
        if was is SagaState.FAILED:
            yield entry, Told.RESUMED, None
        if entry.state is SagaState.COMPENSATING and not back:
            back = True
            yield entry, Told.COMPENSATING, None
        elif entry.state in _ARRIVED:
            yield entry, _ARRIVED[entry.state], None
        was = entry.state
    for step in lost:
        yield history[-1], Told.STEP_FAILED, step


def _of_step(entry: HistoryEntry, *, back: bool, given: bool) -> Told | None:
    """Return what an entry tells of its step, but that it was given up.

    Args:
        entry: of the history.
        back: the saga goes back.
        given: the saga undoes a residual and is being made: its steps did not run,
            they stand for those of the other saga.
    """
    if entry.kind is HistoryKind.SAGA_STARTED:
        return Told.STARTED
    if entry.kind is HistoryKind.RESIDUAL_FOUND:
        return Told.RESIDUAL_FOUND
    if given:
        return None
    # A person counts a step as undone also before its undo was ever sent.
    undone = entry.direction is Direction.COMPENSATION
    if entry.kind is HistoryKind.STEP_RESOLVED:
        undone = back
    if entry.kind in _DONE:
        return Told.STEP_COMPENSATED if undone else Told.STEP_COMPLETED
    if entry.kind is HistoryKind.STEP_SKIPPED:
        return Told.STEP_COMPENSATED if undone else Told.STEP_SKIPPED
    return None


def _is_for_good(entry: HistoryEntry, lost: dict[str, None]) -> bool:
    """Tell whether no further attempt follows the failure that an entry tells.

    A condition that still cannot be judged after a retry fails a step that had
    failed before, so its status alone does not tell.
    """
    if entry.kind is HistoryKind.STEP_FAILED:
        return "retry_at" not in entry.data
    return entry.step in lost


def _newly_given_up(
    before: Saga, saga: Saga, history: tuple[HistoryEntry, ...]
) -> dict[str, None]:
    """Return the steps that a decision gave up, in the plan's order."""
    done = {
        entry.step
        for entry in history
        if entry.kind in _DONE or entry.kind is HistoryKind.STEP_SKIPPED
    }
    pairs = zip(saga.plan.steps, before.steps, saga.steps, strict=True)
    return {
        step.name: None
        for step, old, new in pairs
        if step.name not in done and _is_given_up(old, new)
    }


def _is_given_up(before: StepStatus, after: StepStatus) -> bool:
    if before.state in _OPEN:
        return after.state in _BEYOND
    return after.phase is Phase.GAVE_UP and before.phase is not Phase.GAVE_UP


def _payload(saga: Saga, entry: HistoryEntry, told: Told, step: str | None) -> Json:
    payload: dict[str, Json] = {
        "saga_id": saga.id,
        "saga": saga.name,
        "key": saga.key,
        "state": str(entry.state),
        "seq": entry.seq,
        "at": entry.at.isoformat(),
    }
    if step is not None:
        payload["step"] = step
    reason = _reason(saga, entry, told, step)
    if reason:
        payload["reason"] = reason
    return payload


def _reason(saga: Saga, entry: HistoryEntry, told: Told, step: str | None) -> str:
    """Return why, for people."""
    if told in (Told.COMPENSATING, Told.COMPENSATED, Told.FAILED):
        return saga.reason
    if told is Told.STEP_SKIPPED:
        return str(entry.data.get("reason") or "")
    if told is Told.STEP_FAILED and step == entry.step:
        words = (entry.data.get("error_type"), entry.data.get("error"))
        return ": ".join(str(word) for word in words if word)[:500]
    return ""
