"""`saga start`: start one saga, and wait for its end if asked to."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saga_orchestrator.api.documents import saga_document
from saga_orchestrator.cli.apps import definition_named
from saga_orchestrator.cli.exits import Exit, exit_of_state
from saga_orchestrator.cli.following import follow
from saga_orchestrator.cli.json_text import parsed
from saga_orchestrator.cli.options import (
    AppDirOption,
    JsonOption,
    StoreOption,
    TimeoutOption,
    client,
    settings_of,
)
from saga_orchestrator.cli.terminal import emit, emit_json, marked, note, one_line
from saga_orchestrator.ports.clock import SystemClock

if TYPE_CHECKING:
    from saga_orchestrator.core.definition import SagaDefinition
    from saga_orchestrator.runtime.manager import Manager
    from saga_orchestrator.settings import Settings


def start(
    target: Annotated[
        str,
        typer.Argument(
            metavar="DEFINITION",
            help="MODULE:ATTR, MODULE where it has one, or a name with --app.",
            show_default=False,
        ),
    ],
    *,
    context: Annotated[
        str,
        typer.Option(
            "--context",
            metavar="JSON",
            help="A JSON object; @FILE reads a file, - stdin.",
        ),
    ] = "{}",
    key: Annotated[
        str | None,
        typer.Option(
            "--key",
            metavar="KEY",
            help="The same key with the same context returns the same saga.",
        ),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Return when the saga has ended.")
    ] = False,
    timeout: TimeoutOption = None,
    app: Annotated[
        list[str] | None,
        typer.Option(
            "--app",
            metavar="MODULE",
            help="Where to look for a name; may be repeated.",
            show_default=False,
        ),
    ] = None,
    store: StoreOption = None,
    app_dir: AppDirOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Start a saga; print its id.

    A running `saga serve` or `saga dev` on the same store does the work.
    With --wait the exit code is 0 completed, 10 compensated, 11 failed, and 7
    when --timeout came first.

    Example:
        saga start handlers.orders:order --context '{"sku": "book"}' --key o-1 --wait
    """
    if timeout is not None and not wait:
        raise typer.BadParameter("--timeout needs --wait")
    body = _context(context)
    settings = settings_of(store=store)
    definition = definition_named(target, app or [], app_dir)
    run = _start(
        settings, definition, body, key=key, wait=wait, timeout=timeout, as_json=as_json
    )
    raise typer.Exit(asyncio.run(run))


async def _start(
    settings: Settings,
    definition: SagaDefinition,
    body: dict[str, Any],
    *,
    key: str | None,
    wait: bool,
    timeout: float | None,
    as_json: bool,
) -> Exit:
    async with client(settings) as manager:
        saga = await manager.start(definition, context=body, key=key)
        if not as_json:
            emit([saga.id])
        code = await _wait(manager, saga.id, timeout) if wait else Exit.OK
        if not (wait or as_json):
            return code
        saga = await manager.get(saga.id)
    if as_json:
        emit_json(saga_document(saga))
    else:
        emit([f"{marked(saga.state)}  {one_line(saga.reason)}".rstrip()])
    return code


async def _wait(manager: Manager, saga_id: str, timeout: float | None) -> Exit:
    try:
        async with asyncio.timeout(timeout):
            record = await follow(manager, saga_id, SystemClock())
    except TimeoutError:
        note(f"error: not at its end in {timeout:g} s; follow it: saga watch {saga_id}")
        return Exit.TIMED_OUT
    return exit_of_state(record.saga.state)


def _context(text: str) -> dict[str, Any]:
    body = parsed(text, "--context")
    if not isinstance(body, dict):
        raise typer.BadParameter('--context: must be a JSON object, as {"sku": 1}')
    return body
