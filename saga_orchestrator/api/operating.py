"""What a person asks of a saga. Who asks is the name of the API key."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse, Response

from saga_orchestrator.api.bodies import CompensateBody, ReasonBody, ResolveBody
from saga_orchestrator.api.conditions import SeenVersion
from saga_orchestrator.api.cursors import Cursors
from saga_orchestrator.api.documents import residual_document
from saga_orchestrator.api.face import Principal, TheManager
from saga_orchestrator.api.pages import page_document
from saga_orchestrator.api.parameters import (
    PAGE_DEFAULT,
    Cursor,
    Limit,
    ResidualPath,
    SagaIdPath,
    StepPath,
)
from saga_orchestrator.api.routing import needs, new_router
from saga_orchestrator.api.sagas import saga_response
from saga_orchestrator.api.schemas import ResidualPage, Saga
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.core.residual import Residual
from saga_orchestrator.ports.keys import Role
from saga_orchestrator.ports.records import Unreadable

router = new_router("operating")


def _operates() -> dict[str, Any]:
    return needs(Role.OPERATE, 404, 409, 412, body=True)


@router.post(
    "/v1/sagas/{saga_id}/compensate",
    summary="Undo a saga",
    response_model=Saga,
    **_operates(),
)
async def compensate(
    manager: TheManager,
    *,
    saga_id: SagaIdPath,
    body: CompensateBody,
    seen: SeenVersion,
    principal: Principal,
) -> Response:
    """Abort a started saga, or resume the undo of a failed one.

    One that is being undone, or was, is left as it is.
    """
    saga = await manager.compensate(
        saga_id,
        reason=body.reason,
        principal=principal,
        force=body.force,
        if_version=seen,
    )
    return saga_response(saga)


@router.post(
    "/v1/sagas/{saga_id}/retry",
    summary="Try again what gave up",
    response_model=Saga,
    **_operates(),
)
async def retry(
    manager: TheManager,
    *,
    saga_id: SagaIdPath,
    body: ReasonBody,
    seen: SeenVersion,
    principal: Principal,
) -> Response:
    """Let a failed saga go on in the direction it was going, with fresh attempts."""
    saga = await manager.retry(
        saga_id, reason=body.reason, principal=principal, if_version=seen
    )
    return saga_response(saga)


@router.post(
    "/v1/sagas/{saga_id}/steps/{step}/resolve",
    summary="Count a step as done by hand",
    response_model=Saga,
    **_operates(),
)
async def resolve(
    manager: TheManager,
    *,
    saga_id: SagaIdPath,
    step: StepPath,
    body: ResolveBody,
    seen: SeenVersion,
    principal: Principal,
) -> Response:
    """Count a step of a failed saga as done, or undone, by hand; it goes on."""
    saga = await manager.resolve(
        saga_id,
        step,
        reason=body.reason,
        output=body.output,
        direction=body.direction,
        principal=principal,
        if_version=seen,
    )
    return saga_response(saga)


@router.post(
    "/v1/sagas/{saga_id}/steps/{step}/give-up",
    summary="Wait no longer for a step",
    response_model=Saga,
    **_operates(),
)
async def give_up(
    manager: TheManager,
    *,
    saga_id: SagaIdPath,
    step: StepPath,
    body: ReasonBody,
    seen: SeenVersion,
    principal: Principal,
) -> Response:
    """Count a step's outcome as unknown, now; its retry policy goes on from there."""
    saga = await manager.give_up(
        saga_id, step, reason=body.reason, principal=principal, if_version=seen
    )
    return saga_response(saga)


@router.get(
    "/v1/residuals",
    summary="List open residuals",
    response_model=ResidualPage,
    **needs(Role.READ),
)
async def list_residuals(
    manager: TheManager, limit: Limit = PAGE_DEFAULT, cursor: Cursor = None
) -> Response:
    """List effects that may stand outside any saga's account, by saga and number."""
    cursors = Cursors(manager.store.secret)
    which = ["residuals"]
    after = None
    if cursor is not None:
        saga_id, _, number = cursors.decode(which, cursor).partition(":")
        after = SagaId(saga_id), int(number)
    page = await manager.store.residual_page(limit + 1, after=after)
    document = page_document(
        page,
        name="residuals",
        place=_place,
        newest_first=False,
        document=residual_document,
        limit=limit,
        cursors=cursors,
        which=which,
    )
    return JSONResponse(document)


def _place(row: Residual | Unreadable) -> tuple[str, int]:
    if isinstance(row, Unreadable):
        return row.saga_id, row.number
    return row.fence.saga_id, row.number


@router.post(
    "/v1/sagas/{saga_id}/residuals/{number}/undo",
    summary="Have a residual undone",
    status_code=202,
    response_model=Saga,
    **_operates(),
)
async def undo_residual(
    manager: TheManager,
    *,
    saga_id: SagaIdPath,
    number: ResidualPath,
    body: ReasonBody,
    seen: SeenVersion,
    principal: Principal,
) -> Response:
    """Start a saga that undoes a residual; it is returned, follow it like any other."""
    saga = await manager.undo_residual(
        saga_id, number, reason=body.reason, principal=principal, if_version=seen
    )
    return saga_response(saga, 202, location=True)


@router.post(
    "/v1/sagas/{saga_id}/residuals/{number}/dismiss",
    summary="Settle a residual that needs no undo",
    response_model=Saga,
    **_operates(),
)
async def dismiss_residual(
    manager: TheManager,
    *,
    saga_id: SagaIdPath,
    number: ResidualPath,
    body: ReasonBody,
    seen: SeenVersion,
    principal: Principal,
) -> Response:
    """Settle a residual; its saga keeps its state."""
    saga = await manager.dismiss_residual(
        saga_id, number, reason=body.reason, principal=principal, if_version=seen
    )
    return saga_response(saga)
