"""Following a saga to its end, and noticing that nobody works on it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import TYPE_CHECKING

from saga_orchestrator.cli.terminal import note
from saga_orchestrator.core.waiting import TAKEN_WITHIN
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.ports.records import OutboxRow, SagaRecord
from saga_orchestrator.runtime.waiters import (
    POLL_FIRST_SECONDS,
    POLL_LAST_SECONDS,
    RESTING,
)

if TYPE_CHECKING:
    from saga_orchestrator.runtime.manager import Manager


def untaken(record: SagaRecord, now: dt.datetime) -> list[OutboxRow]:
    """Return the commands that an engine should have taken by now, and none did.

    A command with an error is not among them: an engine tried to send it.

    Args:
        record: the saga.
        now: the store's clock.
    """
    return [
        row
        for row in record.outbox
        if not row.error and now - row.claimed_until >= TAKEN_WITHIN
    ]


async def follow(
    manager: Manager,
    saga_id: str,
    clock: Clock,
    tell: Callable[[SagaRecord, int], None] | None = None,
) -> SagaRecord:
    """Return a saga once it rests: at an end, or failed.

    Says once, on stderr, when its commands stay untaken.

    Args:
        manager: a client of the store.
        saga_id: which.
        clock: what the pauses are waited on.
        tell: called at first and after each change, with the version that it
            was called with before.

    Raises:
        SagaNotFoundError: no such saga.
    """
    seen = 0
    told = False
    pause = POLL_FIRST_SECONDS
    while True:
        record = await manager.record(saga_id)
        if record.saga.version > seen:
            if tell is not None:
                tell(record, seen)
            seen = record.saga.version
            pause = POLL_FIRST_SECONDS
        if record.saga.state in RESTING:
            return record
        if not told and untaken(record, await manager.store.now()):
            note(
                "nobody has taken it yet: is `saga serve` or `saga dev` running on "
                "this store?"
            )
            told = True
        await clock.sleep(pause)
        pause = min(2 * pause, POLL_LAST_SECONDS)
