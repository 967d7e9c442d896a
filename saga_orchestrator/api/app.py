"""The application: its routes, what becomes of errors, and what surrounds them.

Nothing here decides about a saga; the manager does.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import structlog
from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import saga_orchestrator
from saga_orchestrator.api import (
    completion,
    definitions,
    events,
    health,
    keys,
    operating,
    pictures,
    sagas,
    waits,
)
from saga_orchestrator.api.door import Door
from saga_orchestrator.api.face import Face
from saga_orchestrator.api.problems import FieldError, Problem, problem_of
from saga_orchestrator.api.routing import SecuredRoute, needs, new_router
from saga_orchestrator.api.schemas import Problem as ProblemSchema
from saga_orchestrator.errors import ConfigurationError, SagaError
from saga_orchestrator.ports.keys import Role

ERRORS_MAX = 20
"""Wrong fields of a request that are told."""

_log = structlog.get_logger("saga.http")

_ROUTERS = (
    definitions.router,
    sagas.router,
    pictures.router,
    waits.router,
    events.router,
    completion.router,
    operating.router,
    keys.router,
    health.router,
)

_ERROR_ID = "saga.error_id"

_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]

_DESCRIPTION = (
    "Start sagas, follow them, answer their deferred steps, operate them. Errors are "
    "problem documents (RFC 9457); a saga's `ETag` is its version."
)


def create_app(face: Face) -> ASGIApp:
    """Return the application of a face.

    Raises:
        ConfigurationError: a route does not say who may call it.
    """
    app = _new_app(face)
    return _finished(app, [*_ROUTERS, _description_router(app)])


def create_probes(door: Door) -> ASGIApp:
    """Return the application of a process that only shows how it is."""
    return _finished(_new_app(door), [health.router])


def _new_app(door: Door) -> FastAPI:
    app = FastAPI(
        title="saga-orchestrator",
        version=saga_orchestrator.__version__,
        description=_DESCRIPTION,
        openapi_url=None,  # our own route serves it, to those who may see it
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.face = door
    return app


def _finished(app: FastAPI, routers: Sequence[APIRouter]) -> ASGIApp:
    for router in routers:
        app.include_router(router)
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(SagaError, _on_error_of_ours)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(Exception, _on_defect)
    require_roles(app)
    return _Surround(app)


def require_roles(app: FastAPI) -> None:
    """Refuse an application that has a route which admits everybody.

    Raises:
        ConfigurationError: names the route.
    """
    for route in iter_route_contexts(app.routes):
        if not isinstance(route.original_route, SecuredRoute):
            raise ConfigurationError(
                f"route {route.path}: admits everybody; make it on a router of "
                "new_router, with **needs(Role.…)"
            )


def openapi_of(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI 3.1 description of all routes."""
    if app.openapi_schema is None:
        document = app.openapi()
        components = document.setdefault("components", {})
        components["securitySchemes"] = {
            "apiKey": {
                "type": "http",
                "scheme": "bearer",
                "description": "An API key, from `saga keys new`.",
            }
        }
        _drop_nulls(document)
        problem = ProblemSchema.model_json_schema(
            ref_template="#/components/schemas/{model}"
        )
        components["schemas"] |= problem.pop("$defs") | {"Problem": problem}
        # What can be started is known, and does not change while we run.
        name = components["schemas"]["StartBody"]["properties"]["name"]
        names = sorted(app.state.face.manager.definitions)
        name |= {"enum": names, "examples": names[:1]}
    assert app.openapi_schema is not None, "openapi() keeps what it made"
    return app.openapi_schema


def _drop_nulls(document: dict[str, Any]) -> None:
    """Describe parameters that may be left out as that: they have no null."""
    for item in document["paths"].values():
        for operation in item.values():
            for parameter in operation.get("parameters", ()):
                schema = parameter["schema"]
                for choice in schema.pop("anyOf", ()):
                    if choice.get("type") != "null":
                        schema |= choice


def _description_router(app: FastAPI) -> APIRouter:
    router = new_router("description")

    @router.get("/openapi.json", summary="This description", **needs(Role.READ))
    async def describe() -> Response:
        """Return the OpenAPI 3.1 description of this API."""
        return JSONResponse(openapi_of(app))

    return router


async def _on_problem(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, Problem), "registered for problems"
    return error.response()


async def _on_error_of_ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, SagaError), "registered for errors of ours"
    problem = problem_of(error)
    if problem.kind == "internal-error":
        _log.warning(
            "request failed",
            method=request.method,
            path=request.scope["path"],
            error=f"{type(error).__name__}: {error}",
        )
    return problem.response()


async def _on_invalid(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, RequestValidationError), "registered for these"
    wrong = [_field_error(one) for one in error.errors()[:ERRORS_MAX]]
    detail = "; ".join(f"{one.field}: {one.detail}" for one in wrong)
    return Problem("invalid-request", detail, wrong).response()


async def _on_defect(request: Request, error: Exception) -> Response:
    del error  # it is raised again, and logged by ``_Surround``
    number = request.scope[_ERROR_ID] = secrets.token_hex(8)
    return Problem(
        "internal-error",
        f"the server's log has it under {number}",
        extra={"error_id": number},
    ).response()


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException), "registered for these"
    if error.status_code == 405:  # noqa: PLR2004 - the wrong method
        allowed = ", ".join(sorted(_methods(request)))
        return Problem(
            "method-not-allowed",
            f"{request.method} is not known here; use {allowed}",
            headers={"Allow": allowed},
        ).response()
    return Problem("not-found", f"no route {request.scope['path'][:200]}").response()


def _methods(request: Request) -> set[str]:
    """Return the methods that the request's path has."""
    found: set[str] = set()
    for route in iter_route_contexts(request.app.routes):
        match, _ = route.original_route.matches(dict(request.scope))
        if match is not Match.NONE:
            found |= route.methods or set()
    return found


def _field_error(one: dict[str, Any]) -> FieldError:
    words = one["loc"]
    if words[0] != "body":
        # What follows a parameter's name may be a name of the framework's own.
        words = (*words[:2], *(word for word in words[2:] if isinstance(word, int)))
    place = ".".join(map(str, words))
    match one["type"]:
        case "missing":
            return FieldError(place, "is missing")
        case "extra_forbidden":
            return FieldError(place, "is not known; leave it out")
        case _:
            return FieldError(place, one["msg"])


class _Surround:
    """Around everything: headers of safety, and the log of what broke."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; what breaks inside goes no further."""

        async def safe_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_HEADERS]
            await send(message)

        try:
            await self.app(scope, receive, safe_send)
        except Exception:  # noqa: BLE001 - the last net; it was answered inside
            _log.exception(
                "request broke", path=scope.get("path"), error_id=scope.get(_ERROR_ID)
            )
