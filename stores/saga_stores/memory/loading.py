"""Reading the tables: snapshots with the data that is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec.structs import replace

from saga_orchestrator.core.batch import (
    request_ids,
    residual_ids,
    saga_ids,
    start_keys,
)
from saga_orchestrator.core.decision import REQUEST_KINDS
from saga_orchestrator.core.events import Event
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.residual import Residual
from saga_orchestrator.core.saga import Saga, SagaData
from saga_orchestrator.ports.records import SagaRecord
from saga_stores._data import (
    all_entries,
    awaited_step,
    command_data,
    command_entries,
    condition_entries,
    with_all_data,
    with_condition_data,
    with_requests,
    with_residuals,
)
from saga_stores._record import RecordRows, record_from
from saga_stores._residual_rows import residual_from
from saga_stores._rows import HISTORY_COLUMNS
from saga_stores.memory.tables import CODEC, Tables

_KIND, _DATA = HISTORY_COLUMNS.index("kind"), HISTORY_COLUMNS.index("data")


def load_batch(tables: Tables, events: Sequence[Event]) -> list[Saga]:
    """Return what a batch is about, with what ``decide`` needs."""
    keyed = [tables.keys.get(key) for key in start_keys(events)]
    wanted = sorted({*saga_ids(events), *(one for one in keyed if one)})
    sagas = [tables.sagas[one] for one in wanted if one in tables.sagas]
    sagas = [
        _with_condition_data(tables, saga) if saga.plan.has_conditions else saga
        for saga in sagas
    ]
    sagas = with_residuals(sagas, residuals_of(tables, residual_ids(events)))
    return with_requests(sagas, _requests_of(tables, request_ids(events)))


def load_dispatch(
    tables: Tables, fence: Fence, snapshots: Mapping[SagaId, Saga]
) -> tuple[Saga, SagaData] | None:
    """Return what a dispatch's command is made of, where it is still awaited."""
    saga = snapshots.get(fence.saga_id)
    number = awaited_step(saga, fence)
    if number is None:  # or the dispatch is younger than the snapshot
        saga = tables.sagas.get(fence.saga_id)
        number = awaited_step(saga, fence)
    if saga is None or number is None:
        return None
    return saga, _command_data(tables, saga, number)


def load_step(
    tables: Tables, saga_id: SagaId, step: str
) -> tuple[Saga, SagaData] | None:
    """Return what a step's command is made of, awaited or not."""
    saga = tables.sagas.get(saga_id)
    if saga is None or step not in saga.plan.number:
        return None
    return saga, _command_data(tables, saga, saga.plan.number[step])


def load_whole(tables: Tables, saga_id: SagaId) -> Saga | None:
    """Return a saga with its whole context and all outputs."""
    saga = tables.sagas.get(saga_id)
    if saga is None:
        return None
    entries = tables.entries(all_entries(saga))
    return with_all_data(saga, tables.patches, entries)


def record_of(tables: Tables, saga_id: SagaId) -> SagaRecord | None:
    """Return a saga with everything that is known of it."""
    saga = tables.sagas.get(saga_id)
    if saga is None:
        return None
    rows = RecordRows(
        tables.patches,
        tables.entries(all_entries(saga)),
        tables.history[saga_id],
        tables.ignored.get(saga_id, ()),
        tables.residuals.get(saga_id, {}).values(),
    )
    record = record_from(CODEC, saga, rows)
    return replace(record, outbox=tuple(tables.commands_of(saga_id)))


def residuals_of(tables: Tables, saga_ids: Iterable[SagaId]) -> Iterator[Residual]:
    """Yield the residuals of sagas, settled ones too."""
    for saga_id in saga_ids:
        for row in tables.residuals.get(saga_id, {}).values():
            yield residual_from(CODEC, row)


def _requests_of(
    tables: Tables, saga_ids: Iterable[SagaId]
) -> Iterator[tuple[SagaId, str | None]]:
    for saga_id in saga_ids:
        for row in tables.history.get(saga_id, ()):
            if row[_KIND] in REQUEST_KINDS:
                yield saga_id, row[_DATA]


def _command_data(tables: Tables, saga: Saga, number: int) -> SagaData:
    entries = tables.entries(command_entries(saga, number))
    return command_data(saga, number, tables.patches, entries)


def _with_condition_data(tables: Tables, saga: Saga) -> Saga:
    entries = tables.entries(condition_entries(saga))
    return with_condition_data(saga, tables.patches, entries)
