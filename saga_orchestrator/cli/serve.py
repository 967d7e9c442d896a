"""`saga serve`: the orchestrator daemon."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saga_orchestrator.cli.apps import load
from saga_orchestrator.cli.http import open_face
from saga_orchestrator.cli.options import (
    AppDirOption,
    BrokerOption,
    ConcurrencyOption,
    DrainOption,
    EventsOption,
    HttpOption,
    LifecycleEventsOption,
    LogFormatOption,
    LogLevelOption,
    ProcessesOption,
    RetentionOption,
    StoreOption,
    is_embedded,
    settings_of,
)
from saga_orchestrator.cli.orchestrator import caution, orchestrate
from saga_orchestrator.errors import ConfigurationError

if TYPE_CHECKING:
    import socket

    from saga_orchestrator.settings import Settings


def serve(
    context: typer.Context,
    references: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODULE[:ATTR]]...",
            help="Definitions, and handlers to run in these processes.",
            show_default=False,
        ),
    ] = None,
    *,
    store: StoreOption = None,
    broker: BrokerOption = None,
    app_dir: AppDirOption = Path(),
    http: HttpOption = None,
    processes: ProcessesOption = None,
    concurrency: ConcurrencyOption = None,
    retention: RetentionOption = None,
    events: EventsOption = None,
    lifecycle_events: LifecycleEventsOption = None,
    drain_seconds: DrainOption = None,
    log_level: LogLevelOption = None,
    log_format: LogFormatOption = None,
) -> None:
    """Run the orchestrator until SIGTERM or SIGINT.

    It advances the sagas of its store: sends commands, takes answers, fires
    timers. Run as many replicas as you like on one PostgreSQL. One process keeps one
    core busy: --processes runs several, watches them, and starts one that dies again.

    Where the broker is away, at the start or later, it stays up, logs the problem,
    keeps time, and goes on when the broker is back.

    A first signal drains and exits with 0, a second one exits at once.

    With --http it answers HTTP too. Where others can reach it, every request needs an
    API key: see saga keys new.

    Example:
        saga serve handlers.orders:order --store postgresql://… --broker amqp://…
    """
    flags = {
        "store": store,
        "broker": broker,
        "http": http,
        "processes": processes,
        "concurrency": concurrency,
        "retention": retention,
        "events": events,
        "lifecycle_events": lifecycle_events,
        "drain_seconds": drain_seconds,
        "log_level": log_level,
        "log_format": log_format,
    }
    settings = settings_of(**flags)
    if settings.processes == 1:
        loaded = load(references or [], app_dir)
        caution(settings, loaded)
        orchestrate(settings, loaded, open_face(settings))
        return

    from saga_orchestrator.cli.replica import Task
    from saga_orchestrator.cli.replicas import supervise
    from saga_orchestrator.ports.clock import SystemClock

    _require_shared(settings)
    listening = _listen(settings)
    task = Task(
        number=1,
        count=settings.processes,
        flags=flags,
        references=references or [],
        app_dir=str(app_dir),
        folder="",
        listening=listening.fileno() if listening else None,
        debug=bool(context.find_root().params.get("debug")),
        is_first=True,
    )
    raise typer.Exit(supervise(task, listening, SystemClock()))


def _require_shared(settings: Settings) -> None:
    """Refuse what one process has for itself.

    Raises:
        ConfigurationError: names it and the fix.
    """
    alone = f"--processes {settings.processes} need"
    if is_embedded(settings.store):
        raise ConfigurationError(
            f"store: memory:// lives in one process; {alone} postgresql://…"
        )
    if settings.store.startswith("sqlite:"):
        raise ConfigurationError(
            f"store: one engine runs on a SQLite file; {alone} postgresql://…"
        )
    if is_embedded(settings.broker):
        raise ConfigurationError(
            f"broker: memory:// lives in one process; {alone} amqp://…"
        )


def _listen(settings: Settings) -> socket.socket | None:
    """Return the socket that all processes answer HTTP on.

    Raises:
        ConfigurationError: ``http`` is no address, or it cannot be had.
    """
    if not settings.http:
        return None
    from saga_orchestrator.api.address import Address, listen

    return listen(Address.parse(settings.http))
