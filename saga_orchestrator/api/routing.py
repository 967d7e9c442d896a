"""What happens to every request before its route: who, whether, and the body.

A route declares the role that it needs; one without a declaration cannot be made,
so a new route is denied until somebody has thought about it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from fastapi import APIRouter
from fastapi.dependencies.models import Dependant  # codespell:ignore dependant
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from saga_orchestrator.api.door import door_of
from saga_orchestrator.api.problems import (
    KINDS,
    MEDIA_TYPE,
    FieldError,
    Problem,
    invalid,
)
from saga_orchestrator.core.payload import (
    NESTING_MAX,
    PAYLOAD_BYTES_MAX,
    Json,
    decode,
)
from saga_orchestrator.errors import ConfigurationError, PayloadError
from saga_orchestrator.ports.keys import Role

BODY_BYTES_MAX = 2 * PAYLOAD_BYTES_MAX
"""A payload of the largest size, and room for blanks and the fields around it."""
BODY_SECONDS = 30.0
BODY_LEVELS = 1
"""How deep a payload stands in a body."""

ROLE = "x-role"
PUBLIC = "public"
_ALWAYS = (401, 403, 421, 422, 429, 500, 503)
_WITH_BODY = (400, 408, 413, 415)


def needs(role: Role, *statuses: int, body: bool = False) -> dict[str, Any]:
    """Return a route's declaration: the role it needs, and how it can go wrong.

    Args:
        role: what a caller's key must be good for.
        statuses: of the problems that are its own.
        body: it reads one.
    """
    expected = sorted({*_ALWAYS, *statuses, *(_WITH_BODY if body else ())})
    return {
        "openapi_extra": {ROLE: role.value, "security": [{"apiKey": []}]},
        "responses": {status: _problem_response(status) for status in expected},
    }


def public(*statuses: int) -> dict[str, Any]:
    """Return the declaration of a route that is for everybody: probes."""
    return {
        "openapi_extra": {ROLE: PUBLIC, "security": []},
        "responses": {status: _problem_response(status) for status in (422, *statuses)},
    }


class SecuredRoute(APIRoute):
    """A route that admits its caller, then checks what came, then answers."""

    def get_route_handler(
        self,
    ) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, with all that comes before it.

        Raises:
            ConfigurationError: the route does not declare a role.
        """
        answer = super().get_route_handler()
        role = _declared(self)
        known = set(_query_names(self.dependant))  # codespell:ignore dependant
        reads_body = self.body_field is not None

        async def handle(request: Request) -> Response:
            if role is not None:
                access = door_of(request).access
                request.state.caller = await access.admit(request, role)
            _refuse_unknown(request, known)
            if reads_body:
                request = await _with_body(request)
            return await answer(request)

        return handle


def new_router(tag: str) -> APIRouter:
    """Return a router whose routes must declare their role."""
    return APIRouter(route_class=SecuredRoute, tags=[tag])


class _ReadRequest(Request):
    """A request whose body was read and checked."""

    def __init__(self, request: Request, raw: bytes, value: Json) -> None:
        super().__init__(request.scope, request.receive)
        self._raw = raw
        self._value = value

    async def body(self) -> bytes:
        """Return the bytes."""
        return self._raw

    async def json(self) -> Json:
        """Return the value."""
        return self._value


def _declared(route: APIRoute) -> Role | None:
    """Return the role that a route needs; None: it is for everybody."""
    role = (route.openapi_extra or {}).get(ROLE)
    if role == PUBLIC:
        return None
    if role is None:
        raise ConfigurationError(
            f"route {route.path}: declares no role; add **needs(Role.…)"
        )
    return Role(role)


def _query_names(declared: Dependant) -> Iterator[str]:  # codespell:ignore dependant
    """Yield the parameters of a query that a route, or what it depends on, reads."""
    for field in declared.query_params:
        yield field.alias
    for other in declared.dependencies:
        yield from _query_names(other)


def _refuse_unknown(request: Request, known: set[str]) -> None:
    for name in request.query_params:
        if name not in known:
            hint = f"use one of {', '.join(sorted(known))}" if known else "leave it out"
            raise invalid(f"query.{name[:100]}", f"is not known; {hint}")


async def _with_body(request: Request) -> Request:
    raw = await _read(request)
    if not raw:
        return _ReadRequest(request, raw, None)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        wrong = FieldError("header.Content-Type", "must be application/json")
        raise Problem(
            "unsupported-media-type",
            f"the body is {kind or 'of no type'}, it must be application/json",
            [wrong],
            headers={"Accept": "application/json"},
        )
    try:
        value = decode(
            raw,
            "body",
            bytes_max=BODY_BYTES_MAX,
            nesting_max=NESTING_MAX + BODY_LEVELS,
        )
    except PayloadError as error:
        wrong = FieldError(error.path, error.problem)
        is_json = not error.problem.startswith("is not JSON")
        kind = "invalid-request" if is_json else "malformed-body"
        raise Problem(kind, str(error), [wrong]) from error
    return _ReadRequest(request, raw, value)


async def _read(request: Request) -> bytes:
    """Read the body, as far as it is small enough."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > BODY_BYTES_MAX:
        raise _too_large()
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > BODY_BYTES_MAX:
                    raise _too_large()
    except TimeoutError:
        raise Problem(
            "too-slow", f"the body must arrive within {BODY_SECONDS:g} s"
        ) from None
    except ClientDisconnect:
        raise Problem("malformed-body", "the client left before its end") from None
    return bytes(body)


def _too_large() -> Problem:
    limit = f"the limit is {BODY_BYTES_MAX} bytes; store it elsewhere, pass a reference"
    return Problem(
        "body-too-large",
        limit,
        [FieldError("body", limit)],
        headers={"Connection": "close"},
    )


def _problem_response(status: int) -> dict[str, Any]:
    kinds = [name for name, (of_kind, _) in KINDS.items() if of_kind == status]
    return {
        "description": " or ".join(kinds),
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
