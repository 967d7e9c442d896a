"""Starting sagas, looking at them, waiting for them."""

from __future__ import annotations

import dataclasses
from contextlib import nullcontext
from typing import Annotated

from fastapi import Header, Query
from msgspec import structs
from starlette.responses import JSONResponse, Response

from saga_orchestrator.api.attempts import attempts, timeline
from saga_orchestrator.api.bodies import StartBody
from saga_orchestrator.api.conditions import etag
from saga_orchestrator.api.cursors import Cursors
from saga_orchestrator.api.documents import record_document, saga_document
from saga_orchestrator.api.face import TheFace, TheManager
from saga_orchestrator.api.filters import WhichSagas, is_search, words_of
from saga_orchestrator.api.pages import page_document
from saga_orchestrator.api.parameters import PAGE_DEFAULT, Cursor, Limit, SagaIdPath
from saga_orchestrator.api.problems import invalid
from saga_orchestrator.api.routing import needs, new_router
from saga_orchestrator.api.schemas import Saga as SagaSchema
from saga_orchestrator.api.schemas import (
    SagaPage,
    SagaRecord,
    SagaWithData,
    Timeline,
)
from saga_orchestrator.core.ids import KEY_CHARS_MAX, SagaId
from saga_orchestrator.core.saga import NO_DATA, Saga
from saga_orchestrator.ports.keys import Role
from saga_orchestrator.ports.records import Unreadable
from saga_orchestrator.runtime.waiters import RESTING

WAIT_SECONDS_DEFAULT = 30.0
WAIT_SECONDS_MAX = 60.0

router = new_router("sagas")

_KEY = rf"^[\x21-\x7e]([\x20-\x7e]{{0,{KEY_CHARS_MAX - 2}}}[\x21-\x7e])?$"

_KeyHeader = Annotated[
    str | None,
    Header(
        pattern=_KEY,
        alias="Idempotency-Key",
        description="Makes the start safe to repeat: of one definition the same key "
        "with the same body returns the same saga, another body is refused. Each "
        "definition has keys of its own.",
        examples=["order-4711"],
    ),
]
_Timeout = Annotated[
    float,
    Query(
        ge=0, le=WAIT_SECONDS_MAX, description="Seconds to wait.", allow_inf_nan=False
    ),
]
_WAITS = needs(Role.READ, 404)
_WAITS["responses"][202] = {
    "description": "it has not come to rest yet",
    "model": SagaWithData,
}


def saga_response(saga: Saga, status: int = 200, *, location: bool = False) -> Response:
    """Return where a saga stands, with its version as ETag; and where it is found."""
    headers = {"ETag": etag(saga.version)}
    if location:
        headers["Location"] = f"/v1/sagas/{saga.id}"
    # Not its data: what a commit returns has some of it, by chance.
    document = saga_document(structs.replace(saga, data=NO_DATA))
    return JSONResponse(document, status_code=status, headers=headers)


@router.post(
    "/v1/sagas",
    summary="Start a saga",
    status_code=202,
    response_model=SagaSchema,
    **needs(Role.START, body=True),
)
async def start_saga(
    manager: TheManager, body: StartBody, key: _KeyHeader = None
) -> Response:
    """Start a saga; it exists and runs once this answers.

    With an `Idempotency-Key` the start may be repeated, also after an answer was lost.
    """
    if body.name not in manager.definitions:
        known = ", ".join(sorted(manager.definitions)) or "none"
        raise invalid("body.name", f"is no definition of this process; known: {known}")
    saga = await manager.start(body.name, context=body.context, key=key)
    return saga_response(saga, 202, location=True)


@router.get(
    "/v1/sagas",
    summary="List sagas",
    response_model=SagaPage,
    **needs(Role.READ),
)
async def list_sagas(
    face: TheFace,
    *,
    which: WhichSagas,
    limit: Limit = PAGE_DEFAULT,
    cursor: Cursor = None,
) -> Response:
    """List sagas, the newest first, without context and outputs.

    Of the filters all that are given must hold. A key, or states that have not ended,
    are found at once; with anything else many sagas may be passed over, for 10 s at
    most.
    """
    cursors = Cursors(face.manager.store.secret)
    words = ["sagas", *words_of(which)]
    before = None if cursor is None else SagaId(cursors.decode(words, cursor))
    turn = face.searches.turn() if is_search(which) else nullcontext()
    async with turn:
        page = await face.manager.store.page(
            dataclasses.replace(which, before=before, limit=limit + 1)
        )
    document = page_document(
        page,
        name="sagas",
        place=_place,
        newest_first=True,
        document=saga_document,
        limit=limit,
        cursors=cursors,
        which=words,
    )
    return JSONResponse(document)


def _place(row: Saga | Unreadable) -> tuple[str]:
    return (row.saga_id if isinstance(row, Unreadable) else row.id,)


@router.get(
    "/v1/sagas/{saga_id}",
    summary="Look at a saga",
    response_model=SagaRecord,
    **needs(Role.READ, 404),
)
async def get_saga(manager: TheManager, saga_id: SagaIdPath) -> Response:
    """Return all that is known of a saga: steps, attempts, history, residuals."""
    record = await manager.record(saga_id)
    document = {**record_document(record), "attempts": attempts(record)}
    return JSONResponse(document, headers={"ETag": etag(record.saga.version)})


@router.get(
    "/v1/sagas/{saga_id}/timeline",
    summary="When what was tried",
    response_model=Timeline,
    **needs(Role.READ, 404),
)
async def get_timeline(manager: TheManager, saga_id: SagaIdPath) -> Response:
    """Return when the saga moved, and each attempt: when sent, how it ended."""
    return JSONResponse(timeline(await manager.record(saga_id)))


@router.get(
    "/v1/sagas/{saga_id}/wait",
    summary="Wait for a saga to rest",
    response_model=SagaWithData,
    **_WAITS,
)
async def wait_for_saga(
    face: TheFace, saga_id: SagaIdPath, timeout: _Timeout = WAIT_SECONDS_DEFAULT
) -> Response:
    """Answer when the saga is completed, compensated or failed.

    With 202, and the saga as it stands, when the time is over or the process stops.
    """
    saga = await face.manager.get(saga_id)
    if saga.state not in RESTING:
        try:
            async with face.seats.waiting(timeout):
                saga = await face.manager.wait(saga_id)
        except TimeoutError:
            saga = await face.manager.get(saga_id)
    status = 200 if saga.state in RESTING else 202
    headers = {"ETag": etag(saga.version)}
    return JSONResponse(saga_document(saga), status_code=status, headers=headers)
