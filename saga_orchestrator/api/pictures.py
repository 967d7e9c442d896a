"""A saga drawn as it stands."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

from fastapi import Header, Query
from starlette.responses import JSONResponse, Response

from saga_orchestrator.api.face import TheManager
from saga_orchestrator.api.parameters import SagaIdPath
from saga_orchestrator.api.problems import FieldError, Problem
from saga_orchestrator.api.routing import needs, new_router
from saga_orchestrator.graph import (
    Picture,
    draw_mermaid,
    draw_svg,
    draw_text,
    graph_document,
    picture_of_saga,
)
from saga_orchestrator.ports.keys import Role

router = new_router("sagas")

ACCEPT_CHARS_MAX = 1000


class Format(StrEnum):
    """What a picture can be drawn as."""

    SVG = "svg"
    MERMAID = "mermaid"
    TEXT = "text"
    JSON = "json"


# In order of preference, where a client takes several.
_MEDIA: dict[Format, str] = {
    Format.SVG: "image/svg+xml",
    Format.MERMAID: "text/vnd.mermaid",
    Format.TEXT: "text/plain",
    Format.JSON: "application/json",
}
_SVG_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""Opened by itself, a picture may style itself and nothing else."""

_DRAWS = needs(Role.READ, 404, 406)
_DRAWS["responses"][200] = {
    "description": "the picture",
    "content": {
        media: {"schema": {"type": "object" if media.endswith("json") else "string"}}
        for media in _MEDIA.values()
    },
}


@router.get(
    "/v1/sagas/{saga_id}/graph",
    summary="Draw a saga",
    response_class=Response,
    **_DRAWS,
)
async def get_graph(
    manager: TheManager,
    saga_id: SagaIdPath,
    format: Annotated[  # noqa: A002 - the parameter's name
        Format | None, Query(description="Left out: what `Accept` asks for, or svg.")
    ] = None,
    accept: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Response:
    """Draw the steps of a saga as they stand: SVG, Mermaid, text, or JSON."""
    chosen = format or _accepted(accept)
    record = await manager.record(saga_id)
    return _drawn(picture_of_saga(record.saga, record.history), chosen)


def _drawn(picture: Picture, chosen: Format) -> Response:
    media = _MEDIA[chosen]
    match chosen:
        case Format.SVG:
            headers = {"Content-Security-Policy": _SVG_POLICY}
            return Response(draw_svg(picture), media_type=media, headers=headers)
        case Format.MERMAID:
            return Response(draw_mermaid(picture), media_type=media)
        case Format.TEXT:
            return Response("\n".join(draw_text(picture)) + "\n", media_type=media)
        case Format.JSON:
            return JSONResponse(graph_document(picture))


def _accepted(accept: str | None) -> Format:
    """Return the form that a client likes best, ours first among equals.

    Raises:
        Problem: it takes none of them.
    """
    best, liked = Format.SVG, 0.0
    wishes = list(_wishes(accept or "*/*"))
    for form, media in _MEDIA.items():
        kind = media.partition("/")[0]
        # The wish that names it most exactly counts.
        for name in (media, f"{kind}/*", "*/*"):
            found = [quality for wish, quality in wishes if wish == name]
            if found:
                if max(found) > liked:
                    best, liked = form, max(found)
                break
    if not liked:
        fix = f"accept one of {', '.join(_MEDIA.values())}, or name a format"
        raise Problem(
            "not-acceptable", f"Accept: {fix}", [FieldError("header.Accept", fix)]
        )
    return best


def _wishes(accept: str) -> Iterator[tuple[str, float]]:
    for part in accept[:ACCEPT_CHARS_MAX].split(","):
        media, *parameters = (word.strip() for word in part.lower().split(";"))
        quality = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name == "q":
                try:
                    quality = min(max(float(value), 0.0), 1.0)
                except ValueError:
                    quality = 0.0
        yield media, quality
