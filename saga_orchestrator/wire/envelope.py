"""Commands and replies as JSON. Both envelopes are lists from day one.

A command::

    {"v": 1, "commands": [{
        "saga_id": "01J…", "saga": "order_processing", "step": "charge_payment",
        "direction": "action", "generation": 1, "token": "9f…",
        "action": "payment.charge", "attempt": 1,
        "idempotency_key": "…", "action_key": "…",
        "context": {…}, "input": {…}, "output": …, "outputs": {…},
        "timeout_ms": 60000, "expires_at": "2026-…Z", "deadline_at": null,
        "as_of": "2026-…Z"}]}

``input`` is absent where it is the context itself; ``undoes`` is there only where
a residual is undone, and is the id of the saga that the effect belongs to;
``is_known`` only, as true, where a compensation's action is known to have happened;
``traceparent`` only where the saga is traced (W3C Trace Context).
A reply repeats the first six fields but the names, and says its answer::

    {"v": 1, "replies": [{"saga_id": …, "step": …, "direction": …,
        "generation": 1, "token": "9f…", "answer": "succeeded", "output": {…},
        "events": [{"type": "payment.charged", "payload": {…}}]}]}

``events`` is there only where the handler emitted some.
Readers take unknown fields without complaint, so that newer senders can add
some; an unknown version or a missing field is malformed.
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)

from saga_orchestrator.core.commands import Answer, Command, Reply
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.payload import (
    NESTING_MAX,
    VALUES_MAX,
    Json,
    decode,
    holds_more_values,
)
from saga_orchestrator.core.public import EMISSIONS_MAX, EVENT_TYPE, Emission
from saga_orchestrator.core.states import Direction
from saga_orchestrator.errors import (
    MalformedMessageError,
    PayloadError,
    UnsupportedVersionError,
)
from saga_orchestrator.wire.structs import (
    GENERATION_MAX,
    ITEMS_MAX,
    MILLIS_MAX,
    TEXT_MAX,
    CommandsStruct,
    CommandStruct,
    RepliesStruct,
    ReplyStruct,
)

T = TypeVar("T")

VERSION = 1
MESSAGE_BYTES_MAX = 8 * 1024 * 1024
MESSAGE_VALUES_MAX = 4 * VALUES_MAX
"""A command's context, input and output, or a reply's output, update and events, and
what is around them; more than a full frame can hold."""
COMMANDS = "saga.commands"
REPLIES = "saga.replies"
ERROR_CHARS_MAX = 2000
TRACEPARENT_MAX = 55
ENVELOPE_LEVELS = 5
"""How deep a payload stands in a message, at most: in ``outputs`` of a command."""

_Generation = Annotated[int, Field(ge=1, le=GENERATION_MAX)]
_Text = Annotated[str, Field(max_length=TEXT_MAX)]


def _text_or_nothing(value: object) -> str:
    """Let no odd ``traceparent`` spoil a message: it only helps to look at things."""
    return value if isinstance(value, str) and len(value) <= TRACEPARENT_MAX else ""


_Traceparent = Annotated[str, BeforeValidator(_text_or_nothing)]


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


def command_text(command: Command) -> bytes:
    """Return one command's JSON, to be framed."""
    document: dict[str, Json] = {
        **_fence_document(command.fence, command.token),
        "saga": command.saga_name,
        "action": command.action,
        "attempt": command.attempt,
        "idempotency_key": command.idempotency_key,
        "action_key": command.action_key,
        "context": command.context,
        "output": command.output,
        "outputs": command.outputs,
        "timeout_ms": _millis(command.timeout),
        "expires_at": _iso(command.expires_at),
    }
    if command.input is not command.context:
        document["input"] = command.input
    if command.deadline_at is not None:
        document["deadline_at"] = command.deadline_at.isoformat()
    if command.as_of is not None:
        document["as_of"] = _iso(command.as_of)
    if command.undoes is not None:
        document["undoes"] = command.undoes
    if command.is_known:
        document["is_known"] = True
    if command.traceparent:
        document["traceparent"] = command.traceparent
    return write(document)


def reply_text(reply: Reply) -> bytes:
    """Return one reply's JSON, to be framed; defaults are left out."""
    document: dict[str, Json] = {
        **_fence_document(reply.fence, reply.token),
        "answer": reply.answer,
        "output": reply.output,
        "update": reply.update,
        "error_type": reply.error_type,
        "error": reply.error[:ERROR_CHARS_MAX],
        "retryable": reply.retryable,
        "delay_ms": _millis(reply.delay),
        "heartbeat": reply.heartbeat,
        "effect": reply.effect,
        "answered_by": reply.answered_by,
    }
    if reply.traceparent:
        document["traceparent"] = reply.traceparent
    if reply.emitted:
        document["events"] = [
            {"type": one.type, "payload": one.payload} for one in reply.emitted
        ]
    return write(document)


