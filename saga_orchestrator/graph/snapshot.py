"""From a saga's snapshot, and its history, to what there is to draw of it."""

from __future__ import annotations

from collections.abc import Iterable

from saga_orchestrator.core.decision import HistoryEntry, HistoryKind
from saga_orchestrator.core.retry import RetryPolicy
from saga_orchestrator.core.saga import Saga, StepStatus, needs_undo
from saga_orchestrator.core.states import (
    Direction,
    Outcome,
    Phase,
    SagaState,
    StepState,
)
from saga_orchestrator.core.step import Step
from saga_orchestrator.graph.labels import LONG, cut, plain
from saga_orchestrator.graph.layout import lay_out
from saga_orchestrator.graph.marks import (
    UNDO,
    UNDO_DUE,
    UNDO_GAVE_UP,
    UNDO_NOT_NEEDED,
    UNDO_SENT,
    UNDO_WAITS,
    UNDONE,
    Mark,
    mark_of,
)
from saga_orchestrator.graph.picture import Node, Picture, Undo, condition_of

_Order = dict[tuple[str, Direction], int]

_ENDS = frozenset(
    {
        HistoryKind.STEP_SUCCEEDED,
        HistoryKind.STEP_SKIPPED,
        HistoryKind.STEP_FAILED,
        HistoryKind.STEP_EXPIRED,
        HistoryKind.HEARTBEAT_LOST,
        HistoryKind.WAIT_GIVEN_UP,
        HistoryKind.STEP_RESOLVED,
    }
)

_TURNED_BACK = (SagaState.COMPENSATING, SagaState.FAILED)
"""Where a saga is once an undo was resolved: as failed while another is stuck."""

_SENT_UNDO = {
    Phase.SENT: UNDO_SENT,
    Phase.ACCEPTED: UNDO_SENT,
    Phase.WAITING: UNDO_WAITS,
    Phase.GAVE_UP: UNDO_GAVE_UP,
    Phase.IDLE: UNDO_DUE,
}


def picture_of_saga(saga: Saga, history: Iterable[HistoryEntry] = ()) -> Picture:
    """Return what there is to draw of a saga.

    Args:
        saga: a snapshot.
        history: numbers actions and undos in the order they came to their end;
            without it they have no numbers.
    """
    order = _order(saga, history)
    return Picture(
        name=saga.name,
        saga_id=saga.id,
        mark=mark_of(saga.state),
        reason=cut(plain(saga.reason), LONG),
        nodes=tuple(_node(saga, number, order) for number in range(len(saga.steps))),
        depends_on=saga.plan.depends_on,
        layout=lay_out(saga.plan.depends_on),
        undo_together=saga.plan.definition.parallel_compensation,
        residuals=saga.residuals,
    )


def _node(saga: Saga, number: int, order: _Order) -> Node:
    step, status = saga.plan.steps[number], saga.steps[number]
    forward = status.direction is Direction.ACTION
    details = [*_outcome(status)]
    if forward:
        details += ["waits to retry"] if status.phase is Phase.WAITING else []
        details += _attempt(status, step.retry)
    return Node(
        name=step.name,
        action=step.action,
        mark=mark_of(status.state),
        details=tuple(details),
        when=condition_of(step),
        pivot=step.pivot,
        order=order.get((step.name, Direction.ACTION)),
        undo=_undo(saga, step, status, order) if step.compensation else None,
        status=status,
    )


def _undo(saga: Saga, step: Step, status: StepStatus, order: _Order) -> Undo:
    backward = status.direction is Direction.COMPENSATION
    return Undo(
        name=step.compensation,
        mark=_undo_mark(saga, step, status),
        details=_attempt(status, step.compensation_retry) if backward else (),
        order=order.get((step.name, Direction.COMPENSATION)),
    )


def _undo_mark(saga: Saga, step: Step, status: StepStatus) -> Mark:
    if status.state is StepState.COMPENSATED:
        return UNDONE
    if status.state is StepState.COMPENSATING:
        return _SENT_UNDO[status.phase]
    if saga.direction is Direction.ACTION:
        return UNDO_NOT_NEEDED if saga.state is SagaState.COMPLETED else UNDO
    if status.is_open:
        return UNDO
    return UNDO_DUE if needs_undo(step, status) else UNDO_NOT_NEEDED


def _outcome(status: StepStatus) -> tuple[str, ...]:
    """Return what is known of an action that did not succeed; not while it is tried."""
    if status.state is StepState.STARTED:
        return ()
    if status.outcome is Outcome.REFUSED:
        return ("refused",)
    return ("outcome unknown",) if status.outcome is Outcome.UNKNOWN else ()


def _attempt(status: StepStatus, policy: RetryPolicy) -> tuple[str, ...]:
    if status.attempt <= 1:
        return ()
    of_how_many = f" of {policy.max_attempts}" if policy.max_attempts else ""
    return (f"attempt {status.attempt}{of_how_many}",)


def _order(saga: Saga, history: Iterable[HistoryEntry]) -> _Order:
    """Number what came to its end, by the last entry about it."""
    last: _Order = {}
    for entry in history:
        if entry.step is None or entry.kind not in _ENDS:
            continue
        # Who resolves an undo that was not sent yet is told of as the action's.
        resolved = entry.kind is HistoryKind.STEP_RESOLVED
        back = resolved and entry.state in _TURNED_BACK
        direction = Direction.COMPENSATION if back else entry.direction
        last[entry.step, direction or Direction.ACTION] = entry.seq
    for step, status in zip(saga.plan.steps, saga.steps, strict=True):
        if status.is_open or status.state is StepState.PENDING:
            last.pop((step.name, status.direction), None)
    ended = sorted(last, key=lambda key: last[key])
    return {key: number for number, key in enumerate(ended, start=1)}
