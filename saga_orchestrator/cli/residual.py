"""`saga residual`: effects that may stand outside any saga's account."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from saga_orchestrator.api.documents import (
    Document,
    residual_document,
    saga_document,
    unreadable_document,
)
from saga_orchestrator.cli.json_text import shown
from saga_orchestrator.cli.operating import (
    PrincipalOption,
    ReasonOption,
    operate,
    requested,
    say_how_to_follow,
)
from saga_orchestrator.cli.options import (
    JsonOption,
    SagaArgument,
    StoreOption,
    client,
    settings_of,
)
from saga_orchestrator.cli.terminal import (
    ALARM,
    columns,
    emit,
    emit_json,
    note,
    one_line,
)
from saga_orchestrator.core.ids import SagaId, is_saga_id
from saga_orchestrator.core.residual import Residual
from saga_orchestrator.ports.records import Page, Unreadable

if TYPE_CHECKING:
    from saga_orchestrator.settings import Settings

    Cursor = tuple[SagaId, int]

_CURSOR = re.compile(r"(\w{26}):([0-9]{1,9})\Z", re.ASCII)

NumberArgument = Annotated[
    int,
    typer.Argument(
        metavar="NUMBER",
        help="The residual's, as `saga residual list` shows it.",
        min=1,
        show_default=False,
    ),
]

app = typer.Typer(
    help="Effects that may stand outside any saga's account.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def list_residuals(
    *,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, max=1000, help="At most.")
    ] = 50,
    after: Annotated[
        str | None,
        typer.Option("--after", metavar="ID:NUMBER", help="The next page: after this."),
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """List residuals that nobody has settled, by saga.

    A residual is a success that was told after its undo was sent, or after the
    saga's end: its effect may stand. With --json one residual a line.

    Example:
        saga residual list --limit 20
    """
    cursor = None if after is None else _cursor(after)
    page = asyncio.run(_page(settings_of(store=store), limit, cursor))
    found: dict[Cursor, Residual | Unreadable] = {
        (one.fence.saga_id, one.number): one for one in page.items
    } | {(one.saga_id, one.number): one for one in page.unreadable}
    rows = [found[place] for place in sorted(found)]
    if as_json:
        for row in rows:
            emit_json(_document(row), indent=None)
    elif rows:
        titles = ("SAGA", "NUMBER", "STEP", "ANSWERED", "OUTPUT")
        emit(columns([titles, *map(_row, rows)]))
        note("what settles one is told by: saga get ID")
    else:
        note("no open residuals")
    if len(rows) == limit:
        saga_id, number = max(found)
        note(f"there may be more: --after {saga_id}:{number}")


def undo(
    saga_id: SagaArgument,
    number: NumberArgument,
    *,
    reason: ReasonOption,
    principal: PrincipalOption,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have a residual undone; print the id of the saga that undoes it.

    It runs the step's compensation with the residual's output, under a key of
    its own, by the step's retry policy. `saga watch` follows it.

    Example:
        saga residual undo 01JGFJJZ00000000000000000A 7 --reason 'charged twice'
    """
    saga = requested(
        store,
        lambda manager: manager.undo_residual(
            saga_id, number, reason=reason, principal=principal
        ),
    )
    if as_json:
        emit_json(saga_document(saga))
    else:
        emit([saga.id])
        say_how_to_follow(saga)


def dismiss(
    saga_id: SagaArgument,
    number: NumberArgument,
    *,
    reason: ReasonOption,
    principal: PrincipalOption,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Settle a residual that needs no undo.

    Its saga keeps its state; who dismissed it and why is kept in the history.

    Example:
        saga residual dismiss 01JGFJJZ00000000000000000A 7 --reason 'a test account'
    """
    operate(
        store,
        lambda manager: manager.dismiss_residual(
            saga_id, number, reason=reason, principal=principal
        ),
        as_json=as_json,
    )


COMMANDS: dict[str, Callable[..., None]] = {
    "list": list_residuals,
    "undo": undo,
    "dismiss": dismiss,
}


async def _page(settings: Settings, limit: int, after: Cursor | None) -> Page[Residual]:
    async with client(settings) as manager:
        return await manager.store.residual_page(limit, after=after)


def _document(residual: Residual | Unreadable) -> Document:
    if isinstance(residual, Unreadable):
        return unreadable_document(residual)
    return residual_document(residual)


def _cursor(text: str) -> Cursor:
    found = _CURSOR.match(text)
    if found is None or not is_saga_id(found[1]):
        raise typer.BadParameter(
            f"--after: {text!r} is not ID:NUMBER; `saga residual list` tells the next"
        )
    return SagaId(found[1]), int(found[2])


def _row(residual: Residual | Unreadable) -> tuple[str, ...]:
    if isinstance(residual, Unreadable):
        problem = f"{ALARM} {one_line(residual.problem)}"
        return (residual.saga_id, str(residual.number), "", "", problem)
    return (
        residual.fence.saga_id,
        str(residual.number),
        residual.fence.step,
        f"{residual.at:%Y-%m-%d %H:%M:%SZ}",
        shown(residual.output),
    )
