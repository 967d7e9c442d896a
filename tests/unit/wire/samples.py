"""Commands and replies to be changed by the tests, field by field."""

from __future__ import annotations

import datetime as dt
from typing import Any

from msgspec import structs

from saga_orchestrator.core.commands import Answer, Command, Reply
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.states import Direction

SAGA_ID = SagaId("01JGFJJZ00000000000000000A")
NOW = dt.datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=dt.UTC)
_CONTEXT = {"customer": "c-1"}


def fence(**changes: Any) -> Fence:
    """Return a fence with these fields changed."""
    return structs.replace(Fence(SAGA_ID, "charge", Direction.ACTION, 1), **changes)


def command(**changes: Any) -> Command:
    """Return a command whose argument is its context, with these fields changed."""
    context = changes.get("context", _CONTEXT)
    sample = Command(
        fence=fence(),
        token="0f" * 16,
        saga_name="order",
        action="payment.charge",
        attempt=1,
        input=context,
        output=None,
        outputs={},
        context=context,
        timeout=dt.timedelta(seconds=60),
        expires_at=NOW,
    )
    return structs.replace(sample, **changes)


def reply(**changes: Any) -> Reply:
    """Return a reply with these fields changed."""
    sample = Reply(fence(), "0f" * 16, Answer.SUCCEEDED, output={"id": 1})
    return structs.replace(sample, **changes)
