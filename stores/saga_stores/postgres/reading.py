"""From rows to sagas, on a given connection."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import asyncpg  # type: ignore[import-untyped]  # it ships no types

from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.saga import Saga
from saga_stores._data import Entries, Patches
from saga_stores._plans import PlanCache, read_plan
from saga_stores._rows import PLAN_DIGEST, Row, RowCodec
from saga_stores.postgres.database import SQL

# The driver takes and gives aware UTC datetimes.
CODEC = RowCodec(to_column=lambda instant: instant, from_column=lambda column: column)


async def read_snapshots(
    connection: asyncpg.Connection, rows: Sequence[Row], plans: PlanCache
) -> list[Saga]:
    """Return the sagas of rows of ``SAGA_COLUMNS``, without data.

    Plans that are not in the cache yet are read and put there.
    """
    known = plans.known({row[PLAN_DIGEST] for row in rows})
    missing = {row[PLAN_DIGEST] for row in rows} - known.keys()
    if missing:
        found = await connection.fetch(SQL["plans"], list(missing))
        known |= {digest: read_plan(digest, text) for digest, text in found}
        plans.add(known.values())
    return [CODEC.saga(row, known[row[PLAN_DIGEST]]) for row in rows]


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
