"""What a process's parts do not fit together for, said before it starts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from saga_orchestrator.cli.apps import Loaded
from saga_orchestrator.cli.options import is_embedded
from saga_orchestrator.core.states import Direction

if TYPE_CHECKING:
    from saga_orchestrator.settings import Settings


def cautions(settings: Settings, loaded: Loaded) -> Iterator[str]:
    """Yield what works, but most likely not as it was meant."""
    if is_embedded(settings.store):
        yield (
            "store memory:// ends with this process, and `saga start` elsewhere "
            "cannot reach it; set --store"
        )
    if settings.events == "cdc" and not settings.store.startswith("postgres"):
        yield (
            "events cdc: nothing reads the log of this store, so events are deleted "
            "unread; use it with PostgreSQL, or --events broker"
        )
    if not is_embedded(settings.broker):
        return
    for name, missing in _unhandled(loaded):
        yield (
            f"saga {name} will wait: nothing here handles {', '.join(missing)}; "
            "name its handlers too, or set --broker and run `saga worker`"
        )


def _unhandled(loaded: Loaded) -> Iterator[tuple[str, list[str]]]:
    """Yield sagas with the actions and compensations that have no handler here."""
    handled = {
        direction: frozenset().union(
            *(service.actions(direction) for service in loaded.services)
        )
        for direction in Direction
    }
    for saga in loaded.sagas:
        needed = [(Direction.ACTION, step.action) for step in saga.steps]
        needed += [(Direction.COMPENSATION, step.compensation) for step in saga.steps]
        missing = [
            name
            for direction, name in needed
            if name and name not in handled[direction]
        ]
        if missing:
            yield saga.name, missing
