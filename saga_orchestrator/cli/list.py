"""`saga list`: which sagas there are."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saga_orchestrator.api.documents import Document, saga_document, unreadable_document
from saga_orchestrator.cli.instants import When, parse_when
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
from saga_orchestrator.errors import PayloadError
from saga_orchestrator.ports.records import Page, Unreadable
from saga_orchestrator.ports.store import SagaFilter

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
    created_after: Annotated[
        str | None,
        typer.Option("--created-after", metavar="WHEN", help="Started then or later."),
    ] = None,
    created_before: Annotated[
        str | None,
        typer.Option("--created-before", metavar="WHEN", help="Started before."),
    ] = None,
    updated_after: Annotated[
        str | None,
        typer.Option(
            "--updated-after", metavar="WHEN", help="Last changed then or later."
        ),
    ] = None,
    updated_before: Annotated[
        str | None,
        typer.Option("--updated-before", metavar="WHEN", help="Last changed before."),
    ] = None,
    reason: Annotated[
        str | None,
        typer.Option("--reason", metavar="TEXT", help="A part of why it stopped."),
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

    WHEN is an instant with its time zone, 2026-11-29T14:30Z, or a time before now:
    90s, 10m, 1h, 30d. The text of --reason is looked for as it is, wherever it
    stands; small or capital a to z are the same.

    One whose row in the store is damaged is listed as unreadable, with what is
    wrong; it holds up no other.

    With --json one saga a line (JSON Lines), without context and outputs.

    Example:
        saga list --state failed --updated-after 1h --reason CardDeclined
    """
    if before is not None and not is_saga_id(before):
        raise typer.BadParameter(f"--before: {before!r} is no saga id")
    bounds = {
        "created_from": parse_when("--created-after", created_after),
        "created_to": parse_when("--created-before", created_before),
        "updated_from": parse_when("--updated-after", updated_after),
        "updated_to": parse_when("--updated-before", updated_before),
    }
    try:
        which = SagaFilter(
            states=frozenset(state or ()),
            name=name,
            key=key,
            before=None if before is None else SagaId(before),
            limit=limit,
            text=reason,
        )
    except PayloadError as error:
        flag = "reason" if error.path == "text" else error.path
        raise typer.BadParameter(f"--{flag}: {error.problem}") from error
    page = asyncio.run(_page(settings_of(store=store), which, bounds))
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


async def _page(
    settings: Settings, which: SagaFilter, bounds: Mapping[str, When | None]
) -> Page[Saga]:
    async with client(settings) as manager:
        given = {name: when for name, when in bounds.items() if when is not None}
        if given:
            now = await manager.store.now()
            instants: dict[str, Any] = {
                name: when.instant(now) for name, when in given.items()
            }
            which = replace(which, **instants)
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
