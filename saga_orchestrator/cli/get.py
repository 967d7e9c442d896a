"""`saga get`: all about one saga."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterator
from typing import TYPE_CHECKING

from saga_orchestrator.api.documents import record_document
from saga_orchestrator.cli.options import (
    JsonOption,
    SagaArgument,
    StoreOption,
    client,
    settings_of,
)
from saga_orchestrator.cli.remarks import Remarks, not_undone
from saga_orchestrator.cli.remedies import residual_lines, ways_on
from saga_orchestrator.cli.terminal import (
    ALARM,
    columns,
    emit,
    emit_json,
    marked,
    one_line,
)
from saga_orchestrator.cli.timeline import duration, timeline
from saga_orchestrator.core.definition import Step
from saga_orchestrator.core.saga import Saga, StepStatus
from saga_orchestrator.core.states import Direction
from saga_orchestrator.ports.records import SagaRecord

if TYPE_CHECKING:
    from saga_orchestrator.settings import Settings


def get(
    saga_id: SagaArgument, store: StoreOption = None, as_json: JsonOption = False
) -> None:
    """Show a saga: its state, its steps, what happened when.

    What of it cannot be read, because somebody damaged it in the store, is named
    and left out. With --json also its context, outputs, plan, and what was ignored.

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
        now: the store's clock; tells what waits since when, and which commands
            nobody has in hand.
    """
    saga = record.saga
    yield from columns(list(_facts(saga)))
    for problem in record.damage:
        yield f"{ALARM} {one_line(problem)}"
    if saga.steps:
        yield ""
        yield from columns(
            [("STEP", "STATE", "OUTCOME", "ATTEMPT", ""), *_steps(record, now)]
        )
    if standing := not_undone(saga):
        yield standing
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
    remarks = Remarks(record, now)
    for number, (step, status) in enumerate(
        zip(saga.plan.steps, saga.steps, strict=True)
    ):
        yield (
            step.name,
            status.state,
            status.outcome,
            _attempt(step, status),
            one_line(remarks.on(number)),
        )


def _attempt(step: Step, status: StepStatus) -> str:
    """Return the attempt in the current direction, of how many."""
    if not status.generation:
        return ""
    undo = status.direction is Direction.COMPENSATION
    policy = step.compensation_retry if undo else step.retry
    return f"{status.attempt} of {policy.max_attempts}" + (" (undo)" if undo else "")
