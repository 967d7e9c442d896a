"""`saga stale`: which sagas wait for too long, and why."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from saga_orchestrator.api.wait_documents import stale_document
from saga_orchestrator.cli.exits import Exit
from saga_orchestrator.cli.options import (
    BrokerOption,
    JsonOption,
    StoreOption,
    client,
    settings_of,
)
from saga_orchestrator.cli.terminal import columns, emit, emit_json, note, one_line
from saga_orchestrator.cli.timeline import duration
from saga_orchestrator.core.waiting import StaleAfter
from saga_orchestrator.runtime.stale import SAGAS_MAX, StalePage, StaleSaga, find_stale

if TYPE_CHECKING:
    from saga_orchestrator.settings import Settings


def stale(
    *,
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than",
            metavar="DURATION",
            help="90s, 10m, 2h, 1d; for all definitions.  [default: the settings']",
        ),
    ] = None,
    fail_on: Annotated[
        int | None,
        typer.Option(
            "--fail-on", metavar="N", min=1, help="Exit with 20 where N are stale."
        ),
    ] = None,
    store: StoreOption = None,
    broker: BrokerOption = None,
    as_json: JsonOption = False,
) -> None:
    """List sagas that wait for too long, the oldest first, and why.

    For how long is too long is in the settings: stale_after, and by definition the
    table [stale] of saga.toml. With a broker the queues of commands are looked at:
    does anybody read them, and how many stand in them.

    With --json one saga a line (JSON Lines), with what to do.

    Example:
        saga stale --older-than 1h --fail-on 1
    """
    from saga_orchestrator.durations import parse_positive

    settings = settings_of(store=store, broker=broker)
    after = settings.stale_thresholds
    if older_than is not None:
        try:
            after = StaleAfter(parse_positive(older_than))
        except ValueError as error:
            raise typer.BadParameter(f"--older-than: {error}") from error
    page = asyncio.run(_find(settings, after))
    found = page.sagas
    if as_json:
        for one in found:
            emit_json(stale_document(one), indent=None)
    elif found:
        emit(columns([_TITLES, *map(_row, found)]))
        note("`saga why ID` says what to do")
    else:
        note("no stale sagas")
    if page.problem:
        note(f"warning: the queues were not looked at: {page.problem}")
    if page.goes_on is not None:
        note(f"only the {SAGAS_MAX} oldest that have not ended were looked at")
    if fail_on is not None and len(found) >= fail_on:
        raise typer.Exit(Exit.STALE)


_TITLES = ("ID", "NAME", "REASON", "FOR", "STEP", "")


async def _find(settings: Settings, after: StaleAfter) -> StalePage:
    from saga_orchestrator.cli.looking import looks_at

    async with client(settings) as manager, looks_at(settings) as looks:
        return await find_stale(manager.store, after, looks)


def _row(one: StaleSaga) -> tuple[str, ...]:
    return (
        one.id,
        one.name,
        one.wait.reason,
        duration(one.age),
        one.wait.step or "",
        one_line(one.wait.detail),
    )
