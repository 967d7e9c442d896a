"""From how a handler ended to the reply that says so."""

from __future__ import annotations

import datetime as dt
import traceback

from msgspec.structs import replace

from saga_orchestrator.core.commands import Answer, Reply
from saga_orchestrator.core.payload import PAYLOAD_BYTES_MAX
from saga_orchestrator.participant.context import StepContext
from saga_orchestrator.participant.handlers import Handler
from saga_orchestrator.participant.signals import (
    Deferred,
    HandlerSignal,
    RetryLater,
    Skip,
    StepFailed,
    Superseded,
)
from saga_orchestrator.participant.threads import NoFreeThread, Overrun
from saga_orchestrator.participant.values import InvalidInput, InvalidOutput, dump

ERROR_CHARS_MAX = 2_000
ERROR_TYPE_CHARS_MAX = 200
FRAMES_MAX = 5
NO_THREAD_DELAY = dt.timedelta(seconds=10)


def reply_to_value(
    ctx: StepContext,
    handler: Handler,
    value: object,
    *,
    bytes_max: int = PAYLOAD_BYTES_MAX,
) -> Reply:
    """Answer for a handler that returned."""
    if isinstance(value, HandlerSignal):
        return reply_to_error(ctx, value)
    try:
        output = dump(handler.signature.result, value, bytes_max=bytes_max)
    except BaseException as error:  # noqa: BLE001 - of a user's serialiser
        return reply_to_error(ctx, error)
    return Reply(
        ctx.fence,
        ctx.token,
        Answer.SUCCEEDED,
        output=output,
        update=ctx.updates,
        effect=ctx.had_effect,
        emitted=ctx.emitted,
    )


def reply_to_error(ctx: StepContext, error: BaseException) -> Reply:
    """Answer for a handler that raised; what we do not know is *unknown*."""
    if isinstance(error, HandlerSignal):
        return _reply_to_signal(ctx, error)
    if isinstance(error, InvalidInput):
        return _failed(ctx, Answer.REFUSED, error, retryable=False)
    if isinstance(error, InvalidOutput):
        # It ran, so its effect may stand; running it again would not help.
        reply = _failed(ctx, Answer.UNKNOWN, error, retryable=False)
        return replace(reply, error=f"what the handler returned: {reply.error}")
    if isinstance(error, NoFreeThread):
        text = safe_text(error)
        return Reply(
            ctx.fence, ctx.token, Answer.RETRY_LATER, delay=NO_THREAD_DELAY, error=text
        )
    if isinstance(error, Overrun):
        text = safe_text(error)
        return Reply(
            ctx.fence, ctx.token, Answer.UNKNOWN, error_type="Timeout", error=text
        )
    reply = _failed(ctx, Answer.UNKNOWN, error)
    ctx.logger.warning(
        "handler failed", error=f"{reply.error_type}: {reply.error}", at=_where(error)
    )
    return reply


def _where(error: BaseException) -> list[str]:
    """Return the last lines that the error came through, the innermost last.

    Not the log's own traceback: that renders the exception, whose text may be
    of any size, or raise.
    """
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES_MAX:]
    return [f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in frames]


def safe_text(error: BaseException) -> str:
    """Return an exception's text, whatever its author did, fit for the wire."""
    try:
        text = str(error)
    except BaseException as problem:  # noqa: BLE001 - __str__ may raise SystemExit
        text = f"its text cannot be read: {type(problem).__name__}"
    return _clean(text, ERROR_CHARS_MAX)


def _reply_to_signal(ctx: StepContext, signal: HandlerSignal) -> Reply:
    text = safe_text(signal)
    match signal:
        case StepFailed():
            refusal = _failed(ctx, Answer.REFUSED, signal, retryable=signal.retryable)
            return replace(refusal, update=ctx.updates)
        case Skip():
            return Reply(
                ctx.fence,
                ctx.token,
                Answer.SKIPPED,
                update=ctx.updates,
                error=text,
                emitted=ctx.emitted,
            )
        case RetryLater():
            return Reply(
                ctx.fence, ctx.token, Answer.RETRY_LATER, delay=signal.delay, error=text
            )
        case Deferred():
            return Reply(ctx.fence, ctx.token, Answer.ACCEPTED)
        case Superseded():
            return Reply(
                ctx.fence, ctx.token, Answer.SUPERSEDED, effect=False, error=text
            )
        case _:
            return _failed(ctx, Answer.UNKNOWN, signal)


def _failed(
    ctx: StepContext, answer: Answer, error: BaseException, *, retryable: bool = True
) -> Reply:
    return Reply(
        ctx.fence,
        ctx.token,
        answer,
        error_type=_clean(type(error).__name__, ERROR_TYPE_CHARS_MAX),
        error=safe_text(error),
        retryable=retryable,
    )


def _clean(text: str, chars_max: int) -> str:
    """Cut the text first: it may be 100 MiB; then drop what JSON cannot carry."""
    text = text[:chars_max].replace("\0", "")
    return text.encode(errors="ignore").decode()