def excess(body: bytes) -> str:
    """Return what makes a message too large for its reader; empty: nothing."""
    if len(body) > MESSAGE_BYTES_MAX:
        return f"is {len(body)} bytes, the limit is {MESSAGE_BYTES_MAX}"
    if holds_more_values(body, MESSAGE_VALUES_MAX):
        return f"holds more than {MESSAGE_VALUES_MAX} values, which is the limit"
    return ""


def read_commands(body: bytes) -> list[Command]:
    """Read a message of commands.

    Raises:
        MalformedMessageError: names the field.
        UnsupportedVersionError: of a version that this code does not speak.
    """
    message = _fitting(read_document(body), CommandsStruct, CommandMessage)
    return [_command(fields) for fields in message.commands]


def read_replies(body: bytes) -> list[Reply]:
    """Read a message of replies.

    Raises:
        MalformedMessageError: names the field.
        UnsupportedVersionError: of a version that this code does not speak.
    """
    message = _fitting(read_document(body), RepliesStruct, ReplyMessage)
    return [_reply(fields) for fields in message.replies]


def read_document(body: bytes) -> dict[str, Any]:
    """Read a message as it is, its fields unseen.

    Raises:
        MalformedMessageError: not a JSON object within our limits.
        UnsupportedVersionError: of a version that this code does not speak.
    """
    try:
        document = decode(
            body,
            "message",
            bytes_max=MESSAGE_BYTES_MAX,
            values_max=MESSAGE_VALUES_MAX,
            nesting_max=NESTING_MAX + ENVELOPE_LEVELS,
        )
    except PayloadError as error:
        raise MalformedMessageError(str(error)) from error
    if not isinstance(document, dict):
        raise MalformedMessageError("message: must be a JSON object")
    version = document.get("v")
    if version != VERSION or isinstance(version, bool):
        raise UnsupportedVersionError(
            f"message.v: is {version!r}, this program speaks {VERSION}"
        )
    return document


def _fitting(document: Json, kind: type[T], model: type[BaseModel]) -> T:
    """Return a document's fields, which fit the model."""
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError:
        pass
    try:
        judged = model.model_validate(document)
    except ValidationError as error:
        raise MalformedMessageError(_problem(error)) from error
    return msgspec.convert(judged.model_dump(exclude_unset=True), kind)


def _command(fields: CommandStruct) -> Command:
    has_input = fields.input is not msgspec.UNSET
    return Command(
        fence=_fence(fields),
        token=fields.token,
        saga_name=fields.saga,
        action=fields.action,
        attempt=fields.attempt,
        input=fields.input if has_input else fields.context,
        output=fields.output,
        outputs=fields.outputs,
        context=fields.context,
        timeout=dt.timedelta(milliseconds=fields.timeout_ms),
        expires_at=fields.expires_at,
        deadline_at=fields.deadline_at,
        as_of=fields.as_of,
        undoes=None if fields.undoes is None else SagaId(fields.undoes),
        is_known=fields.is_known,
        traceparent=_text_or_nothing(fields.traceparent),
    )


def _reply(fields: ReplyStruct) -> Reply:
    return Reply(
        fence=_fence(fields),
        token=fields.token,
        answer=fields.answer,
        output=fields.output,
        update=fields.update,
        error_type=fields.error_type,
        error=fields.error[:ERROR_CHARS_MAX],
        retryable=fields.retryable,
        delay=dt.timedelta(milliseconds=fields.delay_ms),
        heartbeat=fields.heartbeat,
        effect=fields.effect,
        answered_by=fields.answered_by,
        traceparent=_text_or_nothing(fields.traceparent),
        emitted=tuple(Emission(one.type, one.payload) for one in fields.events),
    )


def _fence(fields: CommandStruct | ReplyStruct) -> Fence:
    return Fence(
        SagaId(fields.saga_id), fields.step, fields.direction, fields.generation
    )


def _fence_document(fence: Fence, token: str) -> dict[str, Json]:
    return {
        "saga_id": fence.saga_id,
        "step": fence.step,
        "direction": fence.direction,
        "generation": fence.generation,
        "token": token,
    }


@functools.lru_cache(maxsize=1024)  # a definition has few of them
def _millis(duration: dt.timedelta) -> int:
    """Return whole milliseconds, never less than asked for."""
    whole, rest = divmod(duration, dt.timedelta(milliseconds=1))
    return min(max(whole + bool(rest), 0), MILLIS_MAX)


@functools.lru_cache(maxsize=256)  # the commands of a batch have them in common
def _iso(instant: dt.datetime) -> str:
    return instant.isoformat()


def _writable(value: object) -> object:
    """Return what the writer does not know as something that it does."""
    if isinstance(value, str):  # a kind of text of the user's own
        return str.__str__(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot travel as JSON")


write = msgspec.json.Encoder(enc_hook=_writable).encode
"""Returns a document's compact JSON. Its values were checked at the door."""


def _problem(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(word) for word in first["loc"])
    return f"message.{place}: {first['msg']}"
