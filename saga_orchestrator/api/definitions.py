"""What can be started here."""

from __future__ import annotations

import json
from typing import Annotated

from fastapi import Path
from starlette.responses import JSONResponse, Response

from saga_orchestrator.api.documents import Document
from saga_orchestrator.api.face import TheManager
from saga_orchestrator.api.problems import Problem
from saga_orchestrator.api.routing import needs, new_router
from saga_orchestrator.api.schemas import Definition, Definitions
from saga_orchestrator.core.definition import SagaDefinition
from saga_orchestrator.core.plan import compile_plan
from saga_orchestrator.ports.keys import Role

router = new_router("definitions")


@router.get(
    "/v1/definitions",
    summary="What can be started",
    response_model=Definitions,
    **needs(Role.READ),
)
async def list_definitions(manager: TheManager) -> Response:
    """List the definitions that this process was given, by name."""
    found = sorted(manager.definitions.items())
    return JSONResponse({"definitions": [_document(one) for _, one in found]})


@router.get(
    "/v1/definitions/{name}",
    summary="Look at a definition",
    response_model=Definition,
    **needs(Role.READ, 404),
)
async def get_definition(
    manager: TheManager,
    name: Annotated[
        str,
        Path(
            pattern=r"^[A-Za-z0-9_.-]{1,128}$",
            description="The definition's name.",
            examples=["order_processing"],
        ),
    ],
) -> Response:
    """Return a definition. Running sagas keep the plan that they were started with."""
    definition = manager.definitions.get(name)
    if definition is None:
        known = ", ".join(sorted(manager.definitions)) or "none"
        raise Problem("definition-not-found", f"no definition {name}; known: {known}")
    return JSONResponse(_document(definition))


def _document(definition: SagaDefinition) -> Document:
    plan = compile_plan(definition)
    return {
        "name": definition.name,
        "digest": plan.digest,
        "plan": json.loads(plan.text),
    }
