"""`saga compensate`: undo a saga by hand."""

from __future__ import annotations

import asyncio
import getpass
from typing import TYPE_CHECKING, Annotated

import typer

from saga_orchestrator.cli.documents import saga_document
from saga_orchestrator.cli.options import (
    JsonOption,
    SagaArgument,
    StoreOption,
    client,
    settings_of,
)
from saga_orchestrator.cli.terminal import emit, emit_json, marked
from saga_orchestrator.errors import TransitionRefused

if TYPE_CHECKING:
    from saga_orchestrator.core.saga import Saga
    from saga_orchestrator.settings import Settings


def compensate(
    saga_id: SagaArgument,
    *,
    reason: Annotated[
        str,
        typer.Option(
            "--reason",
            metavar="TEXT",
            help="Why; kept in the history.",
            show_default=False,
        ),
    ],
    force: Annotated[
        bool,
        typer.Option("--force", help="Also past the pivot, also when it completed."),
    ] = False,
    principal: Annotated[
        str | None,
        typer.Option(
            "--principal",
            metavar="WHO",
            help="Who asks; kept in the history. Default: the user's name.",
        ),
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Undo a saga: what was done is undone in reverse order.

    Returns once the undo is decided on; `saga watch` follows it. On a saga that
    is being undone, or was, nothing changes.

    Example:
        saga compensate 01JGFJJZ00000000000000000A --reason 'customer called'
    """
    if not reason.strip():
        raise typer.BadParameter("--reason: say why; it is kept in the history")
    settings = settings_of(store=store)
    who = principal or _user()
    saga = asyncio.run(_compensate(settings, saga_id, reason, who, force=force))
    if as_json:
        emit_json(saga_document(saga))
    else:
        emit([f"{saga.id}  {marked(saga.state)}"])


async def _compensate(
    settings: Settings, saga_id: str, reason: str, principal: str, *, force: bool
) -> Saga:
    async with client(settings) as manager:
        try:
            await manager.compensate(
                saga_id, reason=reason, principal=principal, force=force
            )
        except TransitionRefused as error:
            if force:
                raise
            # Whatever is refused here, force allows: the table has no other reason.
            raise TransitionRefused(
                error.saga_id, error.state, f"{error.problem}; add --force"
            ) from error
        return await manager.get(saga_id)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return "cli"
