"""The envelopes once more, for the reader and the writer: fast, and without words.

The models in ``models.py`` are the wire. These take a little less than they do,
and say nothing that a person could use: what these refuse is judged by the models. A
test holds the two against each other, field by field.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType, field

from saga_orchestrator.core.commands import Answer
from saga_orchestrator.core.payload import Json
from saga_orchestrator.core.public import EMISSIONS_MAX, EVENT_TYPE
from saga_orchestrator.core.states import Direction

GENERATION_MAX = 2**32 - 1
ITEMS_MAX = 1000
MILLIS_MAX = 10**12
TEXT_MAX = 300

_Text = Annotated[str, Meta(max_length=TEXT_MAX)]
_Instant = Annotated[dt.datetime, Meta(tz=True)]


class _FenceStruct(Struct, kw_only=True):
    saga_id: _Text
    step: _Text
    direction: Direction
    generation: Annotated[int, Meta(ge=1, le=GENERATION_MAX)]
    token: _Text


class CommandStruct(_FenceStruct, kw_only=True):
    """``models.CommandFields``."""

    saga: _Text
    action: _Text
    attempt: Annotated[int, Meta(ge=1)]
    idempotency_key: str = ""
    action_key: str = ""
    context: dict[str, Any]
    input: Json | UnsetType = UNSET
    output: Json = None
    outputs: dict[str, Any] = field(default_factory=dict)
    timeout_ms: Annotated[int, Meta(gt=0, le=MILLIS_MAX)]
    expires_at: _Instant
    deadline_at: _Instant | None = None
    as_of: _Instant | None = None
    undoes: _Text | None = None
    is_known: bool = False
    traceparent: Json = ""


class EventStruct(Struct):
    """``models.EventFields``."""

    type: Annotated[str, Meta(pattern=rf"^{EVENT_TYPE}\Z")]
    payload: Json = None


class ReplyStruct(_FenceStruct, kw_only=True):
    """``models.ReplyFields``."""

    answer: Answer
    output: Json = None
    update: dict[str, Any] = field(default_factory=dict)
    error_type: _Text = ""
    error: str = ""
    retryable: bool = True
    delay_ms: Annotated[int, Meta(ge=0, le=MILLIS_MAX)] = 0
    heartbeat: bool = False
    effect: bool = True
    answered_by: _Text = ""
    traceparent: Json = ""
    events: Annotated[list[EventStruct], Meta(max_length=EMISSIONS_MAX)] = field(
        default_factory=list
    )


class CommandsStruct(Struct):
    """``models.CommandMessage``."""

    v: int
    commands: Annotated[list[CommandStruct], Meta(min_length=1, max_length=ITEMS_MAX)]


class RepliesStruct(Struct):
    """``models.ReplyMessage``."""

    v: int
    replies: Annotated[list[ReplyStruct], Meta(min_length=1, max_length=ITEMS_MAX)]
