"""`saga dev`: orchestrator, broker and handlers in one process."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saga_orchestrator.cli.apps import Loaded, load
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
from saga_orchestrator.cli.terminal import columns, note
from saga_orchestrator.core.states import Direction

if TYPE_CHECKING:
    from saga_orchestrator.settings import Settings


def dev(
    references: Annotated[
        list[str],
        typer.Argument(
            metavar="MODULE[:ATTR]...",
            help="Definitions and handlers; MODULE is all it has.",
            show_default=False,
        ),
    ],
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
    """Run everything in one process, to try things out; no server is needed.

    Sagas are kept in saga.db of the working directory, the broker lives in
    this process. Start sagas from another terminal.

    Example:
        saga dev handlers.orders
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
    loaded = load(references, app_dir)

    def ready(_manager: Manager) -> None:
        for line in _banner(settings, loaded, flag=store):
            note(line)

    for caution in cautions(settings, loaded):
        note(f"warning: {caution}")
    opening = open_manager(
        settings, definitions=loaded.sagas, handlers=loaded.services, engine=True
    )
    face = open_face(settings)
    run(run_until_stopped(opening, settings.drain_seconds, ready, face))


def _banner(settings: Settings, loaded: Loaded, *, flag: str | None) -> Iterator[str]:
    """Yield what is running, and how to go on from another terminal.

    Args:
        settings: what it runs with.
        loaded: what it runs.
        flag: the store as it was given on the command line.
    """
    in_process = is_embedded(settings.broker)
    rows = [
        ("store", masked(settings.store)),
        ("broker", "in this process" if in_process else masked(settings.broker)),
    ]
    for saga in loaded.sagas:
        names = [step.name for step in saga.steps]
        rows.append((f"saga {saga.name}", ", ".join(names)))
    for service in loaded.services:
        names = sorted(
            name for direction in Direction for name in service.actions(direction)
        )
        rows.append((f"service {service.service}".rstrip(), ", ".join(names)))
    yield "ready; Ctrl-C stops it"
    yield from (f"  {line}" for line in columns(rows))
    if not is_embedded(settings.store):
        yield "from another terminal:"
        option = f" --store {shlex.quote(flag)}" if flag else ""
        for words, _ in loaded.definitions:
            yield f"  saga start {words}{option} --context '{{…}}' --wait"
        yield f"  saga list{option}"
