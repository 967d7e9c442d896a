"""An event for others as a message: its routing key and its body."""

from __future__ import annotations

import datetime as dt
import json

from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.public import PublicEvent, PublicKind
from saga_orchestrator.wire.event import event_body, event_routing_key

AT = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
SAGA_ID = SagaId("01JGFJJZ00000000000000000A")


def test_what_a_handler_emitted() -> None:
    """The definition's name and the type are in the key, the payload in the body."""
    event = PublicEvent(
        *("id-1", PublicKind.EMITTED, "order.eu", SAGA_ID, "payment.charged"),
        *({"to": "Zoë"}, AT),
    )
    assert event_routing_key(event) == "emitted.order.eu.payment.charged"
    assert json.loads(event_body(event)) == {
        "v": 1,
        "id": "id-1",
        "type": "payment.charged",
        "saga": "order.eu",
        "saga_id": SAGA_ID,
        "at": "2026-01-01T12:00:00+00:00",
        "data": {"to": "Zoë"},
    }


def test_what_is_told_of_a_saga() -> None:
    """Its name is in the payload, as all such events are of one kind of aggregate."""
    payload = {"saga": "order", "saga_id": SAGA_ID, "state": "completed"}
    event = PublicEvent(
        *("id-1", PublicKind.LIFECYCLE, "saga", SAGA_ID, "completed", payload, AT)
    )
    assert event_routing_key(event) == "lifecycle.order.completed"
    document = json.loads(event_body(event))
    assert document["saga"] == "order"
    assert document["data"] == payload
