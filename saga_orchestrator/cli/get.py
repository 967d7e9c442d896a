"""`saga get`: all about one saga."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterator
from typing import TYPE_CHECKING

from saga_orchestrator.cli.documents import record_document
from saga_orchestrator.cli.options import (
    JsonOption,
    SagaArgument,
    StoreOption,
    client,
    settings_of,
)
from saga_orchestrator.cli.remedies import residual_lines, ways_on
from saga_orchestrator.cli.terminal import (
    columns,
    emit,
    emit_json,
    marked,
    one_line,
)
from saga_orchestrator.cli.timeline import duration, timeline
from saga_orchestrator.core.decision import HistoryKind
from saga_orchestrator.core.definition import Step
from saga_orchestrator.core.saga import Saga, StepStatus
from saga_orchestrator.core.states import Direction, Phase, SagaState
from saga_orchestrator.ports.store import OutboxRow, SagaRecord

if TYPE_CHECKING:
    from saga_orchestrator.settings import Settings


def get(
    saga_id: SagaArgument, store: StoreOption = None, as_json: JsonOption = False
) -> None:
    """Show a saga: its state, its steps, what happened when.

    With --json also its context, outputs, plan, and what was ignored.

    Example:
        saga get 01JGFJJZ00000000000000000A --store sqlite:///saga.db
    """
    record, now = asyncio.run(_record(settings_of(store=store), saga_id))
    if as_json:
        emit_json(record_document(record))
    else:
        emit(describe(record, now))


async def _record(settings: Settings, saga_id: str) -> tuple[SagaRecord, dt.datetime]:
    async with client(settings) as manager:
        return await manager.record(saga_id), await manager.store.now()


def describe(record: SagaRecord, now: dt.datetime) -> Iterator[str]:
    """Yield a saga as text for people.

    Args:
        record: what the store knows of it.
        now: the store's clock; tells which commands nobody has in hand.
    """
    saga = record.saga
    yield from columns(list(_facts(saga)))
    if saga.steps:
        yield ""
        yield from columns(
            [("STEP", "STATE", "OUTCOME", "ATTEMPT", ""), *_steps(record, now)]
        )
    yield ""
    yield from timeline(record)
    for residual in record.residuals:
        yield ""
        yield from residual_lines(saga, residual)
    if saga.is_failed:
        yield ""
        yield from ways_on(saga)


def _facts(saga: Saga) -> Iterator[tuple[str, str]]:
    yield "saga", saga.id
    yield "name", saga.name
    yield "state", marked(saga.state)
    if saga.reason:
        yield "reason", one_line(saga.reason)
    if saga.key is not None:
        yield "key", one_line(saga.key)
    if saga.undoes is not None:
        yield "undoes", f"a residual of saga {saga.undoes}"
    yield "started", f"{saga.created_at:%Y-%m-%d %H:%M:%S} UTC"
    if saga.ended_at is not None:
        yield "took", duration(saga.ended_at - saga.created_at)
    if saga.ignored:
        yield "ignored", f"{saga.ignored} late or repeated answers"


def _steps(
    record: SagaRecord, now: dt.datetime
) -> Iterator[tuple[str, str, str, str, str]]:
    saga = record.saga
    resolved = dict(_resolved(record))
    unsent = {row.fence: _unsent(row, now) for row in record.outbox}
    for number, (step, status) in enumerate(
        zip(saga.plan.steps, saga.steps, strict=True)
    ):
        remark = _remark(saga, status) or resolved.get(step.name, "")
        if status.is_in_flight:  # else nobody waits for what may still be sent
            remark = unsent.get(saga.fence_of(number), remark)
        yield (
            step.name,
            status.state,
            status.outcome,
            _attempt(step, status),
            one_line(remark),
        )


def _resolved(record: SagaRecord) -> Iterator[tuple[str, str]]:
    """Yield the steps that a person resolved, with who and why, oldest first."""
    for entry in record.history:
        if entry.kind is HistoryKind.STEP_RESOLVED and entry.step is not None:
            undone = entry.state is SagaState.COMPENSATING
            what = "undone by hand" if undone else "done by hand"
            who = f"{entry.data['principal']}: {entry.data['reason']}"
            yield entry.step, f"{what}, says {who}"


def _unsent(row: OutboxRow, now: dt.datetime) -> str:
    """Return why a command is still in the outbox."""
    if row.error:
        return f"not sent: {row.error}"
    if row.claimed_until <= now:
        return "not sent yet: no engine has taken it"
    return "being sent: the broker has not confirmed it yet"


def _attempt(step: Step, status: StepStatus) -> str:
    """Return the attempt in the current direction, of how many."""
    if not status.generation:
        return ""
    undo = status.direction is Direction.COMPENSATION
    policy = step.compensation_retry if undo else step.retry
    return f"{status.attempt} of {policy.max_attempts}" + (" (undo)" if undo else "")


def _remark(saga: Saga, status: StepStatus) -> str:
    """Return what a step waits for."""
    match status.phase:
        case Phase.SENT:
            return "sent, its answer is awaited"
        case Phase.ACCEPTED:
            return "accepted, its answer is awaited"
        case Phase.WAITING if status.due_at is not None:
            offset = duration(status.due_at - saga.created_at)
            return f"waits; next try {offset} after the start"
        case Phase.GAVE_UP:
            return "its undo gave up"
        case _:
            return ""
