"""Deleting: one saga that a person names, or those that ended long ago."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.errors import SagaNotFoundError
from saga_orchestrator.ports.clock import Clock
from saga_orchestrator.ports.store import Keep
from saga_stores._caches import Caches
from saga_stores._deletion import require_deletable
from saga_stores.sqlite.connection import QUERIES, to_micros, writing
from saga_stores.sqlite.loading import load_sagas

_DELETIONS = ("delete_data", "delete_history", "delete_saga")


def delete(connection: sqlite3.Connection, caches: Caches, saga_id: SagaId) -> None:
    """Delete an ended saga with all that belongs to it."""
    with writing(connection):
        sagas = load_sagas(connection, caches, [saga_id])
        if not sagas:
            raise SagaNotFoundError(saga_id)
        commands = connection.execute(QUERIES["load_outbox"], (saga_id,)).fetchall()
        require_deletable(sagas[0], has_commands=bool(commands))
        for name in _DELETIONS:
            connection.execute(QUERIES[name], (saga_id,))
    caches.snapshots.forget([saga_id])


def prune(
    connection: sqlite3.Connection, caches: Caches, clock: Clock, keep: Keep, limit: int
) -> int:
    """Delete sagas that ended long ago, per definition the oldest first."""
    with writing(connection):
        now = clock.now()
        gone: list[tuple[str]] = []
        for name in _names(connection):
            age = keep.age(name)
            if age is not None:
                old = (name, to_micros(now - age), limit)
                gone += connection.execute(QUERIES["prunable"], old).fetchall()
        for query in _DELETIONS:
            connection.executemany(QUERIES[query], gone)
    caches.snapshots.forget(SagaId(saga_id) for (saga_id,) in gone)
    return len(gone)


def _names(connection: sqlite3.Connection) -> Iterator[str]:
    """Yield the definitions of sagas that have ended; one look at the index each."""
    name = ""
    while found := connection.execute(QUERIES["next_ended_name"], (name,)).fetchone():
        (name,) = found
        yield name
