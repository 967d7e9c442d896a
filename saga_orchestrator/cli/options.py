"""Options that several commands share, and the settings they make."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saga_orchestrator.cli.store_files import require_store_file
from saga_orchestrator.cli.terminal import note
from saga_orchestrator.errors import ConfigurationError

if TYPE_CHECKING:
    from saga_orchestrator.runtime.manager import Manager
    from saga_orchestrator.settings import Settings

StoreOption = Annotated[
    str | None,
    typer.Option("--store", metavar="URL", help="sqlite:///… or postgresql://…"),
]
BrokerOption = Annotated[
    str | None,
    typer.Option("--broker", metavar="URL", help="memory:// or amqp://…"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON to stdout.")]
AppDirOption = Annotated[
    Path,
    typer.Option(
        "--app-dir",
        metavar="DIR",
        help="Put first on the import path.",
        file_okay=False,
        exists=True,
    ),
]
ProcessesOption = Annotated[
    int | None,
    typer.Option(
        "--processes",
        metavar="N",
        help="Engines, a process each: one for each core.",
    ),
]
ConcurrencyOption = Annotated[
    int | None,
    typer.Option("--concurrency", metavar="N", help="Handlers that run at a time."),
]
DrainOption = Annotated[
    float | None,
    typer.Option(
        "--drain-seconds",
        metavar="SECONDS",
        help="Time to finish what has begun after SIGTERM.",
    ),
]
RetentionOption = Annotated[
    str | None,
    typer.Option(
        "--retention",
        metavar="AGE",
        help="Delete sagas so long after their end: 30d, or 30d,NAME=7d.",
    ),
]
LifecycleEventsOption = Annotated[
    bool | None,
    typer.Option(
        "--lifecycle-events/--no-lifecycle-events",
        help="Publish what becomes of sagas; the same in all processes.",
        show_default=False,
    ),
]
EventsOption = Annotated[
    str | None,
    typer.Option(
        "--events",
        metavar="HOW",
        help="broker: publish events; cdc: the database's log is read.",
    ),
]
LogLevelOption = Annotated[
    str | None,
    typer.Option("--log-level", metavar="LEVEL", help="debug, info, warning, error."),
]
HttpOption = Annotated[
    str | None,
    typer.Option(
        "--http",
        metavar="HOST:PORT",
        help="Serve the HTTP API there; needs API keys where others can reach it.",
    ),
]
MetricsOption = Annotated[
    str | None,
    typer.Option(
        "--metrics",
        metavar="HOST:PORT",
        help="Serve /metrics, /livez and /readyz there, to whoever can reach it.",
    ),
]
WorkersOption = Annotated[
    int,
    typer.Option(
        "--workers", metavar="N", min=0, help="Processes for the handlers alone."
    ),
]
OrchestratorsOption = Annotated[
    int,
    typer.Option(
        "--orchestrators", metavar="N", min=1, help="Processes with an engine."
    ),
]
LogFormatOption = Annotated[
    str | None,
    typer.Option("--log-format", metavar="FORMAT", help="auto, console or json."),
]
TimeoutOption = Annotated[
    float | None,
    typer.Option(
        "--timeout", metavar="SECONDS", min=0, help="Wait no longer than this."
    ),
]
SagaArgument = Annotated[
    str, typer.Argument(metavar="ID", help="The saga.", show_default=False)
]


def settings_of(**flags: Any) -> Settings:  # noqa: ANN401 - checked by the model
    """Return the settings with these flags on top; set up the log lines.

    Raises:
        ConfigurationError: names the setting and the fix.
    """
    from saga_orchestrator.settings import load_settings, misspelt_variables
    from saga_orchestrator.telemetry import logging

    for name, meant in misspelt_variables(os.environ):
        note(f"warning: {name} in the environment is not used; did you mean {meant}?")
    settings = load_settings(**flags)
    logging.configure(settings.log_level, settings.log_format)
    return settings


def is_embedded(url: str) -> bool:
    """Tell whether a store or a broker lives in the memory of one process."""
    return url.startswith("memory:")


@contextlib.asynccontextmanager
async def client(settings: Settings) -> AsyncIterator[Manager]:
    """Open what starts, reads and operates sagas: a store, and no engine.

    The store must be there: a misspelt file is an error, not a new file.
    """
    from saga_orchestrator.bootstrap import open_manager

    if is_embedded(settings.store):
        raise ConfigurationError(
            "store: memory:// lives in the process that runs the engine, this one "
            "cannot reach it; set --store or SAGA_STORE to what `saga serve` uses"
        )
    require_store_file(settings.store)
    async with open_manager(settings, engine=False, migrate=False) as manager:
        yield manager
