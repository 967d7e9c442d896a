"""`saga list`: which sagas there are."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from saga_orchestrator.api.documents import Document, saga_document, unreadable_document
from saga_orchestrator.cli.options import (
    JsonOption,
    StoreOption,
    client,
    settings_of,
)
from saga_orchestrator.cli.terminal import (
    ALARM,
    columns,
    emit,
    emit_json,
    marked,
    note,
    one_line,
)
from saga_orchestrator.core.ids import SagaId, is_saga_id
from saga_orchestrator.core.saga import Saga
from saga_orchestrator.core.states import SagaState
from saga_orchestrator.ports.store import Page, SagaFilter, Unreadable

if TYPE_CHECKING:
    from saga_orchestrator.settings import Settings


def list_sagas(
    *,
    state: Annotated[
        list[SagaState] | None,
        typer.Option(
            "--state", help="Only these; may be repeated.", show_default=False
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="The definition's name."),
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", metavar="KEY", help="The start key.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, max=1000, help="At most.")
    ] = 50,
    before: Annotated[
        str | None,
        typer.Option("--before", metavar="ID", help="The next page: older than this."),
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """List sagas, the newest first.

    "!3" behind a state: three open residuals, effects that may stand outside
    the saga's account; see `saga residual list`.

    One whose row in the store is damaged is listed as unreadable, with what is
    wrong; it holds up no other.

    With --json one saga a line (JSON Lines), without context and outputs.

    Example:
        saga list --state failed --name order_processing --limit 20
    """
    if before is not None and not is_saga_id(before):
        raise typer.BadParameter(f"--before: {before!r} is no saga id")
    which = SagaFilter(
        states=frozenset(state or ()),
        name=name,
        key=key,
        before=None if before is None else SagaId(before),
        limit=limit,
    )
    page = asyncio.run(_page(settings_of(store=store), which))
    found = {saga.id: saga for saga in page.items} | {
        one.saga_id: one for one in page.unreadable
    }
    rows = [found[saga_id] for saga_id in sorted(found, reverse=True)]
    if as_json:
        for row in rows:
            emit_json(_document(row), indent=None)
    elif rows:
        titles = ("ID", "STATE", "NAME", "KEY", "STARTED", "REASON")
        emit(columns([titles, *map(_row, rows)]))
    else:
        note("no sagas")
    if len(rows) == limit:
        note(f"there may be more: --before {min(found)}")


async def _page(settings: Settings, which: SagaFilter) -> Page[Saga]:
    async with client(settings) as manager:
        return await manager.store.page(which)


def _document(saga: Saga | Unreadable) -> Document:
    if isinstance(saga, Unreadable):
        return unreadable_document(saga)
    return saga_document(saga)


def _row(saga: Saga | Unreadable) -> tuple[str, ...]:
    if isinstance(saga, Unreadable):
        state = f"{ALARM} unreadable"
        return (saga.saga_id, state, "", "", "", one_line(saga.problem))
    return (
        saga.id,
        marked(saga.state) + (f" {ALARM}{saga.residuals}" if saga.residuals else ""),
        saga.name,
        one_line(saga.key or ""),
        f"{saga.created_at:%Y-%m-%d %H:%M:%SZ}",
        one_line(saga.reason),
    )
