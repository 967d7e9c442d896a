"""Everything about one saga, as far as it can be read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from msgspec.structs import replace

from saga_orchestrator.core.payload import Json
from saga_orchestrator.core.saga import Saga, SagaData
from saga_orchestrator.errors import StoreDataError
from saga_orchestrator.ports.records import SagaRecord
from saga_stores._data import Entries, Patches, context_at, output_of, output_places
from saga_stores._residual_rows import residual_from
from saga_stores._rows import Row, RowCodec

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RecordRows:
    """What the tables hold of one saga beside its own row.

    Attributes:
        patches: its context, by revisions.
        entries: the data of the history entries that hold its outputs.
        history: ``HISTORY_COLUMNS``.
        ignored: ``IGNORED_COLUMNS``.
        residuals: ``RESIDUAL_COLUMNS``.
        outbox: ``OUTBOX_COLUMNS``.
    """

    patches: Patches
    entries: Entries
    history: Iterable[Row]
    ignored: Iterable[Row]
    residuals: Iterable[Row]
    outbox: Iterable[Row] = ()


@dataclass(slots=True)
class _Damage:
    """Reads what can be read, and keeps what is wrong with the rest."""

    problems: list[str] = field(default_factory=list)

    def one(self, read: Callable[[], T], instead: T) -> T:
        try:
            return read()
        except StoreDataError as error:
            self.problems.append(str(error))
            return instead

    def each(self, read: Callable[[Row], T], rows: Iterable[Row]) -> tuple[T, ...]:
        found: list[T] = []
        for row in rows:
            try:
                found.append(read(row))
            except StoreDataError as error:
                self.problems.append(str(error))
        return tuple(found)


def record_from(codec: RowCodec, saga: Saga, rows: RecordRows) -> SagaRecord:
    """Return what is known of a saga; what cannot be read is told as damage.

    Args:
        codec: of the database.
        saga: its snapshot.
        rows: the rest.
    """
    damage = _Damage()
    data = SagaData(_context(saga, rows, damage), _outputs(saga, rows, damage))
    record = SagaRecord(
        replace(saga, data=data),
        history=damage.each(codec.entry, rows.history),
        ignored=damage.each(codec.ignored, rows.ignored),
        residuals=damage.each(lambda row: residual_from(codec, row), rows.residuals),
        outbox=damage.each(codec.outgoing, rows.outbox),
    )
    # An output stands in a history entry: its damage would be told twice.
    return replace(record, damage=tuple(dict.fromkeys(damage.problems)))


def _context(saga: Saga, rows: RecordRows, damage: _Damage) -> Mapping[str, Json]:
    return damage.one(lambda: context_at(saga.id, saga.revision, rows.patches), {})


def _outputs(saga: Saga, rows: RecordRows, damage: _Damage) -> Mapping[str, Json]:
    outputs: dict[str, Json] = {}
    for name, place in output_places(saga, saga.plan.number).items():
        try:
            outputs[name] = output_of(place, rows.entries)
        except StoreDataError as error:
            damage.problems.append(str(error))
    return outputs
