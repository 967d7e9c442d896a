"""Residuals: effects that may stand in the world outside their saga's account.

A success that comes after its undo was sent, or after the end, changes no
state. It is kept for a person, who has it undone, by a saga of its own, or
dismisses it.
"""

from __future__ import annotations

import datetime as dt

from msgspec import Struct

from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.payload import Json


class Settlement(Struct, frozen=True):
    """What a person made of a residual.

    Attributes:
        at: when, by the store's clock.
        principal: who.
        reason: why.
        undo_id: the saga that undoes it; None: it was dismissed.
    """

    at: dt.datetime
    principal: str
    reason: str
    undo_id: SagaId | None = None


class Residual(Struct, frozen=True):
    """One effect, as the late answer told of it.

    Attributes:
        number: unique in the saga: that of its history entry.
        at: when the answer came, by the store's clock.
        fence: what it answered.
        output: what the handler had returned.
        settled: what a person made of it; None: still open.
    """

    number: int
    at: dt.datetime
    fence: Fence
    output: Json
    settled: Settlement | None = None
