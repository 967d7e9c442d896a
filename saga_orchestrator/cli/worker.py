"""`saga worker`: a participant, without a database of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import structlog
import typer

from saga_orchestrator.cli.apps import load
from saga_orchestrator.cli.options import (
    AppDirOption,
    BrokerOption,
    ConcurrencyOption,
    DrainOption,
    LogFormatOption,
    LogLevelOption,
    MetricsOption,
    is_embedded,
    settings_of,
)
from saga_orchestrator.cli.probes import open_probes_face
from saga_orchestrator.cli.secrets import masked
from saga_orchestrator.core.states import Direction
from saga_orchestrator.errors import ConfigurationError

_log = structlog.get_logger("saga.process")


def worker(
    references: Annotated[
        list[str],
        typer.Argument(
            metavar="MODULE[:ATTR]...", help="Handlers to run.", show_default=False
        ),
    ],
    *,
    broker: BrokerOption = None,
    steps_only: Annotated[
        bool, typer.Option("--steps-only", help="Serve actions, no compensations.")
    ] = False,
    compensate_only: Annotated[
        bool, typer.Option("--compensate-only", help="Serve compensations only.")
    ] = False,
    app_dir: AppDirOption = Path(),
    metrics: MetricsOption = None,
    concurrency: ConcurrencyOption = None,
    drain_seconds: DrainOption = None,
    log_level: LogLevelOption = None,
    log_format: LogFormatOption = None,
) -> None:
    """Run handlers for an orchestrator elsewhere, until SIGTERM or SIGINT.

    It needs the broker and no store. Run as many as the load asks for. Where the
    broker is away, at the start or later, it waits for it and logs the problem.

    With --metrics it can be scraped and probed. No key is asked for, so where others
    can reach the address they are told no more than names of actions and queues.

    Example:
        saga worker handlers.orders:payments --broker amqp://…
    """
    from saga_orchestrator.bootstrap import open_worker
    from saga_orchestrator.cli.daemon import run, run_until_stopped
    from saga_orchestrator.runtime.worker import Worker

    if steps_only and compensate_only:
        raise typer.BadParameter(
            "--steps-only and --compensate-only exclude each other"
        )
    settings = settings_of(
        broker=broker,
        metrics=metrics,
        concurrency=concurrency,
        drain_seconds=drain_seconds,
        log_level=log_level,
        log_format=log_format,
    )
    if is_embedded(settings.broker):
        raise ConfigurationError(
            "broker: memory:// lives in one process, a worker cannot share it; set "
            "--broker amqp://… or SAGA_BROKER to what `saga serve` uses, or name the "
            "handlers in `saga serve` or `saga dev`"
        )
    services = load(references, app_dir).services
    if not services:
        raise ConfigurationError(
            f"{', '.join(references)}: no handlers in there; name a Handlers object"
        )

    def ready(_worker: Worker) -> None:
        _log.info(
            "ready",
            broker=masked(settings.broker),
            services=[service.service for service in services],
            directions=sorted(directions),
        )

    directions = _directions(steps_only=steps_only, compensate_only=compensate_only)
    opening = open_worker(settings, services, directions, broker_may_be_away=True)
    face = open_probes_face(settings)
    run(run_until_stopped(opening, settings.drain_seconds, ready, face))


def _directions(*, steps_only: bool, compensate_only: bool) -> frozenset[Direction]:
    if steps_only:
        return frozenset({Direction.ACTION})
    if compensate_only:
        return frozenset({Direction.COMPENSATION})
    return frozenset(Direction)
