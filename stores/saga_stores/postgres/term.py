"""Which primary is the latest: a server that was one before is not written to.

After a failover the old primary may still be there, and take writes. Each
promotion begins a new timeline of the log, so its number is a term of office:
whoever has seen a later one lets go of the earlier. A process that has seen only
the old primary cannot know; to stop that one is the task of what fails over.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import asyncpg  # type: ignore[import-untyped]  # it ships no types

from saga_orchestrator.errors import StoreUnavailableError

_TERM = """
SELECT system_identifier, left(pg_walfile_name(pg_current_wal_lsn()), 8)
FROM pg_control_system()
"""


class Term:
    """The latest timeline that this process has met, of each system of servers.

    A database that was moved to new servers begins anew, with another system.

    Attributes:
        on_newer: called when a later one is met: connections to others are to go.
    """

    def __init__(self, shown: str) -> None:
        self._shown = shown
        self._latest: dict[int, int] = {}
        self.on_newer: Callable[[], Awaitable[None]] | None = None

    async def check(self, connection: asyncpg.Connection) -> None:
        """Look at a connection that was just made.

        Raises:
            StoreUnavailableError: it leads to an old primary.
        """
        found = await _find(connection)
        if found is None:
            return
        system, term = found
        latest = self._latest.get(system, term)
        if term < latest:
            raise StoreUnavailableError(
                f"{self._shown}: the server is an old primary, of timeline {term}; "
                f"timeline {latest} was seen: stop it, or correct the address"
            )
        self._latest[system] = term
        if term > latest and self.on_newer is not None:
            await self.on_newer()


async def _find(connection: asyncpg.Connection) -> tuple[int, int] | None:
    """Return system and timeline; None: a standby, or a server that does not tell."""
    try:
        system, timeline = await connection.fetchrow(_TERM)
        return system, int(timeline, 16)
    except asyncpg.PostgresError:
        return None
