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
from typing import Any, TypeVar

import msgspec
from pydantic import (
    BaseModel,
    ValidationError,
)

from saga_orchestrator.core.commands import Command, Reply
from saga_orchestrator.core.fence import Fence
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.payload import (
    NESTING_MAX,
    VALUES_MAX,
    Json,
    decode,
    holds_more_values,
)
from saga_orchestrator.core.public import Emission
from saga_orchestrator.errors import (
    MalformedMessageError,
    PayloadError,
    UnsupportedVersionError,
)
from saga_orchestrator.wire.models import (
    VERSION,
    CommandMessage,
    ReplyMessage,
    text_or_nothing,
)
from saga_orchestrator.wire.structs import (
    MILLIS_MAX,
    CommandsStruct,
    CommandStruct,
    RepliesStruct,
    ReplyStruct,
)

T = TypeVar("T")

MESSAGE_BYTES_MAX = 8 * 1024 * 1024
MESSAGE_VALUES_MAX = 4 * VALUES_MAX
"""A command's context, input and output, or a reply's output, update and events, and
what is around them; more than a full frame can hold."""
COMMANDS = "saga.commands"
REPLIES = "saga.replies"
ERROR_CHARS_MAX = 2000
ENVELOPE_LEVELS = 5
"""How deep a payload stands in a message, at most: in ``outputs`` of a command."""


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
        traceparent=text_or_nothing(fields.traceparent),
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
        traceparent=text_or_nothing(fields.traceparent),
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
