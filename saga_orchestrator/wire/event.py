"""Events for others as messages: routing key and body.

    {"v": 1, "id": "…", "type": "payment.charged", "saga": "order_processing",
     "saga_id": "01J…", "at": "2026-…Z", "data": {…}}

``id`` is the same where an event comes twice. Newer senders may add fields.
"""

from __future__ import annotations

import json

from saga_orchestrator.core.payload import Json
from saga_orchestrator.core.public import PublicEvent, PublicKind
from saga_orchestrator.wire.models import VERSION

EVENT = "saga.event"


def event_routing_key(event: PublicEvent) -> str:
    """Return ``lifecycle.<saga>.<type>`` or ``emitted.<saga>.<type>``."""
    return f"{event.kind}.{_saga_name(event)}.{event.type}"


def event_body(event: PublicEvent) -> bytes:
    """Return the message's body."""
    document: dict[str, Json] = {
        "v": VERSION,
        "id": event.id,
        "type": event.type,
        "saga": _saga_name(event),
        "saga_id": event.saga_id,
        "at": event.at.isoformat(),
        "data": event.payload,
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _saga_name(event: PublicEvent) -> str:
    if event.kind is PublicKind.EMITTED:
        return event.aggregate_type
    return str(event.payload["saga"])
