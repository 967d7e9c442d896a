"""The inside of ``transact``: lock and load a batch, write what was decided.

Four round trips for most batches with locks, BEGIN and COMMIT among them, whatever
their size: the statements take arrays. Without locks (``swap.py``) the write is all.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it ships no types
from msgspec import Struct

from saga_orchestrator.core.batch import request_ids, residual_ids
from saga_orchestrator.core.decision import REQUEST_KINDS
from saga_orchestrator.core.events import Event
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.saga import Saga
from saga_stores._caches import Caches
from saga_stores._data import (
    condition_entries,
    with_condition_data,
    with_requests,
    with_residuals,
)
from saga_stores._event_rows import NEW_EVENT_COLUMNS
from saga_stores._residual_rows import NEW_RESIDUAL_COLUMNS, SETTLEMENT_COLUMNS
from saga_stores._rows import (
    CHANGING_COLUMNS,
    HISTORY_COLUMNS,
    IGNORED_COLUMNS,
    NEW_OUTBOX_COLUMNS,
    SAGA_COLUMNS,
    Row,
    outbox_key,
)
from saga_stores._writes import Writes
from saga_stores.postgres.database import SQL
from saga_stores.postgres.reading import read_data, read_residuals, read_snapshots

_KEY, _NAME = SAGA_COLUMNS.index("key"), SAGA_COLUMNS.index("name")
_OUTBOX_KEY = itemgetter(
    *map(NEW_OUTBOX_COLUMNS.index, ("saga_id", "step", "generation"))
)
_SLOT = itemgetter(*map(IGNORED_COLUMNS.index, ("saga_id", "slot")))


class IfStill(Struct, frozen=True):
    """What a batch was decided on, where nothing is locked.

    Attributes:
        stamps: of the rows of sagas that are changed.
        server: when the server was started that gave them.
        reckoned: the instant of the decision, where it was not read from the clock.
    """

    stamps: Mapping[SagaId, int] = {}
    server: dt.datetime | None = None
    reckoned: dt.datetime | None = None


IN_ANY_CASE = IfStill()
"""Every row is locked."""


async def lock_sagas(
    connection: asyncpg.Connection,
    saga_ids: Sequence[SagaId],
    keys: Sequence[tuple[str, str]],
    caches: Caches,
) -> tuple[list[Saga], dt.datetime]:
    """Lock and load sagas, by their ids or by (name, key).

    Returns:
        The sagas without data, and the database's clock, read with all locks held.
    """
    rows = await connection.fetch(
        SQL["lock"], saga_ids, [name for name, _ in keys], [key for _, key in keys]
    )
    now: dt.datetime = rows[0]["now"]
    found = [row[: len(SAGA_COLUMNS)] for row in rows if row["id"] is not None]
    return await read_snapshots(connection, found, caches), now


async def with_conditions(
    connection: asyncpg.Connection, sagas: list[Saga]
) -> list[Saga]:
    """Give the sagas whose plans have conditions the data that these read."""
    curious = [saga for saga in sagas if saga.plan.has_conditions]
    if not curious:
        return sagas
    patches, entries = await read_data(
        connection,
        [saga.id for saga in curious],
        [entry for saga in curious for entry in condition_entries(saga)],
    )
    return [
        with_condition_data(saga, patches, entries)
        if saga.plan.has_conditions
        else saga
        for saga in sagas
    ]


async def with_asked(
    connection: asyncpg.Connection, sagas: list[Saga], events: Sequence[Event]
) -> list[Saga]:
    """Give the sagas of whom a person asks something what they were asked before."""
    asked = request_ids(events)
    if not asked:
        return sagas
    rows = await connection.fetch(SQL["requests"], asked, list(REQUEST_KINDS))
    sagas = with_requests(sagas, map(tuple, rows))
    of_residuals = residual_ids(events)
    if not of_residuals:
        return sagas
    return with_residuals(sagas, await read_residuals(connection, of_residuals))


async def write_batch(
    connection: asyncpg.Connection,
    writes: Writes,
    settled: Sequence[Fence],
    if_still: IfStill = IN_ANY_CASE,
) -> asyncpg.Record | None:
    """Perform a decided batch, and forget the commands that were confirmed.

    Args:
        connection: where; in a transaction, or all of it is in the first statement.
        writes: what.
        settled: which commands.
        if_still: what must hold, where nothing is locked.

    Returns:
        The ``stamp`` of the rows of sagas, the database's clock (``now``), and when
        its ``server`` was started; None: there were none to write.

    Raises:
        DivisionByZeroError: ``if_still`` does not hold; nothing was written.
    """
    # One statement sees a row once: what is sent again is not removed before,
    # and a command that two events of the batch resend is written once.
    outbox = {_OUTBOX_KEY(row): row for row in writes.outbox}
    gone = [fence for fence in settled if outbox_key(fence) not in outbox]
    # In one order for every batch, so that no two deadlock on plans, keys, sagas or
    # commands.
    created = sorted(writes.created, key=lambda row: (row[_KEY] or "", row[_NAME]))
    plans = sorted((plan.digest, plan.text) for plan in writes.plans)
    changed = sorted(writes.changed, key=itemgetter(-1))
    sent = [outbox[key] for key in sorted(outbox)]
    row: asyncpg.Record | None = None
    if created or changed or gone:
        row = await connection.fetchrow(
            SQL["write"],
            *_arrays(plans, 2),
            *_arrays(created, len(SAGA_COLUMNS)),
            *_arrays(changed, len(CHANGING_COLUMNS) + 1),
            *_arrays(writes.data, 3),
            *_arrays(writes.history, len(HISTORY_COLUMNS)),
            *_arrays(sent, len(NEW_OUTBOX_COLUMNS)),
            *outbox_keys(gone),
            [if_still.stamps.get(saga_id) for *_, saga_id in changed],
            if_still.reckoned,
            if_still.server,
        )
    if writes.ignored:
        last = {_SLOT(row): row for row in writes.ignored}
        await connection.execute(
            SQL["ignore"], *_arrays(last.values(), len(IGNORED_COLUMNS))
        )
    if writes.residuals:
        await connection.execute(
            SQL["insert_residuals"],
            *_arrays(writes.residuals, len(NEW_RESIDUAL_COLUMNS)),
        )
    if writes.settlements:
        await connection.execute(
            SQL["settle_residuals"],
            *_arrays(writes.settlements, len(SETTLEMENT_COLUMNS) + 2),
        )
    if writes.events:
        await connection.execute(
            SQL["insert_events"], *_arrays(writes.events, len(NEW_EVENT_COLUMNS))
        )
    return row


def outbox_keys(fences: Iterable[Fence]) -> list[list[Any]]:
    """Return the primary keys as arrays, in one order for every caller."""
    return _arrays(sorted({outbox_key(fence) for fence in fences}), 3)


def _arrays(rows: Iterable[Row], width: int) -> list[list[Any]]:
    """Turn rows into one array a column, as ``unnest`` takes them."""
    return [list(column) for column in zip(*rows, strict=True)] or [[]] * width
