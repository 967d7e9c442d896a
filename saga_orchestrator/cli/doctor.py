"""`saga doctor`: is everything there that a saga needs, and if not, what to do."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saga_orchestrator.cli.apps import Loaded, load
from saga_orchestrator.cli.damage import examine_rows
from saga_orchestrator.cli.examination import (
    MOVING,
    Finding,
    Level,
    examine_broker,
    examine_schema,
    examine_store,
)
from saga_orchestrator.cli.exits import Exit
from saga_orchestrator.cli.options import (
    AppDirOption,
    BrokerOption,
    JsonOption,
    StoreOption,
    is_embedded,
    settings_of,
)
from saga_orchestrator.cli.terminal import ALARM, DONE, NOT_DONE, emit, emit_json
from saga_orchestrator.cli.unstarted import examine_starts
from saga_orchestrator.core.events import ResendRequested
from saga_orchestrator.core.ids import SagaId
from saga_orchestrator.errors import StoreDataError
from saga_orchestrator.ports.clock import SystemClock
from saga_orchestrator.ports.store import SagaFilter, Store

if TYPE_CHECKING:
    from saga_orchestrator.settings import Settings

_GLYPHS = {Level.WELL: DONE, Level.REMARK: ALARM, Level.WRONG: NOT_DONE}
_PAGE = 256


def doctor(
    references: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODULE[:ATTR]]...",
            help="Handlers whose queues are looked at too.",
            show_default=False,
        ),
    ] = None,
    *,
    resend: Annotated[
        bool,
        typer.Option(
            "--resend",
            help="Send every open command again: for a broker that lost its data.",
        ),
    ] = False,
    store: StoreOption = None,
    broker: BrokerOption = None,
    app_dir: AppDirOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Look at the store, the broker and the queues; say what to mend.

    The exit code is 0 when nothing is wrong, 6 when the store or the broker
    cannot be reached, else 1.

    --resend is safe: a repeated command is recognised by its fence. A running
    `saga serve` publishes what it asks for.

    Example:
        saga doctor handlers.orders:payments --broker amqp://…
    """
    settings = settings_of(store=store, broker=broker)
    loaded = load(references or [], app_dir)
    findings = asyncio.run(_examine(settings, loaded, resend=resend, quiet=as_json))
    if as_json:
        emit_json([_document(finding) for finding in findings])
    raise typer.Exit(_exit_of(findings))


async def _examine(
    settings: Settings, loaded: Loaded, *, resend: bool, quiet: bool
) -> list[Finding]:
    findings = []
    async for finding in _all_findings(settings, loaded, resend=resend):
        findings.append(finding)
        if not quiet:  # a broker that is away takes its time: show what is known
            emit(_lines(finding))
    return findings


async def _all_findings(
    settings: Settings, loaded: Loaded, *, resend: bool
) -> AsyncIterator[Finding]:
    clock = SystemClock()
    if is_embedded(settings.store):
        yield _in_process("store", settings.store, "--store")
    else:
        schema = await examine_schema(settings.store)
        yield schema
        if schema.level is Level.WELL:
            store = await Store.open(settings.store, migrate=False)
            try:
                async for finding in examine_store(store, clock):
                    yield finding
                async for finding in examine_starts(store):
                    yield finding
                async for finding in examine_rows(store):
                    yield finding
                if resend:
                    yield await _resend(store)
            finally:
                await store.close()
    if is_embedded(settings.broker):
        yield _in_process("broker", settings.broker, "--broker")
        return
    async for finding in examine_broker(
        settings.broker,
        settings.topology,
        loaded.services,
        clock=clock,
        rng=random.SystemRandom(),
    ):
        yield finding


async def _resend(store: Store) -> Finding:
    """Ask for every open command again; left in the outbox for any engine."""
    count = 0
    before: SagaId | None = None
    while page := await store.find(SagaFilter(MOVING, before=before, limit=_PAGE)):
        count += await _resend_page(store, [ResendRequested(saga.id) for saga in page])
        before = page[-1].id
    return Finding("resend", Level.WELL, f"{count} open commands will be sent again")


async def _resend_page(store: Store, events: list[ResendRequested]) -> int:
    """Return how many commands were asked for; a damaged saga is passed over."""
    try:
        decisions = await store.transact(events, lease=dt.timedelta(0))
    except StoreDataError:
        if len(events) == 1:
            return 0  # it is counted among the unreadable
        return sum([await _resend_page(store, [event]) for event in events])
    return sum(len(decision.dispatches) for decision in decisions)


def _in_process(what: str, url: str, flag: str) -> Finding:
    return Finding(
        what,
        Level.REMARK,
        f"{url} lives inside a process, there is nothing to look at; "
        f"{flag} looks at another",
    )


def _lines(finding: Finding) -> list[str]:
    lines = [f"{_GLYPHS[finding.level]} {finding.about}: {finding.text}"]
    if finding.fix:
        lines.append(f"    fix: {finding.fix}")
    return lines


def _document(finding: Finding) -> dict[str, str]:
    return {
        "about": finding.about,
        "level": finding.level,
        "text": finding.text,
        "fix": finding.fix,
    }


def _exit_of(findings: list[Finding]) -> Exit:
    if any(finding.unreachable for finding in findings):
        return Exit.UNREACHABLE
    if any(finding.level is Level.WRONG for finding in findings):
        return Exit.FAILURE
    return Exit.OK
