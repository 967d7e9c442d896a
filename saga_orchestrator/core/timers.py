"""What falls due: the deadline, limits, retries, resends, lost heartbeats."""

from __future__ import annotations

from saga_orchestrator.core.answers import expire, fail_attempt
from saga_orchestrator.core.decision import HistoryKind
from saga_orchestrator.core.draft import Draft
from saga_orchestrator.core.events import StepFailed
from saga_orchestrator.core.forward import abort, halt
from saga_orchestrator.core.states import Phase, SagaState
from saga_orchestrator.core.waiting import DEADLINE_PASSED


def decide_time(draft: Draft) -> None:
    """Fire everything that is due at ``draft.now``: deadline, limits, the rest."""
    _fire_deadline(draft)
    # All limits before any retry: one that passed may end the forward part.
    for number, status in enumerate(draft.steps):
        still_open = draft.steps[number].is_open
        if still_open and draft.limit_at(status, number) <= draft.now:
            expire(draft, number)
    for number in range(len(draft.steps)):
        status = draft.steps[number]
        due_at = status.due_at
        if status.is_open and due_at is not None and due_at <= draft.now:
            _fire_phase(draft, number)


def decide_resend(draft: Draft) -> None:
    """Send every open command again: the broker lost its queues."""
    for number, status in enumerate(draft.steps):
        if status.phase is Phase.SENT:
            draft.record(HistoryKind.RESEND_REQUESTED, number)
            draft.resend(number)


def _fire_deadline(draft: Draft) -> None:
    due = draft.deadline_at
    if due is None or due > draft.now:
        return
    if draft.state is not SagaState.STARTED or draft.halting:
        return
    draft.record(HistoryKind.DEADLINE_PASSED)
    if draft.plan.definition.on_deadline == "suspend":
        halt(draft, DEADLINE_PASSED)
    else:
        abort(draft, DEADLINE_PASSED)


def _fire_phase(draft: Draft, number: int) -> None:
    status = draft.steps[number]
    if status.phase is Phase.WAITING:
        draft.record(HistoryKind.STEP_RETRIED, number)
        draft.send(number, status.direction, status.attempt)
    elif status.phase is Phase.SENT:
        draft.record(HistoryKind.STEP_RESENT, number)
        draft.resend(number)
    else:
        lost = StepFailed(
            draft.fence_of(number),
            refused=False,
            error_type="HeartbeatLost",
            error="the participant that accepted the command went silent",
        )
        fail_attempt(draft, number, lost, HistoryKind.HEARTBEAT_LOST)
