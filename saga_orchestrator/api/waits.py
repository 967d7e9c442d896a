"""Which sagas wait for too long, and why one waits."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from fastapi import Query
from pydantic import WithJsonSchema
from starlette.responses import JSONResponse, Response

from saga_orchestrator.api.conditions import etag
from saga_orchestrator.api.cursors import Cursors
from saga_orchestrator.api.face import TheFace, TheManager
from saga_orchestrator.api.parameters import (
    PAGE_DEFAULT,
    Cursor,
    Limit,
    SagaIdPath,
    read_by,
)
from saga_orchestrator.api.routing import needs, new_router
from saga_orchestrator.api.wait_documents import (
    diagnosis_document,
    stale_page_document,
)
from saga_orchestrator.api.wait_schemas import Diagnosis, StalePage
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.waiting import StaleAfter
from saga_orchestrator.durations import parse_positive
from saga_orchestrator.ports.keys import Role

STALE_SECONDS = 5.0
"""For one page: longer than a broker that hangs is waited for."""

router = new_router("waits")

_OlderThan = Annotated[
    dt.timedelta | None,
    read_by(parse_positive),
    WithJsonSchema({"type": "string", "pattern": r"^[1-9][0-9]{0,4}[smhd]$"}),
    Query(
        description="For how long is too long, for all definitions: 90s, 10m, 1h, 30d. "
        "Without it the thresholds of the server's settings count.",
        examples=["1h"],
    ),
]


@router.get(
    "/v1/stale",
    summary="List sagas that wait for too long",
    response_model=StalePage,
    **needs(Role.READ),
)
async def list_stale(
    face: TheFace,
    *,
    older_than: _OlderThan = None,
    limit: Limit = PAGE_DEFAULT,
    cursor: Cursor = None,
) -> Response:
    """List sagas that wait for too long, the oldest first: why, and what to do.

    What the store knows is refined by the broker: whether anybody reads the queue of
    a command, and how many stand in it. A page looks at 5,000 sagas at most, and for
    5 s; it may be short, or empty, and still have a `next_cursor`.
    """
    after = face.stale_after if older_than is None else StaleAfter(older_than)
    cursors = Cursors(face.manager.store.secret)
    which = ["stale", None if older_than is None else older_than.total_seconds()]
    start = None if cursor is None else SagaId(cursors.decode(which, cursor))
    async with face.searches.turn():
        page = await face.manager.stale_page(
            after, limit=limit, start=start, seconds=STALE_SECONDS
        )
    goes_on = page.goes_on and cursors.encode(which, page.goes_on)
    return JSONResponse(stale_page_document(page, goes_on))


@router.get(
    "/v1/sagas/{saga_id}/why",
    summary="Why a saga waits",
    response_model=Diagnosis,
    **needs(Role.READ, 404),
)
async def why(manager: TheManager, saga_id: SagaIdPath) -> Response:
    """Say what a saga waits for, since when, its last error, and what to do."""
    diagnosis = await manager.why(saga_id)
    headers = {"ETag": etag(diagnosis.saga.version)}
    return JSONResponse(diagnosis_document(diagnosis), headers=headers)
