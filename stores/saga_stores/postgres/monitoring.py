"""How things stand in the database: counts, and the sagas that have not ended."""

from __future__ import annotations

import datetime as dt

import asyncpg  # type: ignore[import-untyped]  # it ships no types

from saga_orchestrator.core.states import SagaState
from saga_orchestrator.ports.overview import (
    OVERVIEW_MAX,
    ActiveCount,
    Overview,
    Waiting,
)
from saga_orchestrator.ports.records import Page
from saga_stores._caches import Caches
from saga_stores._pages import waiting_page
from saga_stores.postgres.database import SQL
from saga_stores.postgres.reading import CODEC, read_page


async def read_overview(
    connection: asyncpg.Connection, given: dt.datetime | None
) -> Overview:
    """Return how things stand.

    Args:
        connection: one that sees one instant.
        given: what counts as now; None: the database's clock.
    """
    active = await connection.fetch(SQL["active_counts"], OVERVIEW_MAX)
    (sizes,) = await connection.fetch(SQL["sizes"], OVERVIEW_MAX, given)
    return Overview(
        sizes["now"],
        tuple(
            ActiveCount(name, SagaState(state), count, oldest_at)
            for name, state, count, oldest_at in active
        ),
        sizes["pending"],
        sizes["oldest_at"],
        sizes["residuals"],
        sizes["next_due"],
    )


async def read_waiting(
    connection: asyncpg.Connection,
    limit: int,
    after: str,
    before: str,
    caches: Caches,
) -> Page[Waiting]:
    """Return sagas that have not ended, the oldest first."""
    page = await read_page(connection, "waiting", (after, before, limit), caches)
    outbox = await connection.fetch(SQL["outboxes"], [saga.id for saga in page.items])
    return waiting_page(page, outbox, CODEC)
