"""How things stand in the file: counts, and the sagas that have not ended."""

from __future__ import annotations

import datetime as dt
import sqlite3

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
from saga_stores.sqlite.connection import CODEC, QUERIES, as_list, from_micros, reading
from saga_stores.sqlite.loading import page_of


def overview(connection: sqlite3.Connection, now: dt.datetime) -> Overview:
    """Return how things stand, as of one instant."""
    with reading(connection):
        active = connection.execute(QUERIES["active_counts"], (OVERVIEW_MAX,))
        counted = tuple(
            ActiveCount(name, SagaState(state), count, _instant(oldest, now))
            for name, state, count, oldest in active
        )
        outbox = connection.execute(QUERIES["outbox_size"], (OVERVIEW_MAX,))
        pending, oldest_at = outbox.fetchone()
        residuals = connection.execute(QUERIES["residuals_size"], (OVERVIEW_MAX,))
        (open_ones,) = residuals.fetchone()
        (due,) = connection.execute(QUERIES["next_due"], as_list(())).fetchone()
    return Overview(
        now,
        counted,
        pending,
        None if oldest_at is None else _instant(oldest_at, now),
        open_ones,
        None if due is None else _instant(due, now),
    )


def waiting(
    connection: sqlite3.Connection, caches: Caches, limit: int, after: str, before: str
) -> Page[Waiting]:
    """Return sagas that have not ended, the oldest first."""
    with reading(connection):
        arguments = (after, before, limit)
        rows = connection.execute(QUERIES["waiting"], arguments).fetchall()
        page = page_of(connection, caches, rows)
        ids = as_list([saga.id for saga in page.items])
        outbox = connection.execute(QUERIES["load_outboxes"], ids).fetchall()
    return waiting_page(page, outbox, CODEC)


def _instant(micros: int, now: dt.datetime) -> dt.datetime:
    """Return an instant; one that somebody damaged counts as now."""
    try:
        return from_micros(micros)
    except (OverflowError, TypeError):
        return now
