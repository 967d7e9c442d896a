"""`saga serve`: the orchestrator daemon."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import structlog
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
    RetentionOption,
    StoreOption,
    is_embedded,
    settings_of,
)
from saga_orchestrator.cli.secrets import masked
from saga_orchestrator.cli.terminal import note

_log = structlog.get_logger("saga.process")


def serve(
    references: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODULE[:ATTR]]...",
            help="Definitions, and handlers to run in this process.",
            show_default=False,
        ),
    ] = None,
    *,
    store: StoreOption = None,
    broker: BrokerOption = None,
    app_dir: AppDirOption = Path(),
    http: HttpOption = None,
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
    timers. Run as many replicas as you like on one PostgreSQL.

    Where the broker is away, at the start or later, it stays up, logs the problem,
    keeps time, and goes on when the broker is back.

    A first signal drains and exits with 0, a second one exits at once.

    With --http it answers HTTP too. Where others can reach it, every request needs an
    API key: see saga keys new.

    Example:
        saga serve handlers.orders:order --store postgresql://… --broker amqp://…
    """
    from saga_orchestrator.bootstrap import open_manager
    from saga_orchestrator.cli.cautions import cautions
    from saga_orchestrator.cli.daemon import run, run_until_stopped
    from saga_orchestrator.runtime.manager import Manager

    settings = settings_of(
        store=store,
        broker=broker,
        http=http,
        concurrency=concurrency,
        retention=retention,
        events=events,
        lifecycle_events=lifecycle_events,
        drain_seconds=drain_seconds,
        log_level=log_level,
        log_format=log_format,
    )
    loaded = load(references or [], app_dir)
    if is_embedded(settings.broker):
        note(
            "warning: broker memory:// lives in this process: workers elsewhere "
            "cannot reach it; set --broker"
        )
    for caution in cautions(settings, loaded):
        note(f"warning: {caution}")

    def ready(_manager: Manager) -> None:
        _log.info(
            "ready",
            store=masked(settings.store),
            broker=masked(settings.broker),
            sagas=[saga.name for saga in loaded.sagas],
            services=[service.service for service in loaded.services],
        )

    opening = open_manager(
        settings,
        definitions=loaded.sagas,
        handlers=loaded.services,
        engine=True,
        broker_may_be_away=True,
    )
    face = open_face(settings)
    run(run_until_stopped(opening, settings.drain_seconds, ready, face))
