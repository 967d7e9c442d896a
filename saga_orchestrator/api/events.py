"""A saga's progress as server-sent events: its history, as it grows."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated

from fastapi import Header
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from saga_orchestrator.api.documents import Document, entry_document
from saga_orchestrator.api.face import Face, Seats, TheFace
from saga_orchestrator.api.parameters import SagaIdPath
from saga_orchestrator.api.routing import needs, new_router
from saga_orchestrator.core.states import ENDED
from saga_orchestrator.errors import SagaNotFoundError, StoreError
from saga_orchestrator.ports.keys import Role
from saga_orchestrator.runtime.waiters import POLL_FIRST_SECONDS, POLL_LAST_SECONDS

PING_SECONDS = 15.0
_PING = b": ping\n\n"

router = new_router("sagas")

# Before OpenAPI 3.2 the schema of a stream is that of one event.
_EVENT = {
    "type": "object",
    "required": ["event", "data"],
    "properties": {
        "id": {"type": "string", "description": "the entry's number; not of `end`"},
        "event": {"type": "string", "description": "the entry's kind, or `end`"},
        "data": {"type": "string", "description": "the entry, as JSON"},
    },
}

_FOLLOWS = needs(Role.READ, 404)
_FOLLOWS["responses"] |= {
    200: {
        "description": "the history from there on, until the saga's end",
        "content": {"text/event-stream": {"schema": _EVENT}},
    },
    204: {"description": "the saga has ended, and all of it was told"},
}


@router.get(
    "/v1/sagas/{saga_id}/events",
    summary="Follow a saga",
    response_class=Response,
    **_FOLLOWS,
)
async def follow(
    request: Request,
    face: TheFace,
    saga_id: SagaIdPath,
    last_seen: Annotated[
        str | None,
        Header(
            pattern=r"^[0-9]{1,9}$",
            alias="Last-Event-ID",
            description="The last event that was seen; it goes on after that.",
            examples=["4"],
        ),
    ] = None,
) -> Response:
    """Send each entry of the saga's history as an event, as it happens.

    An event's id is the entry's number, its name the kind, its data the entry. The
    stream ends with an event `end`, which has no id, once the saga has ended; a
    comment every 15 s keeps it open. It also ends when the process stops: connect
    again, with `Last-Event-ID`, as browsers do by themselves. Of a key that was
    revoked it ends before the next event, or comment.
    """
    seen = int(last_seen or 0)
    saga = await face.manager.get(saga_id)
    if saga.state in ENDED and saga.version <= seen:
        return Response(status_code=204)

    async def may_follow() -> bool:
        return await face.access.still_admits(request, Role.READ)

    face.streams.take()
    return _Stream(face.streams, _events(face, saga_id, seen, may_follow))


class _Stream(StreamingResponse):
    """A stream that gives its seat back, however it ends."""

    def __init__(self, seats: Seats, events: AsyncIterator[bytes]) -> None:
        super().__init__(
            events,
            media_type="text/event-stream",
            headers={"X-Accel-Buffering": "no"},  # else nginx would hold it back
        )
        self._seats = seats

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._seats.leave()


async def _events(
    face: Face, saga_id: str, seen: int, may_follow: Callable[[], Awaitable[bool]]
) -> AsyncIterator[bytes]:
    pause, silent = 0.0, 0.0
    while not face.streams.is_closing:
        await face.clock.sleep(pause)
        silent += pause
        pause = min(max(2 * pause, POLL_FIRST_SECONDS), POLL_LAST_SECONDS)
        try:
            record = await face.manager.record(saga_id)
            is_news = record.saga.version > seen or record.saga.state in ENDED
            if (is_news or silent >= PING_SECONDS) and not await may_follow():
                return  # the key was revoked; who connects again is told so
        except SagaNotFoundError:
            return  # deleted meanwhile; who connects again is told so
        except StoreError:
            record = None  # away just now; it is asked again
        if record is not None and record.saga.version > seen:
            # By number, not by place: entries that are damaged are not there.
            for entry in (one for one in record.history if one.seq > seen):
                yield _event(str(entry.kind), entry_document(entry), entry.seq)
            seen, pause, silent = record.saga.version, POLL_FIRST_SECONDS, 0.0
        if record is not None and record.saga.state in ENDED:
            yield _event("end", {"state": record.saga.state})
            return
        if silent >= PING_SECONDS:
            silent = 0.0
            yield _PING


def _event(name: str, data: Document, number: int | None = None) -> bytes:
    # JSON has no line breaks of its own, so the data is one line.
    lines = [f"event: {name}", f"data: {json.dumps(data, ensure_ascii=False)}"]
    if number is not None:
        lines.insert(0, f"id: {number}")
    return ("\n".join(lines) + "\n\n").encode()
