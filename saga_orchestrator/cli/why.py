"""`saga why`: why one saga waits, and what to do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

from saga_orchestrator.api.wait_documents import diagnosis_document
from saga_orchestrator.cli.options import (
    BrokerOption,
    JsonOption,
    SagaArgument,
    StoreOption,
    client,
    settings_of,
)
from saga_orchestrator.cli.terminal import emit, emit_json, marked, one_line
from saga_orchestrator.cli.timeline import duration
from saga_orchestrator.core.states import Direction
from saga_orchestrator.runtime.monitor import Cause, Diagnosis, diagnose

if TYPE_CHECKING:
    from saga_orchestrator.settings import Settings


def why(
    saga_id: SagaArgument,
    store: StoreOption = None,
    broker: BrokerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say why a saga waits, since when, and what to do about it.

    From the store, and from the broker where one is set: whether anybody reads the
    queue of its command, and how many stand in it.

    Example:
        saga why 01JGFJJZ00000000000000000A --store postgresql://… --broker amqp://…
    """
    settings = settings_of(store=store, broker=broker)
    diagnosis = asyncio.run(_diagnose(settings, saga_id))
    if as_json:
        emit_json(diagnosis_document(diagnosis))
    else:
        emit(_lines(diagnosis))


async def _diagnose(settings: Settings, saga_id: str) -> Diagnosis:
    from saga_orchestrator.cli.looking import looks_at

    async with client(settings) as manager, looks_at(settings) as looks:
        record = await manager.record(saga_id)
        return await diagnose(record, await manager.store.now(), looks)


def _lines(diagnosis: Diagnosis) -> Iterator[str]:
    saga = diagnosis.saga
    yield f"{saga.id}  {saga.name}  {marked(saga.state)}"
    for cause in diagnosis.causes:
        yield ""
        yield from _cause_lines(diagnosis, cause)
    if diagnosis.notes:
        yield ""
    for text in diagnosis.notes:
        yield one_line(text)


def _cause_lines(diagnosis: Diagnosis, cause: Cause) -> Iterator[str]:
    wait = cause.wait
    about = ""
    if wait.step is not None:
        undo = "undo of " if wait.direction is Direction.COMPENSATION else ""
        about = f"{undo}{wait.step}: "
    waited = duration(diagnosis.now - wait.since)
    yield one_line(f"{about}{wait.reason} for {waited}: {wait.detail}")
    if cause.last_error:
        yield one_line(f"    last error: {cause.last_error}")
    if wait.until is not None and wait.until > diagnosis.now:
        yield f"    looked at again in {duration(wait.until - diagnosis.now)}"
    yield one_line(f"    fix: {cause.remedy}")
