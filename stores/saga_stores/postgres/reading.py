"""From rows to sagas, on a given connection."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it ships no types

from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.residual import Residual
from saga_orchestrator.core.saga import Saga, SagaData
from saga_orchestrator.ports.records import Page, SagaRecord, Unreadable
from saga_stores._caches import Caches
from saga_stores._data import (
    Entries,
    Patches,
    all_entries,
    awaited_step,
    command_data,
    command_entries,
    in_which_awaited,
    with_all_data,
)
from saga_stores._pages import KnownPlans, saga_page
from saga_stores._plans import read_plans
from saga_stores._record import RecordRows, record_from
from saga_stores._residual_rows import residual_from
from saga_stores._rows import PLAN_DIGEST, Row, RowCodec
from saga_stores.postgres.database import SQL

# The driver takes and gives aware UTC datetimes.
CODEC = RowCodec(to_column=lambda instant: instant, from_column=lambda column: column)


async def read_snapshots(
    connection: asyncpg.Connection, rows: Sequence[Row], caches: Caches
) -> list[Saga]:
    """Return the sagas of rows of ``SAGA_COLUMNS``, without data.

    Plans that are not in the cache yet are read and put there.
    """
    known = await _known_plans(connection, rows, caches)
    return [caches.snapshots.saga(row, known.of(row)) for row in rows]


async def read_page(
    connection: asyncpg.Connection,
    query: str,
    arguments: Iterable[Any],
    caches: Caches,
) -> Page[Saga]:
    """Return the rows that a query for ``SAGA_COLUMNS`` finds, as far as readable."""
    rows, unreadable = await _found(connection, SQL[query], list(arguments))
    known = await _known_plans(connection, rows, caches)
    page = saga_page(rows, known, CODEC.saga)
    return Page(page.items, [*unreadable, *page.unreadable])


async def _found(
    connection: asyncpg.Connection, query: str, arguments: list[Any]
) -> tuple[list[Row], list[Unreadable]]:
    """Return rows; where the driver cannot express one, find out which."""
    try:
        return await connection.fetch(query, *arguments), []
    except OverflowError:
        ids = await connection.fetch(
            f"SELECT id FROM ({query}) AS found",  # noqa: S608 - one of queries.sql
            *arguments,
        )
    rows: list[Row] = []
    unreadable: list[Unreadable] = []
    for (saga_id,) in sorted(ids, reverse=True):
        try:
            rows += await connection.fetch(SQL["snapshots"], [saga_id])
        except OverflowError as error:
            problem = f"saga {saga_id} cannot be read: {error}"
            unreadable.append(Unreadable(saga_id, problem))
    return rows, unreadable


async def _known_plans(
    connection: asyncpg.Connection, rows: Sequence[Row], caches: Caches
) -> KnownPlans:
    digests = {row[PLAN_DIGEST] for row in rows}
    known = caches.plans.known(digests)
    missing = digests - known.keys()
    if not missing:
        return KnownPlans(known, {})
    found = await connection.fetch(SQL["plans"], list(missing))
    read, problems = read_plans(found, caches.plans)
    return KnownPlans(known | read, problems)


async def read_sagas(
    connection: asyncpg.Connection, saga_ids: Iterable[SagaId], caches: Caches
) -> list[Saga]:
    """Return those of the sagas that exist, without data."""
    rows = await connection.fetch(SQL["snapshots"], list(saga_ids))
    return await read_snapshots(connection, rows, caches)


async def read_data(
    connection: asyncpg.Connection,
    saga_ids: Iterable[SagaId],
    entries: Iterable[tuple[SagaId, int]],
) -> tuple[Patches, Entries]:
    """Return the context patches of sagas, and history entries."""
    wanted = list(entries)
    rows = await connection.fetch(
        SQL["data"],
        list(saga_ids),
        [saga_id for saga_id, _ in wanted],
        [seq for _, seq in wanted],
    )
    patches: defaultdict[SagaId, list[tuple[int, str]]] = defaultdict(list)
    found: dict[tuple[SagaId, int], str | None] = {}
    for saga_id, number, value, is_patch in rows:
        if is_patch:
            patches[saga_id].append((number, value))
        else:
            found[saga_id, number] = value
    for revisions in patches.values():
        revisions.sort()
    return patches, found


async def read_residuals(
    connection: asyncpg.Connection, saga_ids: Iterable[SagaId]
) -> list[Residual]:
    """Return the residuals of sagas, settled ones too."""
    rows = await connection.fetch(SQL["residuals"], list(saga_ids))
    return [residual_from(CODEC, row) for row in rows]


async def read_dispatches(
    connection: asyncpg.Connection,
    fences: Sequence[Fence],
    snapshots: Mapping[SagaId, Saga],
    caches: Caches,
) -> dict[Fence, tuple[Saga, SagaData] | None]:
    """Return what the commands of dispatches are made of; None: no longer awaited.

    Args:
        connection: where.
        fences: which.
        snapshots: sagas in which they may be awaited.
        caches: what was read goes there.
    """
    epoch = caches.epoch
    sagas = in_which_awaited(fences, snapshots)
    unknown = {one.saga_id for one in fences} - sagas.keys()
    if unknown:
        found = await read_sagas(connection, unknown, caches)
        sagas |= {saga.id: saga for saga in found}
    numbers = [awaited_step(sagas.get(one.saga_id), one) for one in fences]
    awaited = {
        (fence.saga_id, number)
        for fence, number in zip(fences, numbers, strict=True)
        if number is not None
    }
    patches, entries = await read_data(
        connection,
        {saga_id for saga_id, _ in awaited},
        {
            entry
            for saga_id, number in awaited
            for entry in command_entries(sagas[saga_id], number)
        },
    )
    if caches.epoch == epoch:
        caches.texts.add_read(patches, entries)
    data = {
        (saga_id, number): command_data(sagas[saga_id], number, patches, entries)
        for saga_id, number in awaited
    }
    return {
        fence: None
        if number is None
        else (sagas[fence.saga_id], data[fence.saga_id, number])
        for fence, number in zip(fences, numbers, strict=True)
    }


async def read_step(
    connection: asyncpg.Connection, saga_id: SagaId, step: str, caches: Caches
) -> tuple[Saga, SagaData] | None:
    """Return what a step's command is made of, awaited or not."""
    for saga in await read_sagas(connection, [saga_id], caches):
        number = saga.plan.number.get(step)
        if number is None:
            break
        data = await read_data(connection, [saga_id], command_entries(saga, number))
        return saga, command_data(saga, number, *data)
    return None


async def read_whole(
    connection: asyncpg.Connection, saga_id: SagaId, caches: Caches
) -> Saga | None:
    """Return a saga with its whole context and all outputs."""
    for saga in await read_sagas(connection, [saga_id], caches):
        data = await read_data(connection, [saga_id], all_entries(saga))
        return with_all_data(saga, *data)
    return None


async def read_record(
    connection: asyncpg.Connection, saga_id: SagaId, caches: Caches
) -> SagaRecord | None:
    """Return all that is known of a saga."""
    for saga in await read_sagas(connection, [saga_id], caches):
        patches, entries = await read_data(connection, [saga_id], all_entries(saga))
        history, ignored, outbox = [
            await connection.fetch(SQL[query], saga_id)
            for query in ("history", "ignored", "outbox")
        ]
        residuals = await connection.fetch(SQL["residuals"], [saga_id])
        rows = RecordRows(patches, entries, history, ignored, residuals, outbox)
        return record_from(CODEC, saga, rows)
    return None
