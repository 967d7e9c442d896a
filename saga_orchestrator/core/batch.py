"""Deciding a whole batch of events: what every store does inside a transaction.

A store locks and loads the sagas that ``saga_ids`` and ``start_keys`` name,
calls ``decide_batch`` once, and writes what the ``Batch`` holds. It judges
nothing itself. Events of one saga are decided in order, each on the result of
the one before, and its row is written once.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct, field

from saga_orchestrator.core.decide import decide
from saga_orchestrator.core.decision import (
    Decision,
    Dispatch,
    HistoryEntry,
    Ignored,
)
from saga_orchestrator.core.events import (
    Event,
    Requested,
    ResidualRequested,
    SagaStarted,
)
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.lifecycle import lifecycle_events
from saga_orchestrator.core.payload import Json
from saga_orchestrator.core.public import PublicEvent
from saga_orchestrator.core.residual import Residual
from saga_orchestrator.core.saga import Saga


class Batch(Struct):
    """What one transaction has to write.

    Attributes:
        decisions: one per event, in order.
        created: snapshots to insert.
        changed: snapshots of existing rows to update.
        history: entries to append.
        updates: context updates to append, with the revision each makes.
        dispatches: commands to put in the outbox; one that is there already
            (a resend) is claimed anew.
        ignored: answers that changed nothing; a saga's last 20 are kept.
        residuals: records to open, or, where ``settled``, to update.
        public: events for others to append, in this order.
    """

    decisions: list[Decision] = field(default_factory=list)
    created: dict[SagaId, Saga] = field(default_factory=dict)
    changed: dict[SagaId, Saga] = field(default_factory=dict)
    history: list[tuple[SagaId, HistoryEntry]] = field(default_factory=list)
    updates: list[tuple[SagaId, int, Mapping[str, Json]]] = field(default_factory=list)
    dispatches: list[Dispatch] = field(default_factory=list)
    ignored: list[tuple[SagaId, Ignored]] = field(default_factory=list)
    residuals: list[tuple[SagaId, Residual]] = field(default_factory=list)
    public: list[PublicEvent] = field(default_factory=list)


def saga_ids(events: Iterable[Event]) -> list[SagaId]:
    """Return the ids to lock and load, in id order, so that no two batches deadlock."""
    return sorted({event.saga_id for event in events})


def residual_ids(events: Iterable[Event]) -> list[SagaId]:
    """Return the sagas whose residuals ``decide`` needs, as ``SagaData.residuals``."""
    return sorted({e.saga_id for e in events if isinstance(e, ResidualRequested)})


def request_ids(events: Iterable[Event]) -> list[SagaId]:
    """Return the sagas of whom a person asks something.

    ``decide`` needs the ``request_id`` of their ``REQUEST_KINDS`` entries, as
    ``SagaData.requests``.
    """
    return sorted({e.saga_id for e in events if isinstance(e, Requested)})


def start_keys(events: Iterable[Event]) -> list[tuple[str, str]]:
    """Return the (saga name, key) pairs of starts, sorted, to look up as well."""
    return sorted(
        {
            (event.plan.definition.name, event.key)
            for event in events
            if isinstance(event, SagaStarted) and event.key is not None
        }
    )


def decide_batch(
    events: Sequence[Event],
    loaded: Iterable[Saga],
    now: dt.datetime,
    *,
    tells_lifecycle: bool = False,
) -> Batch:
    """Decide the events in order.

    Args:
        events: what happened.
        loaded: the sagas found by ``saga_ids`` and ``start_keys``, locked.
        now: the store's clock, read in the same transaction.
        tells_lifecycle: also publish what becomes of the sagas.
    """
    sagas = {saga.id: saga for saga in loaded}
    by_key = {(saga.name, saga.key): saga.id for saga in sagas.values() if saga.key}
    batch = Batch()
    for event in events:
        saga_id = event.saga_id
        if isinstance(event, SagaStarted) and event.key is not None:
            saga_id = by_key.get((event.plan.definition.name, event.key), saga_id)
        decision = decide(sagas.get(saga_id), event, now)
        batch.decisions.append(decision)
        for part in decision.parts:
            if part.changed and part.saga is not None:
                saga = part.saga
                before = sagas.get(saga.id)
                sagas[saga.id] = saga
                if saga.key is not None:
                    by_key[saga.name, saga.key] = saga.id
                _collect(batch, saga, part)
                if tells_lifecycle:
                    batch.public += lifecycle_events(before, part)
    return batch


def _collect(batch: Batch, saga: Saga, decision: Decision) -> None:
    is_new = decision.created or saga.id in batch.created
    (batch.created if is_new else batch.changed)[saga.id] = saga
    batch.history.extend((saga.id, entry) for entry in decision.history)
    batch.dispatches.extend(decision.dispatches)
    batch.public.extend(decision.emitted)
    if decision.update is not None:
        batch.updates.append((saga.id, saga.revision, decision.update))
    if decision.ignored is not None:
        batch.ignored.append((saga.id, decision.ignored))
    if decision.residual is not None:
        batch.residuals.append((saga.id, decision.residual))
