"""The one verb: load, decide and write a batch in one transaction."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Sequence

from saga_orchestrator.core.batch import (
    decide_batch,
    request_ids,
    residual_ids,
    saga_ids,
    start_keys,
)
from saga_orchestrator.core.decision import REQUEST_KINDS, Decision
from saga_orchestrator.core.events import Event
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.saga import Saga
from saga_orchestrator.ports.clock import Clock
from saga_stores._caches import Caches
from saga_stores._data import (
    condition_entries,
    with_condition_data,
    with_requests,
    with_residuals,
)
from saga_stores._rows import outbox_key
from saga_stores._writes import Writes, writes_of
from saga_stores.sqlite.connection import CODEC, QUERIES, as_list, writing
from saga_stores.sqlite.loading import (
    load_entries,
    load_patches,
    load_residuals,
    load_sagas,
    sagas_of,
)


def transact(
    connection: sqlite3.Connection,
    caches: Caches,
    clock: Clock,
    events: Sequence[Event],
    *,
    settled: Sequence[Fence],
    lease: dt.timedelta,
    tells_lifecycle: bool,
) -> list[Decision]:
    """Decide and perform a batch of events, all or nothing."""
    with writing(connection):
        now = clock.now()
        version = _data_version(connection)
        found = _load(connection, caches, version, events)
        batch = decide_batch(events, found, now, tells_lifecycle=tells_lifecycle)
        writes = writes_of(batch, now, lease, CODEC, caches.plans)
        # Settled first: a resend of what was settled stays.
        connection.executemany(QUERIES["settle"], map(outbox_key, settled))
        _perform(connection, writes)
    caches.add(writes, version)
    return batch.decisions


def _data_version(connection: sqlite3.Connection) -> int:
    """Return a number that changes when another connection writes to the file.

    So as long as it is the same, what this one wrote last is what stands there.
    """
    ((version,),) = connection.execute("PRAGMA data_version")
    return int(version)


def _load(
    connection: sqlite3.Connection,
    caches: Caches,
    version: int,
    events: Sequence[Event],
) -> list[Saga]:
    """Return what the batch is about, with what ``decide`` needs."""
    sagas: list[Saga] = []
    unknown: list[SagaId] = []
    for saga_id in saga_ids(events):
        stamped = caches.snapshots.stamped(saga_id)
        if stamped is not None and stamped[1] == version:
            sagas.append(stamped[0])
        else:
            unknown.append(saga_id)
    sagas += load_sagas(connection, caches, unknown)
    query = QUERIES["load_saga_by_key"]
    keyed = [
        row
        for name, key in start_keys(events)
        for row in connection.execute(query, (key, name))
    ]
    if keyed:
        sagas += sagas_of(connection, caches, keyed)
    sagas = _with_conditions(connection, sagas)
    return _with_asked(connection, sagas, events)


def _with_asked(
    connection: sqlite3.Connection, sagas: list[Saga], events: Sequence[Event]
) -> list[Saga]:
    """Give the sagas of whom a person asks something what they were asked before."""
    asked = request_ids(events)
    if not asked:
        return sagas
    found = connection.execute(
        QUERIES["load_requests"], (*as_list(asked), *as_list(REQUEST_KINDS))
    )
    sagas = with_requests(sagas, found)
    return with_residuals(sagas, load_residuals(connection, residual_ids(events)))


def _with_conditions(connection: sqlite3.Connection, sagas: list[Saga]) -> list[Saga]:
    """Give the sagas whose plans have conditions the data that these read."""
    conditional = [saga for saga in sagas if saga.plan.has_conditions]
    if not conditional:
        return sagas
    patches = load_patches(connection, {saga.id for saga in conditional})
    places = (place for saga in conditional for place in condition_entries(saga))
    entries = load_entries(connection, places)
    return [
        with_condition_data(saga, patches, entries)
        if saga.plan.has_conditions
        else saga
        for saga in sagas
    ]


def _perform(connection: sqlite3.Connection, writes: Writes) -> None:
    rows_by_query = {
        "insert_plan": [(plan.digest, plan.text) for plan in writes.plans],
        "insert_saga": writes.created,
        "update_saga": writes.changed,
        "insert_patch": writes.data,
        "insert_entry": writes.history,
        "upsert_outgoing": writes.outbox,
        "upsert_ignored": writes.ignored,
        "insert_residual": writes.residuals,
        "settle_residual": writes.settlements,
        "insert_event": writes.events,
    }
    for name, rows in rows_by_query.items():
        if rows:
            connection.executemany(QUERIES[name], rows)
