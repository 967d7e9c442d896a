"""How things stand in the tables: counts, and the sagas that have not ended."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict

from saga_orchestrator.core.saga import Saga
from saga_orchestrator.core.states import ACTIVE, SagaState
from saga_orchestrator.ports.overview import ActiveCount, Overview, Waiting
from saga_orchestrator.ports.records import Page
from saga_stores.memory.tables import Tables


def overview(tables: Tables, now: dt.datetime) -> Overview:
    """Return how things stand."""
    groups: defaultdict[tuple[str, SagaState], list[dt.datetime]] = defaultdict(list)
    for saga in _active(tables):
        groups[saga.name, saga.state].append(saga.created_at)
    return Overview(
        now,
        tuple(
            ActiveCount(*group, len(started), min(started))
            for group, started in sorted(groups.items())
        ),
        len(tables.outbox),
        min(tables.recorded.values(), default=None),
        sum(saga.residuals for saga in tables.sagas.values()),
        min((at for at, _ in tables.waiting(())), default=None),
    )


def waiting(tables: Tables, limit: int, after: str, before: str) -> Page[Waiting]:
    """Return sagas that have not ended, the oldest first."""
    found = sorted(
        (saga for saga in _active(tables) if after < saga.id < before),
        key=lambda saga: saga.id,
    )
    return Page(
        [Waiting(saga, tuple(tables.commands_of(saga.id))) for saga in found[:limit]],
        [],
    )


def _active(tables: Tables) -> list[Saga]:
    return [saga for saga in tables.sagas.values() if saga.state in ACTIVE]
