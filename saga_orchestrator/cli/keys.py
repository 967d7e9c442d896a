"""`saga keys`: who may call the HTTP API."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from saga_orchestrator.api.documents import key_document
from saga_orchestrator.cli.options import (
    JsonOption,
    StoreOption,
    client,
    settings_of,
)
from saga_orchestrator.cli.terminal import columns, emit, emit_json, note
from saga_orchestrator.ports.keys import ApiKey, ApiKeys, Role
from saga_orchestrator.runtime.api_keys import issue_key

if TYPE_CHECKING:
    from saga_orchestrator.settings import Settings

T = TypeVar("T")

app = typer.Typer(
    help="Who may call the HTTP API, and what for.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="Who uses it.", show_default=False)
]


def new(
    name: NameArgument,
    *,
    role: Annotated[
        Role,
        typer.Option(
            "--role", help="What it is good for, and all before it.", show_default=False
        ),
    ],
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key and print it. It is shown this once; the store has its hash only.

    A read key looks at sagas, a start key starts them too, an operate key also asks
    what a person asks, an admin key also sees and revokes keys. The name is kept in
    the history of whatever is done with the key.

    Example:
        saga keys new shop --role start
    """

    async def make(keys: ApiKeys) -> tuple[str, ApiKey]:
        return await issue_key(keys, name, role)

    text, key = _asked(store, make)
    if as_json:
        emit_json({**key_document(key), "key": text})
    else:
        emit([text])
        note("keep it: it cannot be shown again")


def list_keys(store: StoreOption = None, as_json: JsonOption = False) -> None:
    """List the keys, by name; revoked ones too.

    With --json one key a line (JSON Lines).

    Example:
        saga keys list
    """

    async def ask(keys: ApiKeys) -> list[ApiKey]:
        return await keys.all()

    found = _asked(store, ask)
    if as_json:
        for key in found:
            emit_json(key_document(key), indent=None)
    elif found:
        emit(columns([("NAME", "ROLE", "CREATED", "REVOKED"), *map(_row, found)]))
    else:
        note("no keys")


def revoke(
    name: NameArgument, store: StoreOption = None, as_json: JsonOption = False
) -> None:
    """Make a key good for nothing, at once; its name stays taken.

    Example:
        saga keys revoke shop
    """

    async def ask(keys: ApiKeys) -> ApiKey:
        return await keys.revoke(name)

    key = _asked(store, ask)
    if as_json:
        emit_json(key_document(key))
    else:
        emit([f"{key.name} revoked"])


COMMANDS: dict[str, Callable[..., None]] = {
    "new": new,
    "list": list_keys,
    "revoke": revoke,
}


def _asked(store: str | None, ask: Callable[[ApiKeys], Awaitable[T]]) -> T:
    return asyncio.run(_ask(settings_of(store=store), ask))


async def _ask(settings: Settings, ask: Callable[[ApiKeys], Awaitable[T]]) -> T:
    async with client(settings) as manager:
        return await ask(manager.store.api_keys)


def _row(key: ApiKey) -> tuple[str, ...]:
    revoked = "" if key.revoked_at is None else f"{key.revoked_at:%Y-%m-%d %H:%M:%SZ}"
    return (key.name, key.role, f"{key.created_at:%Y-%m-%d %H:%M:%SZ}", revoked)
