"""Going back: which step is undone next, and when the saga has ended.

RELIABILITY S6: one at a time, by descending history number of the success (of
the last dispatch, where the outcome is unknown). As a step is only dispatched
after all it depends on succeeded, this is a reverse dependency order, and for
a sequence exactly last in, first out.
"""

from __future__ import annotations

from saga_orchestrator.core.draft import Draft
from saga_orchestrator.core.saga import StepStatus, needs_undo
from saga_orchestrator.core.states import (
    Direction,
    Outcome,
    Phase,
    SagaState,
    StepState,
)


def unwind(draft: Draft) -> None:
    """Send the next undo, or end the saga. Does nothing while it must wait."""
    if draft.state is not SagaState.COMPENSATING:
        return
    if any(_is_running_action(status) for status in draft.steps):
        return  # its answer decides whether it has to be undone
    if draft.halting:
        _stop(draft)
        return
    open_undos = any(_is_open_undo(status) for status in draft.steps)
    together = draft.plan.definition.parallel_compensation
    if open_undos and not together:
        return
    waiting = _waiting_for_undo(draft)
    for number in waiting if together else waiting[:1]:
        draft.send(number, Direction.COMPENSATION, attempt=1)
    if not open_undos and not waiting:
        gave_up = any(status.phase is Phase.GAVE_UP for status in draft.steps)
        draft.enter(SagaState.FAILED if gave_up else SagaState.COMPENSATED)


def give_up_undo(draft: Draft, number: int, reason: str) -> None:
    """Note that an undo gave up, and stop or go on as the definition says."""
    draft.settle(number, phase=Phase.GAVE_UP)
    if reason not in draft.reason:
        # Behind why the saga was undone, which its reader wants to know, too.
        draft.reason = f"{draft.reason[:200]}; {reason}"[:500]
    if draft.plan.definition.on_compensation_failure == "halt":
        draft.halting = True
    unwind(draft)


def revive_undos(draft: Draft) -> None:
    """Let the undos that gave up be sent again, with fresh attempts."""
    for number, status in enumerate(draft.steps):
        if status.phase is Phase.GAVE_UP:
            draft.settle(number)


def _stop(draft: Draft) -> None:
    """End as failed once no undo is in flight; those waiting to retry give up."""
    for number, status in enumerate(draft.steps):
        if _is_open_undo(status) and status.phase is Phase.WAITING:
            draft.settle(number, phase=Phase.GAVE_UP)
    if not any(_is_open_undo(status) for status in draft.steps):
        draft.halting = False
        draft.enter(SagaState.FAILED)


def _waiting_for_undo(draft: Draft) -> list[int]:
    """Return the steps whose undo is still to be sent, the next one first."""
    numbers = [
        number
        for number, status in enumerate(draft.steps)
        if _is_revived(status) or needs_undo(draft.plan.steps[number], status)
    ]
    return sorted(numbers, key=lambda number: _age(draft, number), reverse=True)


def _age(draft: Draft, number: int) -> tuple[int, bool, int]:
    """Return what the undo goes down by.

    A success and the dispatches that it caused share a history number; those
    came after it.
    """
    status = draft.steps[number]
    return status.mark, status.outcome is not Outcome.SUCCEEDED, number


def _is_running_action(status: StepStatus) -> bool:
    return status.state is StepState.STARTED and status.is_in_flight


def _is_open_undo(status: StepStatus) -> bool:
    return status.state is StepState.COMPENSATING and status.is_open


def _is_revived(status: StepStatus) -> bool:
    return status.state is StepState.COMPENSATING and status.phase is Phase.IDLE
