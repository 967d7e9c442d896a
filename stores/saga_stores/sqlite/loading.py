"""Reading sagas: rows of the tables into snapshots, with what they need."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.residual import Residual
from saga_orchestrator.core.saga import Saga, SagaData
from saga_orchestrator.core.states import SagaState
from saga_orchestrator.ports.records import Page, SagaRecord
from saga_orchestrator.ports.saga_filter import plain
from saga_orchestrator.ports.store import SagaFilter
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
from saga_stores._pages import KnownPlans, residual_page, saga_page
from saga_stores._plans import read_plans
from saga_stores._record import RecordRows, record_from
from saga_stores._residual_rows import residual_from
from saga_stores._rows import PLAN_DIGEST, Row
from saga_stores.sqlite.connection import CODEC, QUERIES, as_list, reading

_ID = itemgetter(0)


def load(
    connection: sqlite3.Connection, caches: Caches, saga_id: SagaId
) -> Saga | None:
    """Return a saga with its whole context and all outputs."""
    with reading(connection):
        return _load_whole(connection, caches, saga_id)


def record(
    connection: sqlite3.Connection, caches: Caches, saga_id: SagaId
) -> SagaRecord | None:
    """Return a saga with everything that is known of it."""
    with reading(connection):
        for saga in load_sagas(connection, caches, [saga_id]):
            history, ignored, outbox = (
                connection.execute(QUERIES[name], (saga_id,)).fetchall()
                for name in ("load_history", "load_ignored", "load_outbox")
            )
            rows = RecordRows(
                load_patches(connection, [saga_id]),
                load_entries(connection, all_entries(saga)),
                history,
                ignored,
                _residual_rows(connection, [saga_id]),
                outbox,
            )
            return record_from(CODEC, saga, rows)
    return None


def page(
    connection: sqlite3.Connection, caches: Caches, which: SagaFilter
) -> Page[Saga]:
    """Return snapshots without data, newest first, and what cannot be read."""
    with reading(connection):
        # A page per state, each straight from the index, beats sorting them all.
        found = [_rows(connection, which, state) for state in which.states or (None,)]
        every = (row for rows in found for row in rows)
        rows = sorted(every, key=_ID, reverse=True)[: which.limit]
        return page_of(connection, caches, rows)


def page_of(
    connection: sqlite3.Connection, caches: Caches, rows: Sequence[Row]
) -> Page[Saga]:
    """Return rows as far as they can be read."""
    return saga_page(
        rows, _known_plans(connection, caches, rows), caches.snapshots.saga
    )


def load_dispatches(
    connection: sqlite3.Connection,
    caches: Caches,
    fences: Sequence[Fence],
    snapshots: Mapping[SagaId, Saga],
) -> dict[Fence, tuple[Saga, SagaData] | None]:
    """Return what the commands of dispatches are made of; None: no longer awaited."""
    with reading(connection):
        sagas = in_which_awaited(fences, snapshots)
        unknown = {fence.saga_id for fence in fences} - sagas.keys()
        loaded = load_sagas(connection, caches, unknown)
        sagas |= {saga.id: saga for saga in loaded}
        steps = [awaited_step(sagas.get(fence.saga_id), fence) for fence in fences]
        awaited = [
            None if number is None else (sagas[fence.saga_id], number)
            for fence, number in zip(fences, steps, strict=True)
        ]
        open_ones = [found for found in awaited if found is not None]
        patches = load_patches(connection, {saga.id for saga, _ in open_ones})
        entries = load_entries(
            connection,
            (place for found in open_ones for place in command_entries(*found)),
        )
    caches.texts.add_read(patches, entries)
    return {
        fence: None
        if found is None
        else (found[0], command_data(*found, patches, entries))
        for fence, found in zip(fences, awaited, strict=True)
    }


def load_step(
    connection: sqlite3.Connection, caches: Caches, saga_id: SagaId, step: str
) -> tuple[Saga, SagaData] | None:
    """Return what a step's command is made of, awaited or not."""
    with reading(connection):
        for saga in load_sagas(connection, caches, [saga_id]):
            number = saga.plan.number.get(step)
            if number is None:
                break
            patches = load_patches(connection, [saga_id])
            entries = load_entries(connection, command_entries(saga, number))
            return saga, command_data(saga, number, patches, entries)
    return None


