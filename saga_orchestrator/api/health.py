"""Probes and metrics: for machines that watch this one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

from fastapi import Query
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from saga_orchestrator.api.door import TheDoor
from saga_orchestrator.api.readiness import Part
from saga_orchestrator.api.routing import needs, new_router, public
from saga_orchestrator.ports.keys import Role

router = new_router("health")

_PROBE = public(401, 403, 421, 429)
_PROBE["responses"][503] = {
    "description": "a part does not work, or the process stops",
    "content": {"text/plain": {"schema": {"type": "string"}}},
}


@router.get(
    "/livez",
    summary="Whether the process is alive",
    response_class=PlainTextResponse,
    **public(),
)
async def livez() -> Response:
    """Answer; what answers is alive. Looks at nothing else."""
    return PlainTextResponse("ok\n")


@router.get(
    "/readyz",
    summary="Whether the process can work",
    response_class=PlainTextResponse,
    **_PROBE,
)
async def readyz(
    request: Request,
    door: TheDoor,
    verbose: Annotated[
        bool, Query(description="With the reasons; needs a read key.")
    ] = False,
) -> Response:
    """Say which parts work; 503 where one does not, or the process stops.

    The reasons name servers, so they are for those who may look at sagas.
    """
    if verbose:
        await door.access.admit_to_reasons(request)
    parts = [*await door.readiness.parts(), *await door.family.others()]
    is_ready = not (door.readiness.is_draining or any(part.is_down for part in parts))
    lines = list(_lines(parts, draining=door.readiness.is_draining, verbose=verbose))
    return PlainTextResponse(
        "".join(f"{line}\n" for line in lines),
        status_code=200 if is_ready else 503,
    )


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=PlainTextResponse,
    **needs(Role.READ),
)
async def metrics(door: TheDoor) -> Response:
    """Return the metrics of all processes here, in Prometheus' text format."""
    return Response(await door.family.exposition(), media_type=CONTENT_TYPE_LATEST)


def _lines(parts: Sequence[Part], *, draining: bool, verbose: bool) -> Iterator[str]:
    for part in parts:
        mark = "-" if part.is_down else "!" if part.problems else "+"
        reasons = "; ".join(part.problems) if verbose else ""
        state = reasons or ("down" if part.is_down else part.short)
        yield f"[{mark}]{part.name} {state}"
    if draining:
        yield "[-]process stopping"
    down = draining or any(part.is_down for part in parts)
    yield "not ready" if down else "ready"
