"""One process with an engine: what `saga serve` is, once or several times."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from saga_orchestrator.cli.apps import Loaded
from saga_orchestrator.cli.cautions import cautions
from saga_orchestrator.cli.options import is_embedded
from saga_orchestrator.cli.secrets import masked
from saga_orchestrator.cli.terminal import note

if TYPE_CHECKING:
    from saga_orchestrator.cli.daemon import OpenFace
    from saga_orchestrator.runtime.manager import Manager
    from saga_orchestrator.settings import Settings

_log = structlog.get_logger("saga.process")


def caution(settings: Settings, loaded: Loaded) -> None:
    """Say what works, but most likely not as it was meant."""
    if is_embedded(settings.broker):
        note(
            "warning: broker memory:// lives in this process: workers elsewhere "
            "cannot reach it; set --broker"
        )
    for one in cautions(settings, loaded):
        note(f"warning: {one}")


def orchestrate(
    settings: Settings,
    loaded: Loaded,
    face: OpenFace[Manager],
    works: Callable[[], None] | None = None,
) -> None:
    """Run the engine until a signal.

    Args:
        settings: what to run with.
        loaded: definitions, and handlers to run here.
        face: opens what others can reach of it.
        works: tells a parent that it does; None: it has none.

    Raises:
        SagaError: it cannot be opened.
        typer.Exit: a signal came before it was open.
    """
    from saga_orchestrator.bootstrap import open_manager
    from saga_orchestrator.cli.daemon import run, run_until_stopped

    def ready(_manager: Manager) -> None:
        _log.info(
            "ready",
            store=masked(settings.store),
            broker=masked(settings.broker),
            sagas=[saga.name for saga in loaded.sagas],
            services=[service.service for service in loaded.services],
        )
        if works is not None:
            works()

    opening = open_manager(
        settings,
        definitions=loaded.sagas,
        handlers=loaded.services,
        engine=True,
        broker_may_be_away=True,
    )
    run(
        run_until_stopped(
            opening,
            settings.drain_seconds,
            ready,
            face,
            is_supervised=works is not None,
        )
    )
