"""Events for others: what a handler emits, and what is told of a saga's life.

Not to be confused with ``core.events``, which are what ``decide`` is asked about.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
import uuid
from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct

from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.payload import Json

EVENT_TYPE = r"[A-Za-z][A-Za-z0-9_.-]{0,99}"
"""A type is a word of an AMQP routing key, or several."""

EMISSIONS_MAX = 100
"""Events of one run of a handler."""

_EVENT_TYPE = re.compile(rf"{EVENT_TYPE}\Z")


class PublicKind(StrEnum):
    """Who an event is from."""

    EMITTED = "emitted"
    """A handler."""
    LIFECYCLE = "lifecycle"
    """The engine, of the saga itself."""


class Emission(Struct, frozen=True):
    """What a handler emitted; it becomes an event when its answer is applied.

    Attributes:
        type: as ``payment.charged``.
        payload: JSON.
    """

    type: str
    payload: Json


class PublicEvent(Struct, frozen=True):
    """An event that goes out to whoever wants it, at least once.

    Attributes:
        id: a UUID, fixed by the saga, the history entry and the place in it.
        kind: who it is from.
        aggregate_type: the definition's name; ``saga`` where it tells of its life.
        saga_id: whose it is. A saga's events go out in the order of ``position``.
        type: what happened.
        payload: JSON.
        at: when, by the store's clock.
        position: where it stands in the store; 0: it is not stored.
    """

    id: str
    kind: PublicKind
    aggregate_type: str
    saga_id: SagaId
    type: str
    payload: Json
    at: dt.datetime
    position: int = 0


def is_event_type(text: object) -> bool:
    """Tell whether this can be the type of an event."""
    return isinstance(text, str) and _EVENT_TYPE.match(text) is not None


def event_id(saga_id: SagaId, seq: int, kind: PublicKind, ordinal: int) -> str:
    """Return the id of an event: the same however often it is made.

    Args:
        saga_id: whose it is.
        seq: of the history entry that it came with.
        kind: who it is from.
        ordinal: its place among those of its kind of that entry.
    """
    text = f"{saga_id}/{seq}/{kind}/{ordinal}"
    digest = bytearray(hashlib.sha256(text.encode()).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x80  # version 8: made up by whoever makes it
    digest[8] = digest[8] & 0x3F | 0x80
    return str(uuid.UUID(bytes=bytes(digest)))


def emitted_events(
    saga_id: SagaId,
    saga_name: str,
    seq: int,
    at: dt.datetime,
    emissions: Iterable[Emission],
) -> tuple[PublicEvent, ...]:
    """Return the events of an answer that was applied, in its order."""
    return tuple(
        PublicEvent(
            event_id(saga_id, seq, PublicKind.EMITTED, ordinal),
            PublicKind.EMITTED,
            saga_name,
            saga_id,
            emission.type,
            emission.payload,
            at,
        )
        for ordinal, emission in enumerate(emissions)
    )
