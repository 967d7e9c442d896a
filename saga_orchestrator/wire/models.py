"""What travels, field by field: the models that the wire's schemas are made from.

A reader judges by them what ``structs.py`` does not take, and says so in their words.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from saga_orchestrator.core.commands import Answer
from saga_orchestrator.core.public import EMISSIONS_MAX, EVENT_TYPE
from saga_orchestrator.core.states import Direction
from saga_orchestrator.wire.structs import (
    GENERATION_MAX,
    ITEMS_MAX,
    MILLIS_MAX,
    TEXT_MAX,
)

VERSION = 1
TRACEPARENT_MAX = 55

_Generation = Annotated[int, Field(ge=1, le=GENERATION_MAX)]
_Text = Annotated[str, Field(max_length=TEXT_MAX)]


def text_or_nothing(value: object) -> str:
    """Let no odd ``traceparent`` spoil a message: it only helps to look at things."""
    return value if isinstance(value, str) and len(value) <= TRACEPARENT_MAX else ""


_Traceparent = Annotated[str, BeforeValidator(text_or_nothing)]


class _FenceFields(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, use_attribute_docstrings=True)

    saga_id: _Text
    """The saga; a ULID."""
    step: _Text
    """The step's name in its definition."""
    direction: Annotated[Direction, Field(strict=False)]
    generation: _Generation
    """Numbers the step's dispatches, over both directions; redelivery keeps it."""
    token: _Text
    """Proof that the orchestrator sent the four fields above; opaque."""


class CommandFields(_FenceFields):
    """Do a step's action, or undo it."""

    saga: _Text
    """The name of the saga's definition."""
    action: _Text
    """What to run: the action, or the compensation; the routing key's tail."""
    attempt: Annotated[int, Field(ge=1)]
    """Counts from 1; redelivery keeps it."""
    idempotency_key: str = ""
    """The same over attempts and redeliveries of one direction of a step."""
    action_key: str = ""
    """The idempotency key that the step's action ran under, for its undo."""
    context: dict[str, Any]
    """The saga's context when the step was first sent."""
    input: Any = None
    """The step's input; where it is absent, the input is the context."""
    output: Any = None
    """For an undo what the action answered; null where nobody knows."""
    outputs: dict[str, Any] = Field(default_factory=dict)
    """The outputs of the steps that this one directly depends on, by name."""
    timeout_ms: Annotated[int, Field(gt=0, le=MILLIS_MAX)]
    """Bounds one run of the handler, in milliseconds."""
    expires_at: Annotated[AwareDatetime, Field(strict=False)]
    """After this instant the command is not to be begun."""
    deadline_at: Annotated[AwareDatetime | None, Field(strict=False)] = None
    """When the forward part of the saga ends; absent where it has no deadline."""
    as_of: Annotated[AwareDatetime | None, Field(strict=False)] = None
    """An instant that the orchestrator's clock had passed when this was sent."""
    undoes: _Text | None = None
    """Where a residual is undone: the saga that the effect belongs to."""
    is_known: bool = False
    """True for an undo whose action is known to have happened."""
    traceparent: _Traceparent = ""
    """The W3C trace that the saga belongs to; empty where nobody traces."""


class EventFields(BaseModel):
    """An event for others, that the step's success brings about."""

    model_config = ConfigDict(strict=True, frozen=True, use_attribute_docstrings=True)

    # As ``is_event_type``: here $ is the end, and not the end of a line as well.
    type: Annotated[str, Field(pattern=rf"^{EVENT_TYPE}$")]
    """What happened: a letter, then letters, digits, `_`, `.` and `-`."""
    payload: Any = None
    """What its readers are told."""


class ReplyFields(_FenceFields):
    """What became of one command; the first five fields are the command's."""

    answer: Annotated[Answer, Field(strict=False)]
    output: Any = None
    """For "succeeded": what later steps, and the undo, are given."""
    update: dict[str, Any] = Field(default_factory=dict)
    """Merged into the saga's context, by key; null deletes a key."""
    error_type: _Text = ""
    """The name of what went wrong, as retry policies name it."""
    error: str = ""
    """For people; cut after 2,000 characters."""
    retryable: bool = True
    """False: no further attempt, whatever the retry policy says."""
    delay_ms: Annotated[int, Field(ge=0, le=MILLIS_MAX)] = 0
    """For "retry_later": milliseconds until the next try; its outcome stays open."""
    heartbeat: bool = False
    """For "accepted": heartbeats will follow."""
    effect: bool = True
    """False: the barrier knows that this run changed nothing."""
    answered_by: _Text = ""
    """The queue that the command came from."""
    traceparent: _Traceparent = ""
    """Of the span in which the command was handled; empty where nobody traces."""
    events: Annotated[list[EventFields], Field(max_length=EMISSIONS_MAX)] = Field(
        default_factory=list
    )
    """For "succeeded" and "skipped": events for others, published once it counts."""


class CommandMessage(BaseModel):
    """Commands for one queue, of one routing key."""

    v: Literal[1]
    commands: Annotated[list[CommandFields], Field(min_length=1, max_length=ITEMS_MAX)]


class ReplyMessage(BaseModel):
    """Answers of a participant, to any commands."""

    v: Literal[1]
    replies: Annotated[list[ReplyFields], Field(min_length=1, max_length=ITEMS_MAX)]
