"""`saga watch`: follow one saga to its end."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import typer

from saga_orchestrator.api.documents import entry_document
from saga_orchestrator.cli.exits import Exit, exit_of_state
from saga_orchestrator.cli.following import follow
from saga_orchestrator.cli.options import (
    JsonOption,
    SagaArgument,
    StoreOption,
    TimeoutOption,
    client,
    settings_of,
)
from saga_orchestrator.cli.terminal import emit, emit_json, note, one_line
from saga_orchestrator.cli.timeline import timeline
from saga_orchestrator.ports.clock import SystemClock
from saga_orchestrator.ports.records import SagaRecord

if TYPE_CHECKING:
    from saga_orchestrator.settings import Settings


def watch(
    saga_id: SagaArgument,
    timeout: TimeoutOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print what happens to a saga until it has ended, or failed.

    The exit code is 0 completed, 10 compensated, 11 failed, and 7 when
    --timeout came first. With --json one history entry a line.

    Example:
        saga watch 01JGFJJZ00000000000000000A --timeout 60
    """
    settings = settings_of(store=store)
    raise typer.Exit(asyncio.run(_watch(settings, saga_id, timeout, as_json=as_json)))


async def _watch(
    settings: Settings, saga_id: str, timeout: float | None, *, as_json: bool
) -> Exit:
    async with client(settings) as manager:
        try:
            async with asyncio.timeout(timeout):
                tell = partial(_print_new, as_json=as_json)
                record = await follow(manager, saga_id, SystemClock(), tell)
        except TimeoutError:
            note(f"error: not at its end in {timeout:g} s; it goes on")
            return Exit.TIMED_OUT
    if record.saga.reason:
        note(one_line(record.saga.reason))
    return exit_of_state(record.saga.state)


def _print_new(record: SagaRecord, seen: int, *, as_json: bool) -> None:
    if not as_json:
        emit(timeline(record, after=seen))
        return
    for entry in record.history:
        if entry.seq > seen:
            emit_json(entry_document(entry), indent=None)