def open_residuals(
    connection: sqlite3.Connection, limit: int, after: tuple[SagaId, int] | None
) -> Page[Residual]:
    """Return residuals that nobody has settled, and what cannot be read."""
    arguments = (*(after or ("", 0)), limit)
    return residual_page(
        connection.execute(QUERIES["open_residuals"], arguments), CODEC
    )


def load_residuals(
    connection: sqlite3.Connection, saga_ids: Iterable[SagaId]
) -> list[Residual]:
    """Return the residuals of sagas, settled ones too."""
    rows = _residual_rows(connection, saga_ids)
    return [residual_from(CODEC, row) for row in rows]


def _residual_rows(
    connection: sqlite3.Connection, saga_ids: Iterable[SagaId]
) -> list[Row]:
    return connection.execute(QUERIES["load_residuals"], as_list(saga_ids)).fetchall()


def load_sagas(
    connection: sqlite3.Connection, caches: Caches, saga_ids: Iterable[SagaId]
) -> list[Saga]:
    """Return the snapshots of those that exist, without data."""
    rows = connection.execute(QUERIES["load_sagas"], as_list(saga_ids)).fetchall()
    return sagas_of(connection, caches, rows)


def sagas_of(
    connection: sqlite3.Connection, caches: Caches, rows: Sequence[Row]
) -> list[Saga]:
    """Return the snapshots of rows; reads the plans that are not known yet."""
    known = _known_plans(connection, caches, rows)
    read_saga = caches.snapshots.saga
    return [read_saga(row, known.of(row)) for row in rows]


def _known_plans(
    connection: sqlite3.Connection, caches: Caches, rows: Sequence[Row]
) -> KnownPlans:
    digests = {row[PLAN_DIGEST] for row in rows}
    known = caches.plans.known(digests)
    missing = digests - known.keys()
    if not missing:
        return KnownPlans(known, {})
    found = connection.execute(QUERIES["load_plans"], as_list(missing)).fetchall()
    read, problems = read_plans(found, caches.plans)
    return KnownPlans(known | read, problems)


def load_patches(connection: sqlite3.Connection, saga_ids: Iterable[SagaId]) -> Patches:
    """Return the contexts of sagas, by revisions."""
    patches: defaultdict[SagaId, list[tuple[int, str]]] = defaultdict(list)
    rows = connection.execute(QUERIES["load_patches"], as_list(saga_ids))
    for saga_id, revision, patch in rows:
        patches[saga_id].append((revision, patch))
    return patches


def load_entries(
    connection: sqlite3.Connection, places: Iterable[tuple[SagaId, int]]
) -> Entries:
    """Return the data of history entries; a missing one is left out."""
    query = QUERIES["load_entry_data"]
    entries = {}
    for place in places:
        row = connection.execute(query, place).fetchone()
        if row is not None:
            entries[place] = row[0]
    return entries


def _load_whole(
    connection: sqlite3.Connection, caches: Caches, saga_id: SagaId
) -> Saga | None:
    sagas = load_sagas(connection, caches, [saga_id])
    if not sagas:
        return None
    patches = load_patches(connection, [saga_id])
    return with_all_data(
        sagas[0], patches, load_entries(connection, all_entries(sagas[0]))
    )


def _rows(
    connection: sqlite3.Connection, which: SagaFilter, state: SagaState | None
) -> list[Any]:
    wanted = {
        "state = ?": None if state is None else state.value,
        "name = ?": which.name,
        "key = ?": which.key,
        "id < ?": which.before,
        "created_at >= ?": _column(which.created_from),
        "created_at < ?": _column(which.created_to),
        "updated_at >= ?": _column(which.updated_from),
        "updated_at < ?": _column(which.updated_to),
        # Its lower() knows the capitals A to Z, and no others.
        "instr(lower(reason), ?) > 0": None
        if which.text is None
        else plain(which.text),
    }
    wanted = {
        condition: value for condition, value in wanted.items() if value is not None
    }
    where = f" WHERE {' AND '.join(wanted)}" if wanted else ""
    query = f"{QUERIES['find_sagas']}{where} ORDER BY id DESC LIMIT ?"
    return connection.execute(query, (*wanted.values(), which.limit)).fetchall()


def _column(instant: dt.datetime | None) -> Any:  # noqa: ANN401 - a column
    return None if instant is None else CODEC.to_column(instant)
