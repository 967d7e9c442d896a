"""What the operators' commands share: who asks, why, and what is told of it."""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer

from saga_orchestrator.api.documents import saga_document
from saga_orchestrator.cli.options import client, settings_of
from saga_orchestrator.cli.remarks import not_undone
from saga_orchestrator.cli.terminal import emit, emit_json, marked, note
from saga_orchestrator.core.saga import Saga
from saga_orchestrator.core.states import SagaState

if TYPE_CHECKING:
    from saga_orchestrator.runtime.manager import Manager
    from saga_orchestrator.settings import Settings

    Request = Callable[[Manager], Awaitable[Saga]]


def _stated(reason: str) -> str:
    if not reason.strip():
        raise typer.BadParameter("say why; it is kept in the history")
    return reason


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return "cli"


ReasonOption = Annotated[
    str,
    typer.Option(
        "--reason",
        metavar="TEXT",
        help="Why; kept in the history.",
        show_default=False,
        callback=_stated,
    ),
]
PrincipalOption = Annotated[
    str,
    typer.Option(
        "--principal",
        metavar="WHO",
        help="Who asks; kept in the history. Default: the user's name.",
        show_default=False,
        default_factory=_user,
    ),
]
StepArgument = Annotated[
    str, typer.Argument(metavar="STEP", help="Its step.", show_default=False)
]


def operate(store: str | None, request: Request, *, as_json: bool) -> None:
    """Ask something of a saga; print where it stands after it.

    Args:
        store: the flag, if it was given.
        request: what to ask of the manager; it returns the saga.
        as_json: print the saga as a document.
    """
    saga = requested(store, request)
    if as_json:
        emit_json(saga_document(saga))
    else:
        emit([f"{saga.id}  {marked(saga.state)}"])
        say_how_to_follow(saga)
        if standing := not_undone(saga):
            note(standing)


def requested(store: str | None, request: Request) -> Saga:
    """Ask something of the manager; return the saga, context and outputs loaded."""
    return asyncio.run(_requested(settings_of(store=store), request))


def say_how_to_follow(saga: Saga) -> None:
    """Name the command that follows a saga, if there is something to follow."""
    if saga.state in (SagaState.STARTED, SagaState.COMPENSATING):
        note(f"follow it: saga watch {saga.id}")


async def _requested(settings: Settings, request: Request) -> Saga:
    async with client(settings) as manager:
        saga = await request(manager)
        return await manager.get(saga.id)
