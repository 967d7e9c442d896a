"""Other sessions of a test's database: who waits, and cutting who waits."""

from __future__ import annotations

import asyncpg  # type: ignore[import-untyped]  # ships no types

_WAITING = """
FROM pg_stat_activity
WHERE wait_event_type = 'Lock' AND datname = current_database()
"""


async def waits_for_a_lock(psql: asyncpg.Connection) -> bool:
    """Tell whether some session waits for a row, or for a table."""
    return bool(await psql.fetchval(f"SELECT count(*) {_WAITING}"))


async def terminate_waiting(psql: asyncpg.Connection) -> bool:
    """Terminate a session that waits for a row; tell whether there was one."""
    return bool(await psql.fetchval(f"SELECT pg_terminate_backend(pid) {_WAITING}"))
