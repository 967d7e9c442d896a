"""Answers from outside, for steps whose handler answered ``Deferred``.

The token is a capability: it can answer one run of one step, and nothing else. So
any good key may pass one on.
"""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from saga_orchestrator.api.bodies import CompleteBody, FailBody, TokenBody
from saga_orchestrator.api.face import TheManager
from saga_orchestrator.api.parameters import SagaIdPath, StepPath
from saga_orchestrator.api.routing import needs, new_router
from saga_orchestrator.api.sagas import saga_response
from saga_orchestrator.api.schemas import Saga
from saga_orchestrator.ports.keys import Role

router = new_router("completion")


def _answers() -> dict[str, Any]:
    return needs(Role.READ, 404, 409, body=True)


@router.post(
    "/v1/sagas/{saga_id}/steps/{step}/complete",
    summary="Answer that a step is done",
    response_model=Saga,
    **_answers(),
)
async def complete(
    manager: TheManager, saga_id: SagaIdPath, step: StepPath, body: CompleteBody
) -> Response:
    """Answer that a deferred run is done; the saga goes on, once.

    The same answer again is answered like the first. 409: nobody waits for it; a late
    success is kept as a residual, and `residual` has its number.
    """
    saga = await manager.complete_step(
        saga_id, step, body.token, output=body.output, update=body.update
    )
    return saga_response(saga)


@router.post(
    "/v1/sagas/{saga_id}/steps/{step}/fail",
    summary="Answer that a step failed",
    response_model=Saga,
    **_answers(),
)
async def fail(
    manager: TheManager, saga_id: SagaIdPath, step: StepPath, body: FailBody
) -> Response:
    """Answer that a deferred run failed: a definite no, or that nobody knows."""
    saga = await manager.fail_step(
        saga_id,
        step,
        body.token,
        error=body.error,
        error_type=body.error_type,
        refused=body.refused,
        retryable=body.retryable,
        update=body.update,
    )
    return saga_response(saga)


@router.post(
    "/v1/sagas/{saga_id}/steps/{step}/heartbeat",
    summary="Say that the work goes on",
    response_model=Saga,
    **_answers(),
)
async def heartbeat(
    manager: TheManager, saga_id: SagaIdPath, step: StepPath, body: TokenBody
) -> Response:
    """Say that a deferred run goes on. After the first, 60 s of silence end it."""
    return saga_response(await manager.heartbeat_step(saga_id, step, body.token))
