"""Who may call. Keys are made on the command line only: none travels from here."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path
from starlette.responses import JSONResponse, Response

from saga_orchestrator.api.documents import key_document
from saga_orchestrator.api.face import TheManager
from saga_orchestrator.api.routing import needs, new_router
from saga_orchestrator.api.schemas import Key, Keys
from saga_orchestrator.ports.keys import Role

router = new_router("keys")


@router.get(
    "/v1/keys", summary="List the API keys", response_model=Keys, **needs(Role.ADMIN)
)
async def list_keys(manager: TheManager) -> Response:
    """List the API keys by name, revoked ones too; not the keys themselves."""
    found = await manager.store.api_keys.all()
    return JSONResponse({"keys": [key_document(key) for key in found]})


@router.post(
    "/v1/keys/{name}/revoke",
    summary="Revoke an API key",
    response_model=Key,
    **needs(Role.ADMIN, 404),
)
async def revoke_key(
    manager: TheManager,
    name: Annotated[
        str,
        Path(
            pattern=r"^[A-Za-z0-9._@-]{1,64}$",
            description="The key's name.",
            examples=["shop"],
        ),
    ],
) -> Response:
    """Make a key good for nothing, at once; its name stays taken."""
    return JSONResponse(key_document(await manager.store.api_keys.revoke(name)))
