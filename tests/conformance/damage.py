"""Damages rows behind a store's back: what a person with SQL, or a defect, leaves."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import asyncpg  # type: ignore[import-untyped]  # it ships no types

from saga_orchestrator.core.saga import Saga
from saga_orchestrator.ports.store import Store
from saga_stores._event_rows import NEW_EVENT_COLUMNS
from saga_stores._residual_rows import RESIDUAL_COLUMNS
from saga_stores._rows import HISTORY_COLUMNS
from saga_stores.memory.store import MemorySagaStore

UNREADABLE = '{"output": 1e400}'
"""JSON that PostgreSQL keeps, and that nobody may read: it is no finite number."""

_SQL = {
    # A state that no code has, in a vector of the right length.
    "steps": "UPDATE sagas SET steps = {steps} WHERE id = '{id}'",
    # Beyond what Python can express, in either way of keeping an instant.
    "instant": "UPDATE sagas SET updated_at = {far} WHERE id = '{id}'",
    "plan": "UPDATE saga_plans SET text = '{{\"v\": 1}}' WHERE digest = '{digest}'",
    "no plan": "DELETE FROM saga_plans WHERE digest = '{digest}'",
    "context": "UPDATE saga_data SET patch = '{json}' WHERE saga_id = '{id}'",
    "no context": "DELETE FROM saga_data WHERE saga_id = '{id}'",
    "history": "UPDATE saga_history SET data = '{json}' "
    "WHERE saga_id = '{id}' AND seq = (SELECT max(seq) FROM saga_history "
    "WHERE saga_id = '{id}')",
    "event": "UPDATE saga_events SET payload = '{json}' WHERE aggregate_id = '{id}'",
    "residual": "UPDATE saga_residuals SET output = '{json}' WHERE saga_id = '{id}'",
}
SNAPSHOT = ("steps", "instant", "plan", "no plan")
"""What the memory store does not have as rows: it holds the objects."""


async def damage(store: Store, url: str, saga: Saga, what: str) -> None:
    """Damage one row of a saga, without the store's knowledge.

    Args:
        store: where it is; of the SQL stores only the address is used.
        url: its address.
        saga: whose row.
        what: a key of the statements above.
    """
    if isinstance(store, MemorySagaStore):
        _damage_objects(store, saga, what)
        return
    scheme = url.partition(":")[0]
    vector = b"\xff" * 20 * len(saga.steps)
    steps = f"X'{vector.hex()}'" if scheme == "sqlite" else f"'\\x{vector.hex()}'"
    far = str(10**18) if scheme == "sqlite" else "'20000-01-01'"
    statement = _SQL[what].format(
        id=saga.id, steps=steps, far=far, digest=saga.plan.digest, json=UNREADABLE
    )
    if scheme == "sqlite":
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file, file:
            file.execute(statement)
        return
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _damage_objects(store: MemorySagaStore, saga: Saga, what: str) -> None:
    tables = store._tables
    if what == "context":
        tables.patches[saga.id][0] = (0, UNREADABLE)
    elif what == "no context":
        tables.patches[saga.id].clear()
    elif what == "history":
        row = list(tables.history[saga.id][-1])
        row[HISTORY_COLUMNS.index("data")] = UNREADABLE
        tables.history[saga.id][-1] = tuple(row)
    elif what == "event":
        rows = tables.events._rows
        for position, found in rows.items():
            if found[NEW_EVENT_COLUMNS.index("aggregate_id")] == saga.id:
                changed = list(found)
                changed[NEW_EVENT_COLUMNS.index("payload")] = UNREADABLE
                rows[position] = tuple(changed)
    else:
        for number, found in tables.residuals[saga.id].items():
            changed = list(found)
            changed[RESIDUAL_COLUMNS.index("output")] = UNREADABLE
            tables.residuals[saga.id][number] = tuple(changed)
