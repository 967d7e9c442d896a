"""Rows of ``saga_events``: appended once, deleted when they are published."""

from __future__ import annotations

from typing import Any

from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.public import PublicEvent, PublicKind
from saga_stores._json import from_json, storable, to_json
from saga_stores._rows import Row, RowCodec, readable

NEW_EVENT_COLUMNS = (
    *("id", "kind", "aggregate_type", "aggregate_id", "event_type", "payload"),
    "created_at",
)
EVENT_COLUMNS = ("position", *NEW_EVENT_COLUMNS)


def new_event(codec: RowCodec, event: PublicEvent) -> tuple[Any, ...]:
    """Return the row to insert: ``NEW_EVENT_COLUMNS``.

    Raises:
        StoreDataError: a payload, or a type, that no row can hold.
    """
    what = f"saga {event.saga_id}: its event"
    return (
        event.id,
        str(event.kind),
        event.aggregate_type,
        event.saga_id,
        storable(str(event.type), what),
        to_json(event.payload, what),
        codec.to_column(event.at),
    )


def event_from(codec: RowCodec, row: Row) -> PublicEvent:
    """Return what a row of ``EVENT_COLUMNS`` tells.

    Raises:
        StoreDataError: the row cannot be read.
    """
    position, number, kind, aggregate, saga_id, event_type, payload, at = row
    what = f"event {number} at position {position} of saga_events"
    with readable(what):
        return PublicEvent(
            str(number),
            PublicKind(kind),
            aggregate,
            SagaId(saga_id),
            event_type,
            from_json(payload, what),
            codec.from_column(at),
            position,
        )
