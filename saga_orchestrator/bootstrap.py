"""The composition root of our own processes: from settings to open parts."""

from __future__ import annotations

import importlib
import random
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from saga_orchestrator.core.definition import SagaDefinition
from saga_orchestrator.core.states import Direction
from saga_orchestrator.errors import ConfigurationError
from saga_orchestrator.participant.handlers import Handlers
from saga_orchestrator.ports.clock import SystemClock
from saga_orchestrator.runtime.assembly import open_broker
from saga_orchestrator.runtime.manager import Manager
from saga_orchestrator.runtime.opening import Opening
from saga_orchestrator.runtime.registry import Registry
from saga_orchestrator.runtime.worker import Worker
from saga_orchestrator.settings import Settings


def load_objects(
    references: Iterable[str], app_dir: Path
) -> tuple[list[SagaDefinition], list[Handlers]]:
    """Import what ``MODULE:ATTR`` references name, and sort it by kind.

    Args:
        references: each names a ``SagaDefinition``, a ``Handlers``, or a list
            of them.
        app_dir: put first on the import path, as a user's working directory.

    Raises:
        ConfigurationError: nothing of that name; says what was searched.
    """
    if str(app_dir) not in sys.path:
        sys.path.insert(0, str(app_dir))
    definitions: list[SagaDefinition] = []
    services: list[Handlers] = []
    for reference in references:
        found = _load(reference, app_dir)
        for item in found if isinstance(found, list | tuple) else (found,):
            if isinstance(item, SagaDefinition):
                definitions.append(item)
            elif isinstance(item, Handlers):
                services.append(item)
            else:
                raise ConfigurationError(
                    f"{reference}: is of type {type(item).__name__}; "
                    "name a SagaDefinition or Handlers"
                )
    return definitions, services


def open_manager(
    settings: Settings,
    *,
    definitions: Sequence[SagaDefinition] = (),
    handlers: Sequence[Handlers] = (),
    engine: bool = False,
    migrate: bool | None = None,
) -> Opening[Manager]:
    """Open a manager as the settings say."""
    return Manager.open(
        store=settings.store,
        broker=settings.broker,
        handlers=handlers,
        definitions=definitions,
        engine=engine,
        topology=settings.topology,
        concurrency=settings.concurrency,
        migrate=migrate,
    )


def open_worker(
    settings: Settings,
    handlers: Sequence[Handlers],
    directions: frozenset[Direction] = frozenset(Direction),
) -> Opening[Worker]:
    """Open a participant without a store as the settings say."""
    clock = SystemClock()
    rng = random.SystemRandom()
    registry = Registry(handlers)

    async def opener() -> Worker:
        broker = await open_broker(
            settings.broker, topology=settings.topology, clock=clock, rng=rng
        )
        worker = Worker(
            broker=broker,
            registry=registry,
            clock=clock,
            rng=rng,
            topology=settings.topology,
            concurrency=settings.concurrency,
            directions=directions,
        )
        try:
            await worker.open()
        except BaseException:
            await worker.close()
            raise
        return worker

    return Opening(opener)


def _load(reference: str, app_dir: Path) -> Any:  # noqa: ANN401 - a user's object
    module_name, _, attribute = reference.partition(":")
    if not module_name or not attribute:
        raise ConfigurationError(
            f"{reference!r}: write MODULE:ATTR, as handlers.orders:order"
        )
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and not f"{module_name}.".startswith(f"{error.name}."):
            raise  # found, but something that it imports is missing
        raise ConfigurationError(
            f"{reference}: there is no module {module_name!r} in {app_dir} or on the "
            "import path; run from its folder or pass --app-dir"
        ) from error
    if not hasattr(module, attribute):
        known = ", ".join(
            name
            for name, value in vars(module).items()
            if isinstance(value, SagaDefinition | Handlers)
        )
        raise ConfigurationError(
            f"{reference}: module {module_name!r} has no {attribute!r}; "
            f"it has {known or 'no definitions or handlers'}"
        )
    return getattr(module, attribute)
