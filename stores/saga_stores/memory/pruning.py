"""Which sagas of a memory store may go."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict

from saga_orchestrator.core.saga import Saga
from saga_orchestrator.core.states import ENDED
from saga_orchestrator.ports.store import Keep
from saga_stores._residual_rows import NEW_RESIDUAL_COLUMNS, SETTLEMENT_COLUMNS
from saga_stores.memory.tables import Tables

_UNDO_ID = len(NEW_RESIDUAL_COLUMNS) + SETTLEMENT_COLUMNS.index("undo_id")


def prunable(tables: Tables, keep: Keep, now: dt.datetime, limit: int) -> list[Saga]:
    """Return sagas to delete: per definition at most ``limit``, the oldest first."""
    by_name: defaultdict[str, list[tuple[dt.datetime, Saga]]] = defaultdict(list)
    for saga in tables.sagas.values():
        age = keep.age(saga.name)
        if age is None or saga.ended_at is None or saga.ended_at > now - age:
            continue
        if not _is_needed(tables, saga):
            by_name[saga.name].append((saga.ended_at, saga))
    return [
        saga
        for aged in by_name.values()
        for _, saga in sorted(aged, key=lambda one: (one[0], one[1].id))[:limit]
    ]


def _is_needed(tables: Tables, saga: Saga) -> bool:
    undos = (row[_UNDO_ID] for row in tables.residuals.get(saga.id, {}).values())
    live = any(
        undo in tables.sagas and tables.sagas[undo].state not in ENDED for undo in undos
    )
    return live or bool(saga.residuals) or bool(tables.commands_of(saga.id))
