"""A store that is away: who misses it, told once when it goes and once when it is back.

Every loop of a process finds it out by itself, and pauses by its own
``Backoff``; what they find is kept here, so that an outage is one problem and
two lines of the log, however long it lasts.
"""

from __future__ import annotations

import structlog

from saga_orchestrator.errors import StoreError

_log = structlog.get_logger("saga.store")


class Outage:
    """Keeps who in the process could not reach the store at its last try."""

    def __init__(self) -> None:
        self._missed: dict[str, str] = {}

    def begins(self, who: str, error: StoreError) -> None:
        """Note that someone could not reach it, and why."""
        if not self._missed:
            _log.warning("store is away", error=str(error))
        self._missed[who] = str(error)

    def ends(self, who: str) -> None:
        """Note that someone reached it."""
        if self._missed.pop(who, None) is not None and not self._missed:
            _log.warning("store is back")

    def problems(self) -> list[str]:
        """Say that the store is away, and why."""
        return [f"store: {why}" for why in sorted(set(self._missed.values()))]
